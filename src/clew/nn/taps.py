"""Taps: named intermediates that anyone may listen to, at no cost while nobody does."""

from __future__ import annotations

from torch import Tensor, nn


class Tap(nn.Module):
    """The identity, under a name: a module passes an intermediate through it so that others can hook it.

    A model holds no debugging fields: `clew.inspect.capture(model, "*.attention.weights")` hooks the taps whose
    qualified names match. `heard` is True while at least one listener is attached; attention asks it to choose
    between the equation path (which has the weights) and the fused path (which does not).
    """

    def forward(self, value: Tensor) -> Tensor:
        return value

    @property
    def heard(self) -> bool:
        return bool(self._forward_hooks)
