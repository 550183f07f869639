"""A user's text as the batch of one that a model reads, and its tokens by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from clew.data.batches import PairBatch, Pairs, TextBatch, Texts
from clew.decode.search import Limits, search
from clew.errors import DataError
from clew.models.encoder_translator import EncoderTranslator
from clew.text.framing import bare, framed
from clew.text.pair import Tokenizers
from clew.text.tokenizer import Tokenizer

MASK = "[MASK]"  # in a text, whatever the vocabulary calls it


@dataclass(frozen=True)
class Reading:
    """A batch of one text; the tokens of the text or source, and those that a decoder reads and writes."""

    batch: PairBatch | TextBatch
    source: list[str]
    target_in: list[str]
    target_out: list[str]


def reading(model: Any, tokenizers: Any, text: str, target: str | None = None) -> Reading:
    """The text as this model reads it; "first<tab>second" is a pair of texts for an encoder.

    A translator writes its own target, greedily, where none is given. Raises DataError for a text without a token.
    """
    if isinstance(tokenizers, Tokenizers):
        return of_translator(model, tokenizers, text, target)
    return of_encoder(getattr(tokenizers, "tokenizer", tokenizers), text)


def of_encoder(tokenizer: Tokenizer, text: str) -> Reading:
    mark = tokenizer.specials.mask
    parts = text.replace(MASK, mark or MASK).split("\t")[:2]
    ids = tokenizer.encode_masked(parts) if mark else tokenizer.encode(parts)
    if not any(ids):
        raise DataError("there is no token in this text", where=text[:80] or "an empty line", fix="write some words")
    second = ids[1] if len(ids) > 1 else None
    whole, first = (framed if mark else bare)(tokenizer, ids[0], second)
    batch = Texts([whole], [0], [first]).batch([0], pad_id=tokenizer.pad_id)
    return Reading(batch, tokenizer.tokens(whole), [], [])


def of_translator(model: Any, tokenizers: Tokenizers, text: str, target: str | None) -> Reading:
    source = tokenizers.source.encode([text])[0]
    if not source:
        raise DataError("there is no token in this text", where=text[:80] or "an empty line", fix="write some words")
    written = greedy(model, tokenizers, source) if target is None else tokenizers.target.encode([target])[0]
    batch = Pairs([source], [written]).batch([0], **tokenizers.ids)
    names = tokenizers.source.tokens([*source, tokenizers.ids["eos_id"]])
    if isinstance(model, EncoderTranslator):
        names += ["(slot)"] * max(0, batch.target_out.shape[1] - batch.source.shape[1]) + ["[CLS]"]
    inputs, outputs = (tokenizers.target.tokens(ids[0].tolist()) for ids in (batch.target_in, batch.target_out))
    return Reading(batch, names, inputs, outputs)


@torch.no_grad()
def greedy(model: Any, tokenizers: Tokenizers, source: list[int]) -> list[int]:
    """The model's own translation, without </s>."""
    ids = torch.tensor([[*source, tokenizers.ids["eos_id"]]])
    positions = getattr(model.config, "max_length", 128)
    limits = Limits(tokenizers.ids["bos_id"], tokenizers.ids["eos_id"], min(127, positions - 1))
    return list(search(model, ids, torch.ones_like(ids, dtype=torch.bool), limits, 1)[0][0].ids)
