"""The engines of decoding: models in lower precision, and the Transformer's step in as few operations as it needs."""

from __future__ import annotations

import copy
import math
import warnings
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clew.models.transformer import DecoderLayer, Residual, Transformer, TransformerCache
from clew.models.translator import Memory
from clew.nn.attention import Score
from clew.nn.feedforward import ACTIVATIONS
from clew.nn.positions import rotate


class Int8Linear(nn.Module):
    """f(x Wᵀ + b) with W in int8, one scale per output, and x quantised as it comes, one scale for all of it.

    W ≈ s_n · Ŵ with Ŵ = round(W / s_n) in [-127, 127] and s_n = max|W_n| / 127; the sum over products is in int32.
    f is the identity, or ReLU.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, *, relu: bool = False) -> None:
        super().__init__()
        scale = (weight.detach().float().abs().amax(dim=1) / 127).clamp(min=1e-12)
        zero = torch.zeros(len(scale), dtype=torch.long)
        with warnings.catch_warnings():  # torch means to move this constructor; the kernels stay
            warnings.filterwarnings("ignore", message=".*quantize_per_channel.*deprecated")
            quantised = torch.quantize_per_channel(weight.detach().float(), scale, zero, 0, torch.qint8)
        self.packed = torch.ops.quantized.linear_prepack(quantised, None if bias is None else bias.detach().float())
        # Without VNNI the processor adds pairs of products in 16 bits: then x must keep to 7 bits.
        self.reduce_range = not torch.cpu._is_vnni_supported()
        self.kernel = torch.ops.quantized.linear_relu_dynamic if relu else torch.ops.quantized.linear_dynamic

    def forward(self, x: Tensor) -> Tensor:
        return self.kernel(x, self.packed, self.reduce_range)


def engine(model: Any, precision: str) -> Any:
    """What decodes like `model`, faster: in fp32 the same, in bf16 and int8 (on a CPU) nearly so.

    The model itself is left as it is, in evaluation mode.
    """
    model.eval()
    if precision == "fp32":
        return TransformerEngine(model) if isinstance(model, Transformer) else model
    fast = copy.deepcopy(model)
    if precision == "bf16":
        fast.to(torch.bfloat16)
        return TransformerEngine(fast) if isinstance(model, Transformer) else fast
    steps = TransformerEngine(fast, int8=True) if isinstance(model, Transformer) else fast
    for parent in list(fast.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear and not isinstance(parent, Score):  # scores read their weights themselves
                setattr(parent, name, Int8Linear(child.weight, child.bias))
    # Beside the table, which stays as it is: embeddings are looked up in it.
    steps.__dict__["project"] = Int8Linear(*model.output_table())
    return steps


class Past:
    """Keys and values of one layer's decoded positions, side by side: (rows, 2, heads, length, d_head)."""

    def __init__(self) -> None:
        self.both: Tensor | None = None

    @property
    def length(self) -> int:
        return 0 if self.both is None else self.both.shape[3]

    def append(self, both: Tensor) -> Tensor:
        self.both = both if self.both is None else torch.cat([self.both, both], dim=3)
        return self.both

    def select(self, rows: Tensor) -> None:
        if self.both is not None:
            self.both = self.both.index_select(0, rows)


class TransformerEngine:
    """A Transformer's `encode`, `start`, `step` and `project`; `step` is the decoder written out for one position.

    Query, key and value are one product, keys and values one cache, and few modules are called. The equation that it
    equals is `Transformer.step`.
    """

    parallel = False

    def __init__(self, model: Transformer, *, int8: bool = False) -> None:
        self.model, self.config = model, model.config
        self.layers = [LayerEngine(layer, model.config, int8) for layer in model.decoder.layers]  # type: ignore[arg-type]
        self.encode, self.project = model.encode, model.project
        self.scale = math.sqrt(model.config.d_model)

    def start(self, memory: Memory, beam: int = 1) -> TransformerCache:
        cache = self.model.start(memory, beam)
        cache.past = [Past() for _ in self.layers]  # type: ignore[misc]
        return cache

    def step(self, tokens: Tensor, cache: TransformerCache) -> Tensor:
        """tokens (B·beam,) -> hidden (B·beam, d_model)."""
        embedded = F.embedding(tokens, self.model.target_embedding.weight)[:, None] * self.scale
        x = self.model.positions(embedded, cache.length).squeeze(1)
        for layer, past, memory in zip(self.layers, cache.past, cache.memory, strict=True):
            x = layer.step(x, past, memory, cache.mask)  # type: ignore[arg-type]
        return self.model.decoder.norm(x)


class LayerEngine:
    """One decoder layer on x (rows, d_model)."""

    def __init__(self, layer: DecoderLayer, config: Any, int8: bool) -> None:
        own, cross, inner = layer.self_attention, layer.cross_attention, layer.feedforward.inner
        self.n_heads, self.rotary = own.n_heads, own.rotary
        joined = torch.cat([part.weight for part in (own.query, own.key, own.value)])
        bias = torch.cat([part.bias for part in (own.query, own.key, own.value)])
        make: Any = Int8Linear if int8 else Dense
        self.query_key_value, self.own_output = make(joined, bias), make(own.output.weight, own.output.bias)
        self.query, self.cross_output = (
            make(cross.query.weight, cross.query.bias),
            make(cross.output.weight, cross.output.bias),
        )
        fuse = int8 and config.activation == "relu"
        self.inner = Int8Linear(inner.weight, inner.bias, relu=True) if fuse else make(inner.weight, inner.bias)
        self.activation: Any = None if fuse else ACTIVATIONS[config.activation]
        self.outer = make(layer.feedforward.outer.weight, layer.feedforward.outer.bias)
        self.around_self, self.around_cross = Around(layer.around_self), Around(layer.around_cross)
        self.around_feedforward = Around(layer.around_feedforward)

    def step(self, x: Tensor, past: Past, memory: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
        rows = x.shape[0]
        heads = self.query_key_value(self.around_self.before(x)).view(rows, 3, self.n_heads, 1, -1)
        if self.rotary:
            heads = torch.cat(
                [rotate(heads[:, :2].flatten(0, 1), past.length).view(rows, 2, *heads.shape[2:]), heads[:, 2:]], 1
            )
        both = past.append(heads[:, 1:])
        seen = F.scaled_dot_product_attention(heads[:, 0], both[:, 0], both[:, 1])  # (rows, heads, 1, d_head)
        x = self.around_self.after(x, self.own_output(seen.reshape(rows, -1)))
        # The beams of one sentence are positions of one attention over its memory.
        query = self.query(self.around_cross.before(x)).view(memory[0].shape[0], -1, self.n_heads, seen.shape[-1])
        seen = F.scaled_dot_product_attention(query.transpose(1, 2), *memory, mask).transpose(1, 2)
        x = self.around_cross.after(x, self.cross_output(seen.reshape(rows, -1)))
        hidden = self.inner(self.around_feedforward.before(x))
        if self.activation is not None:
            hidden = self.activation(hidden)
        return self.around_feedforward.after(x, self.outer(hidden))


class Dense:
    """x Wᵀ + b."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.weight, self.bias = weight.detach(), bias.detach()

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


class Around:
    """A residual connection without dropout: `Residual` in evaluation."""

    def __init__(self, residual: Residual) -> None:
        norm = residual.norm
        self.norm = (list(norm.normalized_shape), norm.weight.detach(), norm.bias.detach(), norm.eps)
        self.pre = residual.pre

    def before(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, *self.norm) if self.pre else x

    def after(self, x: Tensor, fx: Tensor) -> Tensor:
        return x + fx if self.pre else F.layer_norm(x + fx, *self.norm)
