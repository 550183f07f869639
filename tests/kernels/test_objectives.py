"""Each kernel equals its equation, written as plain loops over the same draws; and that equals autograd."""

import itertools

import equations
import numpy as np
import pytest
import torch

from clew.kernels import cbow, hierarchical, sgns, subword
from clew.kernels.parts import Parts, whole_words
from clew.kernels.sampling import Settings, draws, in_threads, states, table

V, SAMPLE, LR = 14, 0.05, 0.05


def corpus(seed=0, n=120):
    """Ids by a steep distribution (words repeat within windows), sentences of 0 to 12 words, one of a single word."""
    rng = np.random.default_rng(seed)
    ids = np.minimum(rng.geometric(0.15, n) - 1, V - 1).astype(np.int32)
    ends = np.cumsum([0, 1, *rng.integers(0, 12, n)])
    return ids, np.append(ends[ends < n], n)


def tables(d, rows=V, seed=1):
    rng = np.random.default_rng(seed)
    made = [table(rows, d), table(V, d)]
    for array in made:
        array[:, :d] = rng.normal(0, 0.5, (len(array), d))
    return made


def word_parts(buckets=9, seed=2):
    """Each word's own row and up to six rows shared with others, some twice (as n-grams that hash alike)."""
    rng = np.random.default_rng(seed)
    rows = [[w, *(V + rng.integers(0, buckets, rng.integers(0, 6)))] for w in range(V)]
    return rows, Parts(np.concatenate(rows).astype(np.int64), np.cumsum([0, *map(len, rows)]))


COUNTS = np.bincount(corpus()[0], minlength=V) + 1
DRAWS = draws(COUNTS, sample=SAMPLE)


def assert_equal(train, blocks, settings, d, rows=V):
    """`train(ids, ends, state, inputs, outputs)` does what a step per block does: tables, loss, pairs and state."""
    ids, ends = corpus()
    inputs, outputs = tables(d, rows)
    v, u = inputs.astype(np.float64), outputs.astype(np.float64)
    state = states(7)[0]
    random = equations.Random(state)
    made = list(blocks(ids, ends.tolist(), random))
    loss = sum(equations.step(v, u, block, LR, settings.whole) for block in made)
    got, pairs = train(ids, ends, state, inputs, outputs)
    assert len(made) > 30 and pairs == sum(block[-1] for block in made)
    assert got == pytest.approx(loss, rel=1e-5) and int(state[0]) == random.x
    np.testing.assert_allclose(inputs, v, atol=1e-5)
    np.testing.assert_allclose(outputs, u, atol=1e-5)
    assert not inputs[:, d:].any() and not outputs[:, d:].any()


@pytest.mark.parametrize("share", [0, 1])
@pytest.mark.parametrize(("d", "window", "negatives"), [(1, 1, 1), (20, 3, 5), (100, 5, 5), (48, 4, 13)])
def test_skipgram(share, d, window, negatives):
    settings = Settings(window, negatives, share)
    assert_equal(
        lambda *a: sgns.train_slice(*a, DRAWS, settings, LR),
        lambda *a: equations.blocks_sgns(*a, DRAWS, settings),
        settings,
        d,
    )


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("negatives", [1, 5, 13])
@pytest.mark.parametrize("ngrams", [True, False])
def test_cbow(whole, negatives, ngrams):
    settings = Settings(3, negatives, whole=whole)
    rows, parts = word_parts() if ngrams else ([[w] for w in range(V)], whole_words(V))
    assert_equal(
        lambda *a: cbow.train_slice(*a, parts, DRAWS, settings, LR),
        lambda *a: equations.blocks_cbow(*a, DRAWS, settings, rows),
        settings,
        20,
        V + 9,
    )


@pytest.mark.parametrize("share", [0, 1])
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("negatives", [1, 5])
def test_subwords(share, whole, negatives):
    settings = Settings(3, negatives, share, whole)
    rows, parts = word_parts()
    assert_equal(
        lambda *a: subword.train_slice(*a, parts, DRAWS, settings, LR),
        lambda *a: equations.blocks_subword(*a, DRAWS, settings, rows),
        settings,
        33,
        V + 9,
    )


@pytest.mark.parametrize("architecture", ["skipgram", "cbow", "cbow with n-grams"])
def test_hierarchical_softmax(architecture):
    settings = Settings(3)
    tree = hierarchical.tree(np.sort(COUNTS)[::-1])
    ways = [list(zip(tree.nodes[a:b], tree.labels[a:b], strict=True)) for a, b in itertools.pairwise(tree.bounds)]
    whole = [[w] for w in range(V)], whole_words(V)
    rows, parts = {"skipgram": (None, None), "cbow": whole, "cbow with n-grams": word_parts()}[architecture]
    assert_equal(
        lambda *a: hierarchical.train_slice(*a, parts, DRAWS, tree, settings, LR),
        lambda *a: equations.blocks_hierarchical(*a, DRAWS, settings, ways, rows),
        settings,
        20,
        V if parts is None else V + 9,
    )


def test_the_reference_is_the_gradient():
    """A step without `whole` is lr times the gradient that autograd finds; the loss is the papers' sum of log σ."""
    settings, (rows, _) = Settings(3, 5), word_parts()
    ids, ends = corpus()
    everything = [
        *equations.blocks_sgns(ids, ends.tolist(), equations.Random(states(1)[0]), DRAWS, settings),
        *equations.blocks_subword(ids, ends.tolist(), equations.Random(states(2)[0]), DRAWS, settings, rows),
        *equations.blocks_cbow(ids, ends.tolist(), equations.Random(states(3)[0]), DRAWS, settings, rows),
    ]
    for block in everything[::7]:
        bags, columns, y, w, _ = block
        v, u = (array.astype(np.float64) for array in tables(20, V + 9))
        inputs, outputs = torch.tensor(v, requires_grad=True), torch.tensor(u, requires_grad=True)
        scores = torch.stack([inputs[bag].mean(0) for bag in bags]) @ outputs[columns].T
        signs, weights = torch.tensor(2 * y - 1), torch.tensor(w)
        loss = -(weights * torch.nn.functional.logsigmoid(signs * scores)).sum()
        loss.backward()
        assert equations.step(v, u, block, LR, False) == pytest.approx(loss.item())
        np.testing.assert_allclose(v, (inputs - LR * inputs.grad).detach(), atol=1e-12)
        np.testing.assert_allclose(u, (outputs - LR * outputs.grad).detach(), atol=1e-12)


def test_one_thread_repeats_and_resumes_to_the_bit():
    ids, ends = corpus(n=2000)
    settings = Settings(5, 5)
    runs = []
    for _ in range(2):
        v, u = tables(100)
        state = states(3)
        in_threads(sgns.train_slice, ids, ends, state, v, u, DRAWS, settings, LR)
        kept = v.copy(), u.copy(), state.copy()
        again = in_threads(sgns.train_slice, ids, ends, state, v, u, DRAWS, settings, LR)
        resumed = in_threads(sgns.train_slice, ids, ends, kept[2], *kept[:2], DRAWS, settings, LR)
        assert again == resumed and (v == kept[0]).all() and (u == kept[1]).all() and (state == kept[2]).all()
        runs.append(v)
    assert (runs[0] == runs[1]).all()


def test_threads_share_the_sentences():
    ids, ends = corpus(n=5000)
    everything = draws(COUNTS, sample=0)
    alone, together = [
        in_threads(sgns.train_slice, ids, ends, states(3, n), *tables(20), everything, Settings(1, 5), 0.001)
        for n in (1, 3)
    ]
    assert alone[1] == together[1] > 5000  # with window 1 and no subsampling the pairs are the same
    assert together[0] == pytest.approx(alone[0], rel=0.05)
    few = in_threads(
        sgns.train_slice, ids[:2], np.array([1, 2]), states(3, 4), *tables(20), everything, Settings(), 0.1
    )
    assert few == (0, 0)


def test_extreme_scores_keep_the_loss_right():
    """Scores of ±2000: the loss is |s| on the wrong side and 0 on the right one; nothing overflows."""
    ids, ends = np.array([0, 1] * 10, np.int32), np.array([20])
    v, u = table(2, 16), table(2, 16)
    v[:, 0], u[0, 0], u[1, 0] = 2000, 1, -1
    loss, pairs = sgns.train_slice(ids, ends, states(1)[0], v, u, draws(np.ones(2), sample=0), Settings(1, 1), 0.0)
    assert np.isfinite(loss) and 1000 < loss / pairs < 3000


def test_what_does_not_fit_is_refused():
    ids, ends = corpus()
    v, u = tables(20)
    state = states(1)[0]
    for wrong, message in [
        ((ids + 1, ends, state, v, u), "word ids must be in"),
        ((ids, ends + 1, state, v, u), "sentence ends"),
        ((ids, ends[::-1], state, v, u), "sentence ends"),
        ((ids, ends, state, v[:, :20], u), "contiguous float32"),
        ((ids, ends, state, v.astype(np.float64), u), "contiguous float32"),
        ((ids, ends, state, table(V, 40), u), "different widths"),
    ]:
        with pytest.raises(ValueError, match=message):
            sgns.train_slice(*wrong, DRAWS, Settings(), LR)
    with pytest.raises(ValueError, match="share must be"):
        sgns.train_slice(ids, ends, state, v, u, DRAWS, Settings(share=3), LR)
    for parts in (Parts(np.arange(V) + 1, np.arange(V + 1)), Parts(np.arange(V), np.zeros(V + 1, np.int64))):
        with pytest.raises(ValueError, match="parts"):
            subword.train_slice(ids, ends, state, v, u, parts, DRAWS, Settings(), LR)
