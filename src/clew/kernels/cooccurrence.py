"""How often words stand near each other, 1/distance for each time (Pennington et al. 2014, §4.2), row by row.

    X_ij = Σ over places p of word i, places q ≠ p of word j, |p − q| ≤ window, one sentence:  1 / |p − q|

A row is counted by going to all places of its word: the sums lie in one array of V numbers, which stays in the cache,
and nothing is hashed or sorted. Rows come out one after another, so that the counts of two parts of a text, each as
rows, add up row by row.
"""

from __future__ import annotations

import numpy as np

from clew.kernels.blocks import engine


@engine
def places(ids: np.ndarray, words: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each number stands, those of i at order[bounds[i] : bounds[i + 1]], rising; all below `words`."""
    bounds = np.zeros(words + 1, np.int64)
    for word in ids:
        bounds[word + 1] += 1
    bounds = np.cumsum(bounds)
    order, filled = np.empty(len(ids), np.int32), bounds[:-1].copy()
    for place in range(len(ids)):
        word = ids[place]
        order[filled[word]] = place
        filled[word] += 1
    return order, bounds


@engine
def mark_ends(ids: np.ndarray, ends: np.ndarray) -> None:
    """The last word of each sentence becomes −1 − id, in place."""
    for end in ends:
        if end and ids[end - 1] >= 0:
            ids[end - 1] = -1 - ids[end - 1]


@engine
def count_rows(
    marked: np.ndarray,
    order: np.ndarray,
    bounds: np.ndarray,
    first: int,
    window: int,
    sums: np.ndarray,
    cols: np.ndarray,
    values: np.ndarray,
    lengths: np.ndarray,
) -> int:
    """Rows first, first + 1, …, as many as surely fit: columns and sums one row after another; returns how many rows.

    marked: ids from `mark_ends`; order, bounds: from `places`; sums (V,) float64 zeros, zeros again afterwards;
    cols int32 and values float32 with room for at least V numbers; lengths[k]: the numbers of row first + k.
    """
    n = rows = 0
    weights = 1.0 / np.arange(1, window + 1)
    while rows < len(lengths) and first + rows + 1 < len(bounds):
        begin, end = bounds[first + rows], bounds[first + rows + 1]
        if n + min(len(sums), 2 * window * (end - begin)) > len(cols):
            break
        start = n
        for place in order[begin:end]:
            for step in range(1, min(window, place) + 1):  # to the left, up to the end of the sentence before
                word = marked[place - step]
                if word < 0:
                    break
                if sums[word] == 0:
                    cols[n] = word
                    n += 1
                sums[word] += weights[step - 1]
            if marked[place] < 0:
                continue
            for step in range(1, min(window, len(marked) - 1 - place) + 1):
                word = marked[place + step]
                last = word < 0
                if last:
                    word = -1 - word
                if sums[word] == 0:
                    cols[n] = word
                    n += 1
                sums[word] += weights[step - 1]
                if last:
                    break
        for k in range(start, n):
            values[k] = sums[cols[k]]
            sums[cols[k]] = 0
        lengths[rows] = n - start
        rows += 1
    return rows


@engine
def add_rows(
    cols: np.ndarray,
    values: np.ndarray,
    starts: np.ndarray,
    sums: np.ndarray,
    out_cols: np.ndarray,
    out_values: np.ndarray,
    lengths: np.ndarray,
) -> None:
    """Add up the rows of several counts, row by row.

    Row k of count c is cols[starts[c, k] : starts[c, k + 1]]; sums as for `count_rows`; lengths[k]: the numbers of row
    k that come out, one row after another, into out_cols and out_values.
    """
    n = 0
    for row in range(starts.shape[1] - 1):
        start = n
        for count in range(len(starts)):
            for k in range(starts[count, row], starts[count, row + 1]):
                if sums[cols[k]] == 0:
                    out_cols[n] = cols[k]
                    n += 1
                sums[cols[k]] += values[k]
        for k in range(start, n):
            out_values[k] = sums[out_cols[k]]
            sums[out_cols[k]] = 0
        lengths[row] = n - start
