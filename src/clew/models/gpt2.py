"""GPT-2 (Radford et al. 2019): a Transformer decoder that reads from left to right and guesses the next token."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from clew.config import Choice
from clew.contracts import Head, Model
from clew.inputs import Tokens
from clew.models.heads import LastState
from clew.models.layout import Layout
from clew.nn.attention import MultiHeadAttention, head_width
from clew.nn.causal import Cache, places
from clew.nn.dropout import Dropout
from clew.nn.embedding import Embedding
from clew.nn.feedforward import FeedForward
from clew.nn.layer import DECODER_PART, Layer

# Published sizes (Radford et al. 2019, table 2).
SIZES = {
    name: {"n_layers": n, "d_model": d, "n_heads": d // 64, "max_length": 1024}
    for name, n, d in [("small", 12, 768), ("medium", 24, 1024), ("large", 36, 1280), ("xl", 48, 1600)]
}


class GPT2Config(Choice):
    """Sizes; a published `size` sets those that are not set themselves."""

    kind: str = "gpt2"
    size: Literal["", "small", "medium", "large", "xl"] = ""
    start: str = ""  # a run, or a folder or hub name that transformers loads: its sizes, vocabulary and weights
    d_model: int = Field(256, ge=2)
    n_heads: int = Field(4, ge=1)
    n_layers: int = Field(4, ge=1)
    max_length: int = Field(256, ge=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    norm_eps: float = Field(1e-5, gt=0)

    @classmethod
    def published(cls) -> dict[str, dict[str, Any]]:
        return SIZES

    @model_validator(mode="before")
    @classmethod
    def of_size(cls, values: Any) -> Any:
        return {**SIZES.get(str(values.get("size")), {}), **values} if isinstance(values, dict) else values

    @model_validator(mode="after")
    def heads_fit(self) -> GPT2Config:
        head_width(self.d_model, self.n_heads)
        return self


LAYOUT = Layout(
    model_type="gpt2",
    prefix="transformer.",
    names={
        "token": "wte", "position": "wpe", "norm": "ln_f", "layers.{}.attention_norm": "h.{}.ln_1",
        "layers.{}.attention.query": "h.{}.attn.c_attn", "layers.{}.attention.key": "h.{}.attn.c_attn",
        "layers.{}.attention.value": "h.{}.attn.c_attn",
        "layers.{}.attention.output": "h.{}.attn.c_proj", "layers.{}.feedforward_norm": "h.{}.ln_2",
        "layers.{}.feedforward.inner": "h.{}.mlp.c_fc", "layers.{}.feedforward.outer": "h.{}.mlp.c_proj",
    },
    heads={"GPT2LMHeadModel": ("language_model", {})},
    settings={
        "d_model": "n_embd", "n_heads": "n_head", "n_layers": "n_layer", "max_length": "n_positions",
        "dropout": "resid_pdrop", "norm_eps": "layer_norm_epsilon",
    },
    defaults={
        "vocab_size": 50257, "n_embd": 768, "n_head": 12, "n_layer": 12, "n_positions": 1024, "resid_pdrop": 0.1,
        "layer_norm_epsilon": 1e-5,
    },
    fixed={
        "model_type": "gpt2", "activation_function": "gelu_new", "n_inner": None, "tie_word_embeddings": True,
        "scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False, "add_cross_attention": False,
    },
    tied={"lm_head.weight": "transformer.wte.weight"},
    buffers=r"transformer\.h\.\d+\.attn\.(masked_)?bias",
    transposed=r"transformer\.h\..*",
)  # fmt: skip


@dataclass
class DecoderOutput:
    """hidden: (batch, time, d_model), of which `output_table` makes the logits of the next token."""

    hidden: Tensor


class GPT2Layer(Layer):
    """x + attention(norm(x)), then x + FFN(norm(x)), GELU by its tanh approximation: (batch, time, d) -> the same."""

    attentions = (DECODER_PART,)

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        d = config.d_model
        self.attention_norm = nn.LayerNorm(d, config.norm_eps)
        self.attention = MultiHeadAttention(d, config.n_heads, dropout=config.dropout)
        self.feedforward_norm = nn.LayerNorm(d, config.norm_eps)
        self.feedforward = FeedForward(d, 4 * d, activation="gelu_tanh")
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor, mask: Tensor | None, past: Tensor | None) -> Tensor:
        x = self.dropout(self.attention.causal(self.attention_norm(x), mask, past), residual=x)
        return self.dropout(self.feedforward(self.feedforward_norm(x)), residual=x)


class GPT2(Model):
    """h = norm(layers(E_token + E_position)); P(next) = softmax(h E_tokenᵀ) (Radford et al. 2018, eq. 2; 2019, §2.3).

    `logits` applies the table, which is tied to the embeddings.
    """

    Config: type[Choice] = GPT2Config
    heads = frozenset({"language_model"})
    adapter = "clew.hub.decoders:DecoderAdapter"
    engine = "writes"
    layout = LAYOUT
    no_bias: Tensor

    def __init__(self, config: GPT2Config, spec: Tokens) -> None:
        super().__init__()
        self.config = config
        self.token = Embedding(spec.vocab_size, config.d_model)
        self.position = Embedding(config.max_length, config.d_model, name="position")
        self.dropout = Dropout(config.dropout)
        self.layers = nn.ModuleList(GPT2Layer(config) for _ in range(config.n_layers))
        self.norm = nn.LayerNorm(config.d_model, config.norm_eps)
        self.register_buffer("no_bias", torch.zeros(spec.vocab_size), persistent=False)
        self.initialise()

    def forward(self, text: Tensor, position: Tensor | None = None, cache: Cache | None = None) -> DecoderOutput:
        """text: (batch, time) ids. position: (batch, time), where it does not count up from 0 in every row (`Block`).

        With a cache the text goes on from what is in it, and is added to it. Padding on the right does no harm.
        """
        position, mask = places(text, position, cache)
        x = self.embed(text, position)
        pasts = [None] * len(self.layers) if cache is None else cache.advance(text.shape[1])
        for layer, past in zip(self.layers, pasts, strict=True):
            x = layer(x, mask, past)
        return DecoderOutput(self.norm(x))

    def embed(self, text: Tensor, position: Tensor) -> Tensor:
        """(batch, time) -> (batch, time, d_model)."""
        return self.dropout(self.token(text) + self.position(position))

    def logits(self, hidden: Tensor) -> Tensor:
        """(…, d_model) -> (…, V)."""
        return hidden @ self.token.weight.t()

    def output_table(self) -> tuple[Tensor, Tensor]:
        """Weight (V, d), tied to the token embeddings, and bias (V,), zero, of the logits."""
        return self.token.weight, self.no_bias

    def cache(self, rows: int, room: int, *, ragged: bool = False) -> Cache:
        """An empty cache for so many rows and positions; ragged: they will be padded on the left."""
        like, width = self.token.weight, self.config.d_model // self.config.n_heads
        past = like.detach().new_empty(len(self.layers), 2, rows, self.n_kept, room, width)
        return Cache(past, torch.zeros(rows, room, dtype=torch.long, device=like.device) if ragged else None)

    @property
    def max_length(self) -> int:
        return int(self.config.max_length)

    def blocks(self) -> list[nn.Module]:
        tables = [part for part in self.children() if isinstance(part, Embedding)]
        return [nn.ModuleList(tables), *self.layers, self.norm]

    def token_table(self) -> Tensor:
        return self.token.weight

    @classmethod
    def with_head(cls, head: Head, config: Any, spec: Any, n_outputs: int) -> Model:
        if head == "classify":
            return LastState(cls(config, spec), n_outputs)
        return super().with_head(head, config, spec, n_outputs)

    @property
    def n_kept(self) -> int:
        """Heads whose keys and values are kept."""
        return self.config.n_heads

    def initialise(self) -> None:
        """Weights from N(0, σ²), σ = 0.02 √(768 / d_model), and σ / √(2 n_layers) where a layer adds to x (§2.3).

        At the published width 768 this is the published 0.02.
        """
        std = 0.02 * math.sqrt(768 / self.config.d_model)
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                adds = name.endswith(("attention.output", "feedforward.outer"))
                nn.init.normal_(module.weight, std=std / math.sqrt(2 * len(self.layers)) if adds else std)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
