"""BLEU and chrF through sacrebleu: its tokenisation, counts and signature; the sums are ours, for the bootstrap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from clew.errors import ClewError
from clew.metrics.bootstrap import Metric, Score, ratio, score

ORDER = 4  # of BLEU's n-grams
CHAR_ORDER, BETA = 6, 2  # of chrF's


def bleu(
    hypotheses: Sequence[str], references: Sequence[str], *, lowercase: bool = False, tokenize: str = "13a"
) -> Score:
    """Score detokenised text by corpus BLEU, in percent (Papineni et al. 2002), as sacrebleu does (Post 2018).

    BLEU = BP · exp(¼ Σ_n log p_n), p_n the clipped n-gram precisions of the corpus, BP = exp(min(0, 1 - r/c)).
    An order without a match is smoothed exponentially. Raises ClewError where the two lists differ in length.
    """
    from sacrebleu.metrics.bleu import BLEU  # imported where it is used: it takes a tenth of a second

    # force: the text is scored as it comes; sacrebleu would warn on standard error where it looks tokenised
    return _score(BLEU(lowercase=lowercase, tokenize=tokenize, force=True), _bleu_of_sums, hypotheses, references)


def chrf(hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    """Score text by corpus chrF2, in percent (Popović 2015), as sacrebleu does.

    F_β of precision and recall of character n-grams averaged over n = 1…6, β = 2, spaces left out.
    Raises ClewError where the two lists differ in length.
    """
    from sacrebleu.metrics.chrf import CHRF

    return _score(CHRF(char_order=CHAR_ORDER, beta=BETA), _chrf_of_sums, hypotheses, references)


def _score(sacre: Any, metric: Metric, hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    if len(hypotheses) != len(references) or not hypotheses:
        raise ClewError(f"{len(hypotheses)} hypotheses cannot be scored against {len(references)} references")
    # sacrebleu has no public way to the statistics of each sentence; a test holds this to its corpus_score.
    statistics = sacre._extract_corpus_statistics(list(hypotheses), [list(references)])
    return score(np.array(statistics), metric, str(sacre.get_signature()))


def _bleu_of_sums(sums: np.ndarray) -> np.ndarray:
    """sums: (…, 2 + 2·ORDER): hypothesis length, reference length, matched n-grams, hypothesis n-grams."""
    length, reference = sums[..., 0], sums[..., 1]
    correct, total = sums[..., 2 : 2 + ORDER], sums[..., 2 + ORDER :]
    unmatched = (correct == 0) & (total > 0)
    smoothed = ratio(np.ones_like(total), 2.0 ** np.cumsum(unmatched, axis=-1) * total)
    precision = np.where(unmatched, smoothed, ratio(correct, total))
    positive = (precision > 0).all(axis=-1) & (correct.sum(axis=-1) > 0)
    mean_log = np.log(np.where(precision > 0, precision, 1)).mean(axis=-1)
    brevity = np.where(length < reference, 1 - ratio(reference, length, np.inf), 0)
    return np.where(positive, 100 * np.exp(brevity + mean_log), 0.0)


def _chrf_of_sums(sums: np.ndarray) -> np.ndarray:
    """sums: (…, 3·CHAR_ORDER): n-grams of the hypothesis, of the reference and of both, for each order."""
    hypothesis, reference, both = (sums[..., k::3] for k in range(3))
    orders = ((hypothesis > 0) & (reference > 0)).sum(axis=-1)
    used = (hypothesis > 0) & (reference > 0)
    precision = ratio((ratio(both, hypothesis) * used).sum(axis=-1), orders)
    recall = ratio((ratio(both, reference) * used).sum(axis=-1), orders)
    return 100 * ratio((1 + BETA**2) * precision * recall, BETA**2 * precision + recall)
