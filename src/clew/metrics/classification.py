"""Accuracy and F1 of predicted labels (their correlation: `clew.metrics.correlation`)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clew.errors import ClewError
from clew.metrics.bootstrap import Score, ratio, score, share


def accuracy(predicted: Sequence[str], gold: Sequence[str]) -> Score:
    """The share of right labels, in percent. Raises ClewError where the two differ in length or are empty."""
    guess, truth, _ = numbered(predicted, gold)
    right = (guess == truth).astype(float)
    return score(np.stack([right, np.ones_like(right)], axis=1), share, f"accuracy|classes:{len(set(gold))}")


def macro_f1(predicted: Sequence[str], gold: Sequence[str]) -> Score:
    """The mean over classes of F1 = 2·right / (predicted + gold), in percent; classes: all that occur on either side.

    Raises ClewError where the two differ in length or are empty.
    """
    guess, truth, n = numbered(predicted, gold)
    guesses, truths = np.eye(n)[guess], np.eye(n)[truth]
    statistics = np.concatenate([guesses * truths, guesses + truths], axis=1)
    return score(statistics, _mean_f1, f"macro-F1|classes:{len(set(gold))}")


def binary_f1(predicted: Sequence[str], gold: Sequence[str], positive: str) -> Score:
    """F1 = 2·right / (predicted + gold) of one label, in percent; 0 where it occurs on neither side.

    Raises ClewError where the two differ in length or are empty.
    """
    numbered(predicted, gold)
    said, true = np.array([p == positive for p in predicted]), np.array([g == positive for g in gold])
    statistics = np.stack([2.0 * (said & true), said.astype(float) + true], axis=1)
    return score(statistics, share, f"F1|positive:{positive}")


def numbered(predicted: Sequence[str], gold: Sequence[str]) -> tuple[np.ndarray, np.ndarray, int]:
    """Both as class numbers, and how many classes there are."""
    if len(predicted) != len(gold) or not gold:
        raise ClewError(f"{len(predicted)} predicted labels cannot be scored against {len(gold)}")
    number = {label: i for i, label in enumerate(sorted({*predicted, *gold}))}
    return np.array([number[p] for p in predicted]), np.array([number[g] for g in gold]), len(number)


def _mean_f1(sums: np.ndarray) -> np.ndarray:
    """sums: (…, 2 classes): right of each, then predicted + gold of each; a class that no resample has is no class."""
    right, both = np.split(sums, 2, axis=-1)
    return 100 * ratio(ratio(2 * right, both).sum(axis=-1), (both > 0).sum(axis=-1))
