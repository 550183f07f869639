"""The position-wise feed-forward network."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from clew.nn.activation import ACTIVATIONS
from clew.nn.dropout import Dropout
from clew.nn.linear import Linear


class FeedForward(nn.Module):
    """FFN(x) = W_2 f(W_1 x + b_1) + b_2 (Vaswani et al. 2017, eq. 2): (…, d_model) -> (…, d_model)."""

    def __init__(self, d_model: int, d_ff: int, *, activation: str = "relu", dropout: float = 0.0) -> None:
        super().__init__()
        self.inner = Linear(d_model, d_ff)
        self.outer = Linear(d_ff, d_model)
        self.activation = ACTIVATIONS[activation]
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.inner(x)
        if self.activation is F.relu:  # one pass
            return self.outer(self.dropout(inner, relu=True))
        return self.outer(self.dropout(self.activation(inner)))
