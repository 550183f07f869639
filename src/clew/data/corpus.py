"""A text as ids, and how (word, context) pairs come out of it: sentences, subsampling, windows, noise words."""

from __future__ import annotations

import mmap

import numpy as np
import torch
from torch import Tensor

from clew.batches import CorpusBatch
from clew.contracts import Loader


class CorpusLoader(Loader):
    """An endless stream of slices in the order of the text, each of whole sentences, about `batch_tokens` words long.

    ids: (N,) int32 and ends: (S,) int64 may be memory-mapped.
    """

    def __init__(self, ids: np.ndarray, ends: np.ndarray, *, batch_tokens: int, seed: int) -> None:
        super().__init__(seed)
        self.ids, self.ends = ids, ends
        # Each slice stops at the last sentence end within its share of the text, or at the first one after it.
        cuts = np.searchsorted(ends, np.arange(batch_tokens, len(ids) + batch_tokens, batch_tokens), side="right") - 1
        cuts = np.unique(np.clip(cuts, 0, len(ends) - 1))
        self.cuts = np.append(cuts, len(ends) - 1) if cuts[-1] != len(ends) - 1 else cuts  # last sentence of each slice

    @property
    def epochs_done(self) -> float:
        done = self.ends[self.cuts[self.position - 1]] if self.position else 0
        return self.epoch + float(done) / len(self.ids)

    def plan(self, epoch: int) -> range:
        return range(len(self.cuts))

    def collate(self, rows: int, rng: np.random.Generator) -> CorpusBatch:
        first = self.cuts[rows - 1] + 1 if rows else 0
        start = int(self.ends[first - 1]) if first else 0
        ends = self.ends[first : self.cuts[rows] + 1]
        draws = np.random.SeedSequence([self.seed, self.epoch, rows + 1]).generate_state(1)
        ids = torch.from_numpy(np.array(self.ids[start : ends[-1]]))
        forget_pages(self.ids)
        return CorpusBatch(ids, torch.from_numpy(np.array(ends) - start), int(draws[0]))


def forget_pages(array: np.ndarray) -> None:
    """Let go of what has been read of a file mapped into memory: it counts as this process's own until then."""
    if isinstance(array.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        array.base.madvise(mmap.MADV_DONTNEED)


def keep_probability(counts: np.ndarray, threshold: float) -> np.ndarray:
    """How likely each occurrence of a word is kept: (√(f/t) + 1) · t/f, at most 1, f its share of the text.

    The form of word2vec's own program; the paper has √(t/f) (Mikolov et al. 2013b, eq. 5). threshold 0 keeps all.
    """
    if not threshold:
        return np.ones(len(counts))
    share = counts / counts.sum()
    keep: np.ndarray = (np.sqrt(share / threshold) + 1) * threshold / np.maximum(share, 1e-300)
    return keep.clip(max=1.0)


def noise(counts: np.ndarray) -> np.ndarray:
    """The distribution that negatives are drawn from: P(w) ∝ count^¾ (Mikolov et al. 2013b, §2.2)."""
    powered: np.ndarray = counts.astype(np.float64) ** 0.75
    return powered / float(powered.sum())


def windows(batch: CorpusBatch, keep: Tensor, window: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Every kept word with those around it: centre (N,), context (N, 2·window) ids, mask (N, 2·window) True = a word.

    Dropped words close the gap: windows reach over them. Each centre draws its own reach from 1 … window, so that
    nearer words count more (Mikolov et al. 2013a, §3.2). No window crosses the end of a sentence.
    """
    ids = batch.ids.long()
    sentence = torch.bucketize(torch.arange(len(ids), device=ids.device), batch.ends, right=True)
    kept = torch.rand(len(ids), generator=generator, device=ids.device) < keep[ids]
    ids, sentence = ids[kept], sentence[kept]
    offsets = torch.tensor([*range(-window, 0), *range(1, window + 1)], device=ids.device)
    places = torch.arange(len(ids), device=ids.device)[:, None] + offsets  # (N, 2·window)
    inside = (places >= 0) & (places < len(ids))
    places = places.clamp(0, max(len(ids) - 1, 0))
    reach = torch.randint(1, window + 1, (len(ids), 1), generator=generator, device=ids.device)
    mask = inside & (offsets.abs() <= reach) & (sentence[places] == sentence[:, None])
    return ids, ids[places], mask
