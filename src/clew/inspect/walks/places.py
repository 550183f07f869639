"""Where a model attends, and what passed through there while it read a text."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from clew.batches import PairBatch, TextBatch
from clew.contracts import Model
from clew.errors import RecipeError
from clew.inspect.walk import Call, tracing
from clew.models.t5 import RelativePositions
from clew.nn.layer import Layer, Part
from clew.nn.taps import parts_of_kind


@dataclass(frozen=True)
class Place:
    """One kind of attention of a model, in every layer: encoder, decoder (its self-attention) or cross."""

    name: str
    layers: str  # the name of the list of layers
    n_layers: int
    n_heads: int
    number: int  # which of its layer's attentions it is


def places(model: nn.Module) -> list[Place]:
    """All attentions of a model that a walk can be taken through: those that its layers name."""
    lists: dict[str, list[Layer]] = {}
    for name, layer in parts_of_kind(model, Layer).items():
        lists.setdefault(name.rpartition(".")[0], []).append(layer)
    return [
        Place(part.place, name, len(layers), int(heads_of(layers[0], part).n_heads), number)
        for name, layers in lists.items() for number, part in enumerate(layers[0].attentions)
    ]  # fmt: skip


def heads_of(layer: nn.Module, part: Part) -> Any:
    """The attention that a part of a layer is."""
    return layer.get_submodule(part.module)


def place_of(model: nn.Module, name: str, layer: int, head: int) -> Place:
    """The place of that name. Raises RecipeError where it is not there, or has no such layer or head."""
    found = {place.name: place for place in places(model)}
    if name not in found:
        raise RecipeError(
            f'no attention named "{name}"', where=type(model).__name__, fix=f"there is: {', '.join(found) or 'none'}"
        )
    place = found[name]
    for what, number, size in (("layer", layer, place.n_layers), ("head", head, place.n_heads)):
        if not 0 <= number < size:
            raise RecipeError(f"there is no {what} {number}", where=name, fix=f"choose one of 0 to {size - 1}")
    return place


@dataclass(frozen=True)
class Site:
    """One attention layer while the model read one text: what came in, and what the engine made of it.

    x: (T, d) the residual; memory: (S, d) what is attended to, None for x itself; mask: (T, S) bool.
    joined: the heads (T, n_heads · d_head) as they go into W_O, and (T, d) as they come out; result: (T, d) after the
    sum, and after the norm where it comes last: of the tokens `only` (n,), where no others were asked for.
    weights: (1, heads, T, S), where the tap was listened to. bias: (heads, T, S), added to the scores by T5,
    distances: what makes it (not for attention to the encoder, which has none).
    """

    attention: Any
    norm: nn.Module
    pre: bool
    x: Tensor
    memory: Tensor | None
    mask: Tensor
    joined: Call
    result: Tensor
    only: Tensor | None
    weights: Tensor | None
    bias: Tensor | None
    distances: RelativePositions | None = None

    @property
    def d_head(self) -> int:
        return int(self.attention.d_head)

    @property
    def scale(self) -> float:
        """What scores are divided by."""
        return math.sqrt(self.d_head) if self.bias is None else 1.0


def read(model: Model, batch: Any) -> Any:
    """Let a model read a batch; what is below a head reads alone, so that all of its states are made."""
    body = model.backbone
    return body(batch.text if "language_model" in body.heads else batch)


Run = Callable[[Any, Any], Any]


def visit(
    model: nn.Module, batch: PairBatch | TextBatch, place: Place, layer: int, *, listen: bool = False, run: Run = read
) -> Site:
    """Let `run` read a batch of one text, and bring back what passed through one attention layer.

    The engine is the fused one, unless someone is to listen to the weights.
    """
    name = f"{place.layers}.{layer}"
    with tracing(model, name, taps=listen) as seen:
        run(model, batch)
    calls = {key.removeprefix(name).lstrip("."): each[0] for key, each in seen.items()}
    module: Any = model.get_submodule(name)
    parts: list[Part] = [*module.attentions, module.feedforward_part]
    part, attention = parts[place.number], heads_of(module, parts[place.number])
    if module.pre:
        x, result = calls[part.norm].args[0], calls[parts[place.number + 1].norm].args[0]
    else:
        x = calls[parts[place.number - 1].norm].output if place.number else calls[""].args[0]
        result = calls[part.norm].output
    # What reads without padding, or from a cache, projects all at once and does not call the attention as a module.
    memory, mask, causal = given(calls[part.module]) if part.module in calls else (None, None, place.name == "decoder")
    x, memory = flat(x), None if memory is None else flat(memory)
    size = (len(x), len(x if memory is None else memory))
    bias = None
    if mask is not None and mask.is_floating_point():  # T5's: what is added to the scores, -inf where nothing is seen
        hidden = mask[0] == -torch.inf
        bias, mask = mask[0].masked_fill(hidden, 0.0).expand(place.n_heads, *size), ~hidden[0]
    allowed = torch.ones(size, dtype=torch.bool) if mask is None else mask.reshape(-1, size[1]).expand(size)
    biases = parts_of_kind(model, RelativePositions).get(f"{place.layers.rpartition('.')[0]}.positions")
    return Site(
        attention, module.get_submodule(part.norm), module.pre, x, memory, allowed.tril() if causal else allowed,
        calls[f"{part.module}.output"], flat(result), calls[""].kwargs.get("only"),
        calls[f"{part.module}.weights"].output if listen else None, bias, biases if memory is None else None,
    )  # fmt: skip


def given(call: Call) -> tuple[Tensor | None, Tensor | None, bool]:
    """What `MultiHeadAttention` was called with: the memory (None for self-attention), the mask, and whether causal."""
    named = dict(zip(("query", "memory", "mask", "causal"), call.args, strict=False)) | dict(call.kwargs)
    memory = named["memory"] if named["memory"] is not named["query"] else None
    return memory, named.get("mask"), named.get("causal", False)


def flat(x: Tensor) -> Tensor:
    """(1, T, d), or (T, d) of an unpadded batch of one text -> (T, d)."""
    return x.reshape(-1, x.shape[-1])
