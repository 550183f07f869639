"""Batches of texts and of pairs of them: a token budget, like lengths, a seeded order, an exact position."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clew.batches import Batch, PairBatch, TextBatch
from clew.config import BatchConfig
from clew.contracts import Loader


def pad(sequences: Sequence[Sequence[int]], pad_id: int) -> Tensor:
    """Stack id lists into (batch, longest), padded on the right."""
    width = max(map(len, sequences), default=0)
    out = np.full((len(sequences), width), pad_id, dtype=np.int64)
    for row, ids in enumerate(sequences):
        out[row, : len(ids)] = ids
    return torch.from_numpy(out)


@dataclass
class Pairs:
    """Encoded sentence pairs, without special tokens; row i is (source[i], target[i])."""

    source: list[list[int]]
    target: list[list[int]]

    def __len__(self) -> int:
        return len(self.source)

    def batch(self, rows: Sequence[int], *, pad_id: int, bos_id: int, eos_id: int) -> PairBatch:
        """Collate the given rows into one padded batch."""
        source = pad([[*self.source[i], eos_id] for i in rows], pad_id)
        target_in = pad([[bos_id, *self.target[i]] for i in rows], pad_id)
        target_out = pad([[*self.target[i], eos_id] for i in rows], pad_id)
        lengths = torch.tensor([len(self.target[i]) + 1 for i in rows])
        source_lengths = torch.tensor([len(self.source[i]) + 1 for i in rows])
        return PairBatch(
            source,
            torch.arange(source.shape[1]) < source_lengths[:, None],
            target_in,
            target_out,
            torch.arange(target_in.shape[1]) < lengths[:, None],
            torch.tensor(rows),
        )


@dataclass
class Texts:
    """Encoded texts, of at least one token each, and what is to be learned of them.

    text: ids of each; label: a class, a score, a pair of places, or the classes of the tokens `at`, for each example;
    first: tokens of the first segment (all, by default). With `choices`, each example has so many neighbouring texts.
    cut: how many were longer than what is read at once; part_of: where texts are read in parts, which one each part is
    of.
    """

    text: list[list[int]]
    label: list[Any]
    first: list[int] | None = None
    at: list[list[int]] | None = None
    choices: int = 1
    cut: int = 0
    part_of: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.label)

    @property
    def lengths(self) -> np.ndarray:
        """(examples,) tokens of the longest text of each."""
        longest: np.ndarray = np.array([len(ids) for ids in self.text], np.int64).reshape(-1, self.choices).max(axis=1)
        return longest

    def loader(self, batch: BatchConfig, seed: int, pad_id: int) -> TextLoader:
        """Return all of them in batches of that size."""
        return TextLoader(self, batch=batch, max_length=int(self.lengths.max()), seed=seed, pad_id=pad_id)

    def batch(self, rows: Sequence[int], *, pad_id: int) -> TextBatch:
        """Collate the given examples into one padded batch."""
        texts = [row * self.choices + choice for row in rows for choice in range(self.choices)]
        text = pad([self.text[i] for i in texts], pad_id)
        lengths = torch.tensor([len(self.text[i]) for i in texts])
        time = torch.arange(text.shape[1])
        mask = time < lengths[:, None]
        first = lengths if self.first is None else torch.tensor([self.first[i] for i in texts])
        segment = (mask & (time >= first[:, None])).long()
        labels = [self.label[i] for i in rows]
        at = None
        if self.at is not None:
            at = torch.tensor([n * text.shape[1] + place for n, i in enumerate(rows) for place in self.at[i]])
            labels = [each for label in labels for each in label]
        return TextBatch(text, mask, segment, torch.tensor(labels), torch.tensor(rows), at)


class LengthLoader(Loader):
    """Batches of like length, at most `batch_tokens` padded tokens on the longest side, or `examples` rows.

    lengths: (rows, sides) tokens, one side or two.

    Each epoch's rows are shuffled, sorted by length (those of equal lengths stay shuffled), cut into batches, and the
    batches are shuffled. A row longer than `batch_tokens` is a batch by itself.
    """

    def __init__(self, lengths: np.ndarray, *, batch: BatchConfig, max_length: int, seed: int) -> None:
        super().__init__(seed)
        self.lengths, self.size = lengths, batch
        self.rows = np.flatnonzero(lengths.max(axis=1, initial=0) <= max_length)
        self.n_left_out = len(lengths) - len(self.rows)

    @abstractmethod
    def batch(self, rows: list[int]) -> Batch:
        """Return the given rows as one padded batch."""

    def collate(self, rows: np.ndarray, rng: np.random.Generator) -> Batch:
        return self.batch(rows.tolist())

    def plan(self, epoch: int) -> list[np.ndarray]:
        rng = np.random.default_rng([self.seed, epoch])
        rows = rng.permutation(self.rows)
        source, target = self.lengths[rows, 0], self.lengths[rows, -1]
        longer, more = np.maximum(source, target), source - target
        # By the longer side, then by which side that is, to and fro, so that both sides of a batch are filled.
        rows = rows[np.lexsort((np.where(longer % 2, more, -more), longer))]  # ties keep the shuffle
        batches, start, longest = [], 0, 0
        for end, row in enumerate(rows):
            longest = max(longest, int(self.lengths[row].max()))
            if self.size.full(longest * (end - start + 1), end - start + 1) and end > start:
                batches.append(rows[start:end])
                start, longest = end, int(self.lengths[row].max())
        if start < len(rows):
            batches.append(rows[start:])
        return [batches[i] for i in rng.permutation(len(batches))]


class PairLoader(LengthLoader):
    """Batches of sentence pairs; both sides are counted with their </s>."""

    def __init__(
        self, pairs: Pairs, *, batch: BatchConfig, max_length: int, seed: int, pad_id: int, bos_id: int, eos_id: int
    ) -> None:
        self.pairs, self.ids = pairs, {"pad_id": pad_id, "bos_id": bos_id, "eos_id": eos_id}
        lengths = np.array([(len(s) + 1, len(t) + 1) for s, t in zip(pairs.source, pairs.target, strict=True)])
        super().__init__(lengths.reshape(-1, 2), batch=batch, max_length=max_length, seed=seed)

    def batch(self, rows: list[int]) -> PairBatch:
        return self.pairs.batch(rows, **self.ids)


class TextLoader(LengthLoader):
    """Batches of labelled texts."""

    def __init__(self, texts: Texts, *, batch: BatchConfig, max_length: int, seed: int, pad_id: int) -> None:
        self.texts, self.pad_id = texts, pad_id
        lengths = texts.lengths[:, None]
        super().__init__(lengths, batch=batch.shared(texts.choices), max_length=max_length, seed=seed)

    def batch(self, rows: list[int]) -> TextBatch:
        return self.texts.batch(rows, pad_id=self.pad_id)
