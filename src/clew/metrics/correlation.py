"""How two columns of numbers, or of labels, go together: Pearson, Spearman, Matthews."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clew.errors import ClewError
from clew.metrics.bootstrap import Score, ratio, score
from clew.metrics.classification import numbered


def pearson(predicted: Sequence[float], gold: Sequence[float]) -> Score:
    """Pearson's correlation r = cov(x, y) / (σ_x σ_y), in percent; 0 where one side is constant.

    Raises ClewError where the two differ in length, are empty, or hold what is no finite number.
    """
    x, y = _columns(predicted, gold)
    return score(_moments(_standard(x), _standard(y)), correlation_of_sums, "pearson")


def spearman(predicted: Sequence[float], gold: Sequence[float]) -> Score:
    """Spearman's ρ: Pearson's correlation of the ranks, equal values sharing their mean rank, in percent.

    The interval resamples rows with the ranks that they have among all. Raises ClewError as `pearson`.
    """
    x, y = _columns(predicted, gold)
    return score(_moments(centred_ranks(x), centred_ranks(y)), correlation_of_sums, "spearman")


def matthews(predicted: Sequence[str], gold: Sequence[str]) -> Score:
    """Matthews' correlation of labels (of two classes, φ), in percent; 0 where one side is constant.

    R_K = (c·s - Σ_k p_k t_k) / √((s² - Σ p_k²)(s² - Σ t_k²)), with s rows, c of them right, p_k predicted as class k
    and t_k of that class (Gorodkin 2004). Raises ClewError where the two differ in length or are empty.
    """
    guess, truth, n = numbered(predicted, gold)
    right = (guess == truth).astype(float)[:, None]
    statistics = np.concatenate([right, np.eye(n)[guess], np.eye(n)[truth]], axis=1)
    return score(statistics, _matthews_of_sums, f"matthews|classes:{len(set(gold))}")


def centred_ranks(values: np.ndarray) -> np.ndarray:
    """The rank of each value (n,), equal values sharing the mean of theirs, minus the mean rank."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[place] - (len(values) + 1) / 2


def correlation_of_sums(sums: np.ndarray) -> np.ndarray:
    """sums: (…, 6): n, Σx, Σy, Σx², Σy², Σxy."""
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    spread = np.sqrt(np.clip((n * xx - x * x) * (n * yy - y * y), 0, None))
    return 100 * ratio(n * xy - x * y, spread)


def _columns(predicted: Sequence[float], gold: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(predicted, dtype=np.float64), np.asarray(gold, dtype=np.float64)
    if x.shape != y.shape or not len(x):
        raise ClewError(f"{len(x)} predicted values cannot be correlated with {len(y)}")
    for side, values in (("predicted", x), ("gold", y)):
        if not np.isfinite(values).all():
            row = int(np.flatnonzero(~np.isfinite(values))[0])
            raise ClewError(f"a {side} value is not finite: {values[row]}", where=f"row {row + 1}")
    return x, y


def _standard(values: np.ndarray) -> np.ndarray:
    """Values of mean 0 and size about 1, which correlate as before and whose squares lose no digits."""
    centred = values - values.mean()
    largest = np.abs(centred).max()
    constant = largest <= 1e-13 * np.abs(values).max()  # what is left is rounding
    return np.zeros_like(values) if constant else centred / largest


def _moments(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)


def _matthews_of_sums(sums: np.ndarray) -> np.ndarray:
    """sums: (…, 1 + 2 classes): right, predicted as each, of each."""
    right, (predicted, true) = sums[..., 0], np.split(sums[..., 1:], 2, axis=-1)
    rows = true.sum(axis=-1)
    spread = (rows**2 - (predicted**2).sum(axis=-1)) * (rows**2 - (true**2).sum(axis=-1))
    return 100 * ratio(right * rows - (predicted * true).sum(axis=-1), np.sqrt(spread))
