"""One text after another, as fastText's classifier learns: a step of SGD on −log softmax(W h)_y, h = Σ_f x_f v_f.

g_c = lr · (1[c = y] − p_c)        v_f += x_f Σ_c g_c w_c        w_c += g_c h        (both from the rows as they were)
"""

from __future__ import annotations

import numpy as np

from clew.kernels.blocks import engine


@engine
def train_texts(
    feature: np.ndarray, weight: np.ndarray, start: np.ndarray, label: np.ndarray,
    inputs: np.ndarray, outputs: np.ndarray, lr: float,
) -> tuple[float, int]:  # fmt: skip
    """Move both tables in place, text by text; returns the summed loss, each before its step, and how many were right.

    feature (n,) int64, weight (n,) float32: the features of all texts; start (texts,): where each text's begin; label
    (texts,) int64. inputs (features, d), outputs (classes, d), float32, rows one after another.
    """
    d, classes, rate = inputs.shape[1], len(outputs), np.float32(lr)
    hidden, error = np.empty(d, np.float32), np.empty(d, np.float32)
    scores = np.empty(classes, np.float32)
    loss, right = 0.0, 0
    for text in range(len(start)):
        first, last = start[text], start[text + 1] if text + 1 < len(start) else len(feature)
        hidden[:] = 0
        for k in range(first, last):
            x = weight[k]
            row = inputs[feature[k]]
            for i in range(d):
                hidden[i] += x * row[i]
        best, most = 0, np.float32(-np.inf)
        for c in range(classes):
            s = np.float32(0)
            for i in range(d):
                s += outputs[c, i] * hidden[i]
            scores[c] = s
            if s > most:
                best, most = c, s
        total = np.float32(0)
        for c in range(classes):
            total += np.exp(scores[c] - most)
        y = label[text]
        loss += np.log(total) - (scores[y] - most)
        right += best == y
        error[:] = 0
        for c in range(classes):
            g = rate * (np.float32(c == y) - np.exp(scores[c] - most) / total)
            for i in range(d):
                error[i] += g * outputs[c, i]
                outputs[c, i] += g * hidden[i]
        for k in range(first, last):
            x = weight[k]
            row = inputs[feature[k]]
            for i in range(d):
                row[i] += x * error[i]
    return loss, right
