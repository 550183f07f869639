"""What later decoders changed in GPT-2 (Touvron et al. 2023): rotary positions, RMS norms, gated units, shared keys."""

from __future__ import annotations

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from clew.config import Choice
from clew.inputs import Tokens
from clew.models.gpt2 import GPT2
from clew.models.layout import Layout
from clew.nn.attention import MultiHeadAttention, head_width
from clew.nn.dropout import Dropout
from clew.nn.embedding import Embedding
from clew.nn.feedforward import FeedForward
from clew.nn.layer import DECODER_PART, Layer
from clew.nn.linear import Linear


class LlamaConfig(Choice):
    """Sizes; n_groups keys and values are shared by n_heads queries."""

    kind: str = "llama"
    start: str = ""  # a run, or a folder or hub name that transformers loads: its sizes, vocabulary and weights
    d_model: int = Field(256, ge=2)
    d_ff: int = Field(688, ge=1)  # 8/3 d_model: three matrices of it are two of 4 d_model
    n_heads: int = Field(4, ge=1)
    n_groups: int = Field(4, ge=1)
    n_layers: int = Field(4, ge=1)
    max_length: int = Field(256, ge=1)
    dropout: float = Field(0.0, ge=0, lt=1)
    norm_eps: float = Field(1e-5, gt=0)
    rotary_base: float = Field(10000.0, gt=1)
    tied: bool = True  # the table of the logits is that of the embeddings

    @model_validator(mode="after")
    def heads_fit(self) -> LlamaConfig:
        if head_width(self.d_model, self.n_heads) % 2:
            raise ValueError(f"rotary positions turn pairs; d_model / n_heads = {self.d_model // self.n_heads} is odd")
        if self.n_heads % self.n_groups:
            raise ValueError(f"n_heads {self.n_heads} is not a multiple of n_groups {self.n_groups}")
        return self


LAYOUT = Layout(
    model_type="llama",
    prefix="model.",
    names={
        "token": "embed_tokens", "norm": "norm", "layers.{}.attention_norm": "layers.{}.input_layernorm",
        "layers.{}.attention.query": "layers.{}.self_attn.q_proj",
        "layers.{}.attention.key": "layers.{}.self_attn.k_proj",
        "layers.{}.attention.value": "layers.{}.self_attn.v_proj",
        "layers.{}.attention.output": "layers.{}.self_attn.o_proj",
        "layers.{}.feedforward_norm": "layers.{}.post_attention_layernorm",
        "layers.{}.feedforward.gate": "layers.{}.mlp.gate_proj",
        "layers.{}.feedforward.inner": "layers.{}.mlp.up_proj",
        "layers.{}.feedforward.outer": "layers.{}.mlp.down_proj",
    },
    heads={"LlamaForCausalLM": ("language_model", {"output": "lm_head"})},
    settings={
        "d_model": "hidden_size", "d_ff": "intermediate_size", "n_heads": "num_attention_heads",
        "n_groups": "num_key_value_heads", "n_layers": "num_hidden_layers", "norm_eps": "rms_norm_eps",
        "max_length": "max_position_embeddings", "tied": "tie_word_embeddings",
    },
    defaults={
        "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008, "num_attention_heads": 32,
        "num_hidden_layers": 32, "rms_norm_eps": 1e-6, "max_position_embeddings": 2048, "tie_word_embeddings": False,
    },
    fixed={"model_type": "llama", "hidden_act": "silu", "attention_bias": False, "mlp_bias": False},
    tied={"lm_head.weight": "model.embed_tokens.weight"},
    buffers=r".*\.rotary_emb\.inv_freq",
)  # fmt: skip


class GroupedAttention(MultiHeadAttention):
    """Attention with one key and value for a group of queries (Ainslie et al. 2023), turned, without biases."""

    def __init__(self, config: LlamaConfig) -> None:
        d, heads = config.d_model, config.n_heads
        super().__init__(d, heads, dropout=config.dropout, rotary=True, base=config.rotary_base)
        self.query, self.output = Linear(d, d, bias=False), Linear(d, d, bias=False)
        self.key, self.value = (Linear(d, config.n_groups * self.d_head, bias=False) for _ in range(2))

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        k, v = (each.repeat_interleave(self.n_heads // each.shape[1], dim=1) for each in (k, v))
        return super().attend(q, k, v, mask, causal)


class LlamaLayer(Layer):
    """x + attention(norm(x)), then x + SwiGLU(norm(x)): (batch, time, d_model) -> the same."""

    attentions = (DECODER_PART,)

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(config.d_model, config.norm_eps)
        self.attention = GroupedAttention(config)
        self.feedforward_norm = nn.RMSNorm(config.d_model, config.norm_eps)
        self.feedforward = FeedForward(config.d_model, config.d_ff, activation="silu", gated=True, bias=False)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor, mask: Tensor | None, past: Tensor | None) -> Tensor:
        x = self.dropout(self.attention.causal(self.attention_norm(x), mask, past), residual=x)
        return self.dropout(self.feedforward(self.feedforward_norm(x)), residual=x)


class Llama(GPT2):
    """GPT-2 with other layers; positions are in attention alone, where only their differences matter."""

    Config = LlamaConfig
    layout = LAYOUT
    engine = "writes"
    config: LlamaConfig

    def __init__(self, config: LlamaConfig, spec: Tokens) -> None:
        nn.Module.__init__(self)
        self.config = config
        self.token = Embedding(spec.vocab_size, config.d_model)
        self.dropout = Dropout(config.dropout)
        self.layers = nn.ModuleList(LlamaLayer(config) for _ in range(config.n_layers))
        self.norm = nn.RMSNorm(config.d_model, config.norm_eps)  # type: ignore[assignment]
        self.output = None if config.tied else Linear(config.d_model, spec.vocab_size, bias=False)
        self.register_buffer("no_bias", torch.zeros(spec.vocab_size), persistent=False)
        self.initialise()

    def embed(self, text: Tensor, position: Tensor) -> Tensor:
        return self.dropout(self.token(text))

    def logits(self, hidden: Tensor) -> Tensor:
        return hidden @ self.output_table()[0].t()

    def output_table(self) -> tuple[Tensor, Tensor]:
        """Weight (V, d) and bias (V,), zero, of the logits."""
        return self.token.weight if self.output is None else self.output.weight, self.no_bias

    @property
    def n_kept(self) -> int:
        return self.config.n_groups
