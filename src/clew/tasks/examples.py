"""What every model of a comparison is shown alike, and what a model makes of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

SHOWN = (0.05, 0.25, 0.5, 0.75, 0.95)  # which texts of a split reports show: quantiles of length


@dataclass(frozen=True)
class Example:
    """An input for all models; `reference` and `gold` ([source word, target word] links) where they exist."""

    source: str
    reference: str = ""
    gold: list[list[int]] | None = None


@dataclass
class Prediction:
    """What a model makes of one text: the best answer, the others found, and, where asked for, what it looked at.

    score: a log-probability of a translation, the probability of a label. attention: (name, weights (target tokens,
    source tokens)) of every map; the first is the one to show. The token lists end in </s>. salient: for each target
    token the source token that it looks at most. places: where the answer and each of the alternatives stand in the
    text that was read, [first, end) in characters, None for no answer. tagged: (word, tag, probability) of each word.
    """

    text: str
    score: float
    alternatives: list[tuple[str, float]] = field(default_factory=list)
    source_tokens: list[str] = field(default_factory=list)
    target_tokens: list[str] = field(default_factory=list)
    attention: list[tuple[str, Tensor]] = field(default_factory=list)
    salient: list[int] = field(default_factory=list)
    shown: str = ""  # the answer as people read it, where that is more than its text
    places: list[tuple[int, int] | None] = field(default_factory=list)
    tagged: list[tuple[str, str, float]] = field(default_factory=list)


def compared(task: Any) -> str:
    """The figure that trainings of a task are compared by: its quality, or another of those measured at the end."""
    return str(getattr(task, "compared", task.quality))


def by_length(texts: Sequence[str], quantiles: Sequence[float]) -> list[int]:
    """The rows at the given quantiles of length in words, each row once."""
    order = sorted(range(len(texts)), key=lambda i: (len(texts[i].split()), i))
    return list(dict.fromkeys(order[math.floor(q * (len(order) - 1))] for q in quantiles)) if order else []
