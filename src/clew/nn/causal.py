"""What decoders share: who may attend to whom, and the keys and values that decoding keeps."""

from __future__ import annotations

import torch
from torch import Tensor


def causal_mask(start: Tensor, past: int = 0) -> Tensor:
    """Each position attends to itself and to those before it that begin where it does.

    start: (batch, slots), at which slot the text of each slot begins, of which the first `past` ask nothing;
    (batch, 1, slots - past, slots), True = may attend. Rows that hold several documents, and rows that are padded on
    the left (each padding is a text of its own), come to the same.
    """
    slots = start.shape[1]
    earlier = torch.ones(slots, slots, dtype=torch.bool, device=start.device).tril()[past:]
    return (earlier & (start[:, past:, None] == start[:, None, :]))[:, None]


def earlier(q: Tensor, k: Tensor, mask: Tensor | None = None) -> Tensor:
    """`mask`, without the keys that follow a query: q (…, T, d), k (…, S, d) -> (…, T, S).

    The last query sees all keys, each one before it a key less.
    """
    queries, keys = q.shape[-2], k.shape[-2]
    seen = torch.ones(queries, keys, dtype=torch.bool, device=q.device).tril(keys - queries)
    return seen if mask is None else mask & seen


class Cache:
    """Keys and values of what was read so far, in memory that is taken once.

    past: (layers, 2, batch, heads, room, d_head); length: slots in use, the same in every row. Rows of unequal lengths
    are padded on the left: start (batch, room), of every slot in use the slot at which its text begins; None where all
    rows begin at slot 0.
    """

    def __init__(self, past: Tensor, start: Tensor | None = None) -> None:
        self.past, self.start, self.length = past, start, 0

    @property
    def room(self) -> int:
        return self.past.shape[4]

    def advance(self, n: int) -> Tensor:
        """Make room for n more positions; the past with them, (layers, 2, batch, heads, length, d_head)."""
        self.length += n
        return self.past.narrow(4, 0, self.length)

    def back(self, n: int) -> None:
        """Forget the last n positions."""
        self.length -= n

    def select(self, rows: Tensor) -> None:
        """Keep the given rows, in that order (beam search moves, drops and repeats them)."""
        self.past = self.past.index_select(2, rows)
        if self.start is not None:
            self.start = self.start.index_select(0, rows)


def places(text: Tensor, position: Tensor | None, cache: Cache | None) -> tuple[Tensor, Tensor | None]:
    """Position of each token of text (batch, time), and the mask, where it is not simply causal.

    position: what is known of it, (batch, time); None: rows count up from 0, or go on from what the cache holds.
    """
    past = cache.length if cache is not None else 0
    end = past + text.shape[1]
    slots = torch.arange(past, end, device=text.device)
    starts = None if cache is None else cache.start
    if position is None and starts is not None:
        position = slots - starts[:, past - 1 : past]
    if position is None:
        square = past == 0 or text.shape[1] == 1
        return slots, None if square else causal_mask(slots.new_zeros(1, end), past)
    start = slots - position
    if starts is not None:
        starts[:, past:end] = start
        start = starts[:, :end]
    return position, causal_mask(start, past)
