"""Ready a trained model for decoding in a lower precision."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import torch
from torch import Tensor, nn


class Int8Linear(nn.Module):
    """x Wᵀ + b with W in int8, one scale per output, and x quantised as it comes, one scale for all of it.

    W ≈ s_n · Ŵ with Ŵ = round(W / s_n) in [-127, 127] and s_n = max|W_n| / 127; the sum over products is in int32.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        scale = (weight.detach().float().abs().amax(dim=1) / 127).clamp(min=1e-12)
        zero = torch.zeros(len(scale), dtype=torch.long)
        with warnings.catch_warnings():  # torch means to move this constructor; the kernels stay
            warnings.filterwarnings("ignore", message=".*quantize_per_channel.*deprecated")
            quantised = torch.quantize_per_channel(weight.detach().float(), scale, zero, 0, torch.qint8)
        self.packed = torch.ops.quantized.linear_prepack(quantised, None if bias is None else bias.detach().float())
        # Without VNNI the processor adds pairs of products in 16 bits: then x must keep to 7 bits.
        self.reduce_range = not torch.cpu._is_vnni_supported()

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.quantized.linear_dynamic(x, self.packed, self.reduce_range)


def engine(model: Any, precision: str) -> Any:
    """The model in evaluation mode: itself for fp32, a converted copy for bf16 or int8 (on a CPU)."""
    model.eval()
    if precision == "fp32":
        return model
    fast = copy.deepcopy(model)
    if precision == "bf16":
        return fast.to(torch.bfloat16)
    for parent in list(fast.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear:
                setattr(parent, name, Int8Linear(child.weight, child.bias))
    # Beside the table, which stays as it is: embeddings are looked up in it.
    fast.__dict__["project"] = Int8Linear(*model.output_table())
    return fast
