"""The engine's core: one gradient step of the logistic loss between a few input rows and a few output rows.

Every word-vector objective here is a stream of such blocks. With input rows c_i, output rows o_j, labels y_ij ∈ {0, 1}
and weights w_ij (how many training pairs the entry stands for, often 0 or 1), the loss of a block is

    L = Σ_ij w_ij · [log(1 + exp(c_i·o_j)) − y_ij c_i·o_j]        (−log σ(c·o) for y = 1, −log σ(−c·o) for y = 0)
    g_ij = −lr · ∂L/∂(c_i·o_j) = lr · w_ij · (y_ij − σ(c_i·o_j))
    c_i += Σ_j g_ij o_j        o_j += Σ_i g_ij c_i                (both from the rows as they were before the step)

so that a block is three small matrix products. Rows are named by their offset in the flat table (row · padded width).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from clew.compiled import njit
from clew.kernels.registers import SLOTS, TILE, score_tile_1, score_tile_2, update_inputs, update_outputs, update_tile

COMPILED = {"nogil": True, "cache": True, "fastmath": True, "error_model": "numpy"}
engine = njit(**COMPILED)  # a loop over a slice of the corpus
part = njit(**COMPILED, forceinline=True)  # what such a loop calls: inlined, or each call would count array references


@part
def logistic(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray, n: int, lr: float) -> float:
    """Turn the first n scores s into lr·w·(y − σ(s)), in place; returns Σ w·[log(1 + eˢ) − y·s].

    With t = exp(−|s|): σ(|s|) = 1/(1 + t) and log(1 + eˢ) = max(s, 0) + log(1 + t), to float32 accuracy for every s.
    """
    one, rate, loss = np.float32(1), np.float32(lr), np.float32(0)
    for i in range(n):
        s = scores[i]
        size = min(abs(s), np.float32(80))
        # t = 2^−k · e^−r with k whole and |r| ≤ ln 2 / 2, where six terms of the series are exact to float32
        k = np.floor(size * np.float32(1.4426950408889634) + np.float32(0.5))
        r = k * np.float32(0.6931471805599453) - size
        series = np.float32(1 / 120) + r * np.float32(1 / 720)
        series = one + r * (
            one + r * (np.float32(1 / 2) + r * (np.float32(1 / 6) + r * (np.float32(1 / 24) + r * series)))
        )
        t = series * np.int32((np.int32(127) - np.int32(k)) << np.int32(23)).view(np.float32)
        inverse = one / (one + t)
        sigma = inverse if s >= 0 else t * inverse
        # log(1 + t) = 2 artanh(u) with u = t / (2 + t) ≤ 1/3
        u = t / (np.float32(2) + t)
        v = u * u
        log = np.float32(1 / 7) + v * (np.float32(1 / 9) + v * np.float32(1 / 11))
        log = np.float32(2) * u * (one + v * (np.float32(1 / 3) + v * (np.float32(1 / 5) + v * log)))
        loss += weights[i] * (max(s, np.float32(0)) + log - labels[i] * s)
        scores[i] = rate * weights[i] * (labels[i] - sigma)
    return loss


class Block(NamedTuple):
    """Room for one block, filled by the objective: m input rows, n output rows.

    rows (m,), cols (n,): offsets of the rows in their tables; labels, weights: y and w of input i and output j at
    i·stride(n) + column(j); delta (m, padded d): where `push` leaves what the inputs have to move by.
    """

    rows: np.ndarray  # (most inputs,) int64
    cols: np.ndarray  # (most outputs, up to a whole tile) int64
    scores: np.ndarray  # (most inputs · stride,) float32, like the next two
    labels: np.ndarray
    weights: np.ndarray
    delta: np.ndarray  # (most inputs, padded d) float32
    places: np.ndarray  # (most inputs,) int64: offsets of the rows of delta


@part
def stride(n: int) -> int:
    """Columns of a score matrix for n outputs."""
    return (n + TILE - 1) // TILE * SLOTS


@part
def column(j: int) -> int:
    """Where output j stands in a row of the score matrix."""
    return j // TILE * SLOTS + j % TILE


@part
def block(m: int, n: int, width: int) -> Block:
    """Room for at most m inputs and n outputs of `width` numbers (a multiple of LANES), all weights 0."""
    size = m * stride(n)
    return Block(
        np.zeros(m, np.int64),
        np.zeros(stride(n) // SLOTS * TILE, np.int64),
        np.zeros(size, np.float32),
        np.zeros(size, np.float32),
        np.zeros(size, np.float32),
        np.zeros((m, width), np.float32),
        np.arange(m) * width,
    )


@part
def _gradients(b: Block, m: int, n: int, inputs: np.ndarray, outputs: np.ndarray, lr: float) -> float:
    """Scores, then g in their place; returns the loss."""
    wide = stride(n)
    for j in range(n, wide // SLOTS * TILE):
        b.cols[j] = b.cols[0]  # filling up a tile: weight 0, and a row that is touched anyway
    for tile in range(wide // SLOTS):
        i = 0
        while i + 1 < m:
            score_tile_2(inputs, b.rows, i, outputs, b.cols, tile * TILE, b.scores, i * wide + tile * SLOTS, wide)
            i += 2
        if i < m:
            score_tile_1(inputs, b.rows, i, outputs, b.cols, tile * TILE, b.scores, i * wide + tile * SLOTS, wide)
    return logistic(b.scores, b.labels, b.weights, m * wide, lr)


@part
def step(b: Block, m: int, n: int, inputs: np.ndarray, outputs: np.ndarray, lr: float, repeats: bool) -> float:
    """Move inputs and outputs by one gradient step; returns the loss. `repeats`: a row may be in b.rows twice."""
    if n > TILE or repeats:
        loss = push(b, m, n, inputs, outputs, lr)
        width = inputs.shape[1]
        for i in range(m):
            row = b.rows[i] // width
            for at in range(width):
                inputs[row, at] += b.delta[i, at]
        return loss
    loss = _gradients(b, m, n, inputs, outputs, lr)
    update_tile(inputs, b.rows, m, outputs, b.cols, 0, b.scores, 0, stride(n), inputs, b.rows)
    return loss


@engine
def push(b: Block, m: int, n: int, inputs: np.ndarray, outputs: np.ndarray, lr: float) -> float:
    """Move the outputs and leave in b.delta what the inputs should move by; returns the loss of the block."""
    loss = _gradients(b, m, n, inputs, outputs, lr)
    b.delta[:m] = 0
    wide = stride(n)
    if n <= TILE:
        update_tile(inputs, b.rows, m, outputs, b.cols, 0, b.scores, 0, wide, b.delta, b.places)
        return loss
    for tile in range(wide // SLOTS):  # no output moves before all inputs know theirs: it may occur in several tiles
        update_inputs(inputs, b.rows, m, outputs, b.cols, tile * TILE, b.scores, tile * SLOTS, wide, b.delta, b.places)
    for tile in range(wide // SLOTS):
        update_outputs(inputs, b.rows, m, outputs, b.cols, tile * TILE, b.scores, tile * SLOTS, wide, b.delta, b.places)
    return loss
