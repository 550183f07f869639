"""The linear map, and an engine for large products in float32 on a CPU."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LARGE = 1 << 22  # multiplications, from which on the engine's gain outweighs what it costs to call it


@cache
def mkl_is_slow() -> bool:
    """Whether oneDNN multiplies faster than MKL, torch's choice in float32: on AMD's processors with AVX-512.

    MKL uses AVX2 there: 100 GFLOP/s on a core of Zen 5 where oneDNN has 200 to 250.
    """
    info = Path("/proc/cpuinfo")
    amd = info.exists() and "AuthenticAMD" in info.read_text()
    return (
        amd and torch.backends.cpu.get_cpu_capability() == "AVX512" and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def packs(weight: Tensor) -> bool:
    """Whether oneDNN multiplies by it, packed, faster than torch's own product does: on CPUs, by precision."""
    if weight.device.type != "cpu" or not hasattr(torch.ops.mkldnn, "_reorder_linear_weight"):
        return False
    if weight.dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return weight.dtype == torch.float32 and mkl_is_slow()


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x Wᵀ + b without gradients, (m, d_in) -> (m, d_out), by oneDNN where that is faster."""
    if engine_pays(x, weight):
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return F.linear(x, weight, bias)


def engine_pays(x: Tensor, weight: Tensor) -> bool:
    """Whether x Wᵀ is large, in float32, on a CPU where MKL is slow."""
    return (
        x.dtype == weight.dtype == torch.float32
        and x.device.type == "cpu"
        and mkl_is_slow()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()  # sizes are symbols then
        and x.numel() * len(weight) >= LARGE
    )


class _Linear(torch.autograd.Function):
    """With y = x Wᵀ + b: ∂L/∂x = ∂L/∂y W, ∂L/∂W = (∂L/∂y)ᵀ x, ∂L/∂b = Σ ∂L/∂y."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return product(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, d_y: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        d_x = d_weight = None
        if ctx.needs_input_grad[0]:
            d_x = linear(d_y, weight.t())
        if ctx.needs_input_grad[1]:  # the first factor is copied by the engine: the smaller one
            d_weight = linear(d_y.t(), x.t()) if d_y.shape[1] <= x.shape[1] else linear(x.t(), d_y.t()).t()
        return d_x, d_weight, d_y.sum(dim=0) if ctx.needs_input_grad[2] else None


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x Wᵀ + b: (…, d_in) -> (…, d_out)."""
    if not engine_pays(x, weight):
        return F.linear(x, weight, bias)
    return _Linear.apply(x.reshape(-1, x.shape[-1]), weight, bias).view(*x.shape[:-1], len(weight))


class Linear(nn.Linear):
    """The module of `linear`."""

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)
