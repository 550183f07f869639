"""Dropout: torch's own, and an engine for the CPU that draws, scales and adds in one pass and stores no mask."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class _Dropout(torch.autograd.Function):
    """With m the mask over 1 - p: ∂L/∂x = m ∂L/∂y, for relu where y > 0 (which says both); ∂L/∂residual = ∂L/∂y."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, residual: Tensor | None, p: float, relu: bool) -> Tensor:
        ctx.p, ctx.seed, ctx.dtype = p, torch.empty((), dtype=torch.int64).random_().item(), x.dtype
        out = _drop(x, residual, ctx.p, ctx.seed, relu, x.dtype if residual is None else residual.dtype)
        ctx.save_for_backward(out if relu else None)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        (out,) = ctx.saved_tensors
        if out is not None:
            return torch.ops.aten.threshold_backward(d_out, out, 0).mul_(1 / (1 - ctx.p)), None, None, None
        d_x = _drop(d_out, None, ctx.p, ctx.seed, False, ctx.dtype)
        return d_x, d_out if ctx.needs_input_grad[1] else None, None, None


def _drop(x: Tensor, residual: Tensor | None, p: float, seed: int, relu: bool, dtype: torch.dtype) -> Tensor:
    from clew.nn.elementwise import drop, numbers  # numba is imported where it is used

    out = torch.empty(x.shape, dtype=dtype)
    added = None if residual is None else numbers(residual).ravel()
    threshold = min(round(p * 2**16), 2**16 - 1)
    drop(numbers(x).ravel(), added, numbers(out).ravel(), seed, threshold, np.float32(1 / (1 - p)), relu)
    return out


def dropout(x: Tensor, p: float, training: bool, *, residual: Tensor | None = None, relu: bool = False) -> Tensor:
    """x · mask / (1 - p) while training, x otherwise (Srivastava et al. 2014, §4, scaled at training time).

    `relu` takes max(0, x) for x; `residual`, of the shape of x, is added to the result. In float32 and bfloat16 on the
    CPU the mask is True with probability 1 - round(p · 2^16) / 2^16, from a seed drawn from torch's random state; the
    result can then be differentiated once. Raises ValueError for relu and a residual at once.
    """
    if relu and residual is not None:
        raise ValueError("dropout takes either relu or a residual")
    fast = x.device.type == "cpu" and x.dtype in ENGINES and (residual is None or residual.dtype in ENGINES[x.dtype])
    if training and 0 < p < 1 and fast and x.numel():
        return _Dropout.apply(x, residual, p, relu)
    x = F.dropout(F.relu(x) if relu else x, p, training)
    return x if residual is None else residual + x


# The precision of x, and those of a residual that keeps its own when x is added.
ENGINES = {torch.float32: (torch.float32,), torch.bfloat16: (torch.bfloat16, torch.float32)}


class Dropout(nn.Module):
    """The module of `dropout`."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor, *, residual: Tensor | None = None, relu: bool = False) -> Tensor:
        return dropout(x, self.p, self.training, residual=residual, relu=relu)
