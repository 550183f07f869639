"""The engines of decoding: models in lower precision, and the Transformer's step in as few operations as it needs."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clew.models.transformer import DecoderLayer, EncoderLayer, Residual, Transformer
from clew.models.translator import Memory
from clew.nn.attention import MultiHeadAttention, Score
from clew.nn.feedforward import FeedForward
from clew.nn.linear import product
from clew.nn.positions import rotate

MANY = 256  # rows: preparing oneDNN for a number of rows that it has not seen takes as long as multiplying by some


class Dense:
    """f(x Wᵀ + b); f is the identity, or ReLU. W lies in memory by columns: few rows of x read it faster so."""

    def __init__(self, weight: Tensor, bias: Tensor, *, relu: bool = False) -> None:
        self.weight, self.bias, self.relu = weight.detach().t().contiguous().t(), bias.detach(), relu

    def __call__(self, x: Tensor) -> Tensor:
        multiply = product if x.numel() >= MANY * x.shape[-1] else F.linear
        y = multiply(x, self.weight, self.bias)
        return y.relu_() if self.relu else y


def int8(weight: Tensor, bias: Tensor, *, relu: bool = False) -> Any:
    """Return the function of an Int8Linear, without the cost of calling a module."""
    from clew.decode.int8 import Int8Linear  # numba is imported where it is used

    return Int8Linear(weight, bias, relu=relu).forward


def engine(model: Any, precision: str) -> Any:
    """What decodes like `model` as it is now, faster: in fp32 the same, in bf16 and int8 (on a CPU) nearly so.

    The model itself is left as it is, in evaluation mode.
    """
    model.eval()
    if precision == "bf16":
        model = copy.deepcopy(model).to(torch.bfloat16)
    if model.own("engine") == "translates":
        return TransformerEngine(model, int8 if precision == "int8" else Dense)
    if precision != "int8":
        return model
    from clew.decode.int8 import Int8Linear  # numba is imported where it is used

    fast = copy.deepcopy(model)
    for parent in list(fast.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear) and not isinstance(parent, Score):  # scores read their weights themselves
                setattr(parent, name, Int8Linear(child.weight, child.bias))
    # Beside the table, which stays as it is: embeddings are looked up in it.
    fast.__dict__["project"] = Int8Linear(*model.output_table())
    return fast


@dataclass
class EngineCache:
    """Keys and values of what was decoded so far, which never move while hypotheses do.

    past (layers, 2, batch, heads, room, d_head): hypothesis i of a sentence wrote those of position t into slot
    t·beam + i. lineage (batch, 1, beam, slots): 0 where a hypothesis descends from the one that wrote the slot, else
    -inf; None for a beam of one. memory (layers, 2, batch, heads, source, d_head) and its
    mask (batch, 1, 1, source), 0 or -inf.
    """

    past: Tensor
    memory: Tensor
    mask: Tensor
    beam: int
    lineage: Tensor | None = None
    length: int = 0

    def advance(self) -> Tensor:
        """Make room for one more position; the past with it, (layers, 2, batch, heads, slots, d_head)."""
        self.length += 1
        slots = self.length * self.beam
        if slots > self.past.shape[4]:
            self.past = torch.cat([self.past, torch.empty_like(self.past)], dim=4)
        if self.beam > 1:
            alone = torch.eye(self.beam, dtype=self.mask.dtype, device=self.mask.device).log()  # 0 and -inf
            alone = alone.expand(len(self.mask), 1, -1, -1)
            self.lineage = alone if self.lineage is None else torch.cat([self.lineage, alone], dim=3)
        return self.past.narrow(4, 0, slots)

    def reorder(self, rows: Tensor) -> None:
        """Move hypotheses (batch·beam,) within their sentences."""
        if self.lineage is not None:
            self.lineage = self.lineage.flatten(0, 2).index_select(0, rows).unflatten(0, (-1, 1, self.beam))

    def keep(self, sentences: Tensor, rows: Tensor) -> None:
        """Drop finished sentences: keep these sentences (n,) and their hypotheses' rows (n·beam,)."""
        self.reorder(rows)
        self.past, self.memory = (kept.index_select(2, sentences) for kept in (self.past, self.memory))
        self.mask = self.mask.index_select(0, sentences)


class TransformerEngine:
    """A Transformer's `encode`, `start`, `step` and `project` written out for decoding.

    Query, key and value are one product, keys and values of the memory one product for all layers, and few modules are
    called. The equations that it equals are `Transformer.encode` and `Transformer.step`. `make`: Dense or int8.
    """

    parallel = False

    def __init__(self, model: Transformer, make: Any) -> None:
        self.model, self.config, self.max_length = model, model.config, model.max_length
        self.encoder = [EncoderEngine(layer, make) for layer in model.encoder.layers]  # type: ignore[arg-type]
        self.decoder = [DecoderEngine(layer, make) for layer in model.decoder.layers]  # type: ignore[arg-type]
        cross: list[Any] = [layer.cross_attention for layer in model.decoder.layers]
        self.memory = joined([part for each in cross for part in (each.key, each.value)], make)
        self.project = make(*model.output_table())
        self.scale = math.sqrt(model.config.d_model)

    def encode(self, source: Tensor, source_mask: Tensor) -> Memory:
        x = self.model.embed(self.model.source_embedding, source)
        mask = additive(source_mask, x)
        for layer in self.encoder:
            x = layer(x, mask)
        return Memory(self.model.encoder.norm(x), source_mask)

    def start(self, memory: Memory, beam: int = 1) -> EngineCache:
        """An empty past with room for a first few positions; the memory is projected once per sentence."""
        batch, layers, heads = len(memory.states), len(self.decoder), self.config.n_heads
        projected = self.memory(memory.states).view(batch, -1, layers, 2, heads, self.config.d_model // heads)
        past = projected.new_empty(layers, 2, batch, heads, 32 * beam, projected.shape[-1])
        return EngineCache(past, projected.permute(2, 3, 0, 4, 1, 5), additive(memory.mask, memory.states), beam)

    def step(self, tokens: Tensor, cache: EngineCache) -> Tensor:
        """tokens (B·beam,) -> hidden (B·beam, d_model)."""
        embedded = F.embedding(tokens, self.model.target_embedding.weight)[:, None] * self.scale
        x = self.model.positions(embedded, cache.length).view(-1, cache.beam, self.config.d_model)
        for layer, past, memory in zip(self.decoder, cache.advance(), cache.memory, strict=True):
            x = layer.step(x, past, memory, cache)
        return self.model.decoder.norm(x).flatten(0, 1)


def additive(mask: Tensor, x: Tensor) -> Tensor:
    """mask (batch, source), True = may attend, as what is added to scores: (batch, 1, 1, source), 0 or -inf."""
    return x.new_zeros(mask.shape).masked_fill_(~mask, -torch.inf)[:, None, None]


def joined(parts: list[nn.Linear], make: Any, **how: Any) -> Any:
    """Linear maps of the same input as one, without a bias with 0 for it."""
    weights: list[Tensor] = [part.weight for part in parts]
    biases: list[Tensor] = [
        w.new_zeros(len(w)) if part.bias is None else part.bias for w, part in zip(weights, parts, strict=True)
    ]
    return make(torch.cat(weights), torch.cat(biases), **how)


class SelfAttention:
    """Multi-head self-attention with query, key and value as one product."""

    def __init__(self, attention: MultiHeadAttention, make: Any) -> None:
        self.n_heads, self.rotary, self.base = attention.n_heads, attention.rotary, attention.base
        self.project = joined([attention.query, attention.key, attention.value], make)
        self.output = joined([attention.output], make)

    def heads(self, x: Tensor) -> Tensor:
        """x (batch, T, d_model) -> query, key and value (3, batch, heads, T, d_head)."""
        return self.project(x).view(*x.shape[:2], 3, self.n_heads, -1).permute(2, 0, 3, 1, 4)


def merge(heads: Tensor) -> Tensor:
    """(batch, heads, T, d_head) -> (batch, T, d_model)."""
    return heads.transpose(1, 2).flatten(2)


class EncoderEngine:
    """One encoder layer on x (batch, source, d_model)."""

    def __init__(self, layer: EncoderLayer, make: Any) -> None:
        self.attention = SelfAttention(layer.attention, make)
        self.feedforward = FeedForwardEngine(layer.feedforward, make)
        self.around_attention, self.around_feedforward = (
            Around(layer.around_attention),
            Around(layer.around_feedforward),
        )

    def __call__(self, x: Tensor, mask: Tensor) -> Tensor:
        query, key, value = self.attention.heads(self.around_attention.before(x))
        if self.attention.rotary:
            query, key = (rotate(each, 0, self.attention.base) for each in (query, key))
        seen = F.scaled_dot_product_attention(query, key, value, mask)
        x = self.around_attention.after(x, self.attention.output(merge(seen)))
        return self.around_feedforward.after(x, self.feedforward(self.around_feedforward.before(x)))


class DecoderEngine:
    """One decoder layer on x (batch, beam, d_model): the hypotheses of a sentence are positions of one attention."""

    def __init__(self, layer: DecoderLayer, make: Any) -> None:
        cross = layer.cross_attention
        self.attention = SelfAttention(layer.self_attention, make)
        self.query, self.output = joined([cross.query], make), joined([cross.output], make)
        self.feedforward = FeedForwardEngine(layer.feedforward, make)
        self.around_self, self.around_cross = Around(layer.around_self), Around(layer.around_cross)
        self.around_feedforward = Around(layer.around_feedforward)

    def step(self, x: Tensor, past: Tensor, memory: Tensor, cache: EngineCache) -> Tensor:
        """past, memory: (2, batch, heads, slots or source, d_head); the last `beam` slots are for x."""
        heads = self.attention.heads(self.around_self.before(x))
        if self.attention.rotary:  # all hypotheses stand at one position
            both = rotate(heads[:2, ..., None, :], cache.length - 1, self.attention.base).squeeze(-2)
            heads = torch.cat([both, heads[2:]])
        past[:, :, :, -cache.beam :] = heads[1:]
        seen = F.scaled_dot_product_attention(heads[0], past[0], past[1], cache.lineage)
        x = self.around_self.after(x, self.attention.output(merge(seen)))
        query = self.query(self.around_cross.before(x)).view(*x.shape[:2], self.attention.n_heads, -1).transpose(1, 2)
        seen = F.scaled_dot_product_attention(query, memory[0], memory[1], cache.mask)
        x = self.around_cross.after(x, self.output(merge(seen)))
        return self.around_feedforward.after(x, self.feedforward(self.around_feedforward.before(x)))


class FeedForwardEngine:
    """W_2 f(W_1 x + b_1) + b_2, or W_2 (f(W_g x) ⊙ W_1 x) with the two inner maps as one product: `FeedForward`."""

    def __init__(self, feedforward: FeedForward, make: Any) -> None:
        inner, self.activation, self.gated = feedforward.inner, feedforward.activation, feedforward.gate is not None
        self.relu = self.activation is F.relu and not self.gated
        self.inner = joined([inner] if feedforward.gate is None else [feedforward.gate, inner], make, relu=self.relu)
        self.outer = joined([feedforward.outer], make)

    def __call__(self, x: Tensor) -> Tensor:
        hidden = self.inner(x)
        if self.gated:
            gate, hidden = hidden.chunk(2, dim=-1)
            return self.outer(self.activation(gate).mul_(hidden))
        return self.outer(hidden if self.relu else self.activation(hidden))


class Around:
    """A residual connection without dropout: `Residual` in evaluation."""

    def __init__(self, residual: Residual) -> None:
        norm = residual.norm
        self.norm = (list(norm.normalized_shape), norm.weight.detach(), norm.bias.detach(), norm.eps)
        self.pre = residual.pre

    def before(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, *self.norm) if self.pre else x

    def after(self, x: Tensor, fx: Tensor) -> Tensor:
        """Writes over fx, which nobody else holds."""
        x = fx.add_(x)
        return x if self.pre else F.layer_norm(x, *self.norm)
