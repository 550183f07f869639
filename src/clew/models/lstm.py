"""A recurrent language model (Zaremba et al. 2014; Inan et al. 2017): an LSTM reads and guesses the next token."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from clew.config import Choice
from clew.contracts import Head, Model
from clew.inputs import Tokens
from clew.models.gpt2 import DecoderOutput
from clew.models.heads import LastState
from clew.nn.dropout import Dropout
from clew.nn.embedding import Embedding
from clew.nn.recurrent import Recurrent, State


class LSTMConfig(Choice):
    """Sizes; the states are as wide as the embeddings, whose table makes the logits."""

    kind: str = "lstm"
    d_model: int = Field(256, ge=1)
    n_layers: int = Field(2, ge=1)
    dropout: float = Field(0.2, ge=0, lt=1)  # of embeddings, between layers, and of the last states
    max_length: ClassVar[int] = 1 << 30  # it has no positions to run out of


class Carried:
    """What an LSTM keeps of what it has read so far: h and c, (layers, batch, d_model) each; it never fills up."""

    room = LSTMConfig.max_length

    def __init__(self) -> None:
        self.state: State | None = None
        self.length = 0

    def select(self, rows: Tensor) -> None:
        """Keep the given rows, in that order (beam search moves, drops and repeats them)."""
        if self.state is not None:
            self.state = tuple(part.index_select(1, rows) for part in self.state)


class LSTM(Model):
    """h = LSTM(E w); P(next) = softmax(h Eᵀ + b) (Zaremba et al. 2014, §3; the tied table: Inan et al. 2017, §3).

    Dropout is on what goes up, never on what goes on in time (§3.1). Each row begins with a state of zeros, as a row of
    GPT-2 begins with an empty past; Zaremba et al. carry the state from batch to batch.
    """

    Config = LSTMConfig
    heads = frozenset({"language_model"})

    def __init__(self, config: LSTMConfig, spec: Tokens) -> None:
        super().__init__()
        self.config = config
        self.token = Embedding(spec.vocab_size, config.d_model)
        self.dropout = Dropout(config.dropout)
        self.recurrent = Recurrent("lstm", config.d_model, config.d_model, config.n_layers, dropout=config.dropout)
        self.bias = nn.Parameter(torch.zeros(spec.vocab_size))
        self.initialise()

    def forward(self, text: Tensor, position: Tensor | None = None, cache: Carried | None = None) -> DecoderOutput:
        """text: (batch, time) ids. position: (batch, time), 0 where a text begins within a row (`Block`).

        With a cache the text goes on from the state that is in it, and leaves its last one there. Padding on the left,
        each a text of its own, does no harm.
        """
        x, state = self.dropout(self.token(text)), None if cache is None else cache.state
        parts = []
        for begin, end in stretches(position, text.shape[1]):
            if state is not None and position is not None:
                goes_on = (position[:, begin] > 0)[:, None]  # (batch, 1)
                state = tuple(part * goes_on for part in state)
            states, state = self.recurrent(x[:, begin:end], state=state)
            parts.append(states)
        if cache is not None:
            cache.state, cache.length = state, cache.length + text.shape[1]
        return DecoderOutput(self.dropout(torch.cat(parts, dim=1)))

    def logits(self, hidden: Tensor) -> Tensor:
        """(…, d_model) -> (…, V)."""
        return hidden @ self.token.weight.t() + self.bias

    def output_table(self) -> tuple[Tensor, Tensor]:
        """Weight (V, d), tied to the token embeddings, and bias (V,) of the logits."""
        return self.token.weight, self.bias

    def blocks(self) -> list[nn.Module]:
        return [self.token, self.recurrent]

    def token_table(self) -> Tensor:
        return self.token.weight

    @classmethod
    def with_head(cls, head: Head, config: Any, spec: Any, n_outputs: int) -> Model:
        if head == "classify":
            return LastState(cls(config, spec), n_outputs)
        return super().with_head(head, config, spec, n_outputs)

    def cache(self, rows: int, room: int, *, ragged: bool = False) -> Carried:
        """An empty one; a state takes the same room whatever was read."""
        return Carried()

    def initialise(self) -> None:
        """Embeddings from U(-0.1, 0.1); forget gates begin open, with a bias of 1 (Jozefowicz et al. 2015, §2.2)."""
        nn.init.uniform_(self.token.weight, -0.1, 0.1)
        for name, parameter in self.recurrent.named_parameters():
            if "bias_ih" in name:
                parameter.detach().chunk(4)[1].fill_(1.0)


def stretches(position: Tensor | None, time: int) -> list[tuple[int, int]]:
    """From where to where no row begins a text, but at the first of the tokens: they are read in one go."""
    begins = [] if position is None else (position[:, 1:] == 0).any(dim=0).nonzero().flatten().tolist()
    return [*pairwise([0, *(t + 1 for t in begins), time])]
