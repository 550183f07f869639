"""A finished decoder written out for writing: few products, in lower precision where asked for."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from clew.decode.engine import Dense, FeedForwardEngine, int8, joined
from clew.models.gpt2 import GPT2, DecoderOutput, GPT2Layer
from clew.models.llama import LlamaLayer
from clew.nn.attention import MultiHeadAttention
from clew.nn.attention_engine import look_back, turned
from clew.nn.causal import Cache, places
from clew.nn.linear import packs

ROWS = 16  # of the states that weights are packed for; one row, or hundreds, are multiplied nearly as fast


class Packed:
    """x Wᵀ + b with W as oneDNN packs it.

    For few rows the work is to read W, and packed it is read two to three times as fast. oneDNN prepares itself for
    each number of rows that it has not seen: in writing there are few.
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), ROWS)
        self.bias = bias.detach()

    def __call__(self, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")


class Rows:
    """x Wᵀ + b with W in memory by rows, as bfloat16 is read fastest where it is not packed."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.weight, self.bias = weight.detach().contiguous(), bias.detach()

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


def floating(weight: Tensor, bias: Tensor, *, relu: bool = False) -> Any:
    """f(x Wᵀ + b) in the precision of W, as it is fastest here; f is the identity, or ReLU."""
    if relu:
        return Dense(weight, bias, relu=True)
    make: Any = Packed if packs(weight) else Rows if weight.dtype == torch.bfloat16 else Dense
    return make(weight, bias)


class Writer:
    """Reads and writes as a GPT-2 or Llama does in evaluation, without gradients: `model(text, position, cache)`.

    In fp32 the result is the model's (`GPT2.forward` is the equation), in bf16 and int8 nearly so (see `Int8Linear`;
    int8 is of the CPU). The weights are those of the model as it is now; it is left in evaluation mode.
    """

    def __init__(self, model: GPT2, precision: Literal["fp32", "bf16", "int8"]) -> None:
        model.eval()
        self.model = copy.deepcopy(model).to(torch.bfloat16) if precision == "bf16" else model
        self.config, self.token, make = model.config, self.model.token, int8 if precision == "int8" else floating
        self.layers = [WriterLayer(layer, make) for layer in self.model.layers]  # type: ignore[arg-type]
        self.logits = make(*self.model.output_table())
        self.cache = self.model.cache

    @torch.no_grad()
    def __call__(self, text: Tensor, position: Tensor | None = None, cache: Cache | None = None) -> DecoderOutput:
        position, mask = places(text, position, cache)
        x = self.model.embed(text, position)
        looks: list[Look]
        if cache is None:
            looks = [partial(look_around, mask=mask, past=None)] * len(self.layers)
        elif text.shape[1] > 1 or x.device.type != "cpu":
            looks = [partial(look_around, mask=mask, past=past) for past in cache.advance(text.shape[1])]
        else:
            from clew.nn.elementwise import numbers  # numba is imported where it is used

            slot = cache.length
            cache.advance(1)
            begin = torch.zeros(len(text), dtype=torch.long) if cache.start is None else cache.start[:, slot]
            looks = [partial(look_at_past, past=past, slot=slot, begin=begin.numpy()) for past in numbers(cache.past)]
        for layer, look in zip(self.layers, looks, strict=True):
            x = layer(x, look)
        return DecoderOutput(self.model.norm(x))


class WriterLayer:
    """One layer on x (batch, time, d_model): what is projected from the same states is one product."""

    def __init__(self, layer: GPT2Layer | LlamaLayer, make: Any) -> None:
        self.attention_norm, self.feedforward_norm = layer.attention_norm, layer.feedforward_norm
        attention: MultiHeadAttention = layer.attention
        self.attention = attention
        self.project = joined([attention.query, attention.key, attention.value], make)
        self.output = joined([attention.output], make)
        self.feedforward = FeedForwardEngine(layer.feedforward, make)

    def __call__(self, x: Tensor, look: Look) -> Tensor:
        heads = self.project(self.attention_norm(x)).unflatten(-1, (-1, self.attention.d_head))
        x = self.output(look(self, heads)).add_(x)
        return self.feedforward(self.feedforward_norm(x)).add_(x)


Look = Callable[[WriterLayer, Tensor], Tensor]
"""Attention: queries, keys and values (batch, time, h + 2g, d_head) -> what is seen, (batch, time, h · d_head)."""


def look_around(layer: WriterLayer, heads: Tensor, mask: Tensor | None, past: Tensor | None) -> Tensor:
    """Of any number of positions. past: keys and values, (2, batch, g, slots, d_head), the last slots for these."""
    attention = layer.attention
    if attention.rotary:
        start = 0 if past is None else past.shape[3] - heads.shape[1]
        heads = turned(heads, attention.n_heads, start, attention.base)
    return look_back(attention.attend, heads, attention.n_heads, mask, past).transpose(1, 2).flatten(2)


def look_at_past(layer: WriterLayer, heads: Tensor, past: np.ndarray, slot: int, begin: np.ndarray) -> Tensor:
    """Of one new position, at `slot` of the past (2, batch, g, room, d_head), over those from begin (batch,) on."""
    from clew.decode.attend import attend_to_past  # numba is imported where it is used
    from clew.nn.elementwise import numbers

    attention = layer.attention
    if attention.rotary:
        heads = turned(heads, attention.n_heads, slot, attention.base)
    heads = heads[:, 0]  # (batch, h + 2g, d_head)
    seen = torch.empty_like(heads[:, : attention.n_heads])
    attend_to_past(numbers(heads), past, slot, begin, 1 / math.sqrt(heads.shape[2]), numbers(seen))
    return seen.flatten(1)[:, None]


def writer(model: Any, precision: Literal["fp32", "bf16", "int8"]) -> Any:
    """Return what writes as the model does: the engine of its class, else itself, or a copy of it in lower precision.

    Without an engine int8 is for the table of the logits alone; with one, fp32 on a GPU needs none.
    """
    model.eval()
    if model.own("engine") == "writes" and not (precision == "fp32" and model.token.weight.is_cuda):
        return Writer(model, precision)
    if precision == "fp32":
        return model
    model = copy.deepcopy(model)
    if precision == "bf16":
        return model.to(torch.bfloat16)
    model.__dict__["logits"] = int8(*model.output_table())
    return model
