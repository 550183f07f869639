"""Examples to pre-train an encoder on: spans of documents, pairs of them, tokens hidden; in an order that resumes."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from clew.batches import TextBatch
from clew.contracts import Loader
from clew.data.documents import Documents
from clew.data.masking import Masking

SHARD = 1 << 22  # tokens whose examples are planned at once
WINDOW = 64  # batches within which examples are put side by side by length
SHORT = 0.1  # of the examples are meant to be short, that the model knows short texts too (as in the published code)


@dataclass(frozen=True)
class Template:
    """[CLS] A [SEP] or [CLS] A [SEP] B [SEP], at most max_length tokens in all."""

    cls_id: int
    sep_id: int
    pad_id: int
    max_length: int


class PretrainingLoader(Loader):
    """An endless stream of masked examples, each of neighbouring sentences of one document, or of two documents.

    With `next_sentence`, the sentences are parted at random into A and B, and for half of the examples B comes from
    another document instead, of which the batch's `follows` tells (Devlin et al. 2019, §3.1). Documents are shuffled
    within shards of whole documents, and shards, each of which has a plan of its own; texts of like length share a
    batch. Masks are drawn anew in every epoch, or, where `duplicates` says how many there are, repeat after so many
    epochs.
    """

    def __init__(
        self, documents: Documents, template: Template, masking: Masking, *, batch_tokens: int, seed: int,
        next_sentence: bool = True, duplicates: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(seed)
        self.documents, self.template, self.masking = documents, template, masking
        self.batch_tokens, self.next_sentence, self.duplicates = batch_tokens, next_sentence, duplicates
        starts = documents.sentences[documents.documents]  # (D + 1,) where each document starts in ids
        self.cuts = np.unique(np.searchsorted(starts, [*range(0, int(starts[-1]), SHARD), int(starts[-1])]))
        self.shards = len(self.cuts) - 1  # `epoch` counts these

    @property
    def epochs_done(self) -> float:
        return super().epochs_done / self.shards

    def _rng(self, epoch: int, *place: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, epoch % self.duplicates if self.duplicates else epoch, *place])

    def plan(self, epoch: int) -> list[tuple[np.random.Generator, np.ndarray]]:
        """Return the spans of each batch of the shard whose turn it is, and what its masks are drawn by."""
        number, turn = divmod(epoch, self.shards)
        which = int(self._rng(number).permutation(self.shards)[turn])
        rng = self._rng(number, which)
        first, last = self.cuts[which], self.cuts[which + 1]
        spans = np.array(plan(self.documents, range(first, last), self.template, self.next_sentence, rng))
        spans = spans[rng.permutation(len(spans))]
        lengths = spans[:, 1] - spans[:, 0] + spans[:, 3] - spans[:, 2] + 2 + (spans[:, 3] > 0)
        batches = by_length(lengths, self.batch_tokens, rng)
        return [(self._rng(number, which, n), spans[rows]) for n, rows in enumerate(batches)]

    def collate(self, rows: tuple[np.random.Generator, np.ndarray], rng: np.random.Generator) -> TextBatch:
        own, spans = rows
        return self.batch(spans, copy.deepcopy(own))

    def batch(self, spans: np.ndarray, rng: np.random.Generator) -> TextBatch:
        """The examples of these spans (rows of `plan`), masked."""
        template, ids = self.template, self.documents.ids
        a, b = spans[:, 1] - spans[:, 0], spans[:, 3] - spans[:, 2]
        pairs = spans[:, 3] > 0
        lengths = a + b + 2 + pairs
        text = np.full((len(spans), int(lengths.max())), template.pad_id, dtype=np.int64)
        open = np.zeros(text.shape, dtype=bool)
        for row, (start, end, start_b, end_b, _) in enumerate(spans.tolist()):
            middle = end - start + 1
            text[row, 0], text[row, 1:middle], text[row, middle] = template.cls_id, ids[start:end], template.sep_id
            open[row, 1:middle] = True
            if end_b:
                last = middle + end_b - start_b + 1
                text[row, middle + 1 : last], text[row, last] = ids[start_b:end_b], template.sep_id
                open[row, middle + 1 : last] = True
        read, chosen = self.masking(text, open, rng)
        time = np.arange(text.shape[1])
        mask = time < lengths[:, None]
        segment = (mask & (time > a[:, None] + 1)).astype(int)
        found = (read, mask, segment, text[chosen], spans[:, 0], np.flatnonzero(chosen), spans[:, 4])
        batch = TextBatch(*map(torch.from_numpy, found))
        return batch if self.next_sentence else replace(batch, follows=None)


def plan(
    documents: Documents, which: Sequence[int], frame: Template, next_sentence: bool, rng: np.random.Generator
) -> list[tuple[int, int, int, int, int]]:
    """The examples of one epoch of some documents, as places in `ids`: A's start and end, B's, and 1 where B follows A.

    Without a second text B is (0, 0). Sentences are gathered until the example is full or the document ends; those that
    gave way to another document's come up again in the next example. Of a pair the longer text is cut; without a
    second text nothing is left out: a sentence that does not fit begins the next example, a long one makes several.
    """
    found = []
    starts, order = documents.sentences, rng.permutation(np.asarray(which))
    others = order if len(order) > 1 else np.arange(len(documents))  # a long document may fill a shard
    for document in order:
        first, end = (int(i) for i in documents.documents[document : document + 2])
        while first < end:
            room = frame.max_length - (3 if next_sentence else 2)
            if rng.random() < SHORT:
                room = int(rng.integers(2, room + 1))
            # The sentence with which the example is full, or the document's last.
            last = min(int(np.searchsorted(starts, starts[first] + room)), end)
            if not next_sentence:
                if last - first > 1 and starts[last] - starts[first] > room:
                    last -= 1  # whole sentences, where there is one that fits
                begin, stop = int(starts[first]), int(starts[last])
                found += [(at, min(at + room, stop), 0, 0, 0) for at in range(begin, stop, room)]
                first = last
                continue
            middle = first + 1 if last - first < 2 else first + int(rng.integers(1, last - first))
            follows = last - first > 1 and (len(others) == 1 or rng.random() < 0.5)
            a = int(starts[first]), int(starts[middle])
            if follows:
                b = int(starts[middle]), int(starts[last])
                first = last
            else:
                b = elsewhere(documents, others, document, max(1, room - (a[1] - a[0])), rng)
                first = middle
            found.append((*fit(a, b, room, rng), int(follows)))
    return found


def elsewhere(
    documents: Documents, among: np.ndarray, but: int, room: int, rng: np.random.Generator
) -> tuple[int, int]:
    """About `room` tokens from a random sentence of another document on."""
    other = but
    while other == but:
        other = int(rng.choice(among))
    first, end = (int(i) for i in documents.documents[other : other + 2])
    start = int(rng.integers(first, end))
    return int(documents.sentences[start]), min(int(documents.sentences[end]), int(documents.sentences[start]) + room)


def fit(a: tuple[int, int], b: tuple[int, int], room: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Cut the longer of two spans, at its front or its back, until both fit."""
    excess = max(0, a[1] - a[0] + b[1] - b[0] - room)
    longer, other = (a, b) if a[1] - a[0] > b[1] - b[0] else (b, a)
    even = min(excess, longer[1] - longer[0] - (other[1] - other[0]))  # until they are equally long
    spare = excess - even
    cuts = {longer: even + (spare + 1) // 2, other: spare // 2}
    out = []
    for span in (a, b):
        front = int(rng.integers(0, cuts[span] + 1))
        out += [span[0] + front, span[1] - (cuts[span] - front)]
    return out[0], out[1], out[2], out[3]


def by_length(lengths: np.ndarray, batch_tokens: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Rows of like length in batches of at most `batch_tokens` padded tokens, in a random order."""
    rows_at_once = WINDOW * max(1, batch_tokens // int(lengths.max()))
    batches = []
    for start in range(0, len(lengths), rows_at_once):
        rows = start + np.argsort(lengths[start : start + rows_at_once], kind="stable")
        begin = 0
        for end in range(1, len(rows) + 1):
            if end == len(rows) or int(lengths[rows[end]]) * (end + 1 - begin) > batch_tokens:
                batches.append(rows[begin:end])
                begin = end
    return [batches[i] for i in rng.permutation(len(batches))]
