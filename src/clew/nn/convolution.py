"""Convolution over time: features of windows of words, and the strongest of each."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MaxOverTime(nn.Module):
    """ĉ = max_i c_i with c_i = relu(w · x_{i:i+h-1} + b), for each of `filters` filters w (Kim 2014, eq. 2–3).

    x (batch, time, d), mask (batch, time) bool, True = a real word -> (batch, filters). Each text stands between h - 1
    zeros, so that its words meet every place of a window and a text may be shorter than one; windows without any word
    of the text do not count, and padding changes nothing.
    """

    def __init__(self, d: int, filters: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.windows = nn.Conv1d(d, filters, width, padding=width - 1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x.masked_fill(~mask[..., None], 0.0)
        scores = self.windows(x.transpose(1, 2))  # (batch, filters, time + h - 1)
        n_windows = mask.sum(dim=1, keepdim=True) + self.width - 1
        inside = torch.arange(scores.shape[2], device=x.device) < n_windows  # (batch, time + h - 1)
        return torch.relu(scores.masked_fill(~inside[:, None], -torch.inf).amax(dim=2))  # relu grows: it may come last
