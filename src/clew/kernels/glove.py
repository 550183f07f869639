"""GloVe (Pennington et al. 2014, equation 8): weighted least squares on the logarithm of co-occurrence counts.

    L = Σ_ij ½ f(X_ij) (w_i·c_j + b_i + b̃_j − log X_ij)²        f(X) = min(1, (X / x_max)^α)

A step per entry, by AdaGrad: G += g², θ −= lr · g / √G, each number of a table with its own sum G.

The rows of both tables are [w_i, b_i, 1, 0 …] and [c_j, 1, b̃_j, 0 …], so that their product is all of w_i·c_j + b_i +
b̃_j, and a bias is a number like the others. The sum of a 1 is so large that the 1 never moves (see `sums`).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from clew.kernels.blocks import engine
from clew.kernels.registers import LANES, prefetch
from clew.kernels.sampling import table

AHEAD = 4  # entries: how early a row is sent for
STILL = np.float32(1e30)  # a sum of squared gradients after which no step can be seen


def tables(words: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Zero tables of words and contexts (words, padded d + 2): vectors in columns 0 … d − 1, see the module."""
    made = table(words, d + 2), table(words, d + 2)
    made[0][:, d + 1] = made[1][:, d] = 1
    return made


def sums(words: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Tables of AdaGrad's sums for `tables`, 1 everywhere but at the ones, which shall not move."""
    made = table(words, d + 2), table(words, d + 2)
    made[0][:], made[1][:] = 1, 1
    made[0][:, d + 1] = made[1][:, d] = STILL
    return made


def train_slice(
    rows: np.ndarray,
    cols: np.ndarray,
    values: np.ndarray,
    words: tuple[np.ndarray, np.ndarray],
    contexts: tuple[np.ndarray, np.ndarray],
    x_max: float,
    alpha: float,
    lr: float,
    threads: int = 1,
) -> float:
    """One step for each entry (row, col, value) in order; returns the summed loss.

    rows, cols (n,) int32, values (n,) float32 > 0; words, contexts: a table and its AdaGrad sums, moved in place.
    More threads than one take parts of the entries and write without a lock (Hogwild, Recht et al. 2011). ValueError
    where the arrays do not fit together.
    """
    check(rows, cols, values, words, contexts)
    logs = np.log(values)
    weights = np.exp(np.float32(alpha) * np.minimum(logs - np.float32(np.log(x_max)), 0))
    parts = zip(*(np.array_split(array, threads) for array in (rows, cols, logs, weights)), strict=True)
    if threads == 1:
        return _steps(*next(parts), *words, *contexts, lr)
    with ThreadPoolExecutor(threads) as pool:
        return sum(job.result() for job in [pool.submit(_steps, *part, *words, *contexts, lr) for part in parts])


def check(rows: np.ndarray, cols: np.ndarray, values: np.ndarray, *pairs: tuple[np.ndarray, np.ndarray]) -> None:
    """Refuse what would make the kernel write outside its tables, or take the logarithm of 0: ValueError."""
    shapes = {array.shape for pair in pairs for array in pair}
    for array in (array for pair in pairs for array in pair):
        if array.dtype != np.float32 or not array.flags.c_contiguous or array.ndim != 2 or array.shape[1] % LANES:
            raise ValueError(f"tables must be contiguous float32 (rows, a multiple of {LANES}); use tables(), sums()")
    if len(shapes) > 1 or not len(rows) == len(cols) == len(values):
        raise ValueError(f"tables {shapes} or entries {len(rows)}, {len(cols)}, {len(values)} differ in size")
    size = len(pairs[0][0])
    for ids in (rows, cols):
        if len(ids) and not 0 <= ids.min() <= ids.max() < size:
            raise ValueError(f"word ids must be in 0 … {size - 1}, not {ids.min()} … {ids.max()}")
    if len(values) and not values.min() > 0:
        raise ValueError(f"co-occurrence counts must be above 0, not {values.min()}")


@engine
def _steps(
    rows: np.ndarray,
    cols: np.ndarray,
    logs: np.ndarray,
    weights: np.ndarray,
    words: np.ndarray,
    word_sums: np.ndarray,
    contexts: np.ndarray,
    context_sums: np.ndarray,
    lr: float,
) -> float:
    width, rate, loss = words.shape[1], np.float32(lr), 0.0
    for n in range(len(rows)):
        if n + AHEAD < len(rows):
            if rows[n + AHEAD] != rows[n + AHEAD - 1]:
                prefetch(words, np.int64(rows[n + AHEAD]) * width)
                prefetch(word_sums, np.int64(rows[n + AHEAD]) * width)
            prefetch(contexts, np.int64(cols[n + AHEAD]) * width)
            prefetch(context_sums, np.int64(cols[n + AHEAD]) * width)
        w, w_sum, c, c_sum = words[rows[n]], word_sums[rows[n]], contexts[cols[n]], context_sums[cols[n]]
        score = np.float32(0)
        for k in range(width):
            score += w[k] * c[k]
        diff = score - logs[n]
        g = weights[n] * diff
        loss += np.float32(0.5) * g * diff
        for k in range(width):
            w_k, c_k = w[k], c[k]
            g_w, g_c = g * c_k, g * w_k
            w_sum[k] += g_w * g_w
            c_sum[k] += g_c * g_c
            w[k] = w_k - rate * g_w / np.sqrt(w_sum[k])
            c[k] = c_k - rate * g_c / np.sqrt(c_sum[k])
    return loss
