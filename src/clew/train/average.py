"""An exponential moving average of the weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """θ̄ ← θ̄ + (1 - decay)(θ - θ̄) after every step; the decay is smaller at first, so that the start is forgotten.

    The decay at step t is min(decay, (1 + t) / (10 + t)). What a model saves beside its weights and is no count (the
    statistics of batch normalisation) is averaged with them.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
        saved = model.state_dict()
        statistics = [b for name, b in model.named_buffers() if name in saved and b.is_floating_point()]
        self.live: list[Tensor] = [*learning, *statistics]
        self.weights: list[Tensor] = [parameter.detach().clone() for parameter in self.live]

    @torch.no_grad()
    def update(self, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.weights, [parameter.detach() for parameter in self.live], 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model holds the averaged weights while the block runs."""
        live = [parameter.detach().clone() for parameter in self.live]
        self._copy(self.weights)
        try:
            yield
        finally:
            self._copy(live)

    @torch.no_grad()
    def _copy(self, values: list[Tensor]) -> None:
        for parameter, value in zip(self.live, values, strict=True):
            parameter.copy_(value)
