"""From bytes to word ids: a hash table of words and the compiled loop that looks them up."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from clew.compiled import njit

PRIME, BASIS = np.uint64(0x100000001B3), np.uint64(0xCBF29CE484222325)  # FNV-1a, 64 bits
LONGEST = 1024  # bytes: what is longer without white space is no word
HALF = np.uint64(32)
LOW = np.uint64(0xFFFFFFFF)


class _Memory(NamedTuple):
    """The table's arrays: word i is letters[starts[i] : starts[i + 1]]; a slot is 0 or (upper hash half, i + 1)."""

    slots: np.ndarray  # (a power of 2,) uint64
    starts: np.ndarray  # (room + 1,) int64
    counts: np.ndarray  # (room,) int64
    letters: np.ndarray  # uint8


class WordTable:
    """Words by the order in which they were first seen, with their counts."""

    def __init__(self) -> None:
        self.too_long = self._size = self._sentence = self._position = 0
        self._memory = _Memory(
            *(np.zeros(n, t) for n, t in ((1 << 19, np.uint64), (1, np.int64), (0, np.int64), (0, "u1")))
        )

    @classmethod
    def of(cls, words: bytes) -> WordTable:
        """The table of these words, between white space; they get the ids 0, 1, …"""
        table = cls()
        table.scan(words, len(words) + 1)
        table._sentence = table._position = 0
        return table

    def __len__(self) -> int:
        return self._size

    @property
    def counts(self) -> np.ndarray:
        return self._memory.counts[: self._size]

    def words(self, order: np.ndarray) -> bytes:
        """The words of that order, joined by line ends."""
        starts = self._memory.starts
        lengths = starts[order + 1] - starts[order]
        return _gather(self._memory, order, np.empty(lengths.sum() + len(order), np.uint8))[:-1].tobytes()

    def scan(self, text: bytes, longest: int, *, grow: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """The ids of the whole words in `text` (int32), and where sentences end, counted from the first scan (int64).

        A sentence ends at a line end or after `longest` words. With `grow` new words are added and all are counted,
        else they are left out.
        """
        most = len(text) // 2 + 1
        if grow:
            self._reserve(most, len(text))
        ids, ends = np.empty(most, np.int32), np.empty(most, np.int64)
        letters = np.frombuffer(text, np.uint8)
        n, n_ends, self._size, self._sentence, too_long = _scan(
            letters, ids, ends, self._memory, self._size, grow, self._sentence, longest
        )
        self.too_long += too_long
        ends[:n_ends] += self._position
        self._position += n
        return ids[:n], ends[:n_ends]

    def prune(self, count: int) -> None:
        """Forget the words counted at most `count` times."""
        order = np.flatnonzero(self.counts > count)
        counts, fresh = self.counts[order], WordTable.of(self.words(order))
        fresh._memory.counts[: len(fresh)] = counts
        self._size, self._memory = fresh._size, fresh._memory

    def _reserve(self, words: int, letters: int) -> None:
        """Make room for so many more, at most half of the slots being taken."""
        slots, starts, counts, held = self._memory
        if self._size + words > len(counts):
            room = 2 * (self._size + words)
            starts, counts = _longer(starts, room + 1), _longer(counts, room)
        if starts[self._size] + letters > len(held):
            held = _longer(held, 2 * (int(starts[self._size]) + letters))
        wanted = 1 << (2 * (self._size + words)).bit_length()
        if wanted > len(slots):
            slots = np.zeros(wanted, np.uint64)
            _fill(slots, starts, held, self._size)
        self._memory = _Memory(slots, starts, counts, held)


def _longer(array: np.ndarray, size: int) -> np.ndarray:
    longer = np.zeros(size, array.dtype)
    longer[: len(array)] = array
    return longer


@njit(nogil=True, cache=True)
def _fill(slots: np.ndarray, starts: np.ndarray, letters: np.ndarray, size: int) -> None:
    """Enter all words into empty slots."""
    mask = np.uint64(len(slots) - 1)
    for i in range(size):
        value = BASIS
        for k in range(starts[i], starts[i + 1]):
            value = (value ^ np.uint64(letters[k])) * PRIME
        place = (value ^ (value >> HALF)) & mask
        while slots[place]:
            place = (place + np.uint64(1)) & mask
        slots[place] = (value & ~LOW) | np.uint64(i + 1)


@njit(nogil=True, cache=True)
def _gather(memory: _Memory, order: np.ndarray, out: np.ndarray) -> np.ndarray:
    n = 0
    for i in order:
        for k in range(memory.starts[i], memory.starts[i + 1]):
            out[n] = memory.letters[k]
            n += 1
        out[n] = 10
        n += 1
    return out


@njit(nogil=True, cache=True)
def _scan(
    text: np.ndarray,
    ids: np.ndarray,
    ends: np.ndarray,
    memory: _Memory,
    size: int,
    grow: bool,
    sentence: int,
    longest: int,
) -> tuple[int, int, int, int, int]:
    """Returns the ids and ends written, the words in the table, the open sentence's length, and the words too long."""
    slots, starts, counts, letters = memory
    mask, one = np.uint64(len(slots) - 1), np.uint64(1)
    n = n_ends = too_long = at = 0
    while at < len(text):
        begin, value = at, BASIS
        while at < len(text) and (text[at] > 32 or (text[at] != 32 and (text[at] < 9 or text[at] > 13))):
            value = (value ^ np.uint64(text[at])) * PRIME
            at += 1
        too_long += at - begin > LONGEST
        if 0 < at - begin <= LONGEST:
            place = (value ^ (value >> HALF)) & mask
            found = -1
            while slots[place]:
                if (slots[place] ^ value) >> HALF == 0:
                    i = np.int64(slots[place] & LOW) - 1
                    start, k = starts[i], 0
                    if starts[i + 1] - start == at - begin:
                        while k < at - begin and letters[start + k] == text[begin + k]:
                            k += 1
                        if k == at - begin:
                            found = i
                            break
                place = (place + one) & mask
            if found < 0 and grow:
                found = size
                slots[place] = (value & ~LOW) | np.uint64(found + 1)
                start = starts[found]
                letters[start : start + at - begin] = text[begin:at]
                starts[found + 1] = start + at - begin
                size += 1
            if found >= 0:
                if grow:
                    counts[found] += 1
                ids[n] = found
                n += 1
                sentence += 1
        if sentence and (sentence == longest or (at < len(text) and text[at] == 10)):
            ends[n_ends] = n
            n_ends += 1
            sentence = 0
        at += 1
    return n, n_ends, size, sentence, too_long
