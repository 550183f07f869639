"""Character n-grams and their buckets, exactly as fastText makes them: the readable form, and whole lists at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

END_OF_SENTENCE = "</s>"  # fastText's own word; it has no n-grams
OFFSET, PRIME = 2166136261, 16777619  # of the 32-bit FNV-1a hash


def ngrams(word: str, minn: int, maxn: int) -> list[str]:
    """List the n-grams of minn to maxn characters of `<word>` (Bojanowski et al. 2017, section 3.2).

    `<` and `>` mark the word's ends and are no n-grams by themselves; `</s>` has none. Characters are code points.
    """
    if word == END_OF_SENTENCE:
        return []
    marked = f"<{word}>"
    inside = range(1, len(marked) - 1)
    return [
        marked[i : i + n]
        for i in range(len(marked))
        for n in range(max(minn, 1), maxn + 1)
        if i + n <= len(marked) and (n > 1 or i in inside)
    ]


def hash_ngram(ngram: bytes) -> int:
    """Hash UTF-8 bytes to 32 bits by FNV-1a, each byte taken as a signed char and widened, as fastText does.

    h ← 2166136261; for each byte b: h ← (h xor b)·16777619 mod 2³².
    """
    h = OFFSET
    for byte in ngram:
        h = ((h ^ (byte if byte < 128 else byte | 0xFFFFFF00)) * PRIME) & 0xFFFFFFFF
    return h


def ngram_buckets(words: Sequence[str], minn: int, maxn: int, bucket: int) -> tuple[np.ndarray, np.ndarray]:
    """Hash the n-grams of many words: `hash_ngram(g) % bucket` for g in `ngrams(word)`, word after word.

    Returns the buckets (n,), int64 in [0, bucket), and the bounds (words + 1,) of each word's own among them.
    """
    marked = [b"" if word == END_OF_SENTENCE else f"<{word}>".encode() for word in words]
    text = np.frombuffer(b"".join(marked), dtype=np.int8)
    signed = text.astype(np.int32).view(np.uint32)
    starts = np.flatnonzero((text.view(np.uint8) & 0xC0) != 0x80)  # of the characters
    lengths = np.diff(starts, append=len(text))
    word_ends = np.cumsum([len(m) for m in marked])  # in bytes
    word_of = np.searchsorted(word_ends, starts, side="right")
    first_of_word = np.searchsorted(starts, np.concatenate([[0], word_ends]))  # in characters; one past the last too
    left = first_of_word[word_of + 1] - np.arange(len(starts))  # characters to the word's end, this one counted
    maxn = min(maxn, int(left.max(initial=0)))
    orders = range(max(minn, 1), maxn + 1)
    found = np.full((len(starts), len(orders)), -1, dtype=np.int64)
    h = np.full(len(starts), OFFSET, dtype=np.uint32)
    for n in range(1, maxn + 1):
        # The n-gram at each character grows by its n-th: one to four bytes, beyond the word's end none.
        here = np.flatnonzero(left >= n)
        nth = here + n - 1
        for k in range(int(lengths[nth].max(initial=0))):
            longer = lengths[nth] > k
            at = here[longer]
            h[at] = (h[at] ^ signed[starts[nth[longer]] + k]) * np.uint32(PRIME)
        if n >= orders.start:
            if n == 1:
                here = here[(left[here] > 1) & (np.diff(word_of, prepend=-1)[here] == 0)]
            found[here, n - orders.start] = h[here] % np.uint32(bucket)
    per_character = (found >= 0).sum(axis=1)
    bounds = np.concatenate([[0], np.cumsum(per_character)])[first_of_word]
    return found[found >= 0], bounds
