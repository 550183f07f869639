"""Sequence to sequence with recurrent units (Sutskever et al. 2014), and attention over the encoder's states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from clew.batches import PairBatch
from clew.config import Choice, Config
from clew.inputs import TokenPair
from clew.models.translator import Memory, Translator, TranslatorOutput, check_sharing, one_table
from clew.nn.additive import FusedAdditive
from clew.nn.attention import Projected, Score, attend, make_score
from clew.nn.dropout import Dropout
from clew.nn.embedding import Embedding, EmbeddingConfig
from clew.nn.recurrent import Recurrent, State
from clew.nn.taps import Tap


class AttentionConfig(Config):
    """How a decoder state scores the encoder's states; "none" reads the encoder's last state alone."""

    score: Literal["none", "additive", "dot", "scaled_dot", "general", "cosine"] = "additive"
    project: bool = False  # of dot and scaled_dot: learned maps of both states are compared, not the states themselves


class Seq2SeqConfig(Choice):
    """Sizes and choices. A bidirectional encoder has d_model / 2 units in each direction."""

    kind: str = "seq2seq"
    unit: Literal["rnn", "lstm", "gru"] = "lstm"
    d_embedding: int = Field(256, ge=1)
    d_model: int = Field(256, ge=2)
    n_layers: int = Field(1, ge=1)  # of the encoder, and of the decoder
    bidirectional: bool = True
    attention: AttentionConfig = AttentionConfig()
    source_embedding: EmbeddingConfig = EmbeddingConfig()
    target_embedding: EmbeddingConfig = EmbeddingConfig()
    input_feeding: bool = False  # the decoder also reads its previous attentional state, step by step: exact, slower
    dropout: float = Field(0.2, ge=0, lt=1)
    share_embeddings: bool = False  # one table for source and target (needs a joint vocabulary)
    tie_projection: bool = False  # the projection is the target table read backwards (needs d_embedding = d_model)

    @model_validator(mode="after")
    def widths_agree(self) -> Seq2SeqConfig:
        if self.bidirectional and self.d_model % 2:
            raise ValueError(f"d_model {self.d_model} is odd: a bidirectional encoder gives half to each direction")
        if self.tie_projection and self.d_embedding != self.d_model:
            raise ValueError(f"tie_projection needs d_embedding = d_model, got {self.d_embedding} and {self.d_model}")
        if self.share_embeddings:
            one_table(self.target_embedding)
        return self


class Attention(nn.Module):
    """Luong et al. (2015), §3.1: α_t = softmax(score(h_t, h̄)), c_t = Σ_s α_ts h̄_s, h̃_t = tanh(W_c [c_t; h_t]).

    The query is the decoder state h_t, whatever the score, so that all target positions attend at once; Bahdanau et al.
    (2015) ask with h_{t-1} instead. The tap `weights` is fed α as (batch, 1, target, source).
    Without a score, c_t is the encoder's last state at every t (as Cho et al. 2014 feed it).
    """

    def __init__(self, config: AttentionConfig, d_model: int) -> None:
        super().__init__()
        self.score: Score | None = None
        if config.score == "additive":
            self.score = FusedAdditive(d_model, d_model, d_model)
        elif config.score != "none":
            self.score = make_score(config.score, d_model, d_model)
            if config.project and config.score in ("dot", "scaled_dot"):
                self.score = Projected(self.score, d_model)
        self.combine = nn.Linear(2 * d_model, d_model)
        if self.score is not None:
            self.weights = Tap()

    def prepare(self, memory: Memory) -> Tensor:
        """What of the memory is looked up: keys (B, S, d), or the encoder's last state (B, 1, d)."""
        return memory.final[0][:, -1:] if self.score is None else self.score.prepare(memory.states)

    def forward(self, h: Tensor, keys: Tensor, memory: Memory) -> tuple[Tensor, Tensor | None]:
        """h (B, T, d) -> attentional states h̃ (B, T, d) and weights (B, T, S), None without a score."""
        if self.score is None:
            context, weights = keys.expand_as(h), None
        else:
            context, weights = attend(h, keys, memory.states, memory.mask[:, None, :], self.score)
        return torch.tanh(self.combine(torch.cat([context, h], dim=-1))), weights

    def show(self, weights: Tensor | None) -> None:
        """Pass weights (B, T, S) through the tap."""
        if weights is not None:
            self.weights(weights[:, None])  # (B, 1, T, S)


@dataclass
class Seq2SeqCache:
    """What decoding keeps: memory and keys of B sentences, decoder state and last h̃ of their B·beam hypotheses."""

    memory: Memory
    keys: Tensor  # (B, S, d)
    state: State  # of (n_layers, B·beam, d)
    fed: Tensor  # (B·beam, 1, d)

    def reorder(self, rows: Tensor) -> None:
        """Move hypotheses (B·beam,) within their sentences."""
        self.state = tuple(part.index_select(1, rows) for part in self.state)
        self.fed = self.fed.index_select(0, rows)

    def keep(self, sentences: Tensor, rows: Tensor) -> None:
        """Drop finished sentences: keep these sentences (n,) and their hypotheses' rows (n·beam,)."""
        self.reorder(rows)
        self.memory, self.keys = self.memory.select(sentences), self.keys.index_select(0, sentences)


class Seq2Seq(Translator):
    """Encoder and decoder of recurrent layers, joined by the encoder's last state and by attention.

    The decoder starts in tanh(W s + b) of the encoder's last state s, layer by layer, h and c alike. Without input
    feeding the decoder does not depend on its own attention: one fused call runs it over the whole target, then all
    positions attend at once. With input feeding (Luong et al. 2015, §3.3) it reads [y_t; h̃_{t-1}], step by step.
    """

    Config = Seq2SeqConfig

    def __init__(self, config: Seq2SeqConfig, spec: TokenPair) -> None:
        super().__init__()
        source_size, target_size, pad_id = spec.source.vocab_size, spec.target.vocab_size, spec.target.pad_id
        if config.share_embeddings:
            check_sharing(spec)
        self.config = config
        d, directions = config.d_model, 2 if config.bidirectional else 1
        self.target_attention = "" if config.attention.score == "none" else "attention.weights"
        frozen = config.source_embedding.frozen, config.target_embedding.frozen
        self.source_embedding = Embedding(source_size, config.d_embedding, padding_idx=pad_id, frozen=frozen[0])
        self.target_embedding = self.source_embedding
        if not config.share_embeddings:
            self.target_embedding = Embedding(target_size, config.d_embedding, padding_idx=pad_id, frozen=frozen[1])
        unit, layers, dropout = config.unit, config.n_layers, config.dropout
        d_read = config.d_embedding + (d if config.input_feeding else 0)
        self.encoder = Recurrent(
            unit, config.d_embedding, d // directions, layers, bidirectional=config.bidirectional, dropout=dropout
        )
        self.bridge = nn.ModuleList([nn.Linear(d, d) for _ in self.encoder.unit.state])
        self.decoder = Recurrent(unit, d_read, d, layers, dropout=dropout)
        self.attention = Attention(config.attention, d)
        self.projection = nn.Linear(d, target_size)
        self.dropout = Dropout(config.dropout)
        for table in (self.source_embedding, self.target_embedding):
            nn.init.uniform_(table.weight, -0.1, 0.1)
            nn.init.zeros_(table.weight.data[pad_id])
        if config.tie_projection:
            self.projection.weight = self.target_embedding.weight

    def encode(self, source: Tensor, source_mask: Tensor) -> Memory:
        """Read the source (B, S); `final` holds each layer's last state, both directions side by side."""
        states, last = self.encoder(self.dropout(self.source_embedding(source)), source_mask)
        layers = self.config.n_layers
        final = tuple(part.unflatten(0, (layers, -1)).permute(2, 0, 1, 3).flatten(2) for part in last)
        return Memory(states, source_mask, final)  # final: (B, n_layers, d) each

    def start(self, memory: Memory, beam: int = 1) -> Seq2SeqCache:
        """The decoder before its first token, for `beam` hypotheses of each sentence."""
        state = tuple(
            torch.tanh(bridge(part)).repeat_interleave(beam, dim=0).transpose(0, 1).contiguous()
            for bridge, part in zip(self.bridge, memory.final, strict=True)
        )
        fed = memory.states.new_zeros(len(memory.states) * beam, 1, self.config.d_model)
        return Seq2SeqCache(memory, self.attention.prepare(memory), state, fed)

    def forward(self, batch: PairBatch) -> TranslatorOutput:
        """Teacher forcing over all target positions; hidden is h̃ (B, T, d)."""
        cache = self.start(self.encode(batch.source, batch.source_mask))
        x = self.dropout(self.target_embedding(batch.target_in))  # (B, T, d_embedding)
        if self.config.input_feeding:
            steps = [self.advance(y, cache) for y in x.split(1, dim=1)]
            hidden = torch.cat([h for h, _ in steps], dim=1)
            seen = [weights for _, weights in steps if weights is not None]
            weights = torch.cat(seen, dim=1) if seen else None
        else:
            hidden, weights = self.advance(x, cache)
        self.attention.show(weights)
        return TranslatorOutput(hidden)

    def advance(self, x: Tensor, cache: Seq2SeqCache) -> tuple[Tensor, Tensor | None]:
        """Read embedded tokens x (B·beam, T, d_embedding): h̃ (B·beam, T, d), and weights (B, beam·T, S)."""
        if self.config.input_feeding:
            x = torch.cat([x, cache.fed], dim=-1)
        h, cache.state = self.decoder(x, state=cache.state)
        grouped = h.reshape(len(cache.keys), -1, h.shape[-1])  # hypotheses of a sentence are positions to its memory
        hidden, weights = self.attention(grouped, cache.keys, cache.memory)
        hidden = self.dropout(hidden).view_as(h)
        cache.fed = hidden[:, -1:]
        return hidden, weights

    def step(self, tokens: Tensor, cache: Seq2SeqCache) -> Tensor:
        """Read one token of every hypothesis (B·beam,) and return h̃ (B·beam, d)."""
        hidden, weights = self.advance(self.dropout(self.target_embedding(tokens[:, None])), cache)
        self.attention.show(weights)
        return hidden.squeeze(1)

    def output_table(self) -> tuple[Tensor, Tensor]:
        """The vocabulary projection: weight (target_size, d) and bias (target_size,)."""
        return self.projection.weight, self.projection.bias

    def project(self, hidden: Tensor) -> Tensor:
        """Logits over the target vocabulary: (…, d) -> (…, target_size)."""
        return self.projection(hidden)
