"""Running text in rows of one length, for models that guess the next token; in an order that resumes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from clew.batches import Block
from clew.config import BatchConfig
from clew.contracts import Loader
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


class BlockLoader(Loader):
    """An endless stream of rows of a text, each epoch cut at another place and in another order."""

    def __init__(self, documents: Documents, length: int, *, batch: BatchConfig, seed: int) -> None:
        super().__init__(seed)
        self.documents, self.blocks = documents, Blocks(documents, length)
        self.rows = batch.examples or max(1, batch.of_tokens("running text") // length)

    def plan(self, epoch: int) -> list[tuple[int, np.ndarray]]:
        """Return where in the text each batch's rows are cut from, and their numbers."""
        rng = np.random.default_rng([self.seed, epoch])
        spare = len(self.blocks.ids) - 1 - self.blocks.length
        offset = int(rng.integers(0, min(self.blocks.length, spare + 1)))
        order = rng.permutation(self.blocks.count(offset))
        return [(offset, order[begin : begin + self.rows]) for begin in range(0, len(order), self.rows)]

    def collate(self, rows: tuple[int, np.ndarray], rng: np.random.Generator) -> Block:
        offset, numbers = rows
        return self.blocks.batch(numbers, offset)
