"""Low-rank updates of weights that do not learn themselves."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


class LowRank(nn.Module):
    """W + (α/r) B A (Hu et al. 2021, eq. 3), a parametrization of W: (d_out, d_in) -> (d_out, d_in).

    A: (r, d_in), from U[-1/√d_in, 1/√d_in] as in the published code (the paper: Gaussian); B: (d_out, r), zeros, so
    that the sum is W at first. Departs from the code in that its input is not dropped out by itself: there is one
    weight, W + (α/r) B A, whatever multiplies by it.
    """

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        d_out, d_in = weight.shape
        self.A = nn.Parameter(weight.new_empty(rank, d_in))
        self.B = nn.Parameter(weight.new_zeros(d_out, rank))
        nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))
        self.scale = alpha / rank

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.scale * (self.B @ self.A)


@torch.no_grad()
def merged_state(model: nn.Module) -> dict[str, Tensor]:
    """`model.state_dict()` without parametrizations: each weight as its layer uses it, under its own name."""
    state = {}
    for name, tensor in model.state_dict().items():
        layer, parametrized, part = name.partition(".parametrizations.weight.")
        if not parametrized:
            state[name] = tensor
        elif part == "original":
            state[f"{layer}.weight"] = model.get_submodule(layer).weight
    return state


def merge(model: nn.Module) -> None:
    """Turn every parametrized weight into the plain weight that its layer uses."""
    for module in [*model.modules()]:
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
