"""Perplexity from summed negative log-likelihoods."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clew.errors import ClewError
from clew.metrics.bootstrap import Score, score


def perplexity(nll: Sequence[float] | float, count: Sequence[int] | int, *, per: str = "token") -> Score:
    """Compute exp(Σ nll / Σ count), the perplexity per unit counted.

    nll: negative log-likelihood in nats, summed over each sentence (or over all); count: the units it is shared
    among, per sentence (or in all): tokens (</s> included, since it is predicted) or words. Only the perplexity per
    word compares models of different tokenizers. Raises ClewError where nothing was counted.
    """
    statistics = np.stack([np.atleast_1d(nll), np.atleast_1d(count)], axis=1).astype(np.float64)
    if not statistics[:, 1].sum() > 0:
        raise ClewError(f"perplexity per {per} of no {per} at all")
    return score(statistics, _perplexity_of_sums, f"perplexity|per:{per}")


def _perplexity_of_sums(sums: np.ndarray) -> np.ndarray:
    """sums: (…, 2): negative log-likelihood, count."""
    with np.errstate(over="ignore"):  # a model that diverged has an infinite perplexity, and that is the answer
        values: np.ndarray = np.exp(sums[..., 0] / sums[..., 1])
    return values
