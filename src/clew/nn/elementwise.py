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
