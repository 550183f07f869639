"""What goes into the first layer: the token's vector, and where it stands."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import torch
from torch import Tensor, nn

from clew.batches import PairBatch, TextBatch
from clew.contracts import Model
from clew.inspect.walk import Call, Step, gap, named, tracing
from clew.inspect.walks.norms import normalise
from clew.inspect.walks.places import flat, place_of, read
from clew.models.bert import Bert
from clew.models.encoder_translator import EncoderTranslator
from clew.models.gpt2 import GPT2
from clew.models.llama import Llama
from clew.models.t5 import T5
from clew.models.transformer import Transformer


def embedding(model: Model, batch: PairBatch | TextBatch, place: str, rows: Sequence[str]) -> list[Step]:
    """The steps from ids to x, beside what the engine gives to its first layer."""
    body = model.backbone
    first = f"{place_of(body, place, 0, 0).layers}.0"
    with tracing(body, "embeddings", first) as seen:
        read(body, batch)
    return explained(body, Ids(batch, place, rows, flat(seen[first][0].args[0]), seen))


@dataclass(frozen=True)
class Ids:
    """What was read. engine: (T, d), what the engine gives to its first layer; calls: of its parts on the way there."""

    batch: Any
    place: str
    rows: Sequence[str]
    engine: Tensor
    calls: Mapping[str, list[Call]]

    @property
    def text(self) -> Tensor:
        """The ids of the side that is asked for, (T,)."""
        return (self.batch.source if self.place == "encoder" else self.batch.target_in)[0]

    def step(self, formula: str, note: str, x: Tensor, **parts: Tensor) -> list[Step]:
        """The step to x from its parts."""
        values = [named(name, part, self.rows) for name, part in {**parts, "x": x}.items()]
        return [Step("embedding", formula, note, [], values, gap(x, self.engine))]


@singledispatch
def explained(body: nn.Module, ids: Ids) -> list[Step]:
    """The steps for one kind of model; of one that is not known here the engine's own numbers."""
    return [Step("embedding", "x", "What goes into the first layer: the engine's own numbers.", [],
                 [named("x", ids.engine, ids.rows)], None)]  # fmt: skip


PLAIN = "x_t = E_{w_t}", "The token's vector; positions come in where queries and keys meet."


@explained.register
def _(body: T5, ids: Ids) -> list[Step]:
    return ids.step(*PLAIN, body.embedding.weight[ids.text])


@explained.register
def _(body: Llama, ids: Ids) -> list[Step]:
    return ids.step(*PLAIN, body.token.weight[ids.batch.text[0]])


@explained.register
def _(body: GPT2, ids: Ids) -> list[Step]:
    token = body.token.weight[ids.batch.text[0]]
    position = body.position.weight[: len(token)]
    note = "The token's vector, and the learned vector of its position."
    return ids.step("x_t = E_{w_t} + P_t", note, token + position, E=token, P=position)


@explained.register
def _(body: Bert, ids: Ids) -> list[Step]:
    """Of the tables that there are, the rows that the engine looked up: where positions begin is for it to say."""
    parts = {
        name: flat(ids.calls[f"embeddings.{part}"][0].output)
        for name, part in (("E_token", "token"), ("E_position", "position"), ("E_segment", "segment"))
        if f"embeddings.{part}" in ids.calls
    }
    more, said = "", " and one of its position"
    if "E_segment" in parts:
        more, said = " + G_{g_t}", ", one of its position and one of its text"
    return ids.step(
        rf"x_t = \mathrm{{norm}}(E_{{w_t}} + P_t{more})",
        f"A learned vector of the token{said} are added, and the sum is normed.",
        normalise(body.embeddings.norm, torch.stack([*parts.values()]).sum(dim=0)), **parts,
    )  # fmt: skip


@explained.register
def _(body: Transformer, ids: Ids) -> list[Step]:
    table = body.source_embedding if ids.place == "encoder" else body.target_embedding
    scaled = table.weight[ids.text] * math.sqrt(body.config.d_model)
    positions = body.positions(torch.zeros_like(scaled)[None])[0]
    if not positions.any():
        return ids.step(r"x_t = \sqrt{d}\,E_{w_t}", "The token's vector; positions are not added.", scaled)
    note = "The token's vector, and the vector of its position."
    return ids.step(r"x_t = \sqrt{d}\,E_{w_t} + P_t", note, scaled + positions, **{"√d E": scaled, "P": positions})


@explained.register
def _(body: EncoderTranslator, ids: Ids) -> list[Step]:
    source, (cls, slot), n = ids.batch.source[0], body.cls_and_slot, len(ids.rows)
    vectors = torch.cat([body.embedding.weight[source], slot.expand(n - 1 - len(source), -1), cls[None]])
    positions = torch.cat([body.positions.table[1:n], body.positions.table[:1]])
    return ids.step(
        r"x_t = \mathrm{norm}(E_{w_t} + P_t)",
        "The token's vector, or that of an empty slot, and the vector of its position; [CLS] has position 0.",
        normalise(body.norm, vectors + positions), E=vectors, P=positions,
    )  # fmt: skip
