"""Skip-gram with negative sampling (Mikolov et al. 2013, equation 4).

For a centre word w, a context word c within b words of it (b drawn from 1 … window for each centre) and k negatives n_j
drawn from count^¾, with input rows v and output rows u:

    L = −log σ(v_c · u_w) − Σ_j log σ(−v_c · u_{n_j})             summed over all pairs (w, c)

`share = 0` takes a gradient step per pair, with negatives of its own, as word2vec.c does. `share = 1` draws k negatives
per window and takes one step for all its pairs: the same loss, but the pairs' negatives are equal, not independent (Ji
et al. 2016), which makes small matrix products of the dot products. A negative that is the centre is left out.
"""

from __future__ import annotations

import numpy as np

from clew.kernels.blocks import block, column, engine, step
from clew.kernels.registers import prefetch
from clew.kernels.sampling import (
    Draws,
    Settings,
    advance,
    below,
    check,
    draw_ahead,
    longest,
    negative,
    ones,
    repeats,
    silence,
    subsample,
)  # fmt: skip


def train_slice(
    ids: np.ndarray,
    ends: np.ndarray,
    state: np.ndarray,
    inputs: np.ndarray,
    outputs: np.ndarray,
    draws: Draws,
    settings: Settings,
    lr: float,
) -> tuple[float, int]:
    """Train the tables in place on sentences `ids[0:ends[0]], ids[ends[0]:ends[1]], …`; returns (summed loss, pairs).

    ids int32, ends int64, state (1,) uint64 (moved on), inputs and outputs (V, padded d) float32 from `table`.
    ValueError where the arrays do not fit together.
    """
    check(ids, ends, min(len(inputs), len(outputs), len(draws.keep)), inputs, outputs)
    if settings.share not in (0, 1):
        raise ValueError(f"share must be 0 or 1, not {settings.share}")
    kernel = _windows if settings.share else _pairs
    return kernel(ids, ends, state, inputs, outputs, draws, settings, lr)


@engine
def _pairs(
    ids: np.ndarray,
    ends: np.ndarray,
    state: np.ndarray,
    inputs: np.ndarray,
    outputs: np.ndarray,
    draws: Draws,
    settings: Settings,
    lr: float,
) -> tuple[float, int]:
    """One step per pair, with negatives of its own."""
    width, n_outputs = inputs.shape[1], 1 + settings.negatives
    kept = np.empty(longest(ends), np.int64)
    b = block(1, n_outputs, width)
    b.labels[0] = b.weights[0] = 1
    loss, pairs, start, x = 0.0, 0, 0, state[0]
    for end in ends:
        n, x = subsample(ids, start, end, width, draws, x, kept)
        start = end
        for i in range(n):
            x = advance(x)
            reach = 1 + below(x, settings.window)
            b.cols[0] = kept[i]
            for p in range(max(0, i - reach), min(n, i + reach + 1)):
                if p == i:
                    continue
                b.rows[0] = kept[p]
                for j in range(1, n_outputs):
                    x = advance(x)
                    b.cols[j] = negative(x, draws) * width
                    b.weights[column(j)] = b.cols[j] != kept[i]
                loss += step(b, 1, n_outputs, inputs, outputs, lr, False)
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
    draws: Draws,
    settings: Settings,
    lr: float,
) -> tuple[float, int]:
    """One step per window, whose pairs share their negatives."""
    width, n_outputs, window = inputs.shape[1], 1 + settings.negatives, settings.window
    kept, latest = np.empty(longest(ends), np.int64), np.empty(longest(ends), np.int64)
    b = block(2 * window, n_outputs, width)
    ones(b, n_outputs)
    ahead = np.zeros(n_outputs, np.int64)  # the next window's negatives, whose rows are on their way
    loss, pairs, start, x = 0.0, 0, 0, draw_ahead(state[0], draws, outputs, ahead)
    for end in ends:
        n, x = subsample(ids, start, end, width, draws, x, kept)
        repeats(kept, n, 2 * window, latest)
        start = end
        for i in range(n):
            b.cols[0] = kept[i]
            clash = False
            for j in range(1, n_outputs):
                b.cols[j] = ahead[j]
                clash |= ahead[j] == kept[i]
            x = draw_ahead(x, draws, outputs, ahead)
            if i + 1 < n:
                prefetch(outputs, kept[i + 1])
            if i + window + 1 < n:
                prefetch(inputs, kept[i + window + 1])
            x = advance(x)
            reach = 1 + below(x, window)
            first, last = max(0, i - reach), min(n - 1, i + reach)
            for p in range(first, i):
                b.rows[p - first] = kept[p]
            for p in range(i + 1, last + 1):
                b.rows[p - first - 1] = kept[p]
            if clash:
                silence(b, last - first, n_outputs)
            loss += step(b, last - first, n_outputs, inputs, outputs, lr, latest[last] >= first)
            pairs += last - first
            if clash:
                ones(b, n_outputs)
    state[0] = x
    return loss, pairs
