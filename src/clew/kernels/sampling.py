"""What word-vector objectives draw: words kept, window sizes, negatives; and how work is shared between threads.

Frequent words are dropped with word2vec's rule, f being a word's share of the corpus and t the threshold:

    P(keep) = min(1, (√(f/t) + 1) · t/f)                (word2vec.c; the paper has 1 − √(t/f) for dropping)

Negatives come from P(w) ∝ count(w)^¾ by Walker's alias method: one draw costs one table entry, however many the words.
The generator is xorshift64*; its state is an array that the caller keeps, so that a resumed run draws on.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from clew.kernels.blocks import Block, column, engine, part, stride
from clew.kernels.registers import LANES, prefetch

MULTIPLIER = np.uint64(0x2545F4914F6CDD1D)
LOW = np.uint64(0xFFFFFFFF)
PARTS = 4  # of a slice for each thread


class Draws(NamedTuple):
    """Tables to draw from, one entry per word: made by `draws`."""

    keep: np.ndarray  # (V,) uint64: a word stays where 32 random bits are below it
    entries: np.ndarray  # (V,) uint64: upper half the threshold below which the entry is its own word, lower its alias


class Settings(NamedTuple):
    """What the objectives have in common.

    whole: where a vector is the mean of n rows, each row moves by the whole gradient of the mean, as in word2vec.c,
    gensim and fastText, whose learning rates mean that; False: by a 1/n of it, the gradient (İrsoy et al. 2021).
    """

    window: int = 5
    negatives: int = 5
    share: int = 1  # windows that share their negatives; 0: every pair has its own
    whole: bool = True


def draws(counts: np.ndarray, *, sample: float = 1e-4, power: float = 0.75) -> Draws:
    """Tables for words that occur `counts` times; sample = 0 keeps every word."""
    counts = np.asarray(counts, np.float64)
    share = np.maximum(counts / counts.sum() / (sample or 1), 1e-12)
    kept = np.minimum(1, (np.sqrt(share) + 1) / share) if sample else np.ones(len(counts))
    scaled = counts**power
    threshold, alias = _alias(scaled * (len(counts) / scaled.sum()))
    own = np.minimum(threshold * 2**32, 2**32 - 1).astype(np.uint64)
    return Draws((kept * 2**32).astype(np.uint64), own << np.uint64(32) | alias.astype(np.uint64))


@engine
def _alias(scaled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Walker's tables (Vose's order) of a distribution given as multiples of the uniform one."""
    n = len(scaled)
    threshold, alias, left = np.ones(n), np.arange(n), scaled.copy()
    small, large = np.empty(n, np.int64), np.empty(n, np.int64)
    n_small = n_large = 0
    for i in range(n):
        if left[i] < 1:
            small[n_small] = i
            n_small += 1
        else:
            large[n_large] = i
            n_large += 1
    while n_small and n_large:
        n_small -= 1
        low, high = small[n_small], large[n_large - 1]
        threshold[low], alias[low] = left[low], high
        left[high] -= 1 - left[low]
        if left[high] < 1:
            n_large -= 1
            small[n_small] = high
            n_small += 1
    return threshold, alias


def states(seed: int, threads: int = 1) -> np.ndarray:
    """One generator state per thread, (threads, 1) uint64, never 0."""
    return np.random.SeedSequence(seed).generate_state(threads, np.uint64)[:, None] | np.uint64(1)


@part
def advance(x: np.uint64) -> np.uint64:
    """The next state of xorshift64*."""
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    return x ^ (x >> np.uint64(27))


@part
def below(x: np.uint64, n: int) -> int:
    """A whole number of [0, n) out of the state's upper 32 bits."""
    return np.int64(((x * MULTIPLIER) >> np.uint64(32)) * np.uint64(n) >> np.uint64(32))


@part
def negative(x: np.uint64, d: Draws) -> int:
    """A word drawn from count^power with state x: 32 random bits choose the entry, 32 others whether it is an alias."""
    entry = below(x, len(d.entries))
    held = d.entries[entry]
    return entry if (x & LOW) << np.uint64(32) < held else np.int64(held & LOW)


@part
def subsample(
    ids: np.ndarray, start: int, end: int, width: int, d: Draws, x: np.uint64, kept: np.ndarray
) -> tuple[int, np.uint64]:
    """Put the row offsets of the words of a sentence that stay into `kept`; returns how many, and the state."""
    n = 0
    for i in range(start, end):
        x = advance(x)
        kept[n] = ids[i] * np.int64(width)
        n += np.int64(((x * MULTIPLIER) >> np.uint64(32)) < d.keep[ids[i]])
    return n, x


@part
def repeats(kept: np.ndarray, n: int, span: int, latest: np.ndarray) -> None:
    """latest[p]: the last position of which a copy, at most `span` further on, stands at or before p; −1: none."""
    last = -1
    for p in range(n):
        for q in range(max(0, p - span), p):
            last = max(last, q if kept[q] == kept[p] else -1)
        latest[p] = last


@engine
def longest(ends: np.ndarray) -> int:
    """The number of words in the longest sentence."""
    start = most = 0
    for end in ends:
        most = max(most, end - start)
        start = end
    return most


@part
def draw_ahead(x: np.uint64, d: Draws, outputs: np.ndarray, ahead: np.ndarray) -> np.uint64:
    """Draw ahead[1:], offsets of negatives for the block after this one, and send for their rows; returns the state."""
    for j in range(1, len(ahead)):
        x = advance(x)
        ahead[j] = negative(x, d) * outputs.shape[1]
        prefetch(outputs, ahead[j])
    return x


@engine
def ones(b: Block, n: int) -> None:
    """Output 0 is the positive of every input, outputs 1 … n − 1 are negatives; every pair counts once."""
    for i in range(len(b.rows)):
        b.labels[i * stride(n)] = 1
        for j in range(n):
            b.weights[i * stride(n) + column(j)] = 1


@engine
def silence(b: Block, m: int, n: int) -> None:
    """Leave out the negatives that are the positive."""
    for j in range(1, n):
        if b.cols[j] == b.cols[0]:
            for i in range(m):
                b.weights[i * stride(n) + column(j)] = 0


def table(rows: int, d: int) -> np.ndarray:
    """A zero table (rows, d rounded up to LANES) float32 whose rows start at multiples of 64 bytes.

    The numbers past d are padding: zero at first, and no kernel changes that.
    """
    width = -(-d // LANES) * LANES
    room = np.zeros(rows * width + LANES, np.float32)
    start = (-room.ctypes.data % 64) // 4
    return room[start : start + rows * width].reshape(rows, width)


def check(ids: np.ndarray, ends: np.ndarray, words: int, *tables: np.ndarray) -> None:
    """Refuse what would make a kernel write outside its tables: ValueError, said once per call."""
    for array in tables:
        if array.dtype != np.float32 or not array.flags.c_contiguous or array.ndim != 2 or array.shape[1] % LANES:
            raise ValueError(f"tables must be contiguous float32 (rows, a multiple of {LANES}); use table()")
    if len({array.shape[1] for array in tables}) > 1:
        raise ValueError(f"tables have different widths: {[array.shape for array in tables]}")
    if len(ids) and not 0 <= ids.min() <= ids.max() < words:
        raise ValueError(f"word ids must be in 0 … {words - 1}, not {ids.min()} … {ids.max()}")
    if len(ends) and (ends[0] < 0 or (np.diff(ends) < 0).any() or ends[-1] > len(ids)):
        raise ValueError(f"sentence ends must rise and stay within {len(ids)} ids")


def in_threads(
    train: Callable[..., tuple[float, int]], ids: np.ndarray, ends: np.ndarray, states: np.ndarray, *settings: Any
) -> tuple[float, int]:
    """`train(ids, ends, state, *settings)` over as many threads as there are states; returns loss and pairs.

    Each thread takes parts of the slice, of whole sentences and about the same number of words, as long as there are
    any: one that is held up leaves its share to the others. All write to the same tables without a lock (Hogwild, Recht
    et al. 2011), so that only one thread gives the same result each time.
    """
    if len(states) == 1 or not len(ends):
        return train(ids, ends, states[0], *settings)
    cuts = np.searchsorted(ends, np.linspace(0, ends[-1], PARTS * len(states) + 1)[1:-1])
    begins = np.concatenate([[0], ends])[np.concatenate([[0], cuts])]
    parts = iter([(begin, part) for begin, part in zip(begins, np.split(ends, cuts), strict=True) if len(part)])

    def work(state: np.ndarray) -> list[tuple[float, int]]:
        return [train(ids[begin : part[-1]], part - begin, state, *settings) for begin, part in parts]

    others = [helpers(len(states) - 1).submit(work, state) for state in states[1:]]
    try:
        done = work(states[0])
    finally:
        wait(others)
    done += [result for other in others for result in other.result()]
    return sum(loss for loss, _ in done), sum(pairs for _, pairs in done)


@cache
def helpers(threads: int) -> ThreadPoolExecutor:
    """Threads that stand by for the next slice: to start new ones would take a twentieth of its time."""
    return ThreadPoolExecutor(threads, thread_name_prefix="clew-kernel")
