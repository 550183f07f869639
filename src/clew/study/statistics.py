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

    def overlaps(self, other: Interval) -> bool:
        return self.low <= other.high and other.low <= self.high


def over_seeds(values: Sequence[float]) -> Interval:
    """Mean ± t(0.975, n-1) · s / √n of the seeds' values; one value alone has no width."""
    mean, n = fmean(values), len(values)
    half = t_quantile(0.975, n - 1) * stdev(values) / math.sqrt(n) if n > 1 else 0.0
    return Interval(mean, mean - half, mean + half, list(values))


def of_scores(scores: Sequence[dict[str, Any]]) -> Interval:
    """Interval of one metric from the `{value, low, high}` of each seed's run.

    Several seeds: the t-interval over them (how another training would do). One seed: the bootstrap interval over its
    test sentences (how another test set would do), which says nothing about other seeds.
    """
    values = [float(score["value"]) for score in scores]
    if len(values) > 1:
        return over_seeds(values)
    low, high = scores[0].get("low"), scores[0].get("high")
    return Interval(values[0], values[0] if low is None else low, values[0] if high is None else high, list(values))


def welch(a: Sequence[float], b: Sequence[float]) -> float:
    """Two-sided p-value of Welch's t-test that two sets of seeds have one mean; degrees of freedom are rounded down.

    Needs two values on each side. Rounding makes the test slightly too cautious, never too bold.
    """
    variances = stdev(a) ** 2 / len(a), stdev(b) ** 2 / len(b)
    total, difference = sum(variances), abs(fmean(a) - fmean(b))
    if total == 0:
        return 1.0 if difference == 0 else 0.0
    spread = variances[0] ** 2 / (len(a) - 1) + variances[1] ** 2 / (len(b) - 1)
    return 1 - t_central(difference / math.sqrt(total), max(1, math.floor(total**2 / spread)))


def t_central(t: float, dof: int) -> float:
    """P(|T| ≤ t) of Student's t with a whole number of degrees of freedom (Abramowitz & Stegun 26.7.3-4)."""
    theta = math.atan(t / math.sqrt(dof))
    sine, cosine = math.sin(theta), math.cos(theta)
    term = cosine if dof % 2 else 1.0
    series = 0.0
    for k in range(1 if dof % 2 else 0, dof - 1, 2):
        series += term
        term *= cosine**2 * (k + 1) / (k + 2)
    return 2 / math.pi * (theta + sine * series) if dof % 2 else sine * series


def t_quantile(p: float, dof: int) -> float:
    """The t below which Student's distribution holds a share p ≥ 0.5, by bisection."""
    low, high = 0.0, 1.0
    while t_central(high, dof) < 2 * p - 1:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if t_central(middle, dof) < 2 * p - 1 else (low, middle)
    return high
