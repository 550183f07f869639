"""Vectors that are the mean of several rows of a table: a word's n-grams, or the words of a context.

h = 1/n Σ_i v_i        ∂L/∂v_i = 1/n ∂L/∂h
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from clew.kernels.blocks import engine, part
from clew.kernels.registers import add_to_rows, prefetch, sum_rows


class Parts(NamedTuple):
    """Word w is made of the rows rows[bounds[w] : bounds[w + 1]] of the input table."""

    rows: np.ndarray  # int64
    bounds: np.ndarray  # (V + 1,) int64


def whole_words(size: int) -> Parts:
    """Every word is one row, its own."""
    return Parts(np.arange(size), np.arange(size + 1))


def check_parts(parts: Parts, rows: int) -> None:
    """ValueError where a part lies outside a table of so many rows, or a word has no part."""
    if len(parts.rows) != parts.bounds[-1] or (np.diff(parts.bounds) < 1).any() or parts.bounds[0] != 0:
        raise ValueError("parts.bounds must rise by at least 1 per word, from 0 to the number of parts")
    if not 0 <= parts.rows.min() <= parts.rows.max() < rows:
        raise ValueError(f"parts lie outside the input table of {rows} rows")


@engine
def most(parts: Parts) -> int:
    """The parts of the word that has the most."""
    longest = 0
    for w in range(len(parts.bounds) - 1):
        longest = max(longest, parts.bounds[w + 1] - parts.bounds[w])
    return longest


@part
def collect(parts: Parts, word: int, width: int, bag: np.ndarray, n: int) -> int:
    """Append the offsets of a word's rows to the n that `bag` holds; returns how many it then holds."""
    for i in range(parts.bounds[word], parts.bounds[word + 1]):
        bag[n] = parts.rows[i] * width
        n += 1
    return n


@part
def send_for(parts: Parts, word: int, inputs: np.ndarray) -> None:
    """Prefetch the rows of a word."""
    for i in range(parts.bounds[word], parts.bounds[word + 1]):
        prefetch(inputs, parts.rows[i] * inputs.shape[1])


@part
def mean(inputs: np.ndarray, bag: np.ndarray, n: int, hidden: np.ndarray) -> None:
    """hidden[0] = the mean of the n rows."""
    sum_rows(inputs, bag, n, hidden)
    hidden[0] *= np.float32(1) / np.float32(n)


@part
def spread(inputs: np.ndarray, bag: np.ndarray, n: int, delta: np.ndarray, whole: bool) -> None:
    """Move the n rows by delta[0], or by a 1/n of it."""
    add_to_rows(inputs, bag, n, delta, np.float32(1) if whole else np.float32(1) / np.float32(n))
