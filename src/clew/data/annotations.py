"""Spans of characters, as annotation tools write them, as tags of words; other spellings of BIO tags."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clew.errors import DataError

BIOES = {"S": "B", "U": "B", "E": "I", "L": "I", "M": "I"}  # BIOES, BILOU and BMES say more than BIO, of the same spans
KEYS = (("start", "start_offset"), ("end", "end_offset"), ("label", "type"))  # Prodigy's, Label Studio's; doccano's


@dataclass
class Tagged:
    """The tags of the words of a text; cut: spans that begin or end within a word; lost: those that overlap another."""

    tags: list[str]
    cut: int = 0
    lost: int = 0


def are_spans(column: Sequence[Any]) -> bool:
    """Whether a column holds spans: [[0, 4, "PER"], …] or [{"start": 0, "end": 4, "label": "PER"}, …]."""
    return any(isinstance(value, str) and re.match(r"\s*\[\s*[\[{]", value) for value in column)


def of_spans(text: str, value: Any, where: str) -> Tagged:
    """Return BIO tags of the words between spaces: a word that a span touches is of it, the longest first.

    Raises DataError where a span is written otherwise, or leaves the text.
    """
    words = [found.span() for found in re.finditer(r"\S+", text)]
    found = Tagged(["O"] * len(words))
    given = json.loads(value) if isinstance(value, str) else value
    for begin, end, label in sorted((span(each, where) for each in given), key=lambda each: each[0] - each[1]):
        if not 0 <= begin < end <= len(text):
            raise DataError(
                f"a span from {begin} to {end} in a text of {len(text)} characters", where=where,
                fix="spans are [first character, the one after the last, label], counted from 0",
            )  # fmt: skip
        touched = [i for i, (a, b) in enumerate(words) if a < end and b > begin]
        if not touched or any(found.tags[i] != "O" for i in touched):
            found.lost += 1
            continue
        inside = text[begin:end].strip()
        found.cut += inside != text[words[touched[0]][0] : words[touched[-1]][1]]
        for i in touched:
            found.tags[i] = f"{'B' if i == touched[0] else 'I'}-{label}"
    return found


def span(each: Any, where: str) -> tuple[int, int, str]:
    """Return (begin, end, label) of a span in either form. Raises DataError for another."""
    try:
        if isinstance(each, dict):
            each = [next(each[key] for key in keys if key in each) for keys in KEYS]
        begin, end, label = each
        return int(begin), int(end), str(label)
    except (ValueError, TypeError, StopIteration) as error:
        raise DataError(
            f"this is no span: {json.dumps(each, ensure_ascii=False)[:60]}", where=where,
            fix='write [0, 4, "PER"] or {"start": 0, "end": 4, "label": "PER"}',
        ) from error  # fmt: skip


def as_bio(tag: str) -> str:
    """A tag of BIOES, BILOU or BMES as one of BIO."""
    return BIOES[tag[0]] + tag[1:] if tag[1:2] == "-" and tag[0] in BIOES else tag
