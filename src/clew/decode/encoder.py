"""A finished encoder written out for reading: few modules, nothing prepared twice, int8 where asked for."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from clew.data.batches import TextBatch
from clew.decode.engine import Dense, int8, joined
from clew.models.bert import Bert, BertLayer, EncoderOutput
from clew.nn.attention import qkv_of
from clew.nn.packing import Packing


class EncoderEngine:
    """Reads as a Bert does in evaluation, on the CPU: TextBatch -> EncoderOutput, without gradients.

    In fp32 the result is the model's (`Bert.forward` is the equation); in int8 nearly so, see `Int8Linear`. The weights
    are those of the model as it is now; it is left in evaluation mode.
    """

    def __init__(self, model: Bert, precision: Literal["fp32", "int8"] = "fp32") -> None:
        self.model, self.config = model.eval(), model.config
        make = int8 if precision == "int8" else Dense
        self.layers = [LayerEngine(layer, make) for layer in model.layers]  # type: ignore[arg-type]

    @torch.no_grad()
    def __call__(self, batch: TextBatch) -> EncoderOutput:
        packing = Packing(batch.mask)
        x = self.model.embeddings(packing.pack(batch.text), packing.position, packing.pack(batch.segment))
        for layer in self.layers:
            x = layer(x, packing)
        return EncoderOutput(x, packing)


class LayerEngine:
    """One `BertLayer`: (tokens, d_model) -> (tokens, d_model)."""

    def __init__(self, layer: BertLayer, make: Any) -> None:
        attention, feedforward = layer.attention, layer.feedforward
        self.heads = (3, attention.n_heads, attention.d_head)
        self.project = joined([attention.query, attention.key, attention.value], make)
        self.output = make(attention.output.weight, attention.output.bias)
        self.inner, self.outer = (make(part.weight, part.bias) for part in (feedforward.inner, feedforward.outer))
        self.norms = [
            (list(norm.normalized_shape), norm.weight.detach(), norm.bias.detach(), norm.eps)
            for norm in (layer.attention_norm, layer.feedforward_norm)
        ]

    def __call__(self, x: Tensor, packing: Packing) -> Tensor:
        qkv = self.project(x).unflatten(-1, self.heads)
        blocks = qkv.split([rows * length for rows, length in packing.runs])
        seen = [
            F.scaled_dot_product_attention(*qkv_of(block.unflatten(0, run))).transpose(1, 2).flatten(0, 1)
            for block, run in zip(blocks, packing.runs, strict=True)
        ]  # each (rows · length, heads, d_head)
        x = F.layer_norm(self.output(torch.cat(seen).flatten(1)).add_(x), *self.norms[0])
        return F.layer_norm(self.outer(F.gelu(self.inner(x))).add_(x), *self.norms[1])
