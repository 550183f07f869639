"""Element-wise engines for the CPU, compiled by numba: one pass over memory where torch's operations need several."""

from __future__ import annotations

import numpy as np
import torch
from numba import types
from numba.extending import overload
from torch import Tensor

from clew.compiled import njit

GOLDEN, MIX_1, MIX_2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
DRAWS = 512  # 64-bit draws made at once: they stay in the first cache


def numbers(x: Tensor) -> np.ndarray:
    """The memory of a tensor, or a copy where it is not in order; that of bfloat16 as its 16 bits."""
    x = x.detach().contiguous()
    return (x.view(torch.uint16) if x.dtype == torch.bfloat16 else x).numpy()


def wide(x):  # type: ignore[no-untyped-def]
    """The float32 that x is, or whose upper half, a bfloat16, the 16 bits x are."""
    raise NotImplementedError("compiled code calls it")


@overload(wide, inline="always")
def _wide(x):  # type: ignore[no-untyped-def]
    if x == types.uint16:
        return lambda x: np.uint32(np.uint32(x) << np.uint32(16)).view(np.float32)
    return lambda x: x


def narrow(value, out):  # type: ignore[no-untyped-def]
    """The float32 value as `out` holds it: to the nearest bfloat16 (of two, the even one) where out has 16 bits."""
    raise NotImplementedError("compiled code calls it")


@overload(narrow, inline="always")
def _narrow(value, out):  # type: ignore[no-untyped-def]
    def nearest(value, out):  # type: ignore[no-untyped-def]
        bits = np.int64(np.float32(value).view(np.int32))
        up = 0x7FFF + ((bits >> 16) & 1) if value == value else 0  # NaN stays NaN
        return np.uint16((bits + up) >> 16)

    return nearest if out.dtype == types.uint16 else lambda value, out: value


@njit(nogil=True, cache=True)
def drop(x, residual, out, seed, threshold, scale, relu):  # type: ignore[no-untyped-def]
    """out_i = x_i · scale where the i-th 16-bit draw ≥ threshold, else 0; relu: of max(0, x_i); + residual_i if given.

    x, residual (or None), out: of one length. Draw i is a quarter of SplitMix64's output i // 4 for the seed (Steele et
    al. 2014): it depends on (seed, i) alone, so the backward pass draws again instead of storing a mask.
    """
    draws = np.empty(DRAWS, np.uint64)
    quarters = draws.view(np.uint16)
    zero, least = np.float32(0), np.uint16(threshold)
    for start in range(0, x.size, 4 * DRAWS):
        before = np.uint64(seed) + np.uint64(start // 4) * GOLDEN
        for j in range(DRAWS):
            z = before + np.uint64(j + 1) * GOLDEN
            z = (z ^ (z >> np.uint64(30))) * MIX_1
            z = (z ^ (z >> np.uint64(27))) * MIX_2
            draws[j] = z ^ (z >> np.uint64(31))
        x_part, out_part = x[start : start + 4 * DRAWS], out[start : start + 4 * DRAWS]  # indices from 0: vectors
        added = None if residual is None else residual[start : start + 4 * DRAWS]
        for j in range(x_part.size):
            value = wide(x_part[j]) * scale if quarters[j] >= least else zero
            if relu and value < zero:  # not max: NaN stays NaN
                value = zero
            if added is not None:
                value += wide(added[j])
            out_part[j] = narrow(value, out_part)


@njit(nogil=True, cache=True, inline="always")
def order(bits):  # type: ignore[no-untyped-def]
    """The int32 `bits` of a float32 as one that stands in the same order, and back.

    Unlike those of floats, maxima of these become vector instructions.
    """
    return np.int32(bits ^ np.int32(np.int32(bits >> np.int32(31)) & np.int32(0x7FFFFFFF)))


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


LEAST = np.int32(-(2**31))


@njit(nogil=True, cache=True, fastmath={"contract", "reassoc"})
def cross_entropy_rows(logits, bias, target, share, log_z, gold):  # type: ignore[no-untyped-def]
    """logits (rows, V) ← softmax(logits + bias (V,)) - share · onehot(target (rows,)).

    log_z (rows,) ← log Σ exp(logits + bias), gold (rows,) ← (logits + bias)[target].
    """
    size = logits.shape[1]
    row = np.empty(size, np.float32)
    for i in range(logits.shape[0]):
        out, most = logits[i], LEAST
        for j in range(size):
            row[j] = value = np.float32(wide(out[j]) + bias[j])
            most = max(most, order(value.view(np.int32)))
        top, z = order(most).view(np.float32), np.float32(0)
        gold[i] = row[target[i]]
        for j in range(size):
            row[j] = exp_of_negative(row[j] - top)
            z += row[j]
        log_z[i] = top + np.log(z)
        row *= np.float32(1) / z
        row[target[i]] -= np.float32(share)
        for j in range(size):
            out[j] = narrow(row[j], out)


@njit(nogil=True, cache=True, fastmath={"contract", "reassoc"})
def scaled_softmax_rows(scores, weights, scale, causal):  # type: ignore[no-untyped-def]
    """weights (n, T, S) ← softmax(scale · scores); causal: query t sees S - T + t + 1 keys, the rest weighs 0."""
    n, queries, size = scores.shape
    row, scale = np.empty(size, np.float32), np.float32(scale)
    for i in range(n * queries):
        seen = size - queries + i % queries + 1 if causal else size
        x, out, most = scores[i // queries, i % queries], weights[i // queries, i % queries], LEAST
        for j in range(seen):
            row[j] = value = np.float32(wide(x[j]) * scale)
            most = max(most, order(value.view(np.int32)))
        top, z = order(most).view(np.float32), np.float32(0)
        for j in range(seen):
            row[j] = exp_of_negative(row[j] - top)
            z += row[j]
        part = np.float32(1) / z
        for j in range(seen):
            out[j] = narrow(row[j] * part, out)
        out[seen:] = 0


@njit(nogil=True, cache=True, fastmath={"contract", "reassoc"})
def scaled_softmax_gradient(weights, d_weights, d_scores, scale, causal):  # type: ignore[no-untyped-def]
    """d_scores ← scale · weights ∘ (d_weights - Σ weights ∘ d_weights), each (n, T, S), of what a query sees."""
    n, queries, size = weights.shape
    scale = np.float32(scale)
    for i in range(n * queries):
        seen = size - queries + i % queries + 1 if causal else size
        p, d_p = weights[i // queries, i % queries], d_weights[i // queries, i % queries]
        out, total = d_scores[i // queries, i % queries], np.float32(0)
        for j in range(seen):
            total += wide(p[j]) * wide(d_p[j])
        for j in range(seen):
            out[j] = narrow(scale * wide(p[j]) * (wide(d_p[j]) - total), out)
        out[seen:] = 0


SLOPE, CUBIC = np.float32(2 * (2 / np.pi) ** 0.5), np.float32(0.044715)


@njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")  # no test for 0 before each division
def gelu_tanh(x, y):  # type: ignore[no-untyped-def]
    """y ← x σ(u), u = 2 √(2/π) (x + 0.044715 x³): tanh(u / 2) = 2 σ(u) - 1."""
    one = np.float32(1)
    for i in range(x.size):
        value = wide(x[i])
        u = SLOPE * value * (one + CUBIC * value * value)
        e = exp_of_negative(-abs(u))
        y[i] = narrow(value * (one if u > 0 else e) / (one + e), y)


@njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")  # no test for 0 before each division
def gelu_tanh_gradient(x, d_y, d_x):  # type: ignore[no-untyped-def]
    """d_x ← d_y (σ + x σ (1 - σ) ∂u/∂x)."""
    one = np.float32(1)
    for i in range(x.size):
        value = wide(x[i])
        square = CUBIC * value * value
        u = SLOPE * value * (one + square)
        e = exp_of_negative(-abs(u))
        part = one / (one + e)
        slope = value * SLOPE * (one + np.float32(3) * square)
        d_x[i] = narrow(wide(d_y[i]) * part * ((one if u > 0 else e) + slope * e * part), d_x)
