"""T5 (Raffel et al. 2020): a Transformer from text to text whose attention adds a bias for each distance."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from clew.batches import PairBatch
from clew.config import Choice
from clew.inputs import TokenPair
from clew.models.layout import Layout
from clew.models.transformer import TransformerCache
from clew.models.translator import Memory, Translator, TranslatorOutput, check_sharing
from clew.nn.attention import Dot, MultiHeadAttention
from clew.nn.attention_engine import KeyValues
from clew.nn.dropout import Dropout
from clew.nn.embedding import Embedding
from clew.nn.feedforward import FeedForward
from clew.nn.layer import CROSS_PART, DECODER_PART, ENCODER_PART, Layer
from clew.nn.linear import Linear
from clew.nn.taps import Tap

V1_1: dict[str, Any] = {"activation": "gated_gelu", "share_output": False}
# Published sizes: d_model, d_kv, d_ff, n_heads, layers of each stack.
SIZES: dict[str, dict[str, Any]] = {
    name: {"d_model": d, "d_kv": kv, "d_ff": ff, "n_heads": h, "n_encoder_layers": n, "n_decoder_layers": n, **more}
    for name, d, kv, ff, h, n, more in [
        ("small", 512, 64, 2048, 8, 6, {}), ("base", 768, 64, 3072, 12, 12, {}), ("large", 1024, 64, 4096, 16, 24, {}),
        ("v1.1-small", 512, 64, 1024, 6, 8, V1_1), ("v1.1-base", 768, 64, 2048, 12, 12, V1_1),
        ("v1.1-large", 1024, 64, 2816, 16, 24, V1_1),
    ]
}  # fmt: skip


class T5Config(Choice):
    """Sizes; a published `size` sets those that are not set themselves. The defaults suit a laptop."""

    kind: str = "t5"
    size: Literal["", "small", "base", "large", "v1.1-small", "v1.1-base", "v1.1-large"] = ""
    start: str = ""  # a run of a T5, whose sizes, vocabulary and weights are taken
    d_model: int = Field(256, ge=2)
    d_kv: int = Field(64, ge=1)  # of each head: n_heads · d_kv need not be d_model
    d_ff: int = Field(1024, ge=1)
    n_heads: int = Field(4, ge=1)
    n_encoder_layers: int = Field(3, ge=1)
    n_decoder_layers: int = Field(3, ge=1)
    activation: Literal["relu", "gated_gelu"] = "relu"  # as in version 1.0 and in 1.1
    share_output: bool = True  # the output reads the embedding backwards (1.0), or has a table of its own (1.1)
    buckets: int = Field(32, ge=4)
    max_distance: int = Field(128, ge=2)
    dropout: float = Field(0.1, ge=0, lt=1)
    norm_eps: float = Field(1e-6, gt=0)

    @classmethod
    def published(cls) -> dict[str, dict[str, Any]]:
        return SIZES

    @model_validator(mode="before")
    @classmethod
    def of_size(cls, values: Any) -> Any:
        return {**SIZES.get(str(values.get("size")), {}), **values} if isinstance(values, dict) else values

    @model_validator(mode="after")
    def distances_fit(self) -> T5Config:
        if self.buckets % 4 or self.max_distance <= self.buckets // 2:
            raise ValueError("buckets must be a multiple of 4, and max_distance over half of them")
        return self


# A layer's modules, ours → theirs, in an encoder and, where the feed-forward comes third, in a decoder.
ATTENTION = {"query": "q", "key": "k", "value": "v", "output": "o"}
BOTH = {"attention_norm": "layer.0.layer_norm"} | {
    f"attention.{a}": f"layer.0.SelfAttention.{b}" for a, b in ATTENTION.items()
}
CROSS = {"cross_norm": "layer.1.layer_norm"} | {
    f"cross_attention.{a}": f"layer.1.EncDecAttention.{b}" for a, b in ATTENTION.items()
}
INNER = {"gate": "wi_0", "outer": "wo"}  # and `inner`: wi, or wi_1 beside a gate


def names_of(stack: str, layer: dict[str, str], feedforward: str) -> dict[str, str]:
    """Return the names of an encoder or a decoder."""
    inner = {f"feedforward.{a}": f"{feedforward}.DenseReluDense.{b}" for a, b in INNER.items()}
    layer = layer | inner | {"feedforward_norm": f"{feedforward}.layer_norm"}
    found = {f"{stack}.layers.{{}}.{a}": f"{stack}.block.{{}}.{b}" for a, b in layer.items()}
    found[f"{stack}.positions.bias"] = f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias"
    return found | {f"{stack}.norm": f"{stack}.final_layer_norm"}


LAYOUT = Layout(
    model_type="t5",
    prefix="",
    names={
        "embedding": "shared", "output": "lm_head", **names_of("encoder", BOTH, "layer.1"),
        **names_of("decoder", BOTH | CROSS, "layer.2"),
    },
    heads={"T5ForConditionalGeneration": ("translate", {})},
    settings={
        "d_model": "d_model", "d_kv": "d_kv", "d_ff": "d_ff", "n_heads": "num_heads",
        "n_encoder_layers": "num_layers", "n_decoder_layers": "num_decoder_layers",
        "buckets": "relative_attention_num_buckets", "max_distance": "relative_attention_max_distance",
        "dropout": "dropout_rate", "norm_eps": "layer_norm_epsilon",
    },
    defaults={
        "vocab_size": 32128, "d_model": 512, "d_kv": 64, "d_ff": 2048, "num_heads": 8, "num_layers": 6,
        "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128, "dropout_rate": 0.1,
        "layer_norm_epsilon": 1e-6,
    },
    fixed={"model_type": "t5"},
    tied={
        "encoder.embed_tokens.weight": "shared.weight", "decoder.embed_tokens.weight": "shared.weight",
        "lm_head.weight": "shared.weight",
    },
    buffers=r"decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight",  # in published files
)  # fmt: skip


def bucket(distance: Tensor, n: int, max_distance: int, causal: bool) -> Tensor:
    """Which of n biases a distance (key minus query) has: near ones one each, farther ones by logarithm (§2.1).

    Looking both ways, half of the buckets is for keys that follow. Of those of one direction, half is for the distances
    below n/2, one each; the others part the logarithm up to `max_distance`, beyond which all share the last.
    """
    first = torch.zeros_like(distance)
    if not causal:
        n //= 2
        first = (distance > 0) * n
    distance = (-distance).clamp(min=0) if causal else distance.abs()
    exact = n // 2
    ratio = (distance.clamp(min=1).float() / exact).log() / math.log(max_distance / exact)
    far = (exact + (ratio * (n - exact)).long()).clamp(max=n - 1)
    return first + torch.where(distance < exact, distance, far)


class RelativePositions(nn.Module):
    """b[head, bucket(key - query)], which all layers of a stack add to their scores (§2.1)."""

    def __init__(self, config: T5Config, causal: bool) -> None:
        super().__init__()
        self.config, self.causal = config, causal
        self.bias = nn.Embedding(config.buckets, config.n_heads)

    def forward(self, keys: int, first: int = 0) -> Tensor:
        """Of the queries from place `first` to the last of so many keys: (1, heads, queries, keys)."""
        key = torch.arange(keys, device=self.bias.weight.device)
        distance = key - key[first:, None]  # (queries, keys)
        found = bucket(distance, self.config.buckets, self.config.max_distance, self.causal)
        bias = self.bias(found).permute(2, 0, 1)[None]
        return bias.masked_fill(distance > 0, -torch.inf) if self.causal else bias


def additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """mask (batch, source), True = may attend, as what is added to scores: (batch, 1, 1, source), 0 or -inf."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, -torch.inf)[:, None, None]


class T5Attention(MultiHeadAttention):
    """Concat(head_i) W_o, head_i = softmax(q kᵀ + bias) v: as `MultiHeadAttention`, but for three things.

    The scores are not divided by √d_kv, for which the beginning of the weights makes up; a bias (…, T, S) is added to
    them as the mask, which says what may be attended to as well (-inf: may not); and no projection has a bias.
    """

    def __init__(self, config: T5Config) -> None:
        nn.Module.__init__(self)
        self.n_heads, self.d_head, self.dropout = config.n_heads, config.d_kv, config.dropout
        self.rotary, self.base = False, 0.0
        inner = config.n_heads * config.d_kv
        self.query, self.key, self.value = (Linear(config.d_model, inner, bias=False) for _ in range(3))
        self.output = Linear(inner, config.d_model, bias=False)
        self.score, self.weights = Dot(), Tap()


class T5Layer(Layer):
    """x + dropout(f(norm(x))) for self-attention, in a decoder attention to the memory, and feed-forward.

    norm(x) = g x / √(mean(x²) + ε): neither mean nor bias (Zhang and Sennrich 2019, eq. 4). The feed-forward is
    W_o relu(W_i x), or W_o (gelu(W_g x) ⊙ W_i x) in version 1.1.
    """

    def __init__(self, config: T5Config, decoder: bool) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(config.d_model, config.norm_eps)
        self.attention = T5Attention(config)
        self.cross_norm = nn.RMSNorm(config.d_model, config.norm_eps) if decoder else None
        self.cross_attention = T5Attention(config) if decoder else None
        self.feedforward_norm = nn.RMSNorm(config.d_model, config.norm_eps)
        gated = config.activation == "gated_gelu"
        self.feedforward = FeedForward(
            config.d_model, config.d_ff, activation="gelu_tanh" if gated else "relu", dropout=config.dropout,
            gated=gated, bias=False,
        )  # fmt: skip
        self.dropout = Dropout(config.dropout)
        self.attentions = (DECODER_PART, CROSS_PART) if decoder else (ENCODER_PART,)

    def forward(self, x: Tensor, bias: Tensor, memory: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """memory (B, S, d), and mask (B, 1, 1, S), 0 or -inf, are the encoder's, for a decoder."""
        y = self.attention_norm(x)
        x = self.dropout(self.attention(y, y, bias), residual=x)
        if self.cross_attention is not None and self.cross_norm is not None and memory is not None:
            x = self.dropout(self.cross_attention(self.cross_norm(x), memory, mask), residual=x)
        return self.dropout(self.feedforward(self.feedforward_norm(x)), residual=x)

    def step(self, x: Tensor, bias: Tensor, past: KeyValues, memory: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
        """One new position (B·beam, 1, d) of a decoder, with the past and the projected memory from the cache."""
        x = x + self.attention.step(self.attention_norm(x), past, bias)
        assert self.cross_attention is not None and self.cross_norm is not None
        x = x + self.cross_attention.look(self.cross_norm(x), *memory, mask)
        return x + self.feedforward(self.feedforward_norm(x))


class T5Stack(nn.Module):
    """Layers, the biases of distances that they share, and the norm after the last."""

    def __init__(self, config: T5Config, n_layers: int, decoder: bool) -> None:
        super().__init__()
        self.positions = RelativePositions(config, causal=decoder)
        self.layers = nn.ModuleList(T5Layer(config, decoder) for _ in range(n_layers))
        self.norm = nn.RMSNorm(config.d_model, config.norm_eps)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor, bias: Tensor, *memory: Tensor) -> Tensor:
        x = self.dropout(x)
        for layer in self.layers:
            x = layer(x, bias, *memory)
        return self.dropout(self.norm(x))


class T5(Translator):
    """Encoder and decoder of one vocabulary (Raffel et al. 2020, §2.1, §3.1.1): a `Translator`.

    Version 1.0 shares one table between both embeddings and the output, whose states are scaled by d_model^-½;
    version 1.1 gates its feed-forward by a GELU and has a table for the output alone.
    """

    Config = T5Config
    adapter = "clew.hub.t5:T5Adapter"
    layout = LAYOUT
    target_attention = "decoder.layers.*.cross_attention.weights"
    output_bias: Tensor

    def __init__(self, config: T5Config, spec: TokenPair) -> None:
        super().__init__()
        target_size = spec.target.vocab_size
        check_sharing(spec)
        self.config = config
        self.embedding = Embedding(target_size, config.d_model)
        self.encoder = T5Stack(config, config.n_encoder_layers, decoder=False)
        self.decoder = T5Stack(config, config.n_decoder_layers, decoder=True)
        self.output = None if config.share_output else Linear(config.d_model, target_size, bias=False)
        self.scale = config.d_model**-0.5 if config.share_output else 1.0
        self.register_buffer("output_bias", torch.zeros(target_size), persistent=False)
        self.initialise()

    def initialise(self) -> None:
        """Matrices from N(0, 1/inputs), queries 1/√d_kv narrower, which replaces the division of scores by √d_kv."""
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear):
                std = module.in_features**-0.5
                nn.init.normal_(module.weight, std=std * self.config.d_kv**-0.5 if name.endswith("query") else std)
        nn.init.normal_(self.embedding.weight)
        for stack in (self.encoder, self.decoder):
            nn.init.normal_(stack.positions.bias.weight, std=self.config.d_model**-0.5)

    def encode(self, source: Tensor, source_mask: Tensor) -> Memory:
        x = self.embedding(source)
        bias = self.encoder.positions(source.shape[1]) + additive(source_mask, x.dtype)
        return Memory(self.encoder(x, bias), source_mask)

    def forward(self, batch: PairBatch) -> TranslatorOutput:
        """All target positions at once, each seeing those before it."""
        memory, x = self.encode(batch.source, batch.source_mask), self.embedding(batch.target_in)
        bias = self.decoder.positions(x.shape[1])
        hidden = self.decoder(x, bias, memory.states, additive(memory.mask, x.dtype))
        return TranslatorOutput(hidden * self.scale)

    def blocks(self) -> list[nn.Module]:
        return [self.embedding, *self.encoder.layers, *self.decoder.layers]

    def token_table(self) -> Tensor:
        return self.embedding.weight

    def output_table(self) -> tuple[Tensor, Tensor]:
        """Weight (V, d) and bias (V,), zeros, of the projection onto the vocabulary."""
        return (self.embedding if self.output is None else self.output).weight, self.output_bias

    def project(self, hidden: Tensor) -> Tensor:
        """Logits over the vocabulary, (…, V)."""
        return F.linear(hidden, self.output_table()[0])

    def start(self, memory: Memory, beam: int = 1) -> TransformerCache:
        """An empty past; the memory is projected once per sentence, whatever the beam."""
        past = [KeyValues() for _ in self.decoder.layers]
        projected = [layer.cross_attention.keys_values(memory.states) for layer in self.decoder.layers]
        return TransformerCache(past, projected, additive(memory.mask, memory.states.dtype))

    def step(self, tokens: Tensor, cache: TransformerCache) -> Tensor:
        """The next position of every hypothesis: tokens (B·beam,) -> hidden (B·beam, d)."""
        x, at = self.embedding(tokens[:, None]), cache.length
        bias = self.decoder.positions(at + 1, at)  # (1, heads, 1, at + 1)
        for layer, past, memory in zip(self.decoder.layers, cache.past, cache.memory, strict=True):
            x = layer.step(x, bias, past, memory, cache.mask)
        return self.decoder.norm(x).squeeze(1) * self.scale
