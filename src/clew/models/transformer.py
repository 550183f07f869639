"""The Transformer (Vaswani et al. 2017): encoder, decoder, and the translator made of both."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from clew.batches import PairBatch
from clew.config import Choice
from clew.inputs import TokenPair
from clew.models.translator import Memory, Translator, TranslatorOutput, check_sharing, one_table
from clew.nn.attention import MultiHeadAttention, head_width
from clew.nn.attention_engine import KeyValues
from clew.nn.dropout import Dropout
from clew.nn.embedding import Embedding, EmbeddingConfig
from clew.nn.feedforward import FeedForward
from clew.nn.layer import Layer, Part
from clew.nn.positions import make_positions


class TransformerConfig(Choice):
    """Sizes and choices; the defaults suit a laptop (the paper's base: 512, 2048, 8 heads, 6 + 6 layers)."""

    kind: str = "transformer"
    d_model: int = Field(256, ge=2)
    d_ff: int = Field(1024, ge=1)
    n_heads: int = Field(4, ge=1)
    n_encoder_layers: int = Field(3, ge=1)
    n_decoder_layers: int = Field(3, ge=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    attention_dropout: float = Field(0.0, ge=0, lt=1)
    activation: Literal["relu", "gelu", "silu"] = "relu"
    norm: Literal["pre", "post"] = "pre"
    positions: Literal["sinusoidal", "learned", "rotary", "none"] = "sinusoidal"
    max_length: int = Field(512, ge=1)
    share_embeddings: bool = True  # one table for source, target and the projection (needs a joint vocabulary)
    source_embedding: EmbeddingConfig = EmbeddingConfig()
    target_embedding: EmbeddingConfig = EmbeddingConfig()

    @model_validator(mode="after")
    def heads_fit(self) -> TransformerConfig:
        width = head_width(self.d_model, self.n_heads)
        if self.positions == "rotary" and width % 2:
            raise ValueError(f"rotary positions turn pairs; d_model / n_heads = {width} is odd")
        if self.share_embeddings:
            one_table(self.target_embedding)
        return self


class Residual(nn.Module):
    """x + dropout(f(norm(x))) (pre-norm) or norm(x + dropout(f(x))) (post-norm, the paper's)."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.d_model)
        self.dropout = Dropout(config.dropout)
        self.pre = config.norm == "pre"

    def before(self, x: Tensor) -> Tensor:
        return self.norm(x) if self.pre else x

    def after(self, x: Tensor, fx: Tensor) -> Tensor:
        x = self.dropout(fx, residual=x)
        return x if self.pre else self.norm(x)


SELF_PART = Part("self_attention", "around_self.norm", "decoder")
CROSS_PART = Part("cross_attention", "around_cross.norm", "cross")
FEEDFORWARD_PART = Part("feedforward", "around_feedforward.norm")


def make_attention(config: TransformerConfig, rotary: bool) -> MultiHeadAttention:
    return MultiHeadAttention(config.d_model, config.n_heads, dropout=config.attention_dropout, rotary=rotary)


def make_feedforward(config: TransformerConfig) -> FeedForward:
    return FeedForward(config.d_model, config.d_ff, activation=config.activation, dropout=config.dropout)


class EncoderLayer(Layer):
    """Self-attention, then feed-forward, each within a residual connection."""

    attentions = (Part("attention", "around_attention.norm", "encoder"),)
    feedforward_part = FEEDFORWARD_PART

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.attention = make_attention(config, config.positions == "rotary")
        self.feedforward = make_feedforward(config)
        self.around_attention, self.around_feedforward = Residual(config), Residual(config)
        self.pre = config.norm == "pre"

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        y = self.around_attention.before(x)
        x = self.around_attention.after(x, self.attention(y, y, mask))
        return self.around_feedforward.after(x, self.feedforward(self.around_feedforward.before(x)))


class DecoderLayer(Layer):
    """Causal self-attention, attention to the encoder's memory, feed-forward, each within a residual connection."""

    attentions = SELF_PART, CROSS_PART
    feedforward_part = FEEDFORWARD_PART

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.self_attention = make_attention(config, config.positions == "rotary")
        self.cross_attention = make_attention(config, False)
        self.feedforward = make_feedforward(config)
        self.around_self, self.around_cross = Residual(config), Residual(config)
        self.around_feedforward = Residual(config)
        self.pre = config.norm == "pre"

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        y = self.around_self.before(x)
        x = self.around_self.after(x, self.self_attention(y, y, causal=True))
        x = self.around_cross.after(x, self.cross_attention(self.around_cross.before(x), memory, mask))
        return self.around_feedforward.after(x, self.feedforward(self.around_feedforward.before(x)))

    def step(self, x: Tensor, past: KeyValues, memory: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
        """One new position (B·beam, 1, d_model), with the past and the projected memory from the cache."""
        x = self.around_self.after(x, self.self_attention.step(self.around_self.before(x), past))
        x = self.around_cross.after(x, self.cross_attention.look(self.around_cross.before(x), *memory, mask))
        return self.around_feedforward.after(x, self.feedforward(self.around_feedforward.before(x)))


class Stack(nn.Module):
    """Layers one after another, with the final norm that pre-norm needs."""

    def __init__(self, layers: list[nn.Module], config: TransformerConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(config.d_model) if config.norm == "pre" else nn.Identity()

    def forward(self, x: Tensor, *context: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x, *context)
        return self.norm(x)


@dataclass
class TransformerCache:
    """What decoding keeps: per layer the past (B·beam rows) and the projected memory (B sentences)."""

    past: list[KeyValues]
    memory: list[tuple[Tensor, Tensor]]
    mask: Tensor  # (B, 1, 1, S)

    @property
    def length(self) -> int:
        return self.past[0].length

    def reorder(self, rows: Tensor) -> None:
        """Move hypotheses (B·beam,) within their sentences."""
        for layer in self.past:
            layer.select(rows)

    def keep(self, sentences: Tensor, rows: Tensor) -> None:
        """Drop finished sentences: keep these sentences (n,) and their hypotheses' rows (n·beam,)."""
        self.reorder(rows)
        self.memory = [(k.index_select(0, sentences), v.index_select(0, sentences)) for k, v in self.memory]
        self.mask = self.mask.index_select(0, sentences)


class Transformer(Translator):
    """Encoder–decoder with shared embeddings (Vaswani et al. 2017, fig. 1 and §3.4).

    Departs from the paper where the config says so: pre-norm is the default, since it trains without care.
    """

    Config = TransformerConfig
    exports = frozenset({"ctranslate2"})
    target_attention = "decoder.layers.*.cross_attention.weights"

    def __init__(self, config: TransformerConfig, spec: TokenPair) -> None:
        super().__init__()
        source_size, target_size, pad_id = spec.source.vocab_size, spec.target.vocab_size, spec.target.pad_id
        if config.share_embeddings:
            check_sharing(spec)
        self.config = config
        frozen = config.source_embedding.frozen, config.target_embedding.frozen
        self.source_embedding = Embedding(source_size, config.d_model, padding_idx=pad_id, frozen=frozen[0])
        self.target_embedding = self.source_embedding
        if not config.share_embeddings:
            self.target_embedding = Embedding(target_size, config.d_model, padding_idx=pad_id, frozen=frozen[1])
        self.positions = make_positions(config.positions, config.d_model, config.max_length)
        self.dropout = Dropout(config.dropout)
        self.encoder = Stack([EncoderLayer(config) for _ in range(config.n_encoder_layers)], config)
        self.decoder = Stack([DecoderLayer(config) for _ in range(config.n_decoder_layers)], config)
        self.bias = nn.Parameter(torch.zeros(target_size))
        self.apply(self.initialise)

    def initialise(self, module: nn.Module) -> None:
        """Xavier-uniform matrices; embeddings of variance 1/d, so that √d · embedding has unit variance."""
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.d_model**-0.5)
            with torch.no_grad():
                module.weight[module.padding_idx].zero_()

    def embed(self, table: Embedding, ids: Tensor, start: int = 0) -> Tensor:
        return self.dropout(self.positions(table(ids) * math.sqrt(self.config.d_model), start))  # (B, T, d_model)

    def encode(self, source: Tensor, source_mask: Tensor) -> Memory:
        states = self.encoder(self.embed(self.source_embedding, source), source_mask[:, None, None, :])
        return Memory(states, source_mask)

    def forward(self, batch: PairBatch) -> TranslatorOutput:
        """All target positions at once, each seeing those before it."""
        memory = self.encode(batch.source, batch.source_mask)
        x = self.embed(self.target_embedding, batch.target_in)
        return TranslatorOutput(self.decoder(x, memory.states, memory.mask[:, None, None, :]))

    @property
    def max_length(self) -> int:
        return int(self.config.max_length)

    def blocks(self) -> list[nn.Module]:
        tables = nn.ModuleList([self.source_embedding, self.target_embedding])
        return [tables, *self.encoder.layers, *self.decoder.layers]

    def output_table(self) -> tuple[Tensor, Tensor]:
        """Weight (V, D) and bias (V,) of the projection: the embedding table read backwards (§3.4)."""
        return self.target_embedding.weight, self.bias

    def project(self, hidden: Tensor) -> Tensor:
        """Logits over the target vocabulary, (…, V)."""
        return F.linear(hidden, *self.output_table())

    def start(self, memory: Memory, beam: int = 1) -> TransformerCache:
        """An empty past; the memory is projected once per sentence, whatever the beam."""
        past = [KeyValues() for _ in self.decoder.layers]
        projected = [layer.cross_attention.keys_values(memory.states) for layer in self.decoder.layers]
        return TransformerCache(past, projected, memory.mask[:, None, None, :])

    def step(self, tokens: Tensor, cache: TransformerCache) -> Tensor:
        """The next position of every hypothesis: tokens (B·beam,) -> hidden (B·beam, d_model)."""
        x = self.embed(self.target_embedding, tokens[:, None], cache.length)
        for layer, past, memory in zip(self.decoder.layers, cache.past, cache.memory, strict=True):
            x = layer.step(x, past, memory, cache.mask)
        return self.decoder.norm(x).squeeze(1)
