"""An engine for training on the CPU: the softmax of scaled scores, causal or not, in one pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

ENGINES = (torch.float32, torch.bfloat16)


class _ScaledSoftmax(torch.autograd.Function):
    """With p = softmax(s x): ∂L/∂x_j = s p_j (∂L/∂p_j - Σ_k p_k ∂L/∂p_k)."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, scale: float, causal: bool) -> Tensor:
        from clew.nn.elementwise import numbers, scaled_softmax_rows  # numba is imported where it is used

        ctx.scale, ctx.causal = scale, causal
        weights = torch.empty_like(scores)
        x, y = (numbers(each.flatten(0, -3)) for each in (scores, weights))  # (n, T, S)
        scaled_softmax_rows(x, y, scale, causal)
        ctx.save_for_backward(weights)
        return weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_weights: Tensor) -> tuple[Tensor, None, None]:
        from clew.nn.elementwise import numbers, scaled_softmax_gradient  # numba is imported where it is used

        (weights,) = ctx.saved_tensors
        d_scores = torch.empty_like(weights)
        p, d_p, d_x = (numbers(each.flatten(0, -3)) for each in (weights, d_weights, d_scores))
        scaled_softmax_gradient(p, d_p, d_x, ctx.scale, ctx.causal)
        return d_scores, None, None


def scaled_softmax(scores: Tensor, scale: float, causal: bool) -> Tensor:
    """softmax(scale · scores), (…, T, S), in one of the precisions of `ENGINES`, on the CPU.

    causal: the last query sees all keys, each one before it a key less. It can be differentiated once.
    """
    return _ScaledSoftmax.apply(scores.contiguous(), scale, causal)
