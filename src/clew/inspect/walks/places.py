"""Where a model attends, and what passed through there while it read a text."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from clew.batches import PairBatch, TextBatch
from clew.errors import RecipeError
from clew.inspect.walk import Call, tracing
from clew.models.bert import BertLayer
from clew.models.gpt2 import GPT2, GPT2Layer
from clew.models.llama import LlamaLayer
from clew.models.lstm import LSTM
from clew.models.t5 import RelativePositions, T5Attention, T5Layer
from clew.models.transformer import DecoderLayer, EncoderLayer
from clew.nn.packing import Packing


@dataclass(frozen=True)
class Around:
    """The parts of a layer that stand around one of its attentions, by their names in it.

    before: what the residual comes from where the norm stands after the sum ("": the layer's own input); after: what
    reads the sum where the norm stands before, "" where it never does.
    """

    place: str
    attention: str
    norm: str
    after: str
    before: str = ""


LAYERS: dict[type[nn.Module], tuple[Around, ...]] = {
    BertLayer: (Around("encoder", "attention", "attention_norm", after=""),),
    EncoderLayer: (Around("encoder", "attention", "around_attention.norm", after="around_feedforward.norm"),),
    GPT2Layer: (Around("decoder", "attention", "attention_norm", after="feedforward_norm"),),
    LlamaLayer: (Around("decoder", "attention", "attention_norm", after="feedforward_norm"),),
    DecoderLayer: (
        Around("decoder", "self_attention", "around_self.norm", after="around_cross.norm"),
        Around("cross", "cross_attention", "around_cross.norm", "around_feedforward.norm", before="around_self.norm"),
    ),
}


T5_ENCODER = (Around("encoder", "attention", "attention_norm", after="feedforward_norm"),)
T5_DECODER = (
    Around("decoder", "attention", "attention_norm", after="cross_norm"),
    Around("cross", "cross_attention", "cross_norm", after="feedforward_norm"),
)


@dataclass(frozen=True)
class Place:
    """One kind of attention of a model, in every layer: encoder, decoder (its self-attention) or cross."""

    name: str
    layers: str  # the name of the list of layers
    n_layers: int
    n_heads: int
    around: Around


def places(model: nn.Module) -> list[Place]:
    """All attentions of a model that a walk can be taken through."""
    found = []
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module):
            first = module[0]
            for around in arounds(first):
                heads = first.get_submodule(around.attention).n_heads
                found.append(Place(around.place, name, len(module), int(heads), around))  # type: ignore[arg-type]
    return found


def arounds(layer: nn.Module) -> tuple[Around, ...]:
    """The attentions of a layer; none of one that is not known."""
    if isinstance(layer, T5Layer):
        return T5_DECODER if layer.cross_attention is not None else T5_ENCODER
    return next((around for kind, around in LAYERS.items() if isinstance(layer, kind)), ())


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
    norm: nn.LayerNorm | nn.RMSNorm
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
        return int(self.attention.query.out_features) // int(self.attention.n_heads)

    @property
    def scale(self) -> float:
        """What scores are divided by."""
        return 1.0 if isinstance(self.attention, T5Attention) else math.sqrt(self.d_head)

    @property
    def rotary(self) -> bool:
        return bool(getattr(self.attention, "rotary", False))


def read(model: nn.Module, batch: PairBatch | TextBatch) -> Any:
    """Let a model read a batch; an encoder under a head reads alone, so that all of its states are made."""
    if isinstance(model, GPT2 | LSTM) and isinstance(batch, TextBatch):
        return model(batch.text)
    inner = getattr(model, "encoder", None)
    if isinstance(batch, TextBatch) and isinstance(inner, nn.Module) and hasattr(inner, "embeddings"):
        return inner(batch)
    return model(batch)


Run = Callable[[nn.Module, Any], Any]


def visit(
    model: nn.Module, batch: PairBatch | TextBatch, place: Place, layer: int, *, listen: bool = False, run: Run = read
) -> Site:
    """Let `run` read a batch of one text, and bring back what passed through one attention layer.

    The engine is the fused one, unless someone is to listen to the weights.
    """
    name = f"{place.layers}.{layer}"
    with tracing(model, name, taps=listen) as seen:
        run(model, batch)
    around, parts = place.around, {key.removeprefix(name).lstrip("."): calls[0] for key, calls in seen.items()}
    module = model.get_submodule(name)
    norm = module.get_submodule(around.norm)
    pre = bool(getattr(module.get_submodule(around.norm.rpartition(".")[0]), "pre", around.after))
    if pre:
        x, result = parts[around.norm].args[0], parts[around.after].args[0]
    else:
        x = parts[around.before].output if around.before else parts[""].args[0]
        result = parts[around.norm].output
    came = parts[""].args
    only = came[2] if len(came) > 2 and isinstance(came[1], Packing) else None
    called = parts.get(around.attention)  # what reads without padding, or from a cache, does not call it as a module
    attention = module.get_submodule(around.attention)
    memory, mask, bias, causal = None, None, None, around.place == "decoder"
    if called and isinstance(attention, T5Attention):
        bias, causal = called.args[3][0], False  # (heads or 1, T or 1, S), -inf where nothing may be attended to
        memory, mask = came[2] if around.place == "cross" else None, bias[0] > -torch.inf
    elif called:
        given = dict(zip(("query", "memory", "mask", "causal"), called.args, strict=False)) | dict(called.kwargs)
        memory = given["memory"] if given["memory"] is not given["query"] else None
        mask, causal = given.get("mask"), given.get("causal", False)
    x, memory = flat(x), None if memory is None else flat(memory)
    size = (len(x), len(x if memory is None else memory))
    allowed = torch.ones(size, dtype=torch.bool) if mask is None else mask.reshape(-1, size[1]).expand(size)
    if bias is not None:
        bias = bias.masked_fill(bias == -torch.inf, 0.0).expand(place.n_heads, *size)
    assert isinstance(norm, nn.LayerNorm | nn.RMSNorm)
    return Site(
        attention, norm, pre, x, memory, allowed.tril() if causal else allowed,
        parts[f"{around.attention}.output"], flat(result), only,
        parts[f"{around.attention}.weights"].output if listen else None, bias,
        getattr(model.get_submodule(place.layers.rpartition(".")[0]), "positions", None)
        if bias is not None and place.name != "cross" else None,
    )  # fmt: skip


def flat(x: Tensor) -> Tensor:
    """(1, T, d), or (T, d) of an unpadded batch of one text -> (T, d)."""
    return x.reshape(-1, x.shape[-1])
