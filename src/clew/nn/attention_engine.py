"""The engines of attention: functions of queries, keys and values that are projected, and turned where that is asked.

`heads` is queries, keys and values of the same positions side by side, (…, T, h + 2g, d_head), as one product makes
them: h queries, then g keys, then g values. `attend(q, k, v, mask, causal)` is attention within each head.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from clew.nn.causal import earlier
from clew.nn.dropout import dropout
from clew.nn.packing import Packing
from clew.nn.positions import rotate
from clew.nn.softmax import ENGINES, scaled_softmax

Attend = Callable[..., Tensor]


def kernel_pays(q: Tensor, p: float) -> bool:
    """Whether torch's kernel is the fastest.

    On the CPU it has no dropout, and its gradient in bfloat16 takes several times the equation's.
    """
    return q.is_cuda or not (p or (q.dtype == torch.bfloat16 and q.requires_grad))


def engine_pays(q: Tensor, mask: Tensor | None, p: float) -> bool:
    """Whether `fast_attention` is faster than the equation."""
    return kernel_pays(q, p) or (mask is None and q.device.type == "cpu" and q.dtype in ENGINES)


def fast_attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool, p: float, scale: float | None = None
) -> Tensor:
    """softmax(scale · q kᵀ) v with weights dropped out with probability p, where `engine_pays`; scale: 1 / √d_head.

    By torch's kernel, or, for training on the CPU, by the equation with an engine for its softmax.
    """
    if kernel_pays(q, p):
        if causal and (mask is not None or q.shape[-2] != k.shape[-2]):  # what the kernel does not do
            mask, causal = earlier(q, k, mask), False
        return F.scaled_dot_product_attention(q, k, v, mask, p, is_causal=causal, scale=scale)
    q, k, v = (each.contiguous() for each in (q, k, v))
    weights = scaled_softmax(q @ k.transpose(-2, -1), scale or 1 / math.sqrt(q.shape[-1]), causal)
    return dropout(weights, p, p > 0) @ v


def turned(heads: Tensor, n_heads: int, start: int | Tensor, base: float) -> Tensor:
    """Queries and keys turned to their places by `rotate`, beside the values: (…, T, h + 2g, d_head) -> the same."""
    n = (heads.shape[-2] + n_heads) // 2
    both = rotate(heads[..., :n, :].transpose(-3, -2), start, base).transpose(-3, -2)
    return torch.cat([both, heads[..., n:, :]], dim=-2)


def qkv_of(heads: Tensor, n_heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """(B, T, h + 2g, d_head) -> queries (B, h, T, d_head), keys and values (B, g, T, d_head)."""
    groups = (heads.shape[-2] - n_heads) // 2
    q, k, v = heads.transpose(1, 2).split([n_heads, groups, groups], dim=1)
    return q, k, v


def look_back(attend: Attend, heads: Tensor, n_heads: int, mask: Tensor | None, past: Tensor | None) -> Tensor:
    """Each position attends to those before it: (B, T, h + 2g, d_head) -> (B, h, T, d_head).

    past: keys and values of what came before, (2, B, g, slots, d_head); the last T slots are filled here.
    """
    q, k, v = qkv_of(heads, n_heads)
    time = q.shape[2]
    if past is not None:
        past[0, :, :, -time:], past[1, :, :, -time:] = k, v
        k, v = past
    return attend(q, k, v, mask, causal=mask is None and time > 1)


def look_within_rows(attend: Attend, heads: Tensor, n_heads: int, packing: Packing, *, padded: bool) -> Tensor:
    """Each token attends to those of its row of an unpadded batch: (tokens, h + 2g, d_head) -> (tokens, h · d_head).

    On the CPU each run of rows of one length is a dense batch; padded: all rows are one batch with its mask, for a GPU,
    an export and whoever listens.
    """
    if padded:
        whole = attend(*qkv_of(packing.unpack(heads), n_heads), packing.mask[:, None, None, :])
        return packing.pack(whole.transpose(1, 2)).flatten(1)
    blocks = heads.split([rows * length for rows, length in packing.runs])
    seen = [
        attend(*qkv_of(block.unflatten(0, run), n_heads)).transpose(1, 2).flatten(0, 1)
        for block, run in zip(blocks, packing.runs, strict=True)
    ]  # each (rows · length, h, d_head)
    return torch.cat(seen).flatten(1)


class KeyValues:
    """Keys and values of the positions decoded so far, each (rows, heads, length, d_head)."""

    def __init__(self) -> None:
        self.keys: Tensor | None = None
        self.values: Tensor | None = None

    @property
    def length(self) -> int:
        return 0 if self.keys is None else self.keys.shape[2]

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Store one more position's (rows, heads, 1, d_head) and return all so far."""
        self.keys = key if self.keys is None else torch.cat([self.keys, key], dim=2)
        self.values = value if self.values is None else torch.cat([self.values, value], dim=2)
        return self.keys, self.values

    def select(self, rows: Tensor) -> None:
        """Keep the given rows, in that order (beam search moves, drops and repeats them)."""
        if self.keys is not None and self.values is not None:
            self.keys, self.values = self.keys.index_select(0, rows), self.values.index_select(0, rows)
