"""A user's texts as the batches that a model reads, and their tokens by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from clew.batches import PairBatch, TextBatch
from clew.data.batches import Pairs, Texts
from clew.decode.search import Limits, search
from clew.errors import DataError, RecipeError
from clew.models.encoder_translator import EncoderTranslator
from clew.models.gpt2 import GPT2
from clew.text.template import with_special_tokens, without_special_tokens
from clew.text.tokenizer import Tokenizer
from clew.text.tokenizer_pair import TokenizerPair
from clew.text.words import WordVocabulary

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

    A translator writes its own target, greedily, where none is given. Raises DataError for a text without a token,
    RecipeError for word vectors, which read none.
    """
    if isinstance(tokenizers, WordVocabulary):
        raise RecipeError("word vectors read no text", where=type(model).__name__, fix="choose a run that reads texts")
    if isinstance(tokenizers, TokenizerPair):
        return of_translator(model, tokenizers, text, target)
    seen = of_encoder(getattr(tokenizers, "tokenizer", tokenizers), text)
    return replace(seen, target_in=seen.source) if isinstance(getattr(model, "body", model), GPT2) else seen


def of_encoder(tokenizer: Tokenizer, text: str) -> Reading:
    whole, first = encoded(tokenizer, text)
    batch = Texts([whole], [0], [first]).batch([0], pad_id=tokenizer.pad_id)
    return Reading(batch, tokenizer.tokens(whole), [], [])


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


def read_together(model: Any, tokenizers: Any, texts: Sequence[str], size: int = 32) -> Iterator[Together]:
    """Texts in batches of `size`, in their order; a translator reads them as sources, with nothing written yet.

    What is longer than the model has positions is cut. Raises DataError for a text without a token.
    """
    longest = getattr(getattr(model, "config", None) or model.encoder.config, "max_length", None)
    for start in range(0, len(texts), size):
        some = texts[start : start + size]
        if isinstance(tokenizers, TokenizerPair):
            tokenizer, firsts = tokenizers.source, []
            rows = [[*ids, tokenizer.eos_id] for ids in tokenizer.encode(some)]
            short = next((text for text, ids in zip(some, rows, strict=True) if len(ids) < 2), None)
            if short is not None:
                raise no_token(short)
        else:
            tokenizer = getattr(tokenizers, "tokenizer", tokenizers)
            rows, firsts = map(list, zip(*(encoded(tokenizer, text) for text in some), strict=True))
        end = -1 if isinstance(tokenizers, TokenizerPair) or tokenizer.specials.mask else None  # its frame has an end
        kept = [cut_to(ids, longest, end) for ids in rows]
        cut = sum(len(a) < len(b) for a, b in zip(kept, rows, strict=True))
        batch: PairBatch | TextBatch
        if isinstance(tokenizers, TokenizerPair):
            pairs = Pairs([ids[:-1] for ids in kept], [[] for _ in kept])
            batch = pairs.batch(range(len(kept)), **tokenizers.ids)
        else:
            batch = Texts(kept, [0] * len(kept), firsts).batch(range(len(kept)), pad_id=tokenizer.pad_id)
        yield Together(batch, [tokenizer.tokens(ids) for ids in kept], cut)


def cut_to(ids: list[int], longest: int | None, end: int | None) -> list[int]:
    """At most so many ids, the end of the frame among them."""
    if longest is None or len(ids) <= longest:
        return ids
    return ids[:longest] if end is None else [*ids[: longest - 1], ids[end]]


def no_token(text: str) -> DataError:
    return DataError("there is no token in this text", where=text[:80] or "an empty line", fix="write some words")


def of_translator(model: Any, tokenizers: TokenizerPair, text: str, target: str | None) -> Reading:
    source = tokenizers.source.encode([text])[0]
    if not source:
        raise no_token(text)
    written = greedy(model, tokenizers, source) if target is None else tokenizers.target.encode([target])[0]
    batch = Pairs([source], [written]).batch([0], **tokenizers.ids)
    names = tokenizers.source.tokens([*source, tokenizers.ids["eos_id"]])
    if isinstance(model, EncoderTranslator):
        names += ["(slot)"] * max(0, batch.target_out.shape[1] - batch.source.shape[1]) + ["[CLS]"]
    inputs, outputs = (tokenizers.target.tokens(ids[0].tolist()) for ids in (batch.target_in, batch.target_out))
    return Reading(batch, names, inputs, outputs)


@torch.no_grad()
def greedy(model: Any, tokenizers: TokenizerPair, source: list[int]) -> list[int]:
    """The model's own translation, without </s>."""
    ids = torch.tensor([[*source, tokenizers.ids["eos_id"]]])
    positions = getattr(model.config, "max_length", 128)
    limits = Limits(tokenizers.ids["bos_id"], tokenizers.ids["eos_id"], min(127, positions - 1))
    return list(search(model, ids, torch.ones_like(ids, dtype=torch.bool), limits, 1)[0][0].ids)
