"""Texts as bags of features, in batches; and which of the two, bags or token ids, a text is read as."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import singledispatch
from typing import Any

import numpy as np
import torch
from scipy import sparse

from clew.batches import BagBatch
from clew.config import BatchConfig
from clew.data.batches import Examples, LengthLoader, Texts
from clew.text.hashed import HashedNgrams
from clew.text.template import encode_pairs
from clew.text.tfidf import Tfidf


@dataclass
class Bags(Examples):
    """matrix: (texts, features), how much each feature counts in each text; label: a class or a score of each.

    As `Texts`, of which nothing is ever cut.
    """

    matrix: sparse.csr_array
    label: list[int] | list[float]
    cut: int = 0
    part_of: list[int] = field(default_factory=list)

    @property
    def lengths(self) -> np.ndarray:
        """(texts,) features of each."""
        return np.diff(self.matrix.indptr)

    def loader(self, batch: BatchConfig, seed: int) -> BagLoader:
        """Return all of them in batches of that size."""
        return BagLoader(self, batch=batch, seed=seed)

    def batch(self, rows: Sequence[int]) -> BagBatch:
        """Collate the given texts; nothing is padded."""
        some = self.matrix[np.asarray(rows, dtype=np.int64)]
        return BagBatch(
            torch.from_numpy(some.indices.astype(np.int64)), torch.from_numpy(some.data.astype(np.float32)),
            torch.from_numpy(some.indptr[:-1].astype(np.int64)), torch.tensor([self.label[row] for row in rows]),
            torch.tensor(rows),
        )  # fmt: skip


class BagLoader(LengthLoader):
    """Batches of bags, of at most so many texts, or features."""

    def __init__(self, texts: Bags, *, batch: BatchConfig, seed: int) -> None:
        self.texts = texts
        lengths = np.maximum(texts.lengths, 1)[:, None]
        super().__init__(lengths, batch=batch, max_length=int(lengths.max(initial=1)), seed=seed)

    def batch(self, rows: list[int]) -> BagBatch:
        return self.texts.batch(rows)


class WholeLoader(LengthLoader):
    """All bags at once, in their order: an epoch is one batch."""

    def __init__(self, texts: Bags) -> None:
        self.texts = texts
        super().__init__(np.ones((len(texts), 1), np.int64), batch=BatchConfig(examples=1), max_length=1, seed=0)

    def plan(self, epoch: int) -> list[np.ndarray]:
        return [self.rows]

    def batch(self, rows: list[int]) -> BagBatch:
        return self.texts.batch(rows)


@singledispatch
def encoded(tokenizer: Any, first: Sequence[str], second: Sequence[str] | None, longest: int) -> Examples:
    """Return texts, or pairs of them, as a model reads them, without labels: token ids in their frame, cut to `longest`
    tokens; or bags of features, which have no length.
    """
    found = encode_pairs(tokenizer, first, second, longest)
    return Texts(found.ids, [0] * len(found.ids), found.first, cut=len(found.cut))


@encoded.register(Tfidf)
@encoded.register(HashedNgrams)
def _(tokenizer: Any, first: Sequence[str], second: Sequence[str] | None, longest: int) -> Bags:
    return Bags(tokenizer.bags(first, second), [0] * len(first))
