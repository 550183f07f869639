"""Continuous bag of words with negative sampling (Mikolov et al. 2013a, §3.1).

The words within b of the centre w (b drawn from 1 … window) are put together as one vector, which predicts w against k
negatives n_j drawn from count^¾ for this centre alone:

    h = mean of the rows v of the context            L = −log σ(h · u_w) − Σ_j log σ(−h · u_{n_j})      summed over w

Where words are made of n-grams, h is the mean of all rows of all words of the context, as in fastText.
"""

from __future__ import annotations

import numpy as np

from clew.kernels.blocks import block, column, engine, push
from clew.kernels.parts import Parts, check_parts, collect, mean, most, send_for, spread
from clew.kernels.registers import prefetch
from clew.kernels.sampling import Draws, Settings, advance, below, check, draw_ahead, longest, subsample


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
    """Train the tables in place on sentences `ids[0:ends[0]], ids[ends[0]:ends[1]], …`; returns (loss, centres).

    As `sgns.train_slice`, with `parts` saying which rows of `inputs` a word is made of. ValueError as there.
    """
    check(ids, ends, min(len(outputs), len(draws.keep), len(parts.bounds) - 1), inputs, outputs)
    check_parts(parts, len(inputs))
    return _train(ids, ends, state, inputs, outputs, parts, draws, settings, lr)


@engine
def _train(
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
    width, n_outputs, window = outputs.shape[1], 1 + settings.negatives, settings.window
    kept, bag = np.empty(longest(ends), np.int64), np.empty(2 * window * most(parts), np.int64)
    b, hidden = block(1, n_outputs, width), np.empty((1, width), np.float32)
    b.labels[0] = b.weights[0] = 1
    ahead = np.zeros(n_outputs, np.int64)
    loss, centres, start, x = 0.0, 0, 0, draw_ahead(state[0], draws, outputs, ahead)
    for end in ends:
        n, x = subsample(ids, start, end, 1, draws, x, kept)
        start = end
        for i in range(n):
            b.cols[0] = kept[i] * width
            for j in range(1, n_outputs):
                b.cols[j] = ahead[j]
                b.weights[column(j)] = ahead[j] != b.cols[0]
            x = draw_ahead(x, draws, outputs, ahead)
            if i + 1 < n:
                prefetch(outputs, kept[i + 1] * width)
            if i + window + 1 < n:
                send_for(parts, kept[i + window + 1], inputs)
            x = advance(x)
            reach, size = 1 + below(x, window), 0
            for p in range(max(0, i - reach), min(n, i + reach + 1)):
                if p != i:
                    size = collect(parts, kept[p], width, bag, size)
            if size:
                mean(inputs, bag, size, hidden)
                loss += push(b, 1, n_outputs, hidden, outputs, lr)
                spread(inputs, bag, size, b.delta, settings.whole)
                centres += 1
    state[0] = x
    return loss, centres
