"""Where an answer stands in its context: to the letter, or in another Unicode form of the same letters."""

from __future__ import annotations

import re
import unicodedata

JAMO = range(0x1160, 0x1200)  # vowels and last consonants of a Korean syllable written letter by letter


def nearest(text: str, start: int, context: str) -> tuple[int, int] | None:
    """Return the characters of a text in its context, [begin, end), where it stands nearest to the stated place.

    They may be apart a little, for readers strip what they read, and some tools count from 1. A text that stands there
    in another Unicode form (NFC, NFD, no-break spaces for spaces) is found too; None where it stands nowhere.
    """
    text = text.strip()
    if not text:
        return None
    if context.startswith(text, max(0, start)):
        return max(0, start), max(0, start) + len(text)
    found = [(at.start(), at.end()) for at in re.finditer(re.escape(text), context)] or composed(text, context)
    return min(found, key=lambda span: abs(span[0] - start), default=None)


def composed(text: str, context: str) -> list[tuple[int, int]]:
    """Return the places of a text in its context when both are brought into the same Unicode form, NFKC."""
    wanted, form, origin = unicodedata.normalize("NFKC", text), "", list[int]()
    parts = clusters(context)
    for begin, end in parts:
        letters = unicodedata.normalize("NFKC", context[begin:end])
        origin += [begin] + [-1] * (len(letters) - 1) if letters else []  # -1: within a letter
        form += letters
    origin.append(len(context))
    spans = ((found.start(), found.start() + len(wanted)) for found in re.finditer(re.escape(wanted), form))
    return [(origin[a], origin[b]) for a, b in spans if origin[a] >= 0 and origin[b] >= 0]


def clusters(text: str) -> list[tuple[int, int]]:
    """Return a text's letters, each with the marks that are combined with it, as [begin, end)."""
    begins = [
        i for i, c in enumerate(text) if i == 0 or not (unicodedata.combining(c) or ord(c) in JAMO)
    ]  # fmt: skip
    return list(zip(begins, [*begins[1:], len(text)], strict=True))
