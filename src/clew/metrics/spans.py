"""Tags of words, and the spans that BIO tags spell, against gold ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from clew.errors import ClewError
from clew.metrics.bootstrap import Score, ratio, score, share

Tags = Sequence[str]
"""The tags of one sentence, one per word."""

Span = tuple[str, int, int]
"""(type, first word, word after the last)."""


@dataclass(frozen=True)
class Spans:
    """F1 of whole spans (same type, same borders), with the precision and recall behind it, all in percent."""

    f1: Score  # of all types together; resamples sentences
    precision: float
    recall: float
    by_type: dict[str, float]  # F1 of each type that occurs

    def __str__(self) -> str:
        types = ", ".join(f"{name} {value:.1f}" for name, value in self.by_type.items())
        return f"{self.f1}, precision {self.precision:.2f}, recall {self.recall:.2f}; {types or 'no spans'}"


def spans(tags: Tags) -> list[Span]:
    """The spans of a sentence tagged B-type, I-type, O, as conlleval reads them (Tjong Kim Sang & De Meulder 2003).

    A span also begins at an I- that follows O or another type: what is malformed is not lost. Raises ClewError for
    other tags.
    """
    found: list[Span] = []
    kind, begin = "", -1  # of the open span; -1: there is none
    for i, tag in enumerate([*tags, "O"]):
        if (tag != "O" and tag[:1] not in ("B", "I")) or tag[1:2] not in ("", "-"):
            raise ClewError(f'"{tag}" is no BIO tag', where=f"word {i + 1} of {len(tags)}", fix="use B-type, I-type, O")
        goes_on = begin >= 0 and tag[0] == "I" and tag[2:] == kind
        if begin >= 0 and not goes_on:
            found.append((kind, begin, i))
            begin = -1
        if tag != "O" and not goes_on:
            kind, begin = tag[2:], i
    return found


def span_f1(predicted: Sequence[Tags], gold: Sequence[Tags]) -> Spans:
    """Precision, recall and F1 = 2·right / (predicted + gold) of spans, over all sentences; the figure of CoNLL-2003.

    A ratio over nothing is 0. Raises ClewError where the two differ in sentences or words, or are empty.
    """
    _aligned(predicted, gold)
    pairs = [(set(spans(p)), set(spans(g))) for p, g in zip(predicted, gold, strict=True)]
    statistics = np.array([(len(p & g), len(p), len(g)) for p, g in pairs], dtype=np.float64)
    right, said, true = statistics.sum(axis=0)
    types = sorted({kind for p, g in pairs for kind, *_ in p | g})
    by_type = {kind: _f1_of_type(kind, pairs) for kind in types}
    f1 = score(statistics, _f1_of_sums, "span-F1|bio:lenient")
    return Spans(f1, 100 * float(ratio(right, said)), 100 * float(ratio(right, true)), by_type)


def tag_accuracy(predicted: Sequence[Tags], gold: Sequence[Tags]) -> Score:
    """The share of words with the right tag, in percent; the interval resamples sentences.

    Raises ClewError where the two differ in sentences or words, or are empty.
    """
    _aligned(predicted, gold)
    rows = [(sum(a == b for a, b in zip(p, g, strict=True)), len(g)) for p, g in zip(predicted, gold, strict=True)]
    return score(np.array(rows, dtype=np.float64), share, "tag-accuracy")


def _aligned(predicted: Sequence[Tags], gold: Sequence[Tags]) -> None:
    if len(predicted) != len(gold) or not gold:
        raise ClewError(f"{len(predicted)} tagged sentences cannot be scored against {len(gold)}")
    for number, (p, g) in enumerate(zip(predicted, gold, strict=True), start=1):
        if len(p) != len(g):
            raise ClewError(f"{len(p)} tags cannot be scored against {len(g)}", where=f"sentence {number}")


def _f1_of_type(kind: str, pairs: Iterable[tuple[set[Span], set[Span]]]) -> float:
    mine = [({s for s in p if s[0] == kind}, {s for s in g if s[0] == kind}) for p, g in pairs]
    return float(_f1_of_sums(np.array([(len(p & g), len(p), len(g)) for p, g in mine], dtype=np.float64).sum(axis=0)))


def _f1_of_sums(sums: np.ndarray) -> np.ndarray:
    """sums: (…, 3): right, predicted, gold."""
    return 100 * ratio(2 * sums[..., 0], sums[..., 1] + sums[..., 2])
