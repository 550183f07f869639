"""GloVe's kernel equals the equation under torch's own AdaGrad, entry by entry."""

import numpy as np
import pytest
import torch

from clew.batches import CooccurrenceBatch
from clew.kernels.glove import sums, tables, train_slice
from clew.models.glove import GloVe, GloVeConfig
from clew.models.word2vec import aligned
from clew.objectives.glove import CooccurrenceConfig, WeightedLeastSquares
from clew.text.words import WordVocabulary

V = 9
SETTINGS = {"x_max": 10.0, "power": 0.75}  # counts lie on both sides of x_max


def entries(n=80, seed=3):
    """Entries of which many share a row or a column, some stand on the diagonal, counts from 1/15 to about 50."""
    rng = np.random.default_rng(seed)
    rows, cols = (torch.from_numpy(rng.integers(0, V, n, dtype=np.int32)) for _ in range(2))
    return CooccurrenceBatch(rows, cols, torch.from_numpy(np.exp(rng.uniform(-2.7, 4, n)).astype(np.float32)))


def model(d, seed=5):
    torch.manual_seed(seed)
    return GloVe(GloVeConfig(d_model=d), WordVocabulary([f"w{i}" for i in range(V)], np.arange(V, 0, -1)))


def adagrad(made, initial):
    return torch.optim.Adagrad(made.parameters(), 0.3, initial_accumulator_value=initial, eps=0)


@pytest.mark.parametrize("d", [1, 5, 14, 16])  # 16 and 14: rows with and without padding
@pytest.mark.parametrize("initial", [0.5, 400])
def test_the_kernel_equals_the_equation(d, initial):
    torch.set_num_threads(1)
    batch, by_kernel, by_equation = entries(), model(d), model(d)
    kernel = WeightedLeastSquares(CooccurrenceConfig(**SETTINGS))
    equation = WeightedLeastSquares(CooccurrenceConfig(engine="equation", **SETTINGS))
    moved, reference = adagrad(by_kernel, initial), adagrad(by_equation, initial)
    kernel.prepare(by_kernel, moved)
    total = 0.0
    for n in range(len(batch.rows)):
        one = CooccurrenceBatch(batch.rows[n : n + 1], batch.cols[n : n + 1], batch.counts[n : n + 1])
        loss = equation(by_equation, one)
        total += loss.total.item()
        loss.total.backward()
        reference.step()
        reference.zero_grad()
    got = kernel(by_kernel, batch)
    assert got.count == len(batch.rows) and got.total.item() == pytest.approx(total, rel=1e-5)
    for (name, ours), theirs in zip(by_kernel.named_parameters(), by_equation.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0, msg=lambda text, name=name: f"{name}: {text}")
        torch.testing.assert_close(moved.state[ours]["sum"], reference.state[theirs]["sum"], atol=1e-3, rtol=1e-5)
    assert not torch.equal(by_kernel.word_bias, model(d).word_bias)
    words, contexts = aligned(by_kernel.word), aligned(by_kernel.context)
    assert (words[:, d + 1] == 1).all() and (contexts[:, d] == 1).all()
    assert not words[:, d + 2 :].any() and not contexts[:, d + 2 :].any()


@torch.no_grad()
def test_the_equation_is_the_paper_s():
    made, batch = model(4), entries(20)
    loss = WeightedLeastSquares(CooccurrenceConfig(engine="equation", **SETTINGS))(made, batch)
    total = 0.0
    for i, j, x in zip(batch.rows.tolist(), batch.cols.tolist(), batch.counts.tolist(), strict=True):
        f = min(1, (x / 10) ** 0.75)
        score = float(made.word[i] @ made.context[j] + made.word_bias[i] + made.context_bias[j])
        total += 0.5 * f * (score - np.log(x)) ** 2
    assert loss.total.item() == pytest.approx(total, rel=1e-5)


def test_threads_on_rows_and_columns_of_their_own_equal_one_thread():
    rows, counts = np.arange(V, dtype=np.int32), np.linspace(0.5, 20, V, dtype=np.float32)
    found = []
    for threads in (1, 3, 20):
        words, contexts = tables(V, 6), sums(V, 6)
        for table in words:
            table[:, :6] = np.random.default_rng(1).normal(size=(V, 6))
        pairs = tuple(zip(words, contexts, strict=True))
        loss = train_slice(rows, rows[::-1].copy(), counts, *pairs, 10.0, 0.75, 0.1, threads)
        found.append((loss, *words))
    for loss, words, contexts in found[1:]:
        assert loss == pytest.approx(found[0][0])
        np.testing.assert_array_equal(words, found[0][1])
        np.testing.assert_array_equal(contexts, found[0][2])


@pytest.mark.parametrize(("change", "said"), [
    ({"rows": np.array([V], np.int32)}, "word ids"),
    ({"cols": np.array([-1], np.int32)}, "word ids"),
    ({"values": np.array([0], np.float32)}, "above 0"),
    ({"values": np.array([np.nan], np.float32)}, "above 0"),
    ({"values": np.ones(2, np.float32)}, "differ in size"),
    ({"words": tables(V + 1, 3)}, "differ in size"),
    ({"words": (np.zeros((V, 5), np.float32), np.ones((V, 5), np.float32))}, "contiguous float32"),
])  # fmt: skip
def test_what_would_write_elsewhere_is_refused(change, said):
    one = np.zeros(1, np.int32)
    given = {"rows": one, "cols": one, "values": np.ones(1, np.float32), "words": tables(V, 3), "contexts": sums(V, 3)}
    with pytest.raises(ValueError, match=said):
        train_slice(**{**given, **change}, x_max=1.0, alpha=1.0, lr=1.0)
