"""What a new model may know of its data before it learns."""

from __future__ import annotations

from itertools import takewhile
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from clew.config import Choice
from clew.contracts import Model
from clew.data.corpus import CorpusLoader
from clew.data.documents import Documents
from clew.inputs import Words

COUNTED = 1 << 24  # tokens from which a model's beginning is learned
LEARNING_RATE = 0.025  # of skip-gram, as in word2vec's program; it falls to nothing


class PublishedConfig(Choice):
    """Weights begin as the model's own file has them."""

    kind: str = "published"


class Published:
    """Weights begin as the model's own file has them."""

    Config: type[Choice] = PublishedConfig

    def __init__(self, config: Any) -> None:
        self.config = config

    def __call__(self, model: Model, loader: Any) -> None:
        """Change a new model, by what its training batches are made of."""


class TokenStatisticsConfig(Choice):
    """The vocabulary's bias begins at the frequencies of the tokens, and their vectors where skip-gram puts them."""

    kind: str = "token_statistics"
    word_vectors: int = Field(0, ge=0)  # epochs of skip-gram with which the token embeddings begin; 0: at random


class TokenStatistics(Published):
    """Set the bias of a new model to the logarithm of each token's share of the text, and its token embeddings, where
    `word_vectors` says so, to the vectors that skip-gram gives them on the same text.

    Its states then need not learn which words are frequent, which makes them all alike before they learn the rest, nor
    which words are alike. Needs running text, and a model with a table for the vocabulary.
    """

    Config = TokenStatisticsConfig

    @torch.no_grad()
    def __call__(self, model: Model, loader: Any) -> None:
        table, bias = model.output_table()
        if bias.any():  # the model has learned both elsewhere
            return
        counts = np.bincount(loader.documents.ids[:COUNTED], minlength=len(bias))
        bias.copy_(torch.from_numpy(np.log((counts + 0.5) / (counts + 0.5).sum())))
        if self.config.word_vectors:
            vectors = token_vectors(loader.documents, counts, table.shape[1], self.config.word_vectors, loader.seed)
            known = torch.from_numpy(counts > 0)
            vectors -= vectors[known].mean(dim=0)
            table[known] = (F.normalize(vectors[known], dim=1) * table[known].norm(dim=1).mean()).to(table)


def token_vectors(documents: Documents, counts: np.ndarray, d_model: int, epochs: int, seed: int) -> Tensor:
    """Return a vector of each token, (V, d_model), by skip-gram over the first COUNTED tokens."""
    from clew.models.word2vec import Word2Vec, Word2VecConfig  # numba is imported where it is used
    from clew.objectives.negative_sampling import NegativeSampling, NegativeSamplingConfig

    ids = documents.ids[:COUNTED].astype(np.int32)
    ends = documents.sentences[1 : np.searchsorted(documents.sentences, len(ids), side="right")]
    if ends[-1:] != len(ids):
        ends = np.append(ends, len(ids))
    model = Word2Vec(Word2VecConfig(d_model=d_model), Words([str(i) for i in range(len(counts))], counts))
    skipgram = NegativeSampling(NegativeSamplingConfig())
    rate = SimpleNamespace(param_groups=[{"lr": LEARNING_RATE}])  # all that the kernel asks of an optimizer
    skipgram.prepare(model, rate)
    corpus = CorpusLoader(ids, ends, batch_tokens=100_000, seed=seed)
    for batch in takewhile(lambda _: corpus.epoch < epochs, corpus):
        rate.param_groups[0]["lr"] = LEARNING_RATE * max(1e-4, 1 - corpus.epochs_done / epochs)
        skipgram(model, batch)
    return model.input.detach().clone()
