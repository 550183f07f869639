"""What stands between two linear maps; GELU by its tanh approximation has an engine for the CPU."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


class _GeluTanh(torch.autograd.Function):
    """Forward and backward in one pass over memory each."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        from clew.nn.elementwise import gelu_tanh, numbers  # numba is imported where it is used

        x = x.detach().contiguous()
        y = torch.empty_like(x)
        gelu_tanh(*(numbers(each).ravel() for each in (x, y)))
        ctx.save_for_backward(x)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_y: Tensor) -> Tensor:
        from clew.nn.elementwise import gelu_tanh_gradient, numbers  # numba is imported where it is used

        (x,) = ctx.saved_tensors
        d_x = torch.empty_like(x)
        gelu_tanh_gradient(*(numbers(each).ravel() for each in (x, d_y, d_x)))
        return d_x


def gelu_tanh(x: Tensor) -> Tensor:
    """½ x (1 + tanh(√(2/π) (x + 0.044715 x³))) (Hendrycks and Gimpel 2016, §2).

    In float32 and bfloat16 on the CPU the result can be differentiated once.
    """
    if x.device.type == "cpu" and x.dtype in (torch.float32, torch.bfloat16) and not torch.compiler.is_compiling():
        return _GeluTanh.apply(x)
    return F.gelu(x, approximate="tanh")


ACTIVATIONS = {"relu": F.relu, "gelu": F.gelu, "gelu_tanh": gelu_tanh, "silu": F.silu}
