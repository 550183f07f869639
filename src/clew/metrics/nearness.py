"""Whether vectors know which words stand near each other in text that they were not trained on."""

from __future__ import annotations

import numpy as np

from clew.data.corpus import keep_probability
from clew.metrics.bootstrap import Score, score, share

WINDOW = 5
PAIRS = 4096  # looked up at a time
SUBSAMPLE = 1e-4  # thins the frequent words, on both sides alike


def nearness(matrix: np.ndarray, ids: np.ndarray, ends: np.ndarray, counts: np.ndarray, *, seed: int = 1) -> Score:
    """How often, in percent, a word's vector has a larger cosine with a word up to 5 places on than with a random one.

    50 is chance; ties count half. matrix: (V, d); ids: (n,) the text, ends: (sentences,) where its sentences end;
    counts: (V,) how often each word occurs. The random word is drawn as often as text would show it, so that the
    frequency of a word tells nothing.
    """
    rng = np.random.default_rng(seed)
    keep = keep_probability(counts, SUBSAMPLE)
    kept = rng.random(len(ids)) < keep[ids]
    sentence = np.searchsorted(ends, np.arange(len(ids)), side="right")
    left = np.arange(max(0, len(ids) - WINDOW))
    right = left + rng.integers(1, WINDOW + 1, len(left))
    pairs = kept[left] & kept[right] & (sentence[left] == sentence[right])
    word, near = ids[left[pairs]], ids[right[pairs]]
    chance = counts * keep
    random = rng.choice(len(counts), size=len(word), p=chance / chance.sum())
    usable = (word != near) & (word != random)
    word, near, random = word[usable], near[usable], random[usable]
    margin = np.empty(len(word), matrix.dtype)
    for at in range(0, len(word), PAIRS):
        w, a, b = (_unit(matrix[rows[at : at + PAIRS]]) for rows in (word, near, random))
        margin[at : at + PAIRS] = np.einsum("nd,nd->n", w, a - b)
    wins = np.sign(margin) / 2 + 0.5
    return score(np.stack([wins, np.ones(len(wins))], axis=1), share, f"nearness|window:{WINDOW}|seed:{seed}")


def _unit(rows: np.ndarray) -> np.ndarray:
    units: np.ndarray = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return units
