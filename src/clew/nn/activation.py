"""What stands between two linear maps; GELU by its tanh approximation has an engine for the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


class _GeluTanh(torch.autograd.Function):
    """Its gradient in one pass over memory."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return _gelu_tanh(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_y: Tensor) -> Tensor:
        from clew.nn.elementwise import gelu_tanh_gradient, numbers  # numba is imported where it is used

        (x,) = ctx.saved_tensors
        d_x = torch.empty(x.shape, dtype=x.dtype)
        gelu_tanh_gradient(numbers(x).ravel(), numbers(d_y).ravel(), numbers(d_x).ravel())
        return d_x


def _gelu_tanh(x: Tensor) -> Tensor:
    """In one pass over memory, without gradient."""
    from clew.nn.elementwise import gelu_tanh, numbers  # numba is imported where it is used

    y = torch.empty(x.shape, dtype=x.dtype)
    gelu_tanh(numbers(x).ravel(), numbers(y).ravel())
    return y


def gelu_tanh(x: Tensor) -> Tensor:
    """½ x (1 + tanh(√(2/π) (x + 0.044715 x³))) (Hendrycks and Gimpel 2016, §2).

    In float32 and bfloat16 on the CPU the result can be differentiated once.
    """
    if x.device.type == "cpu" and x.dtype in (torch.float32, torch.bfloat16) and not torch.compiler.is_compiling():
        return _GeluTanh.apply(x) if x.requires_grad else _gelu_tanh(x)
    return F.gelu(x, approximate="tanh")


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_tanh": gelu_tanh,
    "silu": F.silu,
}
