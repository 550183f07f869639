"""Scores with their uncertainty: a corpus metric is a function of sentence statistics, so resampling is a sum."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from clew.errors import ClewError

Metric = Callable[[np.ndarray], np.ndarray]
"""Summed statistics (…, k) → metric values (…): what makes a metric fast to bootstrap."""

SAMPLES = 1000


@dataclass(frozen=True)
class Score:
    """A corpus metric with its 95% bootstrap interval and the signature that makes it comparable.

    `low` and `high` are None where there are fewer than two sentences to resample. `sentences` holds the statistics
    (sentences, k) whose sum determines the metric through `metric`; `as_dict` is what a run folder keeps.
    """

    value: float
    low: float | None
    high: float | None
    signature: str
    sentences: np.ndarray = field(repr=False, compare=False)
    metric: Metric = field(repr=False, compare=False)

    def as_dict(self) -> dict[str, float | str | None]:
        return {"value": self.value, "low": self.low, "high": self.high, "signature": self.signature}

    def __str__(self) -> str:
        interval = "" if self.low is None else f" [{self.low:.2f}, {self.high:.2f}]"
        return f"{self.value:.2f}{interval} ({self.signature})"


@dataclass(frozen=True)
class PairedTest:
    """The difference a - b of a metric on the same sentences, its 95% interval and two-sided p-value."""

    difference: float
    low: float
    high: float
    p_value: float


def score(sentences: np.ndarray, metric: Metric, signature: str) -> Score:
    """Compute the corpus metric of summed statistics and its 95% bootstrap interval."""
    sentences = np.asarray(sentences, dtype=np.float64)
    low, high = bootstrap(sentences, metric) if len(sentences) > 1 else (None, None)
    return Score(float(metric(sentences.sum(axis=0))), low, high, signature, sentences, metric)


def mean_of(scores: Sequence[Mapping[str, Any]]) -> dict[str, float | str | None]:
    """The mean of independent scores, each as `Score.as_dict` has it; its interval from theirs."""
    n, value = len(scores), sum(each["value"] for each in scores) / len(scores)
    known = all(each["low"] is not None for each in scores)
    half = math.sqrt(sum(((each["high"] - each["low"]) / 2) ** 2 for each in scores)) / n if known else None
    low, high = (None, None) if half is None else (value - half, value + half)
    return {"value": value, "low": low, "high": high, "signature": f"mean of {n} sets"}


def bootstrap(
    sentences: np.ndarray, metric: Metric, *, samples: int = SAMPLES, level: float = 0.95, seed: int = 1
) -> tuple[float, float]:
    """Return the percentile interval of a corpus metric under resampling of its sentences (Efron 1979; Koehn 2004)."""
    values = metric(_resampled_sums(sentences, samples, seed))
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def paired_bootstrap(a: Score, b: Score, *, samples: int = SAMPLES, seed: int = 1) -> PairedTest:
    """Test whether two systems differ on the same sentences, by resampling the sentences of both alike.

    The two-sided p-value is the share of resamples whose difference lies further from the mean resampled difference
    than the observed difference lies from 0 (Riezler & Maxwell 2005), counting the observed one: p ≥ 1/(samples+1).
    Raises ClewError where the two were not measured by the same metric on as many sentences.
    """
    if a.signature != b.signature or a.sentences.shape != b.sentences.shape:
        raise ClewError(
            "scores of different metrics or test sets cannot be compared",
            where=f"{len(a.sentences)} sentences, {a.signature} against {len(b.sentences)} sentences, {b.signature}",
        )
    both = np.concatenate([a.sentences, b.sentences], axis=1)
    sums = _resampled_sums(both, samples, seed)
    width = a.sentences.shape[1]
    differences = a.metric(sums[:, :width]) - b.metric(sums[:, width:])
    observed = a.value - b.value
    further = np.abs(differences - differences.mean()) >= abs(observed)
    low, high = np.quantile(differences, [0.025, 0.975])
    return PairedTest(observed, float(low), float(high), float((further.sum() + 1) / (samples + 1)))


def _resampled_sums(sentences: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """(samples, k): sums of the statistics of as many sentences, drawn with replacement."""
    rng, n = np.random.default_rng(seed), len(sentences)
    return np.stack([np.bincount(rng.integers(n, size=n), minlength=n) @ sentences for _ in range(samples)])


def ratio(numerator: np.ndarray, denominator: np.ndarray, otherwise: float = 0.0) -> np.ndarray:
    """Divide, with `otherwise` where the denominator is 0."""
    zero = denominator == 0
    return np.where(zero, otherwise, numerator / np.where(zero, 1, denominator))


def share(sums: np.ndarray) -> np.ndarray:
    """sums: (…, 2): right, all; in percent."""
    return 100 * ratio(sums[..., 0], sums[..., 1])
