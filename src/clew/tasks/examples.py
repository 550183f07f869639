"""What every model of a comparison is shown alike, and what a model makes of it."""

from __future__ import annotations

import math
from collections.abc import Sequence

SHOWN = (0.05, 0.25, 0.5, 0.75, 0.95)  # which texts of a split reports show: quantiles of length


def by_length(texts: Sequence[str], quantiles: Sequence[float]) -> list[int]:
    """The rows at the given quantiles of length in words, each row once."""
    order = sorted(range(len(texts)), key=lambda i: (len(texts[i].split()), i))
    return list(dict.fromkeys(order[math.floor(q * (len(order) - 1))] for q in quantiles)) if order else []
