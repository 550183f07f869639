"""Word alignments: read off the attention between words, and scored against gold links, sure and possible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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


def merge_subwords(weights: Any, target_words: Sequence[int], source_words: Sequence[int]) -> np.ndarray:
    """Turn attention between sub-words into attention between words: (target words, source words).

    weights: (T, S), row t attending to sub-words s; target_words, source_words: the word of each sub-word, from 0.
    A word receives the sum of what its sub-words receive, and gives the mean of what its sub-words give. Rows and
    columns past the ids (</s>) belong to no word: what a row gives to them is missing from its sum.
    """
    weights = np.asarray(weights, dtype=np.float32)
    if len(target_words) > weights.shape[0] or len(source_words) > weights.shape[1]:
        raise ClewError(
            f"attention of shape {weights.shape} is too small for {len(target_words)} target and "
            f"{len(source_words)} source sub-words"
        )
    target, source = _members(target_words), _members(source_words)
    counts = target.sum(axis=1, keepdims=True).clip(min=1)
    between: np.ndarray = (target / counts) @ weights[: len(target_words), : len(source_words)] @ source.T
    return between


def _members(words: Sequence[int]) -> np.ndarray:
    """(words, sub-words): 1 where the sub-word belongs to the word."""
    belongs: np.ndarray = np.arange(max(words, default=-1) + 1)[:, None] == np.asarray(words)
    return belongs.astype(np.float32)


def salient(weights: Any) -> list[int]:
    """For each target token, the source token that it attends to most."""
    weights = np.asarray(weights)
    return weights.argmax(axis=1).tolist() if weights.shape[1] else []


def align(weights: Any, *, least: float = 0.0) -> Links:
    """Read word attention (target words, source words) as links (source, target): each target word's largest weight.

    As in Garg et al. (2019), what is given to no word (</s>) does not compete: a word is aligned to nothing only where
    its largest weight is not above `least`.
    """
    weights = np.asarray(weights)
    return {(s, t) for t, s in enumerate(salient(weights)) if weights[t, s] > least}


def best_map(
    sentences: Sequence[Mapping[str, Any]], sure: Sequence[Links], possible: Sequence[Links] | None = None
) -> tuple[str, Alignment]:
    """Choose, among the named word-attention maps of each sentence, the name whose alignment has the lowest AER.

    To report an error rate of a model with many heads, choose on validation sentences and measure on others.
    Raises ClewError where there is no map to choose from.
    """
    if not sentences or not sentences[0]:
        raise ClewError("there is no attention to align with")
    scores = {name: aer([align(maps[name]) for maps in sentences], sure, possible) for name in sentences[0]}
    return min(scores.items(), key=lambda item: item[1].aer)
