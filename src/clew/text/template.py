"""One text or two as a model reads them: [CLS] A [SEP], or [CLS] A [SEP] B [SEP], cut to a length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clew.text.tokenizer import Tokenizer


@dataclass
class Encoded:
    """ids of each text (or pair); first: how many are the first text's, frame included; cut: which were cut short."""

    ids: list[list[int]]
    first: list[int]
    cut: list[int]


def with_special_tokens(tokenizer: Tokenizer, first: list[int], second: list[int] | None) -> tuple[list[int], int]:
    """Return the ids of both with their special tokens, and the number of those of the first segment."""
    ids, end = [tokenizer.bos_id, *first, tokenizer.eos_id], [tokenizer.eos_id]
    if second is None:
        return ids, len(ids)
    return [*ids, *end * (tokenizer.separators - 1), *second, *end], len(ids)


def encode_pairs(tokenizer: Tokenizer, first: Sequence[str], second: Sequence[str] | None, max_length: int) -> Encoded:
    """Encode texts, or pairs of them; the longer text of one that is over `max_length` tokens loses its end.

    A vocabulary with a mask token belongs to an encoder, which reads frames. Others read bare texts after what begins a
    text there, if anything does: of a pair, one after the other with </s> between them; a text without any token is one
    unknown word.
    """
    out = Encoded([], [], [])
    frames = tokenizer.mask_id is not None
    encoded = tokenizer.encode(first)
    others: Sequence[list[int] | None] = [None] * len(encoded) if second is None else tokenizer.encode(second)
    for a, b in zip(encoded, others, strict=True):
        room = max_length - (2 if frames else len(tokenizer.opening))
        room -= (tokenizer.separators if frames else 1) * (b is not None)
        if len(a) + len(b or ()) > room:
            out.cut.append(len(out.ids))
        kept, rest = shares(len(a), len(b or ()), room)
        a, b = a[:kept], b if b is None else b[:rest]
        ids, n = with_special_tokens(tokenizer, a, b) if frames else without_special_tokens(tokenizer, a, b)
        out.ids.append(ids)
        out.first.append(n)
    return out


def without_special_tokens(tokenizer: Tokenizer, first: list[int], second: list[int] | None) -> tuple[list[int], int]:
    """Return the ids of both for a model that knows no frame, and the number of those of the first segment."""
    if second is None:
        ids = [*tokenizer.opening, *(first or [tokenizer.unk_id])]
        return ids, len(ids)
    ids = [*tokenizer.opening, *first, tokenizer.eos_id]
    return [*ids, *second], len(ids)


def shares(first: int, second: int, room: int) -> tuple[int, int]:
    """How many tokens of two texts are kept: what is over `room` is taken off the longer one, then off both alike."""
    half = max(room, 0) // 2
    if first + second <= room:
        return first, second
    if second <= half:
        return max(room, 0) - second, second
    return (first, max(room, 0) - first) if first <= half else (max(room, 0) - half, half)
