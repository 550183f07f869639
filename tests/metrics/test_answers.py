"""SQuAD's figures: by hand, and against the official definitions written out question by question."""

import random
import string

import pytest

from clew.errors import ClewError
from clew.metrics.answers import answered, best_threshold, exact_match, normalised, question_scores, squad, token_f1

WORDS = ["the", "a", "An", "Paris,", "New", "York", "in", "1990", "It's", "U.S.", "—", "naïve", "cat-like", "!"]


def by_hand_normalised(text: str) -> str:
    """Remove punctuation, then articles, then spaces, one letter and one word after the other."""
    letters = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return " ".join(word for word in letters.split() if word not in ("a", "an", "the"))


def by_hand_f1(said: list[str], true: list[str], both_empty: float) -> float:
    if not said or not true:
        return both_empty if said == true else 0.0
    left, common = list(true), 0
    for word in said:
        if word in left:
            left.remove(word)
            common += 1
    if not common:
        return 0.0
    precision, recall = common / len(said), common / len(true)
    return 2 * precision * recall / (precision + recall)


def by_hand(answer: str, gold: list[str], version: str) -> tuple[float, float]:
    golds = [by_hand_normalised(text) for text in gold]
    if version == "2.0":
        golds = [text for text in golds if text] or [""]
    said = by_hand_normalised(answer)
    exact = max([1.0 if said == text else 0.0 for text in golds])
    return exact, max([by_hand_f1(said.split(), text.split(), 1.0 if version == "2.0" else 0.0) for text in golds])


def drawn(seed: int, version: str) -> tuple[list[str], list[list[str]]]:
    rng = random.Random(seed)

    def phrase() -> str:
        return " ".join(rng.choices(WORDS, k=rng.randint(1, 4)))

    gold = [[phrase() for _ in range(rng.randint(version == "1.1", 3))] for _ in range(200)]
    predicted = [rng.choice(g) if g and rng.random() < 0.3 else phrase() if rng.random() < 0.8 else "" for g in gold]
    return predicted, gold


@pytest.mark.parametrize("version", ["1.1", "2.0"])
@pytest.mark.parametrize("seed", range(3))
def test_equal_to_the_definitions(version, seed):
    predicted, gold = drawn(seed, version)
    rows = [by_hand(p, g, version) for p, g in zip(predicted, gold, strict=True)]
    exact, f1 = question_scores(predicted, gold, version)
    assert exact.tolist() == [row[0] for row in rows] and f1 == pytest.approx([row[1] for row in rows])
    found = squad(predicted, gold, version)
    assert found.exact.value == pytest.approx(sum(row[0] for row in rows) / 2)
    assert found.f1.value == pytest.approx(sum(row[1] for row in rows) / 2)
    assert found.f1.low is not None and found.f1.low < found.f1.value < found.f1.high
    if version == "2.0":
        has = [row for row, g in zip(rows, gold, strict=True) if g]
        none = [row for row, g in zip(rows, gold, strict=True) if not g]
        assert found.has_answer[0].value == pytest.approx(100 * sum(row[0] for row in has) / len(has))
        assert found.has_answer[1].value == pytest.approx(100 * sum(row[1] for row in has) / len(has))
        assert found.no_answer.value == pytest.approx(100 * sum(row[0] for row in none) / len(none))
        assert "unanswerable" in str(found)
    else:
        assert found.has_answer is None and found.no_answer is None


def test_known_values():
    assert normalised("The  U.S. Army's, an A-team—the end") == "us armys ateam— end"
    assert exact_match("the Eiffel Tower!", "Eiffel tower") == 1 and exact_match("Eiffel", "Eiffel Tower") == 0
    assert token_f1("in the city of Paris", "Paris city") == pytest.approx(2 * 2 / (4 + 2))
    assert token_f1("cat cat", "cat") == pytest.approx(2 * 1 / 3)
    assert (token_f1("the", ""), token_f1("the", "", "1.1"), token_f1("x", "")) == (1, 0, 0)
    found = squad(["Paris", "", "no"], [["paris", "The city"], [], []])
    assert found.exact.value == pytest.approx(200 / 3) and found.no_answer.value == 50


def test_the_best_threshold_is_the_best_of_all():
    rng = random.Random(5)
    predicted, gold = (side[:70] for side in drawn(7, "2.0"))
    predicted = [text if normalised(text) else "word" for text in predicted]  # as spans and gold answers are
    gold = [[text if normalised(text) else "word" for text in texts] for texts in gold]
    for nulls in ([rng.gauss(0, 3) for _ in gold], [float(rng.randint(-2, 2)) for _ in gold]):
        for part, by in enumerate(("exact", "f1")):

            def reached(threshold: float, nulls: list[float] = nulls, part: int = part) -> float:
                return 100 * question_scores(answered(predicted, nulls, threshold), gold)[part].mean()

            found = best_threshold(predicted, gold, nulls, by)
            every = [reached(threshold) for threshold in [min(nulls) - 1, *sorted(set(nulls))]]
            assert found.value == pytest.approx(max(every)) == pytest.approx(reached(found.threshold))


def test_thresholds_at_both_ends():
    assert best_threshold(["x", "y"], [["x"], ["y"]], [0.3, 0.9]).threshold == 0.9
    none = best_threshold(["x", "y"], [[], []], [0.3, 0.9])
    assert none.threshold < 0.3 and none.value == 100 and answered(["x", "y"], [0.3, 0.9], none.threshold) == ["", ""]


def test_what_cannot_be_scored():
    for predicted, gold in ((["a"], []), ([], []), (["a"], [["a"], ["b"]])):
        with pytest.raises(ClewError, match="cannot be scored"):
            squad(predicted, gold)
    with pytest.raises(ClewError, match=r"no gold answer\n.*question 2"):
        squad(["a", "b"], [["a"], []], "1.1")
    with pytest.raises(ClewError, match="1 null scores for 2 questions"):
        best_threshold(["a", "b"], [["a"], ["b"]], [0.1])
