import heapq
import itertools

import equations
import numpy as np
import pytest

from clew.kernels.hierarchical import tree
from clew.kernels.sampling import draws, states, table


def test_negatives_follow_counts_to_the_power():
    counts = np.array([1000, 500, 100, 50, 10, 5, 1, 0])
    made, random = draws(counts), equations.Random(states(5)[0])
    n = 40_000
    seen = np.bincount([random.negative(made) for _ in range(n)], minlength=8) / n
    expected = counts**0.75 / (counts**0.75).sum()
    np.testing.assert_allclose(seen, expected, atol=4 * np.sqrt(0.25 / n))
    assert seen[-1] == 0


def test_the_alias_table_is_exact():
    """Its probabilities, added up, are the distribution."""
    counts = np.random.default_rng(0).zipf(1.3, 500).clip(max=10**6)
    entries = draws(counts).entries
    own, alias = (entries >> np.uint64(32)) / 2**32, (entries & np.uint64(2**32 - 1)).astype(int)
    total = own + np.bincount(alias, 1 - own, minlength=500)
    np.testing.assert_allclose(total / 500, counts**0.75 / (counts**0.75).sum(), atol=1e-9)


def test_frequent_words_are_dropped_by_the_rule():
    counts = np.array([900_000, 99_000, 900, 100])
    f = counts / counts.sum()
    expected = np.minimum(1, (np.sqrt(f / 1e-3) + 1) * 1e-3 / f)
    np.testing.assert_allclose(draws(counts, sample=1e-3).keep / 2**32, expected, atol=1e-9)
    assert (draws(counts, sample=0).keep == 2**32).all()


def test_states_are_independent_and_never_zero():
    made = states(1, 5)
    assert made.shape == (5, 1) and len(set(made[:, 0].tolist())) == 5 and made.all()
    assert (states(1, 5) == made).all() and (states(2, 5) != made).all()


@pytest.mark.parametrize(("rows", "d", "width"), [(3, 1, 16), (5, 16, 16), (2, 100, 112), (7, 300, 304)])
def test_tables_begin_their_rows_on_cache_lines(rows, d, width):
    made = table(rows, d)
    assert made.shape == (rows, width) and made.ctypes.data % 64 == 0 and not made.any()


@pytest.mark.parametrize("size", [2, 3, 50, 400])
def test_huffman_codes_are_the_shortest(size):
    counts = np.sort(np.random.default_rng(size).zipf(1.5, size).clip(max=10**6))[::-1]
    made = tree(counts)
    lengths = np.diff(made.bounds)
    heap, best = counts.tolist(), 0
    heapq.heapify(heap)
    while len(heap) > 1:
        joined = heapq.heappop(heap) + heapq.heappop(heap)
        best += joined
        heapq.heappush(heap, joined)
    assert (lengths * counts).sum() == best
    codes = {tuple(made.labels[a:b]) for a, b in itertools.pairwise(made.bounds)}
    assert len(codes) == size and sum(2.0**-n for n in lengths) == 1  # no code begins another
    assert (made.nodes[made.bounds[:-1]] == size - 2).all() and set(made.nodes.tolist()) == set(range(size - 1))
