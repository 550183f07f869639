"""Schedules at their key points, and the ends of a budget in every unit."""

from __future__ import annotations

import itertools
import math

import pytest

from clew.config import KINDS, BudgetConfig, resolve
from clew.train.budget import Progress
from clew.train.schedule import Schedule


def schedule(kind: str, **settings: float) -> Schedule:
    chosen = resolve("schedule", kind)
    return chosen(chosen.Config(**settings))


@pytest.mark.parametrize(
    ("kind", "settings", "points"),
    [
        ("constant", {}, {(1, 0.0): 1, (999, 1.0): 1}),
        ("constant", {"warmup": 4}, {(1, 0.0): 0.25, (4, 0.0): 1, (5, 0.9): 1}),
        ("inverse_sqrt", {"warmup": 100}, {(1, 0): 0.01, (50, 0): 0.5, (100, 0): 1, (400, 0): 0.5, (10_000, 0): 0.1}),
        ("linear", {}, {(1, 0.0): 1, (7, 0.25): 0.75, (9, 1.0): 0, (9, 1.5): 0}),
        ("linear", {"warmup": 10}, {(5, 0.1): 0.45}),
        ("cosine", {}, {(1, 0.0): 1, (2, 0.5): 0.5, (3, 1.0): 0, (2, 1 / 3): 0.75}),
        ("cosine", {"floor": 0.2}, {(1, 0.0): 1, (2, 0.5): 0.6, (3, 1.0): 0.2}),
        ("one_cycle", {}, {(1, 0.0): 0.04, (2, 0.15): 0.52, (3, 0.3): 1, (4, 0.65): 0.5, (5, 1.0): 0}),
    ],
)
def test_key_points(kind: str, settings: dict[str, float], points: dict[tuple[int, float], float]) -> None:
    factor = schedule(kind, **settings)
    for (step, done), expected in points.items():
        assert factor(step, done) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS["schedule"])
def test_between_0_and_1_everywhere(kind: str) -> None:
    factor = schedule(kind)
    values = [factor(step, step / 500) for step in range(1, 501)]
    assert all(0 <= value <= 1 for value in values)
    assert max(values) > 0.99
    assert max(abs(a - b) for a, b in itertools.pairwise(values)) < 0.02  # no jump


def test_inverse_sqrt_is_the_papers_formula() -> None:
    """lrate = d^-0.5 · min(step^-0.5, step · warmup^-1.5) (eq. 3), up to its constant peak."""
    factor, warmup = schedule("inverse_sqrt", warmup=40), 40
    for step in (1, 10, 39, 40, 41, 1000):
        paper = min(step**-0.5, step * warmup**-1.5)
        assert factor(step, 0.5) == pytest.approx(paper * math.sqrt(warmup))


@pytest.mark.parametrize(
    ("limit", "used"),
    [
        ({"steps": 8}, {"step": 2}),
        ({"epochs": 0.5}, {"epoch": 0.125}),
        ({"tokens": 1000}, {"tokens": 250}),
        ({"cpu_minutes": 2}, {"cpu_seconds": 30.0}),
        ({"wall_minutes": 0.5}, {"wall_seconds": 7.5}),
        ({"flops": 1e12}, {"flops": 2.5e11}),
    ],
)
def test_share_of_a_budget(limit: dict[str, float], used: dict[str, float]) -> None:
    assert Progress(**used).share(BudgetConfig(**limit)) == pytest.approx(0.25)
    assert Progress(**used).share(BudgetConfig(**limit, **({} if "steps" in limit else {"steps": 1}))) == 0.25
    assert Progress(step=9, **{k: v for k, v in used.items() if k != "step"}).share(
        BudgetConfig(**{**limit, "steps": 10})
    ) == pytest.approx(0.9)  # the tightest counts
