"""Attention of one new position over the keys and values of those before it: a kernel for the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from clew.compiled import njit
from clew.nn.elementwise import LEAST, exp_of_negative, narrow, order, wide


@njit(nogil=True, cache=True, fastmath={"contract", "reassoc"})
def attend_to_past(heads: Any, past: Any, slot: int, begin: Any, scale: Any, out: Any) -> None:
    """out (rows, h, d) ← softmax(scale · q k) v over the slots begin (rows,) … slot.

    heads (rows, h + 2g, d): queries, keys, values of the new position; the latter two go into past (2, rows, g, room,
    d) at `slot`. h / g queries share a key. All but begin in float32, or all in bfloat16.
    """
    rows, groups, width = len(heads), past.shape[2], heads.shape[2]
    n, scale = heads.shape[1] - 2 * groups, np.float32(scale)
    query, total, weights = np.empty(width, np.float32), np.empty(width, np.float32), np.empty(slot + 1, np.float32)
    for row in range(rows):
        for g in range(groups):
            past[0, row, g, slot] = heads[row, n + g]
            past[1, row, g, slot] = heads[row, n + groups + g]
        for head in range(n):
            keys, values = past[0, row, head // (n // groups)], past[1, row, head // (n // groups)]
            for i in range(width):
                query[i] = wide(heads[row, head, i]) * scale
            most = LEAST
            for s in range(begin[row], slot + 1):
                key, score = keys[s], np.float32(0)
                for i in range(width):
                    score += query[i] * wide(key[i])
                weights[s] = score
                most = max(most, order(np.float32(score).view(np.int32)))
            top, z = order(most).view(np.float32), np.float32(0)
            for s in range(begin[row], slot + 1):
                weights[s] = exp_of_negative(weights[s] - top)
                z += weights[s]
            total[:] = 0
            for s in range(begin[row], slot + 1):
                value, weight = values[s], weights[s]
                for i in range(width):
                    total[i] += weight * wide(value[i])
            share = np.float32(1) / z
            for i in range(width):
                out[row, head, i] = narrow(total[i] * share, out)
