"""Masked language modelling, and next-sentence prediction where the batch has pairs."""

from __future__ import annotations

from itertools import takewhile
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from clew.batches import TextBatch
from clew.config import Choice
from clew.data.corpus import CorpusLoader
from clew.data.documents import Documents
from clew.data.pretraining import PretrainingLoader
from clew.models.heads import Pretraining
from clew.models.word2vec import Word2Vec, Word2VecConfig
from clew.nn.vocabulary import linear_cross_entropy
from clew.objectives.loss import Loss
from clew.objectives.negative_sampling import NegativeSampling, NegativeSamplingConfig
from clew.text.words import WordVocabulary

COUNTED = 1 << 24  # tokens from which a model's beginning is learned
LEARNING_RATE = 0.025  # of skip-gram, as in word2vec's program; it falls to nothing


class MaskedLMConfig(Choice):
    kind: str = "masked_lm"
    next_sentence_weight: float = Field(1.0, ge=0)  # less in batches of few pairs, whose gradient is mostly noise
    word_vectors: int = Field(0, ge=0)  # epochs of skip-gram with which the token embeddings begin; 0: at random


def token_vectors(documents: Documents, counts: np.ndarray, d_model: int, epochs: int, seed: int) -> Tensor:
    """A vector of each token, (V, d_model), by skip-gram over the first COUNTED tokens (see `NegativeSampling`)."""
    ids = documents.ids[:COUNTED].astype(np.int32)
    ends = documents.sentences[1 : np.searchsorted(documents.sentences, len(ids), side="right")]
    if ends[-1:] != len(ids):
        ends = np.append(ends, len(ids))
    model = Word2Vec(Word2VecConfig(d_model=d_model), WordVocabulary([str(i) for i in range(len(counts))], counts))
    skipgram = NegativeSampling(NegativeSamplingConfig())
    rate = SimpleNamespace(param_groups=[{"lr": LEARNING_RATE}])  # all that the kernel asks of an optimizer
    skipgram.attach(model, rate)
    corpus = CorpusLoader(ids, ends, batch_tokens=100_000, seed=seed)
    for batch in takewhile(lambda _: corpus.epoch < epochs, corpus):
        rate.param_groups[0]["lr"] = LEARNING_RATE * max(1e-4, 1 - corpus.epochs_done / epochs)
        skipgram(model, batch)
    return model.input.detach().clone()


class MaskedLM:
    """Σ over hidden tokens of -log P(token | the rest), counted per hidden token (Devlin et al. 2019, §3.1).

    Where the batch has `follows`, the mean cross-entropy of next-sentence prediction is added to the mean of these:
    with a weight of 1 the loss is the paper's sum of two means. parts: `mlm` and `nsp`, those means.
    """

    Config = MaskedLMConfig

    def __init__(self, config: MaskedLMConfig) -> None:
        self.config = config

    @torch.no_grad()
    def begin(self, model: Pretraining, batches: PretrainingLoader) -> None:
        """Set the bias of a new model to the logarithm of each token's share of the text, and its token embeddings,
        where `word_vectors` says so, to the vectors that skip-gram gives them on the same text.

        Its states then need not learn which words are frequent, which makes them all alike before they learn the rest,
        nor which words are alike.
        """
        bias, table = model.masked_lm.bias, model.encoder.embeddings.token.weight
        if bias.any():  # the model has learned both elsewhere
            return
        counts = np.bincount(batches.documents.ids[:COUNTED], minlength=len(bias))
        bias.copy_(torch.from_numpy(np.log((counts + 0.5) / (counts + 0.5).sum())))
        if self.config.word_vectors:
            vectors = token_vectors(batches.documents, counts, table.shape[1], self.config.word_vectors, batches.seed)
            known = torch.from_numpy(counts > 0)
            vectors -= vectors[known].mean(dim=0)
            table[known] = (F.normalize(vectors[known], dim=1) * table[known].norm(dim=1).mean()).to(table)

    def __call__(self, model: Pretraining, batch: TextBatch) -> Loss:
        out = model(batch)
        total, nll = linear_cross_entropy(out.hidden, *model.vocabulary_table(), batch.label, 0.0)
        parts = {"mlm": nll}
        if batch.follows is not None:
            nsp = F.cross_entropy(out.next.float(), batch.follows) * len(batch.label)
            total, parts["nsp"] = total + self.config.next_sentence_weight * nsp, nsp.detach()
        return Loss(total, len(batch.label), parts)
