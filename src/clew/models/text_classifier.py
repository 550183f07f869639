"""A text's class from its word vectors: by their mean, by convolutions (Kim 2014), or by a recurrent layer whose states
are reduced to their maxima or attended to."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from clew.batches import TextBatch
from clew.config import Choice
from clew.contracts import Head, Model
from clew.errors import RecipeError
from clew.inputs import InputSpec, Tokens
from clew.models.heads import ClassifierOutput
from clew.nn.convolution import MaxOverTime
from clew.nn.dropout import Dropout
from clew.nn.embedding import Embedding, EmbeddingConfig
from clew.nn.recurrent import Recurrent
from clew.nn.taps import Tap


class TextClassifierConfig(Choice):
    """How the words of a text become one vector, and the sizes."""

    kind: str = "text_classifier"
    encoder: Literal["mean", "convolution", "recurrent", "attention"] = "convolution"
    d_embedding: int = Field(100, ge=1)
    d_model: int = Field(100, ge=1)  # filters of each width, or units of each direction; the mean has none
    widths: tuple[int, ...] = Field((3, 4, 5), min_length=1)  # words in a window
    unit: Literal["rnn", "lstm", "gru"] = "lstm"
    dropout: float = Field(0.5, ge=0, lt=1)
    embedding: EmbeddingConfig = EmbeddingConfig()


class Mean(nn.Module):
    """The mean of the words' vectors, 1/n Σ_i x_i: x (batch, time, d), mask (batch, time) bool -> (batch, d)."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return (x * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)


class Convolutions(nn.Module):
    """The features of several widths side by side (Kim 2014, §2): (batch, time, d) -> (batch, widths · d_model)."""

    def __init__(self, config: TextClassifierConfig) -> None:
        super().__init__()
        self.widths = nn.ModuleList(MaxOverTime(config.d_embedding, config.d_model, width) for width in config.widths)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return torch.cat([features(x, mask) for features in self.widths], dim=1)


class BothWays(nn.Module):
    """max_t [h→_t; h←_t], a layer read both ways (Conneau et al. 2017, §3.2): (batch, time, d) -> (batch, 2d_model)."""

    def __init__(self, config: TextClassifierConfig) -> None:
        super().__init__()
        self.layer = Recurrent(config.unit, config.d_embedding, config.d_model, bidirectional=True)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        states, _ = self.layer(x, mask)
        return states.masked_fill(~mask[..., None], -torch.inf).amax(dim=1)


class Attended(nn.Module):
    """Σ_t α_t h_t with α = softmax(uᵀ tanh(W h_t + b)), h_t the states of both directions (Yang et al. 2016, eq. 5–7).

    (batch, time, d) -> (batch, 2d_model); the tap `weights` is α, (batch, time), 0 at padding.
    """

    def __init__(self, config: TextClassifierConfig) -> None:
        super().__init__()
        width = 2 * config.d_model
        self.layer = Recurrent(config.unit, config.d_embedding, config.d_model, bidirectional=True)
        self.key = nn.Linear(width, width)
        self.query = nn.Linear(width, 1, bias=False)  # u, the same for every text
        self.weights = Tap()

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        states, _ = self.layer(x, mask)  # (batch, time, 2d_model)
        scores = self.query(torch.tanh(self.key(states)))[..., 0]
        weights = self.weights(scores.masked_fill(~mask, -torch.inf).softmax(dim=-1))
        return torch.einsum("bt,btd->bd", weights, states)


class TextClassifier(Model):
    """Embedding → dropout → one vector z for the text → dropout → W z + b.

    The table is drawn from U[-0.25, 0.25], as Kim's. Departs from Kim (2014) in that the embeddings are dropped out
    too, and in that weight decay stands for the bound on the rows of W.
    """

    Config = TextClassifierConfig
    heads = frozenset({"classify"})

    @classmethod
    def with_head(cls, head: Head, config: TextClassifierConfig, spec: InputSpec, n_outputs: int) -> Model:
        if head not in cls.heads:
            return super().with_head(head, config, spec, n_outputs)
        if not isinstance(spec, Tokens):
            raise RecipeError(f"a {config.kind} reads texts", where="model.kind", fix="choose another kind of model")
        return cls(config, spec, n_outputs)

    def __init__(self, config: TextClassifierConfig, spec: Tokens, n_classes: int) -> None:
        super().__init__()
        self.config = config
        self.embedding = Embedding(
            spec.vocab_size, config.d_embedding, padding_idx=spec.pad_id, frozen=config.embedding.frozen
        )
        with torch.no_grad():
            self.embedding.weight.uniform_(-0.25, 0.25)[spec.pad_id] = 0.0
        self.encoder, size = {
            "mean": lambda: (Mean(), config.d_embedding),
            "convolution": lambda: (Convolutions(config), len(config.widths) * config.d_model),
            "recurrent": lambda: (BothWays(config), 2 * config.d_model),
            "attention": lambda: (Attended(config), 2 * config.d_model),
        }[config.encoder]()
        self.dropout = Dropout(config.dropout)
        self.output = nn.Linear(size, n_classes)

    def forward(self, batch: TextBatch) -> ClassifierOutput:
        x = self.dropout(self.embedding(batch.text))  # (batch, time, d_embedding)
        return ClassifierOutput(self.output(self.dropout(self.encoder(x, batch.mask))))
