"""Linear maps in int8: torch's product for many rows, and a kernel of our own for a single one."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from clew.compiled import njit


class Int8Linear(nn.Module):
    """f(x Wᵀ + b) with W in int8, one scale per output; f is the identity, or ReLU.

    W ≈ s_n · Ŵ with Ŵ = round(W / s_n) in [-127, 127] and s_n = max|W_n| / 127. Of several rows, x too is quantised as
    it comes, one scale for all of it, and products are summed in int32; a single row stays in float32, since there the
    work is to read W. No gradients.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, *, relu: bool = False) -> None:
        super().__init__()
        weight = weight.detach().float()
        bias = weight.new_zeros(len(weight)) if bias is None else bias.detach().float()
        scale = (weight.abs().amax(dim=1) / 127).clamp(min=1e-12)
        zero = torch.zeros(len(scale), dtype=torch.long)
        with warnings.catch_warnings():  # torch means to move this constructor; the kernels stay
            warnings.filterwarnings("ignore", message=".*quantize_per_channel.*deprecated")
            quantised = torch.quantize_per_channel(weight, scale, zero, 0, torch.qint8)
        self.packed = pack(quantised, bias, torch.backends.quantized.engine)
        # oneDNN is faster, but prepares anew for every number of rows: it serves where that is 64 throughout.
        self.packed_64 = pack(quantised, bias, "onednn") if len(weight) > 4096 else self.packed
        self.columns = np.ascontiguousarray(quantised.int_repr().numpy().T)
        self.scale, self.bias, self.relu = scale.numpy(), bias.numpy(), relu
        # Without VNNI the processor adds pairs of products in 16 bits: then x must keep to 7 bits.
        self.reduce_range = not torch.cpu._is_vnni_supported()
        self.kernel = torch.ops.quantized.linear_relu_dynamic if relu else torch.ops.quantized.linear_dynamic

    def forward(self, x: Tensor) -> Tensor:
        rows = x.numel() // x.shape[-1]
        if rows != 1:
            return self.kernel(x, self.packed_64 if rows == 64 else self.packed, self.reduce_range)
        y = np.empty(len(self.scale), np.float32)
        multiply(x.numpy().ravel(), self.columns, self.scale, self.bias, self.relu, y)
        return torch.from_numpy(y).view(*x.shape[:-1], -1)


def pack(weight: Tensor, bias: Tensor, library: str) -> Any:
    """Quantised W laid out for the kernels of a library."""
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = library
    try:
        return torch.ops.quantized.linear_prepack(weight, bias)
    finally:
        torch.backends.quantized.engine = before


@njit(cache=True, fastmath=True)
def multiply(x: Any, columns: Any, scale: Any, bias: Any, relu: bool, y: Any) -> None:
    """y = f((x @ columns) · scale + bias): x (d,) and y (n,) in float32, columns (d, n) in int8."""
    d, n = columns.shape
    y[:] = 0
    for k in range(0, d - 3, 4):  # four columns at a time: fewer passes over y
        a, b, c, e = x[k], x[k + 1], x[k + 2], x[k + 3]
        for i in range(n):
            y[i] += a * columns[k, i] + b * columns[k + 1, i] + c * columns[k + 2, i] + e * columns[k + 3, i]
    for k in range(d - d % 4, d):
        for i in range(n):
            y[i] += x[k] * columns[k, i]
    for i in range(n):
        value = y[i] * scale[i] + bias[i]
        y[i] = max(value, 0) if relu else value
