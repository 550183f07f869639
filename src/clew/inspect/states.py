"""What each layer of a model makes of texts, from their embeddings on."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from clew.batches import PairBatch, TextBatch
from clew.contracts import Model
from clew.errors import DataError
from clew.inspect.walk import Call, tracing
from clew.inspect.walks.places import read
from clew.nn.layer import Layer
from clew.nn.recurrent import Recurrent
from clew.nn.taps import evaluating, parts_of_kind

Batch = PairBatch | TextBatch
Per = Literal["token", "text"]
EMBEDDINGS = "embeddings"  # what goes into the first layer: positions and whatever else is added there included


def layers(model: nn.Module) -> list[str]:
    """The names of the layers that read a text: of encoders and language models, and recurrent ones; of a translator
    those before its decoder."""
    found = [*parts_of_kind(model, Layer), *parts_of_kind(model, Recurrent)]
    return [name for name in found if not name.startswith("decoder.") and name != "decoder"]


def depths(model: nn.Module) -> list[str]:
    """What a text passes through: its embeddings, then each layer; of a recurrent stack one by one (`name.l0`)."""
    found, stacks = [], parts_of_kind(model, Recurrent)
    for name in layers(model):
        found += [f"{name}.l{n}" for n in range(stacks[name].fused.num_layers)] if name in stacks else [name]
    return [EMBEDDINGS, *found] if found else []


def states(model: Model, batch: Batch, per: Per) -> dict[str, Tensor]:
    """What each layer makes of a batch: name → (examples, d); an example is a token, or a text by its tokens' mean."""
    names, stacks = layers(model), parts_of_kind(model, Recurrent)
    seen = {name: calls[0] for name, calls in watched(model, batch, names).items() if name in names}
    outputs = {name: call.output[0] if name in stacks else call.output for name, call in seen.items()}
    return {name: of_examples(padded(seen[name], outputs[name]), batch, per) for name in names}


def states_at(model: Model, batch: Batch, per: Per, depth: str) -> Tensor:
    """Return what one of `depths` makes of a batch: (examples, d)."""
    if depth == EMBEDDINGS:
        call = watched(model, batch, layers(model)[:1])[layers(model)[0]][0]
        return of_examples(padded(call, call.args[0]), batch, per)
    name, _, layer = depth.rpartition(".l")
    if not name or not layer.isdigit():
        call = watched(model, batch, [depth])[depth][0]
        return of_examples(padded(call, call.output), batch, per)
    # Someone who listens has a recurrent stack computed layer by layer, and step by step.
    taps = [f"{name}.taps.l{layer}{direction}.h" for direction in ("", "_reverse")]
    seen = watched(model, batch, taps, taps=True)
    return of_examples(torch.cat([seen[tap][0].output for tap in taps if tap in seen], dim=-1), batch, per)


def watched(model: Model, batch: Batch, names: list[str], *, taps: bool = False) -> dict[str, list[Call]]:
    """The calls of these modules while the model reads. Raises DataError where there are none."""
    if not names:
        raise DataError("this model has no layers that read a text", where=type(model).__name__)
    with evaluating(model), tracing(model, *names, taps=taps) as seen:
        read(model, batch)
    return seen


def of_examples(x: Tensor, batch: Batch, per: Per) -> Tensor:
    """(batch, time, d) -> (examples, d)."""
    mask = batch.mask
    x = x[:, : mask.shape[1]]
    return x[mask] if per == "token" else (x * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)


def padded(call: Call, states: Tensor) -> Tensor:
    """What went into a layer, or came out, as (batch, time, d), whether the layer reads with padding or without."""
    return call.kwargs["packing"].unpack(states) if "packing" in call.kwargs else states
