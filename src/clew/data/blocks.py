"""Running text in rows of one length, for models that guess the next token; in an order that resumes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from clew.batches import Block
from clew.data.documents import Documents
from clew.errors import DataError


class Blocks:
    """A text as rows of `length` tokens, the first beginning at token `offset`; what is left at the end is left out.

    Rows are cut without regard to documents, each of which </s> ends; within a row no document sees another (`Block`).
    """

    def __init__(self, documents: Documents, length: int) -> None:
        self.ids, self.length = documents.ids, length
        self.starts = np.asarray(documents.sentences[documents.documents])  # (D + 1,) where each document starts in ids
        if len(self.ids) <= length:
            raise DataError(
                f"the text has {len(self.ids):,} tokens, and a row of it takes {length + 1:,}",
                where="task.max_length", fix="give more text, or set a shorter task.max_length",
            )  # fmt: skip

    def count(self, offset: int = 0) -> int:
        """Rows from that token on."""
        return (len(self.ids) - 1 - offset) // self.length

    def batch(self, rows: Sequence[int] | np.ndarray, offset: int = 0) -> Block:
        """Collate the given rows; each target is the token that comes next."""
        begin = offset + np.asarray(rows, dtype=np.int64) * self.length
        places = begin[:, None] + np.arange(self.length + 1)
        ids = torch.from_numpy(self.ids[places].astype(np.int64))
        places = places[:, :-1]
        own = self.starts[np.searchsorted(self.starts, places, side="right") - 1]  # where each token's document starts
        position = None
        if (own[:, -1] > begin).any():
            position = torch.from_numpy(places - np.maximum(own, begin[:, None]))
        return Block(ids[:, :-1], ids[:, 1:], torch.as_tensor(np.asarray(rows, dtype=np.int64)), position)


class BlockLoader:
    """An endless stream of rows of a text, each epoch cut at another place and in another order.

    Both depend on (seed, epoch) alone: `state_dict()` is the position after the last batch handed out.
    """

    n_left_out = 0

    def __init__(self, documents: Documents, length: int, *, batch_tokens: int, seed: int) -> None:
        self.documents, self.blocks, self.seed = documents, Blocks(documents, length), seed
        self.rows = max(1, batch_tokens // length)
        self.epoch, self.position = 0, 0
        self._open()

    @property
    def epochs_done(self) -> float:
        return self.epoch + self.position / len(self._order)

    def __iter__(self) -> Iterator[Block]:
        while True:
            if self.position >= len(self._order):
                self.epoch, self.position = self.epoch + 1, 0
                self._open()
            rows = self._order[self.position : self.position + self.rows]
            self.position += len(rows)
            yield self.blocks.batch(rows, self._offset)

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch, self.position = state["epoch"], state["position"]
        self._open()

    def _open(self) -> None:
        """Cut and shuffle the epoch whose turn it is."""
        rng = np.random.default_rng([self.seed, self.epoch])
        spare = len(self.blocks.ids) - 1 - self.blocks.length
        self._offset = int(rng.integers(0, min(self.blocks.length, spare + 1)))
        self._order = rng.permutation(self.blocks.count(self._offset))
