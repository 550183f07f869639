"""Dropout: torch's on an accelerator, and an engine for the CPU that draws its mask 16 bits at a time."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def keep_mask(shape: torch.Size, p: float) -> Tensor:
    """A boolean mask, True with probability 1 - round(p · 2^16) / 2^16, from torch's own random state.

    torch draws each element of a Bernoulli mask from a generator of its own steps, about 12 ns; four elements share one
    64-bit draw here.
    """
    n = shape.numel()
    draws = torch.empty((n + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    return (draws.view(torch.int16)[:n] >= round(p * 2**16) - 2**15).view(shape)


def dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """x · mask / (1 - p) while training, x otherwise (Srivastava et al. 2014, §4, scaled at training time)."""
    if not training or p == 0.0:
        return x
    if x.device.type != "cpu":
        return F.dropout(x, p)
    return x * keep_mask(x.shape, p).to(x.dtype).mul_(1 / (1 - p))


class Dropout(nn.Module):
    """The module of `dropout`."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.p, self.training)
