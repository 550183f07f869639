"""BERT (Devlin et al. 2019): a Transformer encoder that reads both ways; its heads are in `heads.py`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from clew.batches import TextBatch
from clew.config import Choice
from clew.contracts import Encoder
from clew.inputs import Tokens
from clew.models.layout import Layout
from clew.nn.attention import MultiHeadAttention, head_width
from clew.nn.dropout import Dropout
from clew.nn.embedding import Embedding
from clew.nn.feedforward import FeedForward
from clew.nn.layer import ENCODER_PART, Layer
from clew.nn.packing import Packing, chosen

# Published sizes (Devlin et al. 2019, §3; Turc et al. 2019, table 1).
SIZES = {
    name: {"n_layers": n, "d_model": d, "d_ff": 4 * d, "n_heads": d // 64}
    for name, n, d in [("tiny", 2, 128), ("mini", 4, 256), ("small", 4, 512), ("base", 12, 768), ("large", 24, 1024)]
}
LOCAL_LAYERS, LOCAL_SCORE = 2, 12.0  # layers whose heads begin by looking at neighbours, and the score those get


class BertConfig(Choice):
    """Sizes; a published `size` sets those that are not set themselves. The defaults are those of "mini"."""

    kind: str = "bert"
    size: Literal["", "tiny", "mini", "small", "base", "large"] = ""
    start: str = ""  # a run, or a folder or hub name that transformers loads: its sizes, vocabulary and weights
    d_model: int = Field(256, ge=2)
    d_ff: int = Field(1024, ge=1)
    n_heads: int = Field(4, ge=1)
    n_layers: int = Field(4, ge=1)
    max_length: int = Field(512, ge=1)
    n_segments: int = Field(2, ge=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    attention_dropout: float = Field(0.1, ge=0, lt=1)
    norm_eps: float = Field(1e-12, gt=0)

    @classmethod
    def published(cls) -> dict[str, dict[str, Any]]:
        return SIZES

    @model_validator(mode="before")
    @classmethod
    def of_size(cls, values: Any) -> Any:
        return {**SIZES.get(str(values.get("size")), {}), **values} if isinstance(values, dict) else values

    @model_validator(mode="after")
    def heads_fit(self) -> BertConfig:
        head_width(self.d_model, self.n_heads)
        return self


LAYER, THEIR_LAYER = "layers.{}", "encoder.layer.{}"
POOLER = {"pooler.dense": "bert.pooler.dense"}
MASKED_LM = {
    "masked_lm": "cls.predictions",
    "masked_lm.dense": "cls.predictions.transform.dense",
    "masked_lm.norm": "cls.predictions.transform.LayerNorm",
}
LAYOUT = Layout(
    model_type="bert",
    prefix="bert.",
    names={
        "embeddings.token": "embeddings.word_embeddings",
        "embeddings.position": "embeddings.position_embeddings",
        "embeddings.segment": "embeddings.token_type_embeddings",
        "embeddings.norm": "embeddings.LayerNorm",
        f"{LAYER}.attention.query": f"{THEIR_LAYER}.attention.self.query",
        f"{LAYER}.attention.key": f"{THEIR_LAYER}.attention.self.key",
        f"{LAYER}.attention.value": f"{THEIR_LAYER}.attention.self.value",
        f"{LAYER}.attention.output": f"{THEIR_LAYER}.attention.output.dense",
        f"{LAYER}.attention_norm": f"{THEIR_LAYER}.attention.output.LayerNorm",
        f"{LAYER}.feedforward.inner": f"{THEIR_LAYER}.intermediate.dense",
        f"{LAYER}.feedforward.outer": f"{THEIR_LAYER}.output.dense",
        f"{LAYER}.feedforward_norm": f"{THEIR_LAYER}.output.LayerNorm",
    },
    heads={
        "BertModel": ("", POOLER),
        "BertForPreTraining": ("masked_lm", POOLER | MASKED_LM | {"next_sentence": "cls.seq_relationship"}),
        "BertForMaskedLM": ("masked_lm", MASKED_LM),
        "BertForSequenceClassification": ("classify", POOLER | {"output": "classifier"}),
        "BertForMultipleChoice": ("choose", POOLER | {"output": "classifier"}),
        "BertForTokenClassification": ("tag", {"output": "classifier"}),
        "BertForQuestionAnswering": ("answer", {"output": "qa_outputs"}),
    },
    settings={
        "d_model": "hidden_size", "d_ff": "intermediate_size", "n_heads": "num_attention_heads",
        "n_layers": "num_hidden_layers", "max_length": "max_position_embeddings", "n_segments": "type_vocab_size",
        "dropout": "hidden_dropout_prob", "attention_dropout": "attention_probs_dropout_prob",
        "norm_eps": "layer_norm_eps",
    },
    defaults={
        "vocab_size": 30522, "hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12,
        "num_hidden_layers": 12, "max_position_embeddings": 512, "type_vocab_size": 2, "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1, "layer_norm_eps": 1e-12,
    },
    fixed={
        "model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute",
        "tie_word_embeddings": True, "is_decoder": False, "add_cross_attention": False,
    },
    tied={
        "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    },
    buffers=r"bert\.embeddings\.(position_ids|token_type_ids)",
    spelling={"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"},
)  # fmt: skip


@dataclass
class EncoderOutput:
    """What an encoder returns. hidden: (tokens, d_model), the last states of the real tokens; packing: their places.

    Where an encoder was asked for some places, hidden is theirs, (n, d_model), and nothing else has a meaning.
    """

    hidden: Tensor
    packing: Packing

    @property
    def pooled(self) -> Tensor:
        """(batch, d_model): the state of each row's first token, [CLS]."""
        return self.hidden[self.packing.first]

    def sequence(self) -> Tensor:
        """Return the states in their places, 0 at padding: (batch, time, d_model)."""
        return self.packing.unpack(self.hidden)

    @property
    def mean(self) -> Tensor:
        """(batch, d_model): the mean of the states of each row's tokens, the vector of a sentence."""
        return self.packing.mean(self.hidden)


class Pooler(nn.Module):
    """tanh(W h_[CLS] + b): (batch, d) -> (batch, d)."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.dense = nn.Linear(d_model, d_model)

    def forward(self, first: Tensor) -> Tensor:
        return torch.tanh(self.dense(first))


class BertEmbeddings(nn.Module):
    """dropout(norm(E_token + E_position + E_segment)), all learned (§3, fig. 2): ids (tokens,) -> (tokens, d_model)."""

    def __init__(self, config: BertConfig, spec: Tokens) -> None:
        super().__init__()
        self.token = Embedding(spec.vocab_size, config.d_model, padding_idx=spec.pad_id)
        self.position = Embedding(config.max_length + self.first(spec), config.d_model, name="position")
        self.segment = Embedding(config.n_segments, config.d_model, name="segment")
        self.norm = nn.LayerNorm(config.d_model, config.norm_eps)
        self.dropout = Dropout(config.dropout)

    def first(self, spec: Tokens) -> int:
        """Return the row of the first position in the table."""
        return 0

    def forward(self, token: Tensor, position: Tensor, segment: Tensor) -> Tensor:
        return self.dropout(self.norm(self.token(token) + self.position(position) + self.segment(segment)))


class BertLayer(Layer):
    """Self-attention, then feed-forward with GELU, each as norm(x + dropout(f(x))): (tokens, d) -> (tokens, d)."""

    attentions, pre = (ENCODER_PART,), False

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(config.d_model, config.n_heads, dropout=config.attention_dropout)
        self.attention_norm = nn.LayerNorm(config.d_model, config.norm_eps)
        self.feedforward = FeedForward(config.d_model, config.d_ff, activation="gelu")
        self.feedforward_norm = nn.LayerNorm(config.d_model, config.norm_eps)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor, packing: Packing, only: Tensor | None = None) -> Tensor:
        """only: (n,) tokens whose states are wanted; then (n, d), and no work is done for others but to attend to."""
        context = self.attention.packed(x, packing, only)
        x = self.attention_norm(self.dropout(context, residual=chosen(x, only)))
        return self.feedforward_norm(self.dropout(self.feedforward(x), residual=x))


class Bert(Encoder):
    """Embeddings and N layers (§3, "Model Architecture"); every state sees the whole text.

    It reads a padded batch and works on its real tokens alone: see `Packing`.
    """

    Config: type[Choice] = BertConfig
    adapter = "clew.hub.bert:EncoderAdapter"
    exports = frozenset({"onnx", "sentence-transformers"})
    engine = "reads"
    layout = LAYOUT
    Embeddings: type[BertEmbeddings] = BertEmbeddings

    def __init__(self, config: BertConfig, spec: Tokens) -> None:
        super().__init__()
        self.config, self.width, self.head_dropout = config, config.d_model, config.dropout
        self.embeddings = self.Embeddings(config, spec)
        layers = [BertLayer(config) for _ in range(config.n_layers)]
        self.layers = nn.ModuleList(layers)
        initialise(self, config.d_model)
        frequencies = math.pi * torch.rand(config.d_model // 2)
        with torch.no_grad():
            table = self.embeddings.position.weight[self.embeddings.first(spec) :]
            table.copy_(waves(config.max_length, frequencies, config.d_model) * (table.std() * math.sqrt(2)))
        for layer in layers[:LOCAL_LAYERS]:
            look_at_neighbours(layer.attention, frequencies)

    def forward(self, batch: TextBatch, at: Tensor | None = None) -> EncoderOutput:
        """at: (n,) places among the batch · time ones; then hidden is (n, d_model), of these tokens alone."""
        return self.read(batch, Packing(batch.mask), at)

    def pooled(self, batch: TextBatch) -> Tensor:
        return self(batch, first_places(batch)).hidden

    def pooler(self) -> nn.Module:
        return Pooler(self.width)

    @property
    def max_length(self) -> int:
        return int(self.config.max_length)

    def blocks(self) -> list[nn.Module]:
        return [self.embeddings, *self.layers]

    def token_table(self) -> Tensor:
        return self.embeddings.token.weight

    def read(self, batch: TextBatch, packing: Packing, at: Tensor | None = None) -> EncoderOutput:
        x = self.embeddings(packing.pack(batch.text), packing.position, packing.pack(batch.segment))
        only = None if at is None else packing.token[at]
        last = len(self.layers) - 1
        for n, layer in enumerate(self.layers):
            x = layer(x, packing=packing, only=only if n == last else None)
        return EncoderOutput(x, packing)


def first_places(batch: TextBatch) -> Tensor:
    """Return where [CLS] stands in each row, among the batch · time places: (batch,)."""
    rows, time = batch.text.shape
    return torch.arange(rows, device=batch.text.device) * time


def initialise(root: nn.Module, d_model: int) -> None:
    """Weights and embeddings from N(0, σ²), σ = 0.02 √(768 / d_model), biases 0, norms the identity.

    At the base model's 768 this is the published 0.02; a narrow model with so small weights passes its tokens on
    unmixed, and takes long to learn to look around.
    """
    std = 0.02 * math.sqrt(768 / d_model)
    for module in root.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=std)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding) and module.padding_idx is not None:
            nn.init.zeros_(module.weight[module.padding_idx].detach())


def waves(length: int, frequencies: Tensor, d_model: int) -> Tensor:
    """sin(w_i p) and, behind them, cos(w_i p) at each place p: (length, d_model).

    With frequencies (d_model / 2,) of all sizes from 0 to π each place is unlike every other, and a shift is a turn.
    """
    angles = torch.arange(length)[:, None] * frequencies
    return F.pad(torch.cat([angles.sin(), angles.cos()], dim=-1), (0, d_model % 2))


@torch.no_grad()
def look_at_neighbours(attention: MultiHeadAttention, frequencies: Tensor) -> None:
    """Set queries and keys so that head h begins by looking at the token at δ = -1, +1, -2, +2, … from its own.

    Over `waves`, of which each head takes its share, a query turned by the angles w_i δ gives scores in proportion to
    Σ_i cos(w_i (s - p - δ)): LOCAL_SCORE at s = p + δ, near 0 elsewhere; what the tokens add is noise beside it.
    """
    n, d_head = len(frequencies), attention.d_head
    waves_each = min(d_head // 2, n // attention.n_heads)
    if not waves_each:
        return
    gain = math.sqrt(2 * LOCAL_SCORE / math.sqrt(d_head))  # half of a normed sum is the place, half the token
    query, key, i = attention.query.weight, attention.key.weight, torch.arange(waves_each)
    for head in range(attention.n_heads):
        wave, sine, cosine = head * waves_each + i, head * d_head + i, head * d_head + waves_each + i
        angle = frequencies[wave] * (head // 2 + 1) * (1 if head % 2 else -1)
        for weight in (query, key):
            weight[sine], weight[cosine] = 0.0, 0.0
        query[sine, wave], query[sine, n + wave] = gain * angle.cos(), gain * angle.sin()  # sin(w (p + δ))
        query[cosine, wave], query[cosine, n + wave] = -gain * angle.sin(), gain * angle.cos()  # cos(w (p + δ))
        key[sine, wave] = key[cosine, n + wave] = gain
