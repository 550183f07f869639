"""The objectives of word vectors against loops, by both paths."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from clew.batches import CorpusBatch
from clew.errors import RecipeError
from clew.kernels.hierarchical import tree
from clew.models.word2vec import Word2Vec, Word2VecConfig
from clew.objectives.hierarchical_softmax import HierarchicalSoftmax, HierarchicalSoftmaxConfig, path_loss
from clew.objectives.negative_sampling import NegativeSampling, NegativeSamplingConfig, negative_sampling
from clew.text.words import WordVocabulary
from clew.train.optim import SGD, AdamConfig, AdamW, SGDConfig

VOCABULARY = WordVocabulary([f"word{i}" for i in range(30)], np.arange(60, 0, -2))


def model(seed: int = 0, **settings) -> Word2Vec:
    torch.manual_seed(seed)
    made = Word2Vec(Word2VecConfig(d_model=8, buckets=50, **settings), VOCABULARY)
    torch.nn.init.normal_(made.output, std=0.5)
    torch.nn.init.normal_(made.input, std=0.5)
    return made


def batch(words: int = 4000) -> CorpusBatch:
    weights = torch.tensor(VOCABULARY.counts / VOCABULARY.counts.sum())
    ids = torch.multinomial(weights, words, replacement=True, generator=torch.Generator().manual_seed(1)).int()
    return CorpusBatch(ids, torch.arange(10, words + 1, 10), seed=4)


def test_negative_sampling_by_loops() -> None:
    generator = torch.Generator().manual_seed(2)
    v, u, n = (torch.randn(shape, generator=generator) for shape in ((3, 4), (3, 4), (3, 2, 4)))
    log_sigmoid = lambda x: -math.log1p(math.exp(-float(x)))  # noqa: E731
    expected = [-log_sigmoid(u[i] @ v[i]) - sum(log_sigmoid(-(n[i, j] @ v[i])) for j in range(2)) for i in range(3)]
    torch.testing.assert_close(negative_sampling(v, u, n), torch.tensor(expected))


def test_negative_sampling_gradients() -> None:
    generator = torch.Generator().manual_seed(2)
    given = [
        torch.randn(s, generator=generator, dtype=torch.float64, requires_grad=True)
        for s in ((2, 3), (2, 3), (2, 2, 3))
    ]
    assert torch.autograd.gradcheck(negative_sampling, given)


def test_a_path_is_a_distribution() -> None:
    """The probabilities of all words, down their ways through the tree, add up to 1."""
    ways = tree(np.array([5, 3, 2, 2, 1]))
    generator = torch.Generator().manual_seed(3)
    hidden, rows = torch.randn(1, 4, generator=generator), torch.randn(4, 4, generator=generator)
    total = 0.0
    for word in range(5):
        part = slice(ways.bounds[word], ways.bounds[word + 1])
        nodes, labels = torch.from_numpy(ways.nodes[part]), torch.from_numpy(ways.labels[part])
        total += math.exp(-float(path_loss(hidden, rows[nodes][None], labels[None], torch.ones(1, len(nodes)))))
    assert total == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("objective", [
    NegativeSampling(NegativeSamplingConfig(subsample=0, negatives=20)),
    NegativeSampling(NegativeSamplingConfig(subsample=0, negatives=20, share=False)),
    HierarchicalSoftmax(HierarchicalSoftmaxConfig(subsample=0)),
])  # fmt: skip
@pytest.mark.parametrize("architecture", ["skipgram", "cbow"])
def test_both_paths_measure_the_same_loss(objective, architecture: str) -> None:
    """On weights that stand still. Each path draws for itself, so the losses of many pairs agree, not of each."""
    words = model(architecture=architecture)
    before = words.input.detach().clone()
    objective.prepare(words, torch.optim.SGD(words.parameters(), lr=1e-12))
    if isinstance(objective, HierarchicalSoftmax):
        objective.tree.cache_clear()
    losses = []
    for engine in (objective.by_equation, objective.by_kernel):
        loss = engine(words, batch())
        assert loss.count == 4000
        losses.append(loss.total.item() / loss.parts["pairs"].item())
    assert losses[0] == pytest.approx(losses[1], rel=0.03)
    torch.testing.assert_close(words.input, before)


def test_ngrams_by_both_paths() -> None:
    objective = NegativeSampling(NegativeSamplingConfig(subsample=0, negatives=20))
    words = model(min_n=3, max_n=5)
    objective.prepare(words, torch.optim.SGD(words.parameters(), lr=1e-12))
    ours, theirs = objective.by_equation(words, batch()), objective.by_kernel(words, batch())
    each = [loss.total.item() / loss.parts["pairs"].item() for loss in (ours, theirs)]
    assert each[0] == pytest.approx(each[1], rel=0.03)


def test_a_word_is_the_mean_of_its_parts() -> None:
    words = model(min_n=3, max_n=4)
    rows, bounds = words.parts
    for word in (0, 7, 29):
        mean = words.input[torch.from_numpy(rows[bounds[word] : bounds[word + 1]])].mean(dim=0)
        torch.testing.assert_close(words.vector(torch.tensor([word]))[0], mean)
    torch.testing.assert_close(torch.from_numpy(words.vectors().matrix), words.vector(torch.arange(30)).detach())
    around, mask = torch.tensor([[3, 4, 5]]), torch.tensor([[True, False, True]])
    parts = np.concatenate([rows[bounds[w] : bounds[w + 1]] for w in (3, 5)])
    torch.testing.assert_close(words.context(around, mask)[0], words.input[torch.from_numpy(parts)].mean(dim=0))


def test_the_kernel_moves_the_parameters_and_not_their_padding() -> None:
    words = model()
    objective = NegativeSampling(NegativeSamplingConfig(subsample=0))
    objective.prepare(words, torch.optim.SGD(words.parameters(), lr=0.05))
    before = words.input.detach().clone()
    loss = objective(words, batch())
    assert not loss.total.requires_grad and math.isfinite(loss.total)
    assert not torch.equal(words.input, before)
    whole = words.input.detach().as_strided((30, 16), (16, 1))
    assert (whole[:, 8:] == 0).all()


def test_an_engine_takes_plain_steps_alone() -> None:
    """Its rate follows the schedule and survives a checkpoint; other optimizers' steps are not its own."""
    words = model()
    rate = SGD(SGDConfig(lr=0.5)).rate(words)
    rate.param_groups[0] |= {"lr": 0.25, "peak_lr": 0.5}
    other = SGD(SGDConfig(lr=0.1)).rate(words)
    other.load_state_dict(json.loads(json.dumps(rate.state_dict())))
    assert [other.param_groups[0][name] for name in ("lr", "peak_lr")] == [0.25, 0.5]
    assert len(other.param_groups[0]["params"]) == 2
    for refused in (AdamW(AdamConfig()), SGD(SGDConfig(momentum=0.9)), SGD(SGDConfig(weight_decay=0.1))):
        with pytest.raises(RecipeError, match="the word-vector kernels"):
            refused.rate(words)
