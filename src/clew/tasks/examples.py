"""What every model of a comparison is shown alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    """An input for all models; `reference` and `gold` ([source word, target word] links) where they exist."""

    source: str
    reference: str = ""
    gold: list[list[int]] | None = None


def by_length(texts: Sequence[str], quantiles: Sequence[float]) -> list[int]:
    """The rows at the given quantiles of length in words, each row once."""
    order = sorted(range(len(texts)), key=lambda i: (len(texts[i].split()), i))
    return list(dict.fromkeys(order[math.floor(q * (len(order) - 1))] for q in quantiles)) if order else []
