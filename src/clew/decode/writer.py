"""A finished decoder written out for writing: few products, in lower precision where asked for."""

from __future__ import annotations

import copy
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clew.decode.engine import Dense, int8
from clew.models.gpt2 import GPT2, DecoderOutput, GPT2Layer
from clew.models.llama import LlamaLayer
from clew.models.lstm import LSTM
from clew.nn.attention import MultiHeadAttention
from clew.nn.causal import Cache, places
from clew.nn.positions import rotate


class Rows:
    """x Wᵀ + b with W in memory by rows, as bfloat16 is read fastest."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.weight, self.bias = weight.detach().contiguous(), bias.detach()

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


MAKERS: dict[str, Any] = {"fp32": Dense, "bf16": Rows, "int8": int8}


class Writer:
    """Reads and writes as a GPT-2 or Llama does in evaluation, without gradients: `model(text, position, cache)`.

    In fp32 the result is the model's (`GPT2.forward` is the equation), in bf16 and int8 nearly so (see `Int8Linear`;
    int8 is of the CPU). The weights are those of the model as it is now; it is left in evaluation mode.
    """

    def __init__(self, model: GPT2, precision: Literal["fp32", "bf16", "int8"]) -> None:
        model.eval()
        self.model = copy.deepcopy(model).to(torch.bfloat16) if precision == "bf16" else model
        self.config, self.token, make = model.config, self.model.token, MAKERS[precision]
        self.layers = [WriterLayer(layer, make) for layer in self.model.layers]  # type: ignore[arg-type]
        self.logits = make(*self.model.output_table())
        self.cache = self.model.cache

    @torch.no_grad()
    def __call__(self, text: Tensor, position: Tensor | None = None, cache: Cache | None = None) -> DecoderOutput:
        position, mask = places(text, position, cache)
        x = self.model.embed(text, position)
        pasts = [None] * len(self.layers) if cache is None else cache.advance(text.shape[1])
        for layer, past in zip(self.layers, pasts, strict=True):
            x = layer(x, mask, past)
        return DecoderOutput(self.model.norm(x))


class WriterLayer:
    """One layer on x (batch, time, d_model): what is projected from the same states is one product."""

    def __init__(self, layer: GPT2Layer | LlamaLayer, make: Any) -> None:
        self.attention_norm, self.feedforward_norm = layer.attention_norm, layer.feedforward_norm
        attention: MultiHeadAttention = layer.attention
        self.attention, self.base = attention, getattr(attention, "base", 0.0)
        self.project = joined(attention.query, attention.key, attention.value, make=make)
        self.output = joined(attention.output, make=make)
        feedforward: Any = layer.feedforward
        self.gated = not isinstance(layer, GPT2Layer)
        parts = [feedforward.gate, feedforward.inner] if self.gated else [feedforward.inner]
        self.inner, self.outer = joined(*parts, make=make), joined(feedforward.outer, make=make)

    def __call__(self, x: Tensor, mask: Tensor | None, past: Tensor | None) -> Tensor:
        time = x.shape[1]
        heads = self.project(self.attention_norm(x)).unflatten(-1, (-1, self.attention.d_head))
        n, rest = self.attention.n_heads, heads.shape[2] - self.attention.n_heads
        q, k, v = heads.transpose(1, 2).split([n, rest // 2, rest // 2], dim=1)
        if self.attention.rotary:
            start = 0 if past is None else past.shape[3] - time
            q, k = rotate(q, start, self.base), rotate(k, start, self.base)
        if past is not None:
            past[0, :, :, -time:], past[1, :, :, -time:] = k, v
            k, v = past[0], past[1]
        seen = self.attention.attention(q, k, v, mask, causal=mask is None and time > 1)
        x = self.output(seen.transpose(1, 2).flatten(2)).add_(x)
        inner = self.inner(self.feedforward_norm(x))
        if self.gated:
            gate, inner = inner.chunk(2, dim=-1)
            return self.outer(F.silu(gate).mul_(inner)).add_(x)
        return self.outer(F.gelu(inner, approximate="tanh")).add_(x)


def joined(*parts: nn.Linear, make: Any) -> Any:
    """Linear maps of the same input as one, without a bias with 0 for it."""
    weights: list[Tensor] = [part.weight for part in parts]
    biases: list[Tensor] = [
        w.new_zeros(len(w)) if part.bias is None else part.bias for w, part in zip(weights, parts, strict=True)
    ]
    return make(torch.cat(weights), torch.cat(biases))


def recurrent(model: LSTM, precision: Literal["fp32", "bf16", "int8"]) -> Any:
    """An LSTM writes as it stands: a step of it is one call of torch's. int8 is for the table of the logits alone."""
    model.eval()
    if precision == "fp32":
        return model
    model = copy.deepcopy(model)
    if precision == "bf16":
        return model.to(torch.bfloat16)
    model.__dict__["logits"] = int8(*model.output_table())
    return model


def writer(model: GPT2 | LSTM, precision: Literal["fp32", "bf16", "int8"]) -> Any:
    """What writes as the model does: itself in fp32 on a GPU, else the engine."""
    if isinstance(model, LSTM):
        return recurrent(model, precision)
    return model.eval() if precision == "fp32" and model.token.weight.is_cuda else Writer(model, precision)
