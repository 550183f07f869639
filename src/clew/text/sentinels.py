"""Sentinels: the special tokens that stand for a missing part of a text, each part for another one."""

from __future__ import annotations

import re

import tokenizers as hf

from clew.errors import DataError, VocabularyError
from clew.text.tokenizer import Tokenizer

NAME = "<extra_id_{}>"  # as T5 calls them
STAND_IN = "a"
MARK = re.compile(r"<extra_id_(\d+)>")


def with_sentinels(tokenizer: Tokenizer, n: int) -> Tokenizer:
    """Return a vocabulary with n sentinels after all other tokens, whatever of them it has already."""
    inner = hf.Tokenizer.from_str(tokenizer.inner.to_str())
    inner.add_special_tokens([NAME.format(i) for i in range(n)])
    return Tokenizer(inner, split_specials=tokenizer.split_specials)


def sentinel_ids(tokenizer: Tokenizer) -> list[int]:
    """The ids of <extra_id_0>, <extra_id_1>, … Raises VocabularyError where there are none."""
    found: list[int] = []
    while (token := tokenizer.inner.token_to_id(NAME.format(len(found)))) is not None:
        found.append(token)
    if not found:
        raise VocabularyError("this vocabulary has no <extra_id_0>", fix="use a model that was trained to fill gaps")
    return found


def encode_gaps(tokenizer: Tokenizer, text: str) -> list[int]:
    """Ids of a text in which <extra_id_0>, <extra_id_1>, … are the special tokens.

    Raises DataError where they do not count up from 0, as a model has learned them.
    """
    known = sentinel_ids(tokenizer)
    numbers = [int(number) for number in MARK.findall(text)]
    if numbers != [*range(len(numbers))] or not 0 < len(numbers) <= len(known):
        raise DataError(
            f"the gaps of this text are numbered {numbers or 'not at all'}", where=text[:80] or "an empty line",
            fix=f"write <extra_id_0>, then <extra_id_1>, … (at most {len(known)}) where something is missing",
        )  # fmt: skip
    # A word stands in for each gap, so that a full stop after it is read as one, without a space before it.
    parts = [re.sub(r"^(?=\w)", " ", part) if n else part for n, part in enumerate(MARK.split(text)[::2])]
    (ids, spans), starts, at = tokenizer.encode_with_offsets([STAND_IN.join(parts)])[0], [], 0
    for part in parts[:-1]:
        starts.append(at + len(part))
        at = starts[-1] + len(STAND_IN)
    sentinel = dict(zip(starts, known, strict=False))
    found: list[int] = []
    for token, (start, _) in zip(ids, spans, strict=True):
        if found[-1:] != [sentinel.get(start)]:  # a small vocabulary has two tokens for the word, from the same place
            found.append(sentinel.get(start, token))
    return found


def gaps(tokenizer: Tokenizer, ids: list[int], n: int) -> list[str]:
    """What an output says is missing at each of n gaps: the text after each sentinel; "" where it is silent."""
    numbers = {token: number for number, token in enumerate(sentinel_ids(tokenizer))}
    found: list[list[int]] = [[] for _ in range(n)]
    at: list[int] | None = None
    for token in ids:
        if token in numbers:
            at = found[numbers[token]] if numbers[token] < n else None
        elif at is not None:
            at.append(token)
    return tokenizer.decode(found)


def filled(text: str, missing: list[str]) -> str:
    """The text with each of its gaps filled."""
    return MARK.sub(lambda mark: missing[int(mark[1])], text)
