"""Element-wise engines for the CPU, compiled by numba: one pass over memory where torch's operations need several."""

from __future__ import annotations

import numpy as np
from numba import njit

GOLDEN, MIX_1, MIX_2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
DRAWS = 512  # 64-bit draws made at once: they stay in the first cache


@njit(nogil=True, cache=True)
def drop(x, residual, out, seed, threshold, scale, relu):  # type: ignore[no-untyped-def]
    """out_i = x_i · scale where the i-th 16-bit draw ≥ threshold, else 0; relu: of max(0, x_i); + residual_i if given.

    x, residual (or None), out: float32 of one length. Draw i is a quarter of SplitMix64's output i // 4 for the seed
    (Steele et al. 2014): it depends on (seed, i) alone, so the backward pass draws again instead of storing a mask.
    """
    draws = np.empty(DRAWS, np.uint64)
    quarters = draws.view(np.uint16)
    zero = np.float32(0)
    for start in range(0, x.size, 4 * DRAWS):
        before = np.uint64(seed) + np.uint64(start // 4) * GOLDEN
        for j in range(DRAWS):
            z = before + np.uint64(j + 1) * GOLDEN
            z = (z ^ (z >> np.uint64(30))) * MIX_1
            z = (z ^ (z >> np.uint64(27))) * MIX_2
            draws[j] = z ^ (z >> np.uint64(31))
        for j in range(min(4 * DRAWS, x.size - start)):
            value = x[start + j] * scale if quarters[j] >= threshold else zero
            if relu and value < zero:  # not max: NaN stays NaN
                value = zero
            if residual is not None:
                value += residual[start + j]
            out[start + j] = value


LANES = 64  # maxima and sums kept apart, so that a reduction becomes vector instructions


@njit(nogil=True, cache=True, inline="always")
def exp_of_negative(x):  # type: ignore[no-untyped-def]
    """e^x for x ≤ 0 in float32: 2^k · 2^r with |r| ≤ 1/2, to 4e-6 of itself where x > -87 and below 2e-38 elsewhere.

    Unlike math.exp it becomes vector instructions.
    """
    y = x * np.float32(1.4426950408889634)
    y = np.float32(-126) if y < np.float32(-126) else y  # not max: NaN stays NaN
    k = np.rint(y)
    r = y - k
    power = np.float32(1.5403530393381608e-4)  # ln(2)^n / n! for n = 6 … 0
    power = power * r + np.float32(1.3333558146428443e-3)
    power = power * r + np.float32(9.618129107628477e-3)
    power = power * r + np.float32(5.550410866482158e-2)
    power = power * r + np.float32(2.402265069591007e-1)
    power = power * r + np.float32(6.931471805599453e-1)
    power = power * r + np.float32(1)
    return power * np.int32((np.int32(k) + np.int32(127)) << np.int32(23)).view(np.float32)


@njit(nogil=True, cache=True, fastmath={"contract"})
def softmax_rows(logits, bias, log_z):  # type: ignore[no-untyped-def]
    """logits (rows, V) ← softmax(logits + bias (V,)), log_z (rows,) ← log Σ exp(logits + bias); float32."""
    lanes = np.empty(LANES, np.float32)
    size = logits.shape[1]
    rest = size - size % LANES
    for i in range(logits.shape[0]):
        lanes[:] = -np.inf
        for start in range(0, rest, LANES):
            for j in range(LANES):
                x = logits[i, start + j] + bias[start + j]
                logits[i, start + j] = x
                lanes[j] = x if x > lanes[j] else lanes[j]
        for j in range(rest, size):
            logits[i, j] += bias[j]
            lanes[0] = max(lanes[0], logits[i, j])
        top = lanes.max()
        lanes[:] = 0
        for start in range(0, rest, LANES):
            for j in range(LANES):
                x = exp_of_negative(logits[i, start + j] - top)
                logits[i, start + j] = x
                lanes[j] += x
        for j in range(rest, size):
            logits[i, j] = exp_of_negative(logits[i, j] - top)
            lanes[0] += logits[i, j]
        z = lanes.sum()
        log_z[i] = top + np.log(z)
        scale = np.float32(1) / z
        for j in range(size):
            logits[i, j] *= scale
