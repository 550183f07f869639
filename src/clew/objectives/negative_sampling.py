"""Negative sampling: tell the words that stood together from words drawn at random."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from clew.data.corpus import noise
from clew.kernels import cbow, sgns, subword
from clew.kernels.sampling import Settings
from clew.models.word2vec import Word2Vec
from clew.objectives.word_pairs import WordPairs, WordPairsConfig, parts_of


def negative_sampling(hidden: Tensor, positive: Tensor, negatives: Tensor, mask: Tensor | None = None) -> Tensor:
    """-log σ(u_c·v_w) - Σ_i log σ(-u_{n_i}·v_w) of each pair (Mikolov et al. 2013b, eq. 4).

    hidden v_w (N, d), positive u_c (N, d), negatives u_n (N, k, d) -> (N,); mask (N, k) True = the negative counts.
    """
    return loss_of_scores(torch.einsum("nd,nd->n", positive, hidden), scores_of(hidden, negatives), mask)


def scores_of(hidden: Tensor, rows: Tensor) -> Tensor:
    """u·v_w of v_w (N, d) with rows u (N, k, d): (N, k)."""
    return torch.einsum("nkd,nd->nk", rows, hidden)


def loss_of_scores(agree: Tensor, scores: Tensor, mask: Tensor | None = None) -> Tensor:
    """-log σ(s₊) - Σ_k log σ(-s_k), of the scores of the words that stood there (N,) and of their negatives (N, k)."""
    disagree = F.logsigmoid(-scores)
    return -F.logsigmoid(agree) - (disagree if mask is None else disagree * mask).sum(dim=1)


class NegativeSamplingConfig(WordPairsConfig):
    """Negatives of each pair; `share`: the pairs of a window have theirs in common (Ji et al. 2016), for speed.

    share = false is the papers' programs' way: every pair draws its own.
    """

    kind: str = "negative_sampling"
    negatives: int = Field(5, ge=1)
    share: bool = True


class NegativeSampling(WordPairs):
    """Skip-gram and CBOW, with n-grams or without; negatives come from P(w) ∝ count^¾."""

    Config = NegativeSamplingConfig

    def settings(self) -> Settings:
        return Settings(self.config.window, self.config.negatives, int(self.config.share))

    def losses(self, model: Word2Vec, hidden: Tensor, target: Tensor, generator: torch.Generator) -> Tensor:
        weights = torch.from_numpy(noise(model.vocabulary.counts)).to(target.device)
        k = self.config.negatives
        drawn = torch.multinomial(weights, len(target) * k, replacement=True, generator=generator).view(-1, k)
        another = drawn != target[:, None]  # the word itself is no negative
        return negative_sampling(hidden, model.output[target], model.output[drawn], another)

    def kernel(self, model: Word2Vec, settings: Settings) -> tuple[Any, ...]:
        if model.config.architecture == "cbow":
            return cbow.train_slice, parts_of(model), self.drawn(model), settings
        if model.config.max_n:
            return subword.train_slice, parts_of(model), self.drawn(model), settings
        return sgns.train_slice, self.drawn(model), settings
