"""Student's t against tables, intervals and tests by hand."""

import random
from statistics import fmean, stdev

import pytest

from clew.study.statistics import Interval, of_scores, over_seeds, t_central, t_quantile, welch


@pytest.mark.parametrize(
    ("p", "dof", "expected"),
    [
        (0.975, 1, 12.706205),
        (0.975, 2, 4.302653),
        (0.975, 3, 3.182446),
        (0.975, 4, 2.776445),
        (0.975, 9, 2.262157),
        (0.975, 10, 2.228139),
        (0.995, 5, 4.032143),
        (0.9, 30, 1.310415),
        (0.975, 1000, 1.962339),
    ],
)
def test_quantiles_are_those_of_the_tables(p: float, dof: int, expected: float) -> None:
    assert t_quantile(p, dof) == pytest.approx(expected, abs=2e-6)
    assert t_central(expected, dof) == pytest.approx(2 * p - 1, abs=1e-6)


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


def test_intervals_overlap() -> None:
    assert Interval(1, 0, 2, []).overlaps(Interval(3, 2, 4, []))
    assert not Interval(1, 0, 2, []).overlaps(Interval(3, 2.1, 4, []))


def test_welch_by_hand() -> None:
    # two samples of four with equal variance: dof = 6, t = difference / (s · √(2/4))
    a, b = [1.0, 2.0, 3.0, 4.0], [3.0, 4.0, 5.0, 6.0]
    t = 2 / (stdev(a) * 0.5**0.5)
    assert welch(a, b) == pytest.approx(1 - t_central(t, 6))
    assert welch(a, b) == pytest.approx(0.0710, abs=1e-4)
    assert welch(a, a) == 1
    assert welch([1.0, 1.0], [2.0, 2.0]) == 0


def test_welch_is_right_about_5_times_in_100_where_nothing_differs() -> None:
    rng = random.Random(0)
    draws = [[[rng.gauss(0, s) for _ in range(3)] for s in (1, 3)] for _ in range(1000)]
    wrong = fmean(welch(a, b) < 0.05 for a, b in draws)
    assert wrong <= 0.06
