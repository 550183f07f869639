"""What a masked language model is asked: which tokens are hidden, and what stands in their places."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Masking:
    """Devlin et al. 2019, §3.1: 15% of the tokens are chosen; 80% of them become [MASK], 10% any token, 10% stay.

    share: of the tokens chosen, at least one of each text. plain: (n,) the ids that a random token is drawn from.
    continues: (V,) bool, True for pieces that go on with a word: where given, words are chosen whole.
    """

    share: float
    mask_id: int
    plain: np.ndarray
    continues: np.ndarray | None = None

    def __call__(self, text: np.ndarray, open: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """text: (batch, time) ids; open: the same shape, True where a token may be chosen.

        Returns the ids that the model is to read, and which tokens were chosen, (batch, time) bool.
        """
        chosen = choose(text, open, self.share, self.continues, rng)
        fate = rng.random(text.shape)
        read = np.where(chosen & (fate < 0.8), self.mask_id, text)
        swapped = chosen & (fate >= 0.9)
        read[swapped] = rng.choice(self.plain, int(swapped.sum()))
        return read, chosen


def choose(
    text: np.ndarray, open: np.ndarray, share: float, continues: np.ndarray | None, rng: np.random.Generator
) -> np.ndarray:
    """(batch, time) bool: round(share · n) of the n open tokens of each row, at random, and at least one.

    Whole words, where `continues` is given, are taken in random order for as long as the next one fits; the first
    always does.
    """
    words = np.broadcast_to(np.arange(text.shape[1]), text.shape)
    if continues is not None:
        words = np.cumsum(~(continues[text] & open), axis=1) - 1  # (batch, time) number of the word
    draws = np.take_along_axis(rng.random(text.shape), words, axis=1)  # one for each word
    draws = np.where(open, draws, 2.0)
    order = np.argsort(draws, axis=1, kind="stable")  # words one after another, in random order
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.broadcast_to(np.arange(text.shape[1]), text.shape), axis=1)
    wanted = np.maximum(1, np.rint(share * open.sum(axis=1)))[:, None]
    chosen: np.ndarray = open & (rank < wanted)
    if continues is None:
        return chosen
    cut = open & ~chosen & (draws == np.where(chosen, draws, -1.0).max(axis=1, keepdims=True))  # left of the last word
    last = draws == np.where(cut, draws, -1.0).max(axis=1, keepdims=True)
    only = rank.min(axis=1, keepdims=True, where=last, initial=text.shape[1]) == 0
    hidden: np.ndarray = np.where(only, chosen | cut, chosen & ~last)
    return hidden
