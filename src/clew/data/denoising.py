"""Span corruption: windows of running text with spans cut out, and what was cut out; in an order that resumes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from clew.batches import PairBatch
from clew.config import BatchConfig
from clew.data.batches import LengthLoader, Pairs
from clew.data.documents import Documents


@dataclass(frozen=True)
class Corruption:
    """How much is cut out (Raffel et al. 2020, §3.1.4), and what stands for it."""

    share: float  # of the tokens
    mean_span: float  # tokens
    sentinels: tuple[int, ...]

    def sizes(self, length: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Tokens cut out of texts of so many tokens, at least two, and the spans that they make."""
        noise = np.clip(np.round(length * self.share), 1, length - 1).astype(np.int64)
        spans = np.round(noise / self.mean_span).astype(np.int64)
        most = np.minimum(np.minimum(noise, length - noise), len(self.sentinels))
        return noise, np.clip(spans, 1, most)

    def __call__(self, ids: np.ndarray, rng: np.random.Generator) -> tuple[list[int], list[int]]:
        """What is left, a sentinel for each span; and the sentinels, each before its span (fig. 2).

        Departs from the published code, where each text ends with a span: a short text would always lack its end. As
        there, the target has no sentinel after the last span.
        """
        noise, spans = (int(n) for n in self.sizes(np.array(len(ids))))
        first, *between = parts(len(ids) - noise + 2, spans + 1, rng)  # the first and the last may be empty: one less
        left, cut, at = ids[: first - 1].tolist(), [], first - 1
        for sentinel, lost, kept in zip(self.sentinels, parts(noise, spans, rng), between, strict=False):
            cut += [sentinel, *ids[at : at + lost].tolist()]
            left += [sentinel, *ids[at + lost : at + lost + kept].tolist()]
            at += lost + kept
        return left, cut


def parts(total: int, n: int, rng: np.random.Generator) -> list[int]:
    """n random positive numbers whose sum is `total`, all such lists being equally likely."""
    cuts = np.sort(rng.choice(total - 1, n - 1, replace=False)) + 1
    found: list[int] = np.diff([0, *cuts, total]).tolist()
    return found


class DenoisingLoader(LengthLoader):
    """Batches of corrupted windows: each document cut into texts of `window` tokens, the last of it as it comes.

    Spans are drawn anew in every epoch: they depend on (seed, epoch, window) alone.
    """

    def __init__(
        self, documents: Documents, corruption: Corruption, window: int, *, batch: BatchConfig, seed: int,
        pad_id: int, bos_id: int, eos_id: int,
    ) -> None:  # fmt: skip
        self.documents, self.corruption = documents, corruption
        self.ids = {"pad_id": pad_id, "bos_id": bos_id, "eos_id": eos_id}
        bounds = documents.sentences[documents.documents]  # (D + 1,) where each document starts in ids
        n = -(-np.diff(bounds) // window)  # windows of each
        within = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
        self.start = np.repeat(bounds[:-1], n) + within * window
        self.end = np.minimum(self.start + window, np.repeat(bounds[1:], n))
        whole = self.end - self.start > 1  # of a single token nothing would be left
        self.start, self.end = self.start[whole], self.end[whole]
        length = self.end - self.start
        noise, spans = corruption.sizes(length)
        lengths = np.stack([length - noise + spans + 1, noise + spans + 1], axis=1)  # each with its </s>
        super().__init__(lengths, batch=batch, max_length=int(lengths.max(initial=0)), seed=seed)

    def batch(self, rows: list[int]) -> PairBatch:
        pairs = Pairs([], [])
        for row in rows:
            rng = np.random.default_rng([self.seed, self.epoch, row])
            source, target = self.corruption(self.documents.ids[self.start[row] : self.end[row]], rng)
            pairs.source.append(source)
            pairs.target.append(target)
        return replace(pairs.batch(range(len(rows)), **self.ids), index=torch.tensor(rows))
