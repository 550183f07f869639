"""Accuracy and macro-F1 against counting by hand."""

from __future__ import annotations

import random

import pytest

from clew.errors import ClewError
from clew.metrics.classification import accuracy, macro_f1


def f1_by_hand(predicted: list[str], gold: list[str]) -> float:
    scores = []
    for label in {*predicted, *gold}:
        right = sum(p == g == label for p, g in zip(predicted, gold, strict=True))
        said, true = predicted.count(label), gold.count(label)
        precision, recall = right / said if said else 0.0, right / true if true else 0.0
        scores.append(2 * precision * recall / (precision + recall) if right else 0.0)
    return 100 * sum(scores) / len(scores)


@pytest.mark.parametrize("seed", range(5))
def test_equal_to_counting(seed: int) -> None:
    rng = random.Random(seed)
    gold = rng.choices("abcd", weights=[8, 4, 2, 1], k=60)
    predicted = [g if rng.random() < 0.6 else rng.choice("abcde") for g in gold]
    right = accuracy(predicted, gold)
    assert right.value == pytest.approx(100 * sum(p == g for p, g in zip(predicted, gold, strict=True)) / 60)
    assert right.low is not None and right.high is not None and right.low < right.value < right.high
    assert macro_f1(predicted, gold).value == pytest.approx(f1_by_hand(predicted, gold))


def test_known_values() -> None:
    assert accuracy(["a", "b"], ["a", "b"]).value == macro_f1(["a", "b"], ["a", "b"]).value == 100
    assert accuracy(["b", "a"], ["a", "b"]).value == macro_f1(["b", "a"], ["a", "b"]).value == 0
    # Always the frequent label: F1 of it is 2·3/(4 + 3), of the other 0.
    assert macro_f1(["a"] * 4, ["a", "a", "a", "b"]).value == pytest.approx(100 * (6 / 7 + 0) / 2)
    assert accuracy(["a"], ["a"]).low is None
    assert accuracy(["a", "c"], ["a", "b"]).signature == "accuracy|classes:2"


def test_what_cannot_be_scored() -> None:
    for predicted, gold in ((["a"], ["a", "b"]), ([], [])):
        with pytest.raises(ClewError, match="cannot be scored"):
            accuracy(predicted, gold)
        with pytest.raises(ClewError, match="cannot be scored"):
            macro_f1(predicted, gold)
