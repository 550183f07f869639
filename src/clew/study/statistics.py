"""What a handful of seeds, or one test set, allows to say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any


@dataclass(frozen=True)
class Interval:
    """A mean over seeds with its 95% interval, and the value of each seed."""

    mean: float
    low: float
    high: float
    per_seed: list[float]


def over_seeds(values: Sequence[float]) -> Interval:
    """Return mean ± t(0.975, n-1) · s / √n of the seeds' values; one value alone has no width."""
    mean, n = fmean(values), len(values)
    if n == 1:
        return Interval(mean, mean, mean, list(values))
    from scipy.stats import t  # takes a second to import

    half = float(t.ppf(0.975, n - 1)) * stdev(values) / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, list(values))


def of_scores(scores: Sequence[dict[str, Any]]) -> Interval:
    """Return the interval of one metric from the `{value, low, high}` of each seed's run.

    Several seeds: the t-interval over them (how another training would do). One seed: the bootstrap interval over its
    test sentences (how another test set would do), which says nothing about other seeds.
    """
    values = [float(score["value"]) for score in scores]
    if len(values) > 1:
        return over_seeds(values)
    low, high = scores[0].get("low"), scores[0].get("high")
    return Interval(values[0], values[0] if low is None else low, values[0] if high is None else high, list(values))


def welch(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the two-sided p-value of Welch's t-test that two sets of seeds have one mean; two values each, at least.

    Where neither side varies, the test has no answer of its own: 1 for the same value, 0 for another.
    """
    from scipy.stats import ttest_ind_from_stats  # takes a second to import

    if stdev(a) == stdev(b) == 0:
        return float(a[0] == b[0])
    sides = (fmean(a), stdev(a), len(a)), (fmean(b), stdev(b), len(b))
    return float(ttest_ind_from_stats(*sides[0], *sides[1], equal_var=False).pvalue)
