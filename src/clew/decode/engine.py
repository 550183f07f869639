"""Ready a trained model for decoding in a lower precision."""

from __future__ import annotations

import copy

import torch
from torch import nn


def engine(model: nn.Module, precision: str) -> nn.Module:
    """The model in evaluation mode: itself for fp32, a converted copy for bf16."""
    model.eval()
    if precision == "fp32":
        return model
    return copy.deepcopy(model).to(torch.bfloat16)
