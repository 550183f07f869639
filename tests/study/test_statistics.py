"""Student's t against tables, intervals and tests by hand."""

import math
import random
from statistics import fmean, stdev

import pytest

from clew.study.statistics import Interval, of_scores, over_seeds, welch
from clew.study.words import CHANCE


@pytest.mark.parametrize(
    ("n", "expected"), [(2, 12.706205), (3, 4.302653), (4, 3.182446), (5, 2.776445), (10, 2.262157), (11, 2.228139)]
)
def test_half_widths_are_those_of_the_tables(n: int, expected: float) -> None:
    values = [float(value) for value in range(n)]
    interval = over_seeds(values)
    assert interval.high - interval.mean == pytest.approx(expected * stdev(values) / n**0.5, rel=1e-6)


def test_interval_over_seeds() -> None:
    interval = over_seeds([30.0, 31.0, 32.0])
    assert interval.mean == 31
    assert interval.high - 31 == pytest.approx(4.302653 / 3**0.5)
    assert interval.per_seed == [30.0, 31.0, 32.0]
    assert over_seeds([5.0]) == Interval(5, 5, 5, [5.0])


def test_interval_of_scores_takes_seeds_first_and_the_bootstrap_for_one() -> None:
    scores = [{"value": 30.0, "low": 29.0, "high": 31.5}, {"value": 32.0, "low": 31.0, "high": 33.0}]
    assert of_scores(scores) == over_seeds([30.0, 32.0])
    assert of_scores(scores[:1]) == Interval(30, 29, 31.5, [30.0])
    assert of_scores([{"value": 3.0, "low": None, "high": None}]) == Interval(3, 3, 3, [3.0])


def test_welch_by_hand() -> None:
    # Two samples of four with equal variance: 6 degrees of freedom, t = -2.19089; the tables have p = 0.0710.
    assert welch([1.0, 2.0, 3.0, 4.0], [3.0, 4.0, 5.0, 6.0]) == pytest.approx(0.0710, abs=5e-5)
    # Two and three values: s²/n = 1 and 4, so t = 3/√5 with (1 + 4)² / (1/1 + 16/2) = 25/9 degrees of freedom.
    a, b = [0.0, 2.0], [4.0 - 12**0.5, 4.0, 4.0 + 12**0.5]
    assert welch(a, b) == welch(b, a) == pytest.approx(two_sided(3 / 5**0.5, 25 / 9), abs=1e-6)


def two_sided(t: float, dof: float) -> float:
    """P(|T| > t), Student's density summed up in small steps."""
    steps = 100_000
    constant = math.gamma((dof + 1) / 2) / (math.sqrt(dof * math.pi) * math.gamma(dof / 2))
    middle = math.fsum((1 + ((i + 0.5) * t / steps) ** 2 / dof) ** (-(dof + 1) / 2) for i in range(steps))
    return 1 - 2 * constant * middle * t / steps


def test_welch_where_nothing_varies() -> None:
    assert welch([1.0, 2.0], [1.0, 2.0]) == 1
    assert welch([0.1, 0.1], [0.1, 0.1, 0.1]) == 1
    assert welch([1.0, 1.0], [2.0, 2.0]) == 0
    assert welch([27.3, 27.3], [27.3, 27.300000000000004]) > CHANCE  # nearly so, and no warning


def test_welch_is_right_about_5_times_in_100_where_nothing_differs() -> None:
    rng = random.Random(0)
    draws = [[[rng.gauss(0, s) for _ in range(3)] for s in (1, 3)] for _ in range(1000)]
    wrong = fmean(welch(a, b) < 0.05 for a, b in draws)
    assert wrong <= 0.06
