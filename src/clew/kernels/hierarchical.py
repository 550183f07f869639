"""Hierarchical softmax for skip-gram and CBOW (Morin and Bengio 2005; Mikolov et al. 2013b, equation 3).

The words are the leaves of a Huffman tree of their counts. A word's probability is the product of the decisions on the
way from the root to it, each by an inner node's output row u; y = 1 towards the child that was lighter when the tree
was made (word2vec.c's code 0), else 0:

    L = −Σ_{nodes on the way to w} [y log σ(h · u_node) + (1 − y) log σ(−h · u_node)]

In skip-gram h is the row of each word around the centre w, all pairs of a window in one step, for they share the way;
in CBOW h is the mean of their rows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from clew.kernels.blocks import Block, block, column, engine, part, push, step, stride
from clew.kernels.parts import Parts, check_parts, collect, mean, most, spread
from clew.kernels.registers import prefetch
from clew.kernels.sampling import Draws, Settings, advance, below, check, longest, repeats, subsample


class Tree(NamedTuple):
    """The way to word w: nodes (V − 1 in all, rows of the output table) and labels y in bounds[w] … bounds[w + 1]."""

    nodes: np.ndarray  # int64
    labels: np.ndarray  # float32
    bounds: np.ndarray  # (V + 1,) int64


@engine
def tree(counts: np.ndarray) -> Tree:
    """The Huffman tree of at least two counts in falling order; node V − 2 is the root."""
    size = len(counts)
    weight, parent = np.zeros(2 * size - 1, np.int64), np.zeros(2 * size - 1, np.int64)
    label = np.ones(2 * size - 1, np.float32)
    weight[:size] = counts
    leaf, inner = size - 1, size  # the lightest leaf and the lightest inner node that have no parent yet
    for made in range(size, 2 * size - 1):
        for side in range(2):
            if leaf >= 0 and (inner >= made or weight[leaf] < weight[inner]):
                child = leaf
                leaf -= 1
            else:
                child = inner
                inner += 1
            weight[made] += weight[child]
            parent[child], label[child] = made, 1 - side
    bounds = np.zeros(size + 1, np.int64)
    for word in range(size):
        at = word
        while at != 2 * size - 2:
            at = parent[at]
            bounds[word + 1] += 1
    bounds = np.cumsum(bounds)
    nodes, labels = np.empty(bounds[-1], np.int64), np.empty(bounds[-1], np.float32)
    for word in range(size):
        at = word
        for k in range(bounds[word + 1] - 1, bounds[word] - 1, -1):
            nodes[k], labels[k] = parent[at] - size, label[at]
            at = parent[at]
    return Tree(nodes, labels, bounds)


def train_slice(
    ids: np.ndarray,
    ends: np.ndarray,
    state: np.ndarray,
    inputs: np.ndarray,
    outputs: np.ndarray,
    parts: Parts | None,
    draws: Draws,
    tree: Tree,
    settings: Settings,
    lr: float,
) -> tuple[float, int]:
    """Train the tables in place on sentences `ids[0:ends[0]], ids[ends[0]:ends[1]], …`; returns (loss, pairs).

    As `sgns.train_slice`; `draws` for subsampling only. parts: None for skip-gram, else CBOW (a pair is then a centre)
    with the rows that words are made of.
    """
    check(ids, ends, min(len(outputs), len(draws.keep), len(tree.bounds) - 1), inputs, outputs)
    if parts is None:
        check(ids, ends, len(inputs))
        return _skipgram(ids, ends, state, inputs, outputs, draws, tree, settings, lr)
    check(ids, ends, len(parts.bounds) - 1)
    check_parts(parts, len(inputs))
    return _cbow(ids, ends, state, inputs, outputs, parts, draws, tree, settings, lr)


@part
def _way(b: Block, m: int, tree: Tree, word: int, width: int) -> int:
    """Make the way to a word the outputs of m inputs; returns its length."""
    first = tree.bounds[word]
    n = tree.bounds[word + 1] - first
    wide = stride(n)
    b.weights[: m * wide] = 0
    for j in range(n):
        b.cols[j] = tree.nodes[first + j] * width
        for i in range(m):
            b.labels[i * wide + column(j)] = tree.labels[first + j]
            b.weights[i * wide + column(j)] = 1
    return n


@engine
def _skipgram(
    ids: np.ndarray,
    ends: np.ndarray,
    state: np.ndarray,
    inputs: np.ndarray,
    outputs: np.ndarray,
    draws: Draws,
    tree: Tree,
    settings: Settings,
    lr: float,
) -> tuple[float, int]:
    width, window = inputs.shape[1], settings.window
    kept, latest = np.empty(longest(ends), np.int64), np.empty(longest(ends), np.int64)
    b = block(2 * window, longest(tree.bounds), width)
    loss, pairs, start, x = 0.0, 0, 0, state[0]
    for end in ends:
        n, x = subsample(ids, start, end, width, draws, x, kept)
        repeats(kept, n, 2 * window, latest)
        start = end
        for i in range(n):
            if i + window + 1 < n:
                prefetch(inputs, kept[i + window + 1])
            x = advance(x)
            reach = 1 + below(x, window)
            first, last = max(0, i - reach), min(n - 1, i + reach)
            for p in range(first, i):
                b.rows[p - first] = kept[p]
            for p in range(i + 1, last + 1):
                b.rows[p - first - 1] = kept[p]
            if last > first:
                n_nodes = _way(b, last - first, tree, kept[i] // width, width)
                loss += step(b, last - first, n_nodes, inputs, outputs, lr, latest[last] >= first)
                pairs += last - first
    state[0] = x
    return loss, pairs


@engine
def _cbow(
    ids: np.ndarray,
    ends: np.ndarray,
    state: np.ndarray,
    inputs: np.ndarray,
    outputs: np.ndarray,
    parts: Parts,
    draws: Draws,
    tree: Tree,
    settings: Settings,
    lr: float,
) -> tuple[float, int]:
    width, window = outputs.shape[1], settings.window
    kept, bag = np.empty(longest(ends), np.int64), np.empty(2 * window * most(parts), np.int64)
    b, hidden = block(1, longest(tree.bounds), width), np.empty((1, width), np.float32)
    loss, centres, start, x = 0.0, 0, 0, state[0]
    for end in ends:
        n, x = subsample(ids, start, end, 1, draws, x, kept)
        start = end
        for i in range(n):
            x = advance(x)
            reach, size = 1 + below(x, window), 0
            for p in range(max(0, i - reach), min(n, i + reach + 1)):
                if p != i:
                    size = collect(parts, kept[p], width, bag, size)
            if size:
                mean(inputs, bag, size, hidden)
                loss += push(b, 1, _way(b, 1, tree, kept[i], width), hidden, outputs, lr)
                spread(inputs, bag, size, b.delta, settings.whole)
                centres += 1
    state[0] = x
    return loss, centres
