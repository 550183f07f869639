"""SQuAD's exact match and F1 of answers, and the threshold below which a question has none.

The figures are those of the official scripts: evaluate-v1.1 (Rajpurkar et al. 2016) and evaluate-v2.0 (2018).
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from clew.errors import ClewError
from clew.metrics.bootstrap import Score, score, share

Version = Literal["1.1", "2.0"]
ARTICLES = re.compile(r"\b(a|an|the)\b")
NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True)
class Answers:
    """Exact match and F1 over all questions, and over those with and without an answer where there are both kinds."""

    exact: Score
    f1: Score
    has_answer: tuple[Score, Score] | None = None  # exact, F1
    no_answer: Score | None = None  # exact and F1 agree there

    def __str__(self) -> str:
        parts = f"exact match {self.exact}, F1 {self.f1}"
        if self.has_answer and self.no_answer:
            exact, f1 = self.has_answer
            parts += f"; answerable: {exact.value:.2f}, {f1.value:.2f}; unanswerable: {self.no_answer.value:.2f}"
        return parts


@dataclass(frozen=True)
class Threshold:
    """A question is left unanswered where its null score lies above `threshold`; `value` is the score so reached."""

    threshold: float
    value: float  # in percent


def normalised(text: str) -> str:
    """An answer as it is compared: lower case, without ASCII punctuation, articles and superfluous spaces."""
    return " ".join(ARTICLES.sub(" ", text.lower().translate(NO_PUNCTUATION)).split())


def exact_match(predicted: str, gold: str) -> float:
    """1 where the normalised answers are equal, otherwise 0."""
    return float(normalised(predicted) == normalised(gold))


def token_f1(predicted: str, gold: str, version: Version = "2.0") -> float:
    """F1 of the normalised words as a bag: 2·common / (predicted + gold), in [0, 1].

    Where one side has no words the result is 0, except that 2.0 gives 1 where neither has.
    """
    said, true = normalised(predicted).split(), normalised(gold).split()
    if version == "2.0" and not (said and true):
        return float(said == true)
    common = (Counter(said) & Counter(true)).total()
    return 2 * common / (len(said) + len(true)) if common else 0.0


def squad(predicted: Sequence[str], gold: Sequence[Sequence[str]], version: Version = "2.0") -> Answers:
    """Score one answer per question ("": none) by the best of its gold answers; no gold answers: it has none.

    Raises ClewError where the two differ in length or are empty, or where a question of 1.1 has no gold answer.
    """
    exact, f1 = question_scores(predicted, gold, version)
    has = np.array([bool(answers) for answers in gold])
    both = has.any() and not has.all()
    return Answers(
        _mean(exact, f"squad-exact|version:{version}"),
        _mean(f1, f"squad-F1|version:{version}"),
        (_mean(exact[has], "squad-exact|answerable"), _mean(f1[has], "squad-F1|answerable")) if both else None,
        _mean(exact[~has], "squad|unanswerable") if both else None,
    )


def question_scores(
    predicted: Sequence[str], gold: Sequence[Sequence[str]], version: Version = "2.0"
) -> tuple[np.ndarray, np.ndarray]:
    """(questions,) each: exact match and F1 in [0, 1]. Raises ClewError as `squad`."""
    if len(predicted) != len(gold) or not gold:
        raise ClewError(f"{len(predicted)} answers cannot be scored against {len(gold)} questions")
    exact, f1 = np.zeros(len(gold)), np.zeros(len(gold))
    for i, (answer, given) in enumerate(zip(predicted, gold, strict=True)):
        if version == "2.0":
            given = [text for text in given if normalised(text)] or [""]
        elif not given:
            raise ClewError("a question has no gold answer", where=f"question {i + 1}", fix='score it as version "2.0"')
        exact[i] = max(exact_match(answer, text) for text in given)
        f1[i] = max(token_f1(answer, text, version) for text in given)
    return exact, f1


def best_threshold(
    predicted: Sequence[str],
    gold: Sequence[Sequence[str]],
    null_scores: Sequence[float],
    by: Literal["exact", "f1"] = "f1",
) -> Threshold:
    """The threshold of the null score at which SQuAD 2.0's F1 (or exact match) is best, and that score.

    predicted: the best answer of each question that is a span; null_scores: the higher, the surer that there is none
    (of BERT: score of [CLS] - score of the best span). The official search, but that questions of equal null scores
    are answered together, and that where no answers at all are best the threshold lies just below all null scores
    (the official script, which expects probabilities, says 0). Raises ClewError as `squad`.
    """
    if len(null_scores) != len(gold):
        raise ClewError(f"{len(null_scores)} null scores for {len(gold)} questions")
    nulls = np.asarray(null_scores, dtype=np.float64)
    has, said = np.array([bool(answers) for answers in gold]), np.array([bool(text) for text in predicted])
    order = np.argsort(nulls, kind="stable")
    # As the official script counts: an answer of no words ("the") to a question without one is wrong here.
    gain = np.where(has, question_scores(predicted, gold)[by == "f1"], -1.0 * said)[order]
    totals = (~has).sum() + np.concatenate([[0.0], np.cumsum(gain)])  # the first k answered
    ranked = nulls[order]
    possible = np.concatenate([[True], ranked[1:] != ranked[:-1], [True]])
    best = int(np.where(possible, totals, -np.inf).argmax())
    threshold = ranked[best - 1] if best else np.nextafter(ranked[0], -np.inf)
    return Threshold(float(threshold), 100 * float(totals[best]) / len(gold))


def answered(predicted: Sequence[str], null_scores: Sequence[float], threshold: float) -> list[str]:
    """The answers, "" where the null score lies above the threshold."""
    return [text if null <= threshold else "" for text, null in zip(predicted, null_scores, strict=True)]


def _mean(values: np.ndarray, signature: str) -> Score:
    return score(np.stack([values, np.ones_like(values)], axis=1), share, signature)
