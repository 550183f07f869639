"""Batches of texts and of pairs of them: a token budget, like lengths, a seeded order, an exact position."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass
class PairBatch:
    """Source and target sentences, padded to the longest of the batch.

    source: (batch, source) ids, ending in </s>; source_mask: (batch, source) bool, True = a real token.
    target_in: (batch, target) ids, the target shifted right: <s> y_1 … y_n; target_out: y_1 … y_n </s>.
    target_mask: (batch, target) bool. index: (batch,) row numbers in the data, so that a bad batch can be named.
    """

    source: Tensor
    source_mask: Tensor
    target_in: Tensor
    target_out: Tensor
    target_mask: Tensor
    index: Tensor

    def to(self, device: torch.device | str) -> PairBatch:
        return PairBatch(*(getattr(self, name).to(device, non_blocking=True) for name in self.__dataclass_fields__))

    @property
    def n_tokens(self) -> int:
        """Real target tokens: what speed and the token budget count."""
        return int(self.target_mask.sum())


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
class TextBatch:
    """Texts with a label each, padded to the longest of the batch.

    text: (batch, time) ids; mask: (batch, time) bool, True = a real token; label: (batch,) classes.
    index: (batch,) row numbers in the data, so that a bad batch can be named.
    """

    text: Tensor
    mask: Tensor
    label: Tensor
    index: Tensor

    def to(self, device: torch.device | str) -> TextBatch:
        return TextBatch(*(getattr(self, name).to(device, non_blocking=True) for name in self.__dataclass_fields__))


@dataclass
class Texts:
    """Encoded texts, of at least one token each, and their classes."""

    text: list[list[int]]
    label: list[int]

    def __len__(self) -> int:
        return len(self.text)

    def batch(self, rows: Sequence[int], *, pad_id: int) -> TextBatch:
        """Collate the given rows into one padded batch."""
        text = pad([self.text[i] for i in rows], pad_id)
        lengths = torch.tensor([len(self.text[i]) for i in rows])
        label = torch.tensor([self.label[i] for i in rows])
        return TextBatch(text, torch.arange(text.shape[1]) < lengths[:, None], label, torch.tensor(rows))


class Loader(ABC):
    """An endless stream of batches of like length, at most `batch_tokens` padded tokens on the longest side.

    lengths: (rows, sides) tokens, one side or two.

    Each epoch's order depends on (seed, epoch) alone: rows are shuffled, sorted by length (those of equal lengths stay
    shuffled), cut into batches, and the batches are shuffled. A row longer than `batch_tokens` is a batch by itself.
    `state_dict()` is the position after the last batch handed out.
    """

    def __init__(self, lengths: np.ndarray, *, batch_tokens: int, max_length: int, seed: int) -> None:
        self.lengths, self.batch_tokens, self.seed = lengths, batch_tokens, seed
        self.rows = np.flatnonzero(lengths.max(axis=1, initial=0) <= max_length)
        self.n_left_out = len(lengths) - len(self.rows)
        self.epoch = 0
        self.position = 0
        self._plan = self._batches_of(0)

    @abstractmethod
    def batch(self, rows: list[int]) -> Any:
        """Collate the given rows into one padded batch."""

    def _batches_of(self, epoch: int) -> list[np.ndarray]:
        """The row numbers of every batch of one epoch, in order."""
        rng = np.random.default_rng([self.seed, epoch])
        rows = rng.permutation(self.rows)
        source, target = self.lengths[rows, 0], self.lengths[rows, -1]
        longer, more = np.maximum(source, target), source - target
        # By the longer side, then by which side that is, to and fro, so that both sides of a batch are filled.
        rows = rows[np.lexsort((np.where(longer % 2, more, -more), longer))]  # ties keep the shuffle
        batches, start, longest = [], 0, 0
        for end, row in enumerate(rows):
            longest = max(longest, int(self.lengths[row].max()))
            if longest * (end - start + 1) > self.batch_tokens and end > start:
                batches.append(rows[start:end])
                start, longest = end, int(self.lengths[row].max())
        if start < len(rows):
            batches.append(rows[start:])
        return [batches[i] for i in rng.permutation(len(batches))]

    @property
    def epochs_done(self) -> float:
        return self.epoch + self.position / max(1, len(self._plan))

    def __iter__(self) -> Iterator[Any]:
        while self._plan:
            if self.position >= len(self._plan):
                self.epoch, self.position = self.epoch + 1, 0
                self._plan = self._batches_of(self.epoch)
            rows = self._plan[self.position]
            self.position += 1
            yield self.batch(rows.tolist())

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch, self.position = state["epoch"], state["position"]
        self._plan = self._batches_of(self.epoch)


class PairLoader(Loader):
    """Batches of sentence pairs; both sides are counted with their </s>."""

    def __init__(
        self, pairs: Pairs, *, batch_tokens: int, max_length: int, seed: int, pad_id: int, bos_id: int, eos_id: int
    ) -> None:
        self.pairs, self.ids = pairs, {"pad_id": pad_id, "bos_id": bos_id, "eos_id": eos_id}
        lengths = np.array([(len(s) + 1, len(t) + 1) for s, t in zip(pairs.source, pairs.target, strict=True)])
        super().__init__(lengths.reshape(-1, 2), batch_tokens=batch_tokens, max_length=max_length, seed=seed)

    def batch(self, rows: list[int]) -> PairBatch:
        return self.pairs.batch(rows, **self.ids)


class TextLoader(Loader):
    """Batches of labelled texts."""

    def __init__(self, texts: Texts, *, batch_tokens: int, max_length: int, seed: int, pad_id: int) -> None:
        self.texts, self.pad_id = texts, pad_id
        lengths = np.array([len(text) for text in texts.text]).reshape(-1, 1)
        super().__init__(lengths, batch_tokens=batch_tokens, max_length=max_length, seed=seed)

    def batch(self, rows: list[int]) -> TextBatch:
        return self.texts.batch(rows, pad_id=self.pad_id)
