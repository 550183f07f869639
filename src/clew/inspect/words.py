"""How a text becomes the (word, context) pairs that word vectors learn from, step by step on its own first sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from clew.batches import CorpusBatch
from clew.data.corpus import keep_probability, noise, windows
from clew.text.words import WordVocabulary, encode


@dataclass(frozen=True)
class Word:
    """A word: how often it occurs, how likely an occurrence is kept, how likely it is drawn as a negative."""

    word: str
    count: int
    keep: float
    noise: float


@dataclass(frozen=True)
class Explained:
    """sentence: its words that the vocabulary has; kept: those left by subsampling; pairs: (centre, context)."""

    words: list[Word]
    sentence: list[str]
    kept: list[str]
    pairs: list[tuple[str, list[str]]]
    pairs_per_epoch: float  # in all the text, by expectation


def explain(
    paths: Sequence[Path], vocabulary: WordVocabulary, *, window: int, subsample: float, seed: int = 1
) -> Explained:
    """Take the first sentence of ten words or more, and draw what training would draw of it."""
    keep, drawn = keep_probability(vocabulary.counts, subsample), noise(vocabulary.counts)
    block = next(islice(encode(paths, vocabulary), 1))
    starts = np.concatenate([[0], block.ends[:-1]])
    long = np.flatnonzero(block.ends - starts >= 10)
    first = int(long[0]) if len(long) else int(np.argmax(block.ends - starts))
    ids = block.ids[starts[first] : block.ends[first]]
    batch = CorpusBatch(torch.from_numpy(ids.copy()), torch.tensor([len(ids)]), seed)
    generator = torch.Generator().manual_seed(seed)
    centre, context, mask = windows(batch, torch.from_numpy(keep), window, generator)
    names = vocabulary.words
    shown = sorted({0, 1, 2, *(int(i) for i in ids)})
    return Explained(
        [Word(names[i], int(vocabulary.counts[i]), float(keep[i]), float(drawn[i])) for i in shown],
        [names[i] for i in ids],
        [names[i] for i in centre],
        [
            (names[c], [names[i] for i in around[inside]])
            for c, around, inside in zip(centre, context, mask, strict=True)
        ],
        float((vocabulary.counts * keep).sum() * (window + 1)),
    )
