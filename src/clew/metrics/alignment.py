"""Word alignments scored against gold links, sure and possible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clew.errors import ClewError, DataError
from clew.metrics.bootstrap import Score, ratio, score

Links = set[tuple[int, int]]
"""Word alignment of one sentence pair: (source word, target word), counted from 0."""


@dataclass(frozen=True)
class Alignment:
    """Alignment error rate (0 is best) with the precision and recall behind it, all in [0, 1]."""

    score: Score  # of the error rate
    precision: float
    recall: float

    @property
    def aer(self) -> float:
        return self.score.value


def aer(predicted: Sequence[Links], sure: Sequence[Links], possible: Sequence[Links] | None = None) -> Alignment:
    """Score predicted links A against gold links, S ⊆ P (Och & Ney 2003, over all sentences together).

    AER = 1 - (|A∩S| + |A∩P|) / (|A| + |S|); precision = |A∩P| / |A|; recall = |A∩S| / |S|.
    `possible` may leave the sure links out, and defaults to them. A ratio over nothing is 0, AER of nothing too.
    Raises ClewError where the lists differ in length or are empty.
    """
    possible = sure if possible is None else possible
    if not len(predicted) == len(sure) == len(possible) or not predicted:
        raise ClewError(
            f"{len(predicted)} alignments cannot be scored against {len(sure)} sure, {len(possible)} possible"
        )
    rows = [(len(a & s), len(a & (p | s)), len(a), len(s)) for a, s, p in zip(predicted, sure, possible, strict=True)]
    statistics = np.array(rows, dtype=np.float64)
    in_sure, in_possible, found, gold = statistics.sum(axis=0)
    return Alignment(
        score(statistics, _aer_of_sums, "aer|links:sure,possible"),
        precision=float(ratio(in_possible, found)),
        recall=float(ratio(in_sure, gold)),
    )


def _aer_of_sums(sums: np.ndarray) -> np.ndarray:
    """sums: (…, 4): |A∩S|, |A∩P|, |A|, |S|."""
    return 1 - ratio(sums[..., 0] + sums[..., 1], sums[..., 2] + sums[..., 3], otherwise=1.0)


def parse_links(text: str, *, first: int = 0) -> tuple[Links, Links]:
    """Read "0-0 1p2 …": `i-j` sure, `ipj` possible, source word first, words counted from `first`.

    Returns (sure, possible), the possible links holding the sure ones. Raises DataError on anything else.
    """
    sure: Links = set()
    possible: Links = set()
    for link in text.split():
        source, mark, target = link.partition("-" if "-" in link else "p")
        if not (mark and source.isdecimal() and target.isdecimal()):
            raise DataError(
                f'"{link}" is not an alignment link', where=text[:80], fix='write "0-0 1-2", or "0p3" for possible'
            )
        pair = (int(source) - first, int(target) - first)
        if min(pair) < 0:
            raise DataError(f'link "{link}" lies before word {first}', where=text[:80], fix=f"count words from {first}")
        possible.add(pair)
        if mark == "-":
            sure.add(pair)
    return sure, possible
