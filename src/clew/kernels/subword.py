"""Skip-gram with negative sampling over words made of character n-grams (Bojanowski et al. 2017).

A word's vector is the mean of its own row and its n-grams' rows (the paper's equation 1 has the sum; fastText's program
takes the mean). Here the centre w predicts the words c around it, against k negatives n_j each:

    h_w = mean of the rows of w        L = −log σ(h_w · u_c) − Σ_j log σ(−h_w · u_{n_j})      summed over pairs (w, c)

`share = 0` takes a step per pair, with negatives of its own, as fastText does. `share = 1` makes h_w once and takes one
step for all the pairs of the window, which share k negatives: each then counts once per pair. A negative that is the
word to be predicted is left out of that pair.
"""

from __future__ import annotations

import numpy as np

from clew.kernels.blocks import Block, block, column, engine, part, push, stride
from clew.kernels.parts import Parts, check_parts, collect, mean, most, send_for, spread
from clew.kernels.registers import prefetch
from clew.kernels.sampling import Draws, Settings, advance, below, check, draw_ahead, longest, negative, subsample


def train_slice(
    ids: np.ndarray,
    ends: np.ndarray,
    state: np.ndarray,
    inputs: np.ndarray,
    outputs: np.ndarray,
    parts: Parts,
    draws: Draws,
    settings: Settings,
    lr: float,
) -> tuple[float, int]:
    """Train the tables in place on sentences `ids[0:ends[0]], ids[ends[0]:ends[1]], …`; returns (loss, pairs).

    As `sgns.train_slice`, with `parts` saying which rows of `inputs` a word is made of. ValueError as there.
    """
    check(ids, ends, min(len(outputs), len(draws.keep), len(parts.bounds) - 1), inputs, outputs)
    check_parts(parts, len(inputs))
    if settings.share not in (0, 1):
        raise ValueError(f"share must be 0 or 1, not {settings.share}")
    kernel = _windows if settings.share else _pairs
    return kernel(ids, ends, state, inputs, outputs, parts, draws, settings, lr)


@engine
def _pairs(
    ids: np.ndarray,
    ends: np.ndarray,
    state: np.ndarray,
    inputs: np.ndarray,
    outputs: np.ndarray,
    parts: Parts,
    draws: Draws,
    settings: Settings,
    lr: float,
) -> tuple[float, int]:
    """One step per pair, with negatives of its own."""
    width, n_outputs = inputs.shape[1], 1 + settings.negatives
    kept, bag = np.empty(longest(ends), np.int64), np.empty(most(parts), np.int64)
    b, hidden = block(1, n_outputs, width), np.empty((1, width), np.float32)
    b.labels[0] = b.weights[0] = 1
    loss, pairs, start, x = 0.0, 0, 0, state[0]
    for end in ends:
        n, x = subsample(ids, start, end, 1, draws, x, kept)
        start = end
        for i in range(n):
            size = collect(parts, kept[i], width, bag, 0)
            x = advance(x)
            reach = 1 + below(x, settings.window)
            for p in range(max(0, i - reach), min(n, i + reach + 1)):
                if p == i:
                    continue
                b.cols[0] = kept[p] * width
                for j in range(1, n_outputs):
                    x = advance(x)
                    word = negative(x, draws)
                    b.cols[j], b.weights[column(j)] = word * width, word != kept[p]
                mean(inputs, bag, size, hidden)
                loss += push(b, 1, n_outputs, hidden, outputs, lr)
                spread(inputs, bag, size, b.delta, settings.whole)
                pairs += 1
    state[0] = x
    return loss, pairs


@engine
def _windows(
    ids: np.ndarray,
    ends: np.ndarray,
    state: np.ndarray,
    inputs: np.ndarray,
    outputs: np.ndarray,
    parts: Parts,
    draws: Draws,
    settings: Settings,
    lr: float,
) -> tuple[float, int]:
    """One step per centre: outputs 0 … m − 1 are the words around it, then come the negatives."""
    width, k, window = inputs.shape[1], settings.negatives, settings.window
    kept, bag = np.empty(longest(ends), np.int64), np.empty(most(parts), np.int64)
    b, hidden = block(1, 2 * window + k, width), np.empty((1, width), np.float32)
    ahead = np.zeros(1 + k, np.int64)
    loss, pairs, start, x = 0.0, 0, 0, draw_ahead(state[0], draws, outputs, ahead)
    for end in ends:
        n, x = subsample(ids, start, end, 1, draws, x, kept)
        start = end
        for i in range(n):
            x = advance(x)
            reach, m = 1 + below(x, window), 0
            for p in range(max(0, i - reach), min(n, i + reach + 1)):
                if p != i:
                    b.cols[m] = kept[p] * width
                    m += 1
            _targets(b, m, ahead)
            x = draw_ahead(x, draws, outputs, ahead)
            if i + window + 1 < n:
                prefetch(outputs, kept[i + window + 1] * width)
            if i + 1 < n:
                send_for(parts, kept[i + 1], inputs)
            if m:
                size = collect(parts, kept[i], width, bag, 0)
                mean(inputs, bag, size, hidden)
                loss += push(b, 1, m + k, hidden, outputs, lr)
                spread(inputs, bag, size, b.delta, settings.whole)
                pairs += m
    state[0] = x
    return loss, pairs


@part
def _targets(b: Block, m: int, ahead: np.ndarray) -> None:
    """Beside the m words in b.cols put the negatives, each as often as there are pairs that it does not belong to."""
    n = m + len(ahead) - 1
    b.labels[: stride(n)] = 0
    b.weights[: stride(n)] = 0
    for j in range(m):
        b.labels[column(j)] = b.weights[column(j)] = 1
    for j in range(m, n):
        b.cols[j] = ahead[j - m + 1]
        times = m
        for c in range(m):
            times -= b.cols[c] == b.cols[j]
        b.weights[column(j)] = times
