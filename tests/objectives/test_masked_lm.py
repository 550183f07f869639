"""Masked language modelling against loops over the hidden tokens, and what a new model begins with."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from clew.batches import TextBatch
from clew.data.documents import Documents
from clew.data.masking import Masking
from clew.data.pretraining import PretrainingLoader, Template
from clew.inputs import Tokens
from clew.models.bert import Bert, BertConfig
from clew.models.heads import Pretraining
from clew.objectives.masked_lm import MaskedLM, MaskedLMConfig
from clew.train.initialiser import TokenStatistics, TokenStatisticsConfig

ALIKE = [(10 + 2 * i, 11 + 2 * i) for i in range(5)]  # tokens that stand in the same places of a text
SIZE = 70


def of_kinds(n_sentences: int = 3000) -> Documents:
    """Sentences of one topic each: eight words of the topic, and one of its two tokens that are alike in the middle."""
    rng = np.random.default_rng(0)
    sentences = []
    for _ in range(n_sentences):
        topic = int(rng.integers(len(ALIKE)))
        words = 20 + 10 * topic + rng.integers(0, 10, size=8)
        sentences.append(np.insert(words, 4, ALIKE[topic][int(rng.integers(2))]))
    starts = np.arange(n_sentences + 1) * 9
    return Documents(np.concatenate(sentences).astype(np.uint16), starts, np.append(starts[::10] // 9, n_sentences))


def loader(documents: Documents) -> PretrainingLoader:
    return PretrainingLoader(
        documents, Template(2, 3, 0, 32), Masking(0.15, 4, np.arange(10, SIZE)), batch_tokens=320, seed=3
    )


def pretraining(d_model: int = 16) -> Pretraining:
    torch.manual_seed(0)
    config = BertConfig(
        d_model=d_model, d_ff=8, n_heads=2, n_layers=1, max_length=32, dropout=0.0, attention_dropout=0.0
    )
    return Pretraining(Bert(config, Tokens(SIZE)), Tokens(SIZE), 2)


@torch.no_grad()
def test_the_loss_is_that_of_loops_over_hidden_tokens_and_pairs() -> None:
    model, batch = pretraining(), next(iter(loader(of_kinds(200))))
    assert batch.at is not None and batch.follows is not None
    loss = MaskedLM(MaskedLMConfig(next_sentence_weight=0.5))(model, batch)
    whole: TextBatch = batch
    states = model.encoder(whole)
    mlm = 0.0
    for place, gold in zip(batch.at.tolist(), batch.label.tolist(), strict=True):
        h = model.masked_lm(states.hidden[states.packing.token[place]])
        scores = [float(h @ row + b) for row, b in zip(*model.output_table(), strict=True)]
        mlm += math.log(sum(map(math.exp, scores))) - scores[gold]
    assert model.pooler is not None and model.next_sentence is not None
    nsp = 0.0
    for first, follows in zip(states.pooled, batch.follows.tolist(), strict=True):
        it_does, it_does_not = model.next_sentence(model.pooler(first)).tolist()
        nsp += math.log(math.exp(it_does) + math.exp(it_does_not)) - (it_does if follows else it_does_not)
    hidden, pairs = len(batch.label), len(batch.follows)
    assert loss.count == hidden
    assert float(loss.parts["mlm"]) / hidden == pytest.approx(mlm / hidden, rel=1e-4)
    assert float(loss.parts["nsp"]) / hidden == pytest.approx(nsp / pairs, rel=1e-4)
    assert loss.total.item() / hidden == pytest.approx(mlm / hidden + 0.5 * nsp / pairs, rel=1e-4)


def test_a_new_model_knows_how_frequent_tokens_are_and_a_trained_one_is_left_alone() -> None:
    model, batches = pretraining(), loader(of_kinds(200))
    before = model.encoder.embeddings.token.weight.clone()
    TokenStatistics(TokenStatisticsConfig())(model, batches)
    share = model.masked_lm.bias.detach().exp()
    assert float(share.sum()) == pytest.approx(1, abs=1e-5) and share[:10].max() < share[10:].min()
    assert torch.equal(before, model.encoder.embeddings.token.weight)  # no vectors were asked for
    with torch.no_grad():
        model.masked_lm.bias.fill_(2.0)
    TokenStatistics(TokenStatisticsConfig(word_vectors=1))(model, batches)
    assert (model.masked_lm.bias == 2.0).all() and torch.equal(before, model.encoder.embeddings.token.weight)


def test_a_new_model_knows_which_tokens_are_alike() -> None:
    model, batches = pretraining(), loader(of_kinds())
    table = model.encoder.embeddings.token.weight
    before = table.detach().clone()
    TokenStatistics(TokenStatisticsConfig(word_vectors=60))(model, batches)
    after = table.detach()
    assert torch.equal(before[:10], after[:10]) and not torch.isclose(before[10:], after[10:]).all(dim=1).any()
    torch.testing.assert_close(after[10:].norm(dim=1), before[10:].norm(dim=1).mean().expand(len(after) - 10))
    cosine = torch.nn.functional.cosine_similarity
    for a, b in ALIKE:
        others = [cosine(after[a], after[c], dim=0).item() for pair in ALIKE for c in pair if c not in (a, b)]
        assert cosine(after[a], after[b], dim=0).item() > max(others)
