"""Spans of BIO tags, against conlleval's rules and seqeval."""

import random

import pytest

from clew.errors import ClewError
from clew.metrics.spans import span_f1, spans, tag_accuracy

TAGS = ["O", "O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-creative-work", "I-creative-work"]


def drawn(seed: int) -> tuple[list[list[str]], list[list[str]]]:
    rng = random.Random(seed)
    gold = [rng.choices(TAGS, k=rng.randint(0, 12)) for _ in range(80)]
    return [[tag if rng.random() < 0.8 else rng.choice(TAGS) for tag in tags] for tags in gold], gold


def by_the_rules(tags: list[str]) -> set[tuple[str, int, int]]:
    """conlleval's start_of_chunk and end_of_chunk, word by word."""
    found, begin = set(), None
    before, kind_before = "O", ""
    for i, tag in enumerate([*tags, "O"]):
        mark, _, kind = tag.partition("-")
        if before != "O" and (mark in "BO" or kind != kind_before):
            found.add((kind_before, begin, i))
        if mark == "B" or (mark == "I" and (before == "O" or kind != kind_before)):
            begin = i
        before, kind_before = mark, kind
    return found


@pytest.mark.parametrize("seed", range(4))
def test_equal_to_counting(seed):
    predicted, gold = drawn(seed)
    right = said = true = 0
    for p, g in zip(predicted, gold, strict=True):
        assert set(spans(p)) == by_the_rules(p) and len(spans(p)) == len(by_the_rules(p))
        right += len(by_the_rules(p) & by_the_rules(g))
        said, true = said + len(by_the_rules(p)), true + len(by_the_rules(g))
    found = span_f1(predicted, gold)
    precision, recall = right / said, right / true
    assert (found.precision, found.recall) == pytest.approx((100 * precision, 100 * recall))
    assert found.f1.value == pytest.approx(200 * precision * recall / (precision + recall))
    assert found.f1.low < found.f1.value < found.f1.high and list(found.by_type) == ["LOC", "PER", "creative-work"]
    words = [(a, b) for p, g in zip(predicted, gold, strict=True) for a, b in zip(p, g, strict=True)]
    assert tag_accuracy(predicted, gold).value == pytest.approx(100 * sum(a == b for a, b in words) / len(words))


def test_known_spans():
    assert spans(["B-A", "I-A", "O", "B-A", "B-A"]) == [("A", 0, 2), ("A", 3, 4), ("A", 4, 5)]
    assert spans(["I-A", "I-A", "I-B", "O", "I-B"]) == [("A", 0, 2), ("B", 2, 3), ("B", 4, 5)]  # malformed
    assert spans(["B-A", "I-B"]) == [("A", 0, 1), ("B", 1, 2)] and spans(["B", "I", "O"]) == [("", 0, 2)]
    found = span_f1([["B-A", "O"], ["B-B"]], [["B-A", "I-A"], ["B-B"]])
    assert (found.precision, found.recall, found.f1.value) == (50, 50, 50) and found.by_type == {"A": 0, "B": 100}
    nothing = span_f1([["O"]], [["O"]])
    assert (nothing.precision, nothing.recall, nothing.f1.value) == (0, 0, 0) and "no spans" in str(nothing)


def test_what_cannot_be_scored():
    for tag in ("PER", "B_PER", "E-PER", ""):
        with pytest.raises(ClewError, match="is no BIO tag"):
            spans(["O", tag])
    for score in (span_f1, tag_accuracy):
        with pytest.raises(ClewError, match="cannot be scored against 0"):
            score([], [])
        with pytest.raises(ClewError, match=r"1 tags cannot be scored against 2\n.*sentence 2"):
            score([["O"], ["O"]], [["O"], ["O", "O"]])
