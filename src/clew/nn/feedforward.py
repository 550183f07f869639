"""The position-wise feed-forward network."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from clew.nn.activation import ACTIVATIONS
from clew.nn.dropout import Dropout
from clew.nn.linear import Linear


class FeedForward(nn.Module):
    """FFN(x) = W_2 f(W_1 x + b_1) + b_2 (Vaswani et al. 2017, eq. 2): (…, d_model) -> (…, d_model).

    gated: W_2 (f(W_g x) ⊙ W_1 x) (Shazeer 2020, eq. 6).
    """

    def __init__(
        self, d_model: int, d_ff: int, *, activation: str = "relu", dropout: float = 0.0, gated: bool = False,
        bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.gate = Linear(d_model, d_ff, bias=bias) if gated else None
        self.inner = Linear(d_model, d_ff, bias=bias)
        self.outer = Linear(d_ff, d_model, bias=bias)
        self.activation = ACTIVATIONS[activation]
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        if self.gate is not None:
            return self.outer(self.dropout(self.activation(self.gate(x)) * self.inner(x)))
        inner = self.inner(x)
        if self.activation is F.relu:  # one pass
            return self.outer(self.dropout(inner, relu=True))
        return self.outer(self.dropout(self.activation(inner)))
