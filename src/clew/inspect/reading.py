"""A user's texts as the batches that a model reads, and their tokens by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from clew.batches import PairBatch, TextBatch
from clew.data.batches import Pairs, Texts
from clew.decode.search import Limits, search
from clew.errors import DataError
from clew.models.encoder_translator import EncoderTranslator
from clew.text.template import with_special_tokens, without_special_tokens
from clew.text.tokenizer import Tokenizer
from clew.text.tokenizer_pair import TokenizerPair

MASK = "[MASK]"  # in a text, whatever the vocabulary calls it


B = TypeVar("B", bound=PairBatch | TextBatch)


@dataclass(frozen=True)
class Reading(Generic[B]):
    """A batch of one text; the tokens of the text or source, and those that a decoder reads and writes; the classes."""

    batch: B
    source: list[str]
    target_in: list[str]
    target_out: list[str]
    labels: Sequence[str] = ()


def reading(model: Any, preprocessor: Any, text: str, target: str | None = None) -> Reading[Any]:
    """The text as this model reads it.

    A translator writes its own target, greedily, where none is given. Raises DataError for a text without a token,
    RecipeError for word vectors, which read none.
    """
    if "translate" in model.heads:
        return of_translator(model, preprocessor, text, target)
    return of_text(model, preprocessor, text)


def of_text(model: Any, preprocessor: Any, text: str) -> Reading[TextBatch]:
    """The text as an encoder or a model that writes reads it; "first<tab>second" is a pair of texts for an encoder."""
    tokenizer: Tokenizer = preprocessor.source
    whole, first = encoded(tokenizer, text)
    batch, tokens = Texts([whole], [0], [first]).batch([0], pad_id=tokenizer.pad_id), tokenizer.tokens(whole)
    writes = "language_model" in model.backbone.heads
    return Reading(batch, tokens, tokens if writes else [], [], preprocessor.labels)


def encoded(tokenizer: Tokenizer, text: str) -> tuple[list[int], int]:
    """The ids of a text in its encode_pairs, and how many are of the first segment."""
    mark = tokenizer.specials.mask
    one = tokenizer.exact and not mark  # what writes reads a text as it stands, tabs and all
    parts = [text] if one else text.replace(MASK, mark or MASK).split("\t")[:2]
    ids = tokenizer.encode_masked(parts) if mark else tokenizer.encode(parts)
    if not any(ids):
        raise no_token(text)
    second = ids[1] if len(ids) > 1 else None
    return (with_special_tokens if mark else without_special_tokens)(tokenizer, ids[0], second)


@dataclass(frozen=True)
class Together:
    """Some texts as a batch: tokens of each, in the order of the batch's rows; cut: how many were shortened."""

    batch: PairBatch | TextBatch
    tokens: list[list[str]]
    cut: int


def read_together(model: Any, preprocessor: Any, texts: Sequence[str], size: int = 32) -> Iterator[Together]:
    """Texts in batches of `size`, in their order; a translator reads them as sources, with nothing written yet.

    What is longer than the model has positions is cut. Raises DataError for a text without a token.
    """
    tokenizer, pairs = preprocessor.source, "translate" in model.heads
    for start in range(0, len(texts), size):
        some = texts[start : start + size]
        if pairs:
            firsts: list[int] = []
            rows = [[*ids, tokenizer.eos_id] for ids in tokenizer.encode(some)]
            short = next((text for text, ids in zip(some, rows, strict=True) if len(ids) < 2), None)
            if short is not None:
                raise no_token(short)
        else:
            rows, firsts = map(list, zip(*(encoded(tokenizer, text) for text in some), strict=True))
        end = -1 if pairs or tokenizer.specials.mask else None  # its frame has an end
        kept = [cut_to(ids, model.max_length, end) for ids in rows]
        cut = sum(len(a) < len(b) for a, b in zip(kept, rows, strict=True))
        batch: PairBatch | TextBatch = (
            Pairs([ids[:-1] for ids in kept], [[] for _ in kept]).batch(range(len(kept)), **preprocessor.ids)
            if pairs else Texts(kept, [0] * len(kept), firsts).batch(range(len(kept)), pad_id=tokenizer.pad_id)
        )  # fmt: skip
        yield Together(batch, [tokenizer.tokens(ids) for ids in kept], cut)


def cut_to(ids: list[int], longest: int | None, end: int | None) -> list[int]:
    """At most so many ids, the end of the frame among them."""
    if longest is None or len(ids) <= longest:
        return ids
    return ids[:longest] if end is None else [*ids[: longest - 1], ids[end]]


def no_token(text: str) -> DataError:
    return DataError("there is no token in this text", where=text[:80] or "an empty line", fix="write some words")


def of_translator(model: Any, preprocessor: TokenizerPair, text: str, target: str | None) -> Reading[PairBatch]:
    source: list[int] = preprocessor.source.encode([text])[0]
    if not source:
        raise no_token(text)
    written = greedy(model, preprocessor, source) if target is None else preprocessor.target.encode([target])[0]
    batch = Pairs([source], [written]).batch([0], **preprocessor.ids)
    names = columns(model, preprocessor.source.tokens(batch.source[0].tolist()), batch.target_out.shape[1])
    inputs, outputs = (preprocessor.target.tokens(ids[0].tolist()) for ids in (batch.target_in, batch.target_out))
    return Reading(batch, names, inputs, outputs)


@singledispatch
def columns(model: nn.Module, tokens: list[str], written: int) -> list[str]:
    """What the places of an encoder's states stand for, by the tokens of the source."""
    return tokens


@columns.register
def _(model: EncoderTranslator, tokens: list[str], written: int) -> list[str]:
    return [*tokens, *["(slot)"] * (written - len(tokens)), "[CLS]"]


@torch.no_grad()
def greedy(model: Any, preprocessor: TokenizerPair, source: list[int]) -> list[int]:
    """The model's own translation, without </s>."""
    bos, eos = preprocessor.ids["bos_id"], preprocessor.ids["eos_id"]
    ids = torch.tensor([[*source, eos]])
    limits = Limits(bos, eos, min(128, model.max_length or 128) - 1)
    return list(search(model, ids, torch.ones_like(ids, dtype=torch.bool), limits, 1)[0][0].ids)
