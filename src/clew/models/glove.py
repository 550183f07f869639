"""GloVe: word vectors whose products are the logarithms of co-occurrence counts (Pennington et al. 2014)."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from clew.config import Choice
from clew.contracts import Model
from clew.inputs import Words
from clew.kernels.glove import tables
from clew.models.vectors import EXPORTS, WordVectors


class GloVeConfig(Choice):
    """How wide the vectors are."""

    kind: str = "glove"
    d_model: int = Field(100, ge=1)


class GloVe(Model):
    """Each word twice, as a word w and as context c, with a bias each: w_i·c_j + b_i + b̃_j ≈ log X_ij (eq. 7).

    word, context: (V, d); word_bias, context_bias: (V,). The vectors to keep are w + c (§4.2).
    """

    Config = GloVeConfig
    heads = frozenset({"words"})
    share_read = 0.0  # rows are looked up
    exports = EXPORTS

    def __init__(self, config: GloVeConfig, spec: Words) -> None:
        super().__init__()
        self.config, self.vocabulary = config, spec
        d = config.d_model
        # The engine wants a vector and its bias in one row: the parameters are views of its tables.
        word, context = (torch.from_numpy(table) for table in tables(len(spec), d))
        self.word, self.word_bias = nn.Parameter(word[:, :d]), nn.Parameter(word[:, d])
        self.context, self.context_bias = nn.Parameter(context[:, :d]), nn.Parameter(context[:, d + 1])
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -0.5 / d, 0.5 / d)

    def forward(self, rows: Tensor, cols: Tensor) -> Tensor:
        """w_i·c_j + b_i + b̃_j for words i and contexts j: ids (N,), (N,) -> (N,)."""
        products = torch.einsum("nd,nd->n", self.word[rows], self.context[cols])
        return products + self.word_bias[rows] + self.context_bias[cols]

    def vectors(self) -> WordVectors:
        """The vectors to keep: w + c."""
        matrix = (self.word + self.context).numpy(force=True)
        return WordVectors(self.vocabulary.words, matrix, self.vocabulary.counts)
