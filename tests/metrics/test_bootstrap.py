"""Bootstrap intervals cover, and the paired test tells a difference from none."""

import numpy as np
import pytest

from clew.errors import ClewError
from clew.metrics import bootstrap, paired_bootstrap
from clew.metrics.bootstrap import score


def mean(sums: np.ndarray) -> np.ndarray:
    return sums[..., 0] / sums[..., 1]


def sample(values: np.ndarray, signature: str = "mean") -> object:
    return score(np.stack([values, np.ones_like(values)], axis=1), mean, signature)


def test_interval_of_a_mean_is_the_normal_one() -> None:
    values = np.random.default_rng(0).normal(5, 2, 400)
    low, high = bootstrap(np.stack([values, np.ones(400)], axis=1), mean, samples=4000)
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.03)
    assert high == pytest.approx(values.mean() + half, abs=0.03)


def test_interval_covers_the_truth_about_95_times_in_100() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for seed in range(200):
        values = rng.normal(0, 1, 60)
        low, high = bootstrap(np.stack([values, np.ones(60)], axis=1), mean, samples=200, seed=seed)
        covered += low <= 0 <= high
    assert 175 <= covered <= 199


def test_paired_test_sees_a_small_but_steady_difference() -> None:
    values = np.random.default_rng(2).normal(0, 10, 300)
    better = values + np.random.default_rng(3).normal(0.5, 1, 300)
    test = paired_bootstrap(sample(better), sample(values))
    assert test.difference == pytest.approx((better - values).mean())
    assert test.low < test.difference < test.high
    assert test.p_value < 0.01
    assert sample(better).low < sample(values).high  # the two intervals overlap: only pairing shows it


def test_paired_p_values_of_no_difference_are_uniform() -> None:
    rng = np.random.default_rng(4)
    p_values = [
        paired_bootstrap(sample(rng.normal(0, 1, 50)), sample(rng.normal(0, 1, 50)), samples=200).p_value
        for _ in range(150)
    ]
    assert 0 <= np.mean(np.array(p_values) < 0.05) <= 0.12
    assert 0.35 < np.mean(p_values) < 0.65


def test_equal_systems_have_p_one() -> None:
    values = np.random.default_rng(5).normal(0, 1, 50)
    assert paired_bootstrap(sample(values), sample(values)).p_value == 1


def test_different_metrics_or_sets_cannot_be_compared() -> None:
    with pytest.raises(ClewError, match="cannot be compared"):
        paired_bootstrap(sample(np.ones(3)), sample(np.ones(4)))
    with pytest.raises(ClewError, match="cannot be compared"):
        paired_bootstrap(sample(np.ones(3)), sample(np.ones(3), "median"))
