"""What every objective returns."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class Loss:
    """A loss summed over `count` items (tokens, pairs, …), so that accumulation and data parallelism are exact.

    total: scalar tensor, the sum that is minimised; parts: named sums for the log (detached), over the same count.
    """

    total: Tensor
    count: int
    parts: dict[str, Tensor] = field(default_factory=dict)
