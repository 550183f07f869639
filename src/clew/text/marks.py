"""The marks between words, by Unicode class: what word vectors leave out of a text, in whatever script it is.

A mark is punctuation (P), a sign of mathematics or money (Sm, Sc), a modifier (Sk), a separator (Z) or a control (Cc):
it parts words like white space. In ASCII, these are `string.punctuation`. Letters, digits of any kind ("m²"), combining
signs and pictures are words. Within a word, by rule: "·", "‧" and the Hebrew "׳", "״" belong to it between
two letters ("col·legi"), elsewhere they are marks; soft hyphens, word joiners and marks of direction are not seen: they
are dropped and part nothing; the joiners that change how letters look (U+200C, U+200D) stay.
"""

from __future__ import annotations

import sys
import unicodedata
from functools import cache

import numpy as np

from clew.compiled import njit

LETTER, MARK, UNSEEN, MIDDLE = range(4)
CLASSES = {"Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "Zs", "Zl", "Zp", "Cc"}
EXCEPTIONS = {
    MARK: [0x200B],  # a space without width
    MIDDLE: [0xB7, 0x387, 0x2027, 0x5F3, 0x5F4],
    UNSEEN: [0xAD, 0x61C, 0x200E, 0x200F, 0x2060, 0xFEFF, *range(0x202A, 0x202F), *range(0x2066, 0x206A)],
    LETTER: [*range(0x1F3FB, 0x1F400), *b"\t\n\v\f\r\0"],  # colours of skin; white space is not ours to change
}


@cache
def kinds() -> np.ndarray:
    """Return what each code point is, uint8."""
    found = np.zeros(sys.maxunicode + 1, np.uint8)
    for n in range(0x20000):  # beyond, there are no marks
        found[n] = MARK * (unicodedata.category(chr(n)) in CLASSES)
    for kind, numbers in EXCEPTIONS.items():
        found[numbers] = kind
    return found


def without_marks(text: bytes) -> bytes:
    """Return whole words of UTF-8 with a space for each mark; bytes that are not UTF-8 stay as they are."""
    out = np.empty(len(text), np.uint8)
    return out[: _part(np.frombuffer(text, np.uint8), out, kinds())].tobytes()


@njit(nogil=True, cache=True)
def _letter(text: np.ndarray, at: int) -> tuple[int, int]:
    """Returns the code point at a byte and its length in bytes; -1 and 1 where that is not UTF-8."""
    first = np.int64(text[at])
    size = 1 + (first >= 0xC2) + (first >= 0xE0) + (first >= 0xF0)
    if size == 1:
        return (int(first) if first < 0x80 else -1), 1
    if at + size > len(text) or first > 0xF4:
        return -1, 1
    value = first & (0x7F >> size)
    for k in range(at + 1, at + size):
        if text[k] & 0xC0 != 0x80:
            return -1, 1
        value = (value << 6) | (text[k] & 0x3F)
    return (int(value) if value <= 0x10FFFF else -1), int(size)


@njit(nogil=True, cache=True)
def _part(text: np.ndarray, out: np.ndarray, kinds: np.ndarray) -> int:
    """Returns the bytes written."""
    n = at = 0
    while at < len(text):
        letter, size = _letter(text, at)
        kind = LETTER if letter < 0 else kinds[letter]
        if kind == MIDDLE:
            after = _letter(text, at + size)[0] if at + size < len(text) else 32
            within = n > 0 and out[n - 1] > 32 and after > 32 and kinds[after] == LETTER
            kind = LETTER if within else MARK
        if kind == LETTER:
            for k in range(at, at + size):
                out[n] = text[k]
                n += 1
        elif kind == MARK:
            out[n] = 32
            n += 1
        at += size
    return n
