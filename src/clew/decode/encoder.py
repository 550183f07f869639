"""A finished encoder written out for reading: few modules, nothing prepared twice, int8 where asked for."""

from __future__ import annotations

import copy
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from clew.batches import TextBatch
from clew.decode.engine import Dense, FeedForwardEngine, int8, joined
from clew.errors import RecipeError
from clew.models.bert import Bert, BertLayer, EncoderOutput, first_places
from clew.nn.attention_engine import look_within_rows, turned
from clew.nn.packing import Packing, chosen

Precision = Literal["fp32", "bf16", "int8"]


class EncoderEngine:
    """Reads as a Bert does in evaluation: (TextBatch, places) -> EncoderOutput in float32, without gradients.

    In fp32 the result is the model's (`Bert.forward` is the equation); in bf16 and int8 (on a CPU) nearly so, see
    `Int8Linear`. The weights are those of the model as it is now; it is left in evaluation mode.
    """

    def __init__(self, model: Bert, precision: Precision = "fp32") -> None:
        self.model, self.config, self.embeddings = model.eval(), model.config, model.embeddings
        self.width, self.token_table = model.width, model.token_table
        self.bf16, make = precision == "bf16", int8 if precision == "int8" else Dense
        self.layers = [] if self.bf16 else [LayerEngine(layer, make) for layer in model.layers]  # type: ignore[arg-type]

    @torch.no_grad()
    def __call__(self, batch: TextBatch, at: Tensor | None = None) -> EncoderOutput:
        if self.bf16:
            with torch.autocast(batch.text.device.type, torch.bfloat16):
                out = self.model(batch, at)
            return EncoderOutput(out.hidden.float(), out.packing)
        packing = Packing(batch.mask)
        x = self.embeddings(packing.pack(batch.text), packing.position, packing.pack(batch.segment))
        for layer in self.layers[:-1]:
            x = layer(x, packing)
        return EncoderOutput(self.layers[-1](x, packing, None if at is None else packing.token[at]), packing)

    def pooled(self, batch: TextBatch) -> Tensor:
        """Return the states of each row's first token, without work for the others: (batch, d_model)."""
        return self(batch, first_places(batch)).hidden


def reader(model: Any, precision: Precision) -> Any:
    """What reads as a model of a reading task does: itself in fp32, with its encoder by the engine in bf16 and int8.

    Raises RecipeError for those where the model is no BERT under a head, and for int8 on a GPU.
    """
    body, device = getattr(model.eval(), "encoder", None), next(model.parameters()).device
    if precision == "fp32":
        return model
    if not isinstance(body, Bert):
        raise RecipeError("this model predicts in fp32 alone", where="decode.precision", fix="leave it out")
    if precision == "int8" and device.type != "cpu":
        raise RecipeError("int8 is for a CPU", where="decode.precision", fix='take "bf16", or train.device = "cpu"')
    under = copy.copy(model)
    under._modules = {name: part for name, part in model._modules.items() if name != "encoder"}
    under.__dict__["encoder"] = EncoderEngine(body, precision)
    return under


class LayerEngine:
    """One `BertLayer`: (tokens, d_model) -> (tokens, d_model), or of those in `only`."""

    def __init__(self, layer: BertLayer, make: Any) -> None:
        attention = layer.attention
        self.attention, self.feedforward = attention, FeedForwardEngine(layer.feedforward, make)
        self.project = joined([attention.query, attention.key, attention.value], make)
        self.output = joined([attention.output], make)
        self.norms = [
            (list(norm.normalized_shape), norm.weight.detach(), norm.bias.detach(), norm.eps)
            for norm in (layer.attention_norm, layer.feedforward_norm)
        ]

    def __call__(self, x: Tensor, packing: Packing, only: Tensor | None = None) -> Tensor:
        n_heads = self.attention.n_heads
        heads = self.project(x).unflatten(-1, (-1, self.attention.d_head))
        if self.attention.rotary:
            heads = turned(heads, n_heads, packing.position, self.attention.base)
        context = look_within_rows(F.scaled_dot_product_attention, heads, n_heads, packing, padded=False)
        context = chosen(context, only)
        x = F.layer_norm(self.output(context).add_(chosen(x, only)), *self.norms[0])
        return F.layer_norm(self.feedforward(x).add_(x), *self.norms[1])
