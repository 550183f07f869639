"""What goes into the first layer: the token's vector, and where it stands."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from clew.batches import PairBatch, TextBatch
from clew.inspect.walk import Step, gap, named, tracing
from clew.inspect.walks.norms import normalise
from clew.inspect.walks.places import Place, flat, read
from clew.models.bert import BertEmbeddings
from clew.models.encoder_translator import EncoderTranslator
from clew.models.gpt2 import GPT2
from clew.models.llama import Llama
from clew.models.t5 import T5
from clew.models.transformer import Transformer
from clew.nn.positions import NoPositions


def embedding(model: Any, batch: PairBatch | TextBatch, place: Place, rows: Sequence[str]) -> list[Step]:
    """The steps from ids to x, beside what the engine gives to its first layer."""
    first = f"{place.layers}.0"
    with tracing(model, first) as seen:
        read(model, batch)
    engine = flat(seen[first][0].args[0])
    if isinstance(model, T5):
        ids = batch.source[0] if place.name == "encoder" else batch.target_in[0]  # type: ignore[union-attr]
        return plain(model.embedding.weight[ids], engine, rows)
    if isinstance(model, Transformer):
        return of_transformer(model, batch, place, engine, rows)
    if isinstance(model, EncoderTranslator):
        return of_encoder_translator(model, batch, engine, rows)
    body = getattr(model, "body", model)  # under a head of ours
    if isinstance(body, GPT2):
        return of_gpt2(body, batch, engine, rows)
    inner = next(module for module in model.modules() if isinstance(module, BertEmbeddings))
    return of_bert(inner, batch, engine, rows)


def of_bert(embeddings: BertEmbeddings, batch: Any, engine: Tensor, rows: Sequence[str]) -> list[Step]:
    ids = batch.text[0]
    parts = {
        "E_token": embeddings.token.weight[ids],
        "E_position": embeddings.position.weight[: len(ids)],
        "E_segment": embeddings.segment.weight[batch.segment[0]],
    }
    x = normalise(embeddings.norm, torch.stack([*parts.values()]).sum(dim=0))
    return [Step(
        "embedding", r"x_t = \mathrm{norm}(E_{w_t} + P_t + G_{g_t})",
        "A learned vector of the token, one of its position and one of its text are added, and the sum is normed.", [],
        [*(named(name, part, rows) for name, part in parts.items()), named("x", x, rows)], gap(x, engine),
    )]  # fmt: skip


def plain(x: Tensor, engine: Tensor, rows: Sequence[str]) -> list[Step]:
    return [Step(
        "embedding", "x_t = E_{w_t}", "The token's vector; positions come in where queries and keys meet.", [],
        [named("x", x, rows)], gap(x, engine),
    )]  # fmt: skip


def of_gpt2(model: GPT2, batch: Any, engine: Tensor, rows: Sequence[str]) -> list[Step]:
    ids = batch.text[0]
    token = model.token.weight[ids]
    if isinstance(model, Llama):
        return plain(token, engine, rows)
    position = model.position.weight[: len(ids)]
    x = token + position
    return [Step(
        "embedding", r"x_t = E_{w_t} + P_t", "The token's vector, and the learned vector of its position.", [],
        [named("E", token, rows), named("P", position, rows), named("x", x, rows)], gap(x, engine),
    )]  # fmt: skip


def of_transformer(model: Transformer, batch: Any, place: Place, engine: Tensor, rows: Sequence[str]) -> list[Step]:
    table, ids = (
        (model.source_embedding, batch.source[0]) if place.name == "encoder"
        else (model.target_embedding, batch.target_in[0])
    )  # fmt: skip
    scaled = table.weight[ids] * math.sqrt(model.config.d_model)
    if isinstance(model.positions, NoPositions):
        return [Step(
            "embedding", r"x_t = \sqrt{d}\,E_{w_t}", "The token's vector; positions are not added.", [],
            [named("x", scaled, rows)], gap(scaled, engine),
        )]  # fmt: skip
    of_places = cast(Tensor, model.positions.table)
    positions = of_places[: len(ids)].to(scaled.dtype)
    x = scaled + positions
    return [Step(
        "embedding", r"x_t = \sqrt{d}\,E_{w_t} + P_t", "The token's vector, and the vector of its position.", [],
        [named("√d E", scaled, rows), named("P", positions, rows), named("x", x, rows)], gap(x, engine),
    )]  # fmt: skip


def of_encoder_translator(model: EncoderTranslator, batch: Any, engine: Tensor, rows: Sequence[str]) -> list[Step]:
    source, (cls, slot) = batch.source[0], model.cls_and_slot
    n_slots = len(rows) - 1 - len(source)
    vectors = torch.cat([model.embedding.weight[source], slot.expand(n_slots, -1), cls[None]])
    table = model.positions.table
    positions = torch.cat([table[1 : len(rows)], table[:1]])
    x = normalise(model.norm, vectors + positions)
    return [Step(
        "embedding", r"x_t = \mathrm{norm}(E_{w_t} + P_t)",
        "The token's vector, or that of an empty slot, and the vector of its position; [CLS] has position 0.", [],
        [named("E", vectors, rows), named("P", positions, rows), named("x", x, rows)], gap(x, engine),
    )]  # fmt: skip
