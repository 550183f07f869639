"""Vectors with names, of any system: words, a table's rows, tokens in their texts, whole texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch

from clew.contracts import Model
from clew.errors import ClewError, RecipeError
from clew.inputs import Preprocessor
from clew.inspect.reading import read_together
from clew.inspect.states import depths, layers, states_at
from clew.nn.embedding import Embedding
from clew.nn.taps import parts_of_kind

MOST = 100_000  # points that are shown; of more, so many are drawn
ROWS = 4096  # of the vectors at a time


@dataclass(frozen=True, eq=False)
class Points:
    """vectors: (n, d) float32, one for each label; labels may repeat. columns: what else is known of each.

    note: what was left out, in words; "" where nothing was.
    """

    labels: list[str]
    vectors: np.ndarray
    columns: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    note: str = ""

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or any(len(each) != len(self) for each in (self.vectors, *self.columns.values())):
            raise ClewError(f"{len(self)} labels do not fit vectors of shape {self.vectors.shape} and their columns")
        if not np.isfinite(self.vectors).all():
            row = int(np.flatnonzero(~np.isfinite(self.vectors).all(axis=1))[0])
            raise ClewError(f'the vector of "{self.labels[row]}" is not finite', where=f"row {row}")

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def directions(self) -> np.ndarray:
        """The vectors at length 1; zeros stay zeros."""
        return unit(self.vectors)

    def neighbours(self, rows: Sequence[int], k: int = 10) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest other points of each row by cosine in the original space, best first: (rows, k) of both."""
        k = min(k, len(self) - 1)
        ids, cosines = np.empty((len(rows), k), dtype=np.int64), np.empty((len(rows), k), dtype=np.float32)
        step = max(1, 2**24 // max(1, len(self)))
        for start in range(0, len(rows), step):
            some = np.asarray(rows[start : start + step], dtype=np.int64)
            near = times(self.directions[some], self.directions.T)
            near[np.arange(len(some)), some] = -np.inf  # not itself
            best = torch.from_numpy(near).topk(k)
            ids[start : start + step], cosines[start : start + step] = best.indices, best.values
        return ids, cosines

    def sample(self, most: int = MOST, seed: int = 0) -> Points:
        """At most so many, in their order: the most frequent where counts are known, else drawn, as the note says."""
        if len(self) <= most:
            return self
        if "count" in self.columns:
            kept = np.argsort(-np.asarray(self.columns["count"]), kind="stable")[:most]
            note = f"the {most:,} most frequent of {len(self):,} points"
        else:
            kept = np.random.default_rng(seed).choice(len(self), size=most, replace=False)
            note = f"{most:,} of {len(self):,} points, drawn at random (seed {seed})"
        return self.take(np.sort(kept).tolist(), "; ".join(filter(None, (self.note, note))))

    def take(self, rows: Sequence[int], note: str) -> Points:
        """These rows, in that order."""
        columns = {name: [values[row] for row in rows] for name, values in self.columns.items()}
        return Points([self.labels[row] for row in rows], self.vectors[np.asarray(rows, dtype=np.int64)], columns, note)


def times(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """one @ other, by torch: where a thread of numpy's (OpenBLAS) gets no core, the others wait for it at full load,
    which on a busy machine made these products sixty times slower."""
    return (torch.from_numpy(one) @ torch.from_numpy(other)).numpy()


def unit(vectors: np.ndarray) -> np.ndarray:
    """Each row at length 1; zeros stay zeros."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)


def sources(model: Model) -> list[str]:
    """Where points can be had from a model: its words, its tables of tokens by name, and what texts make of it."""
    found = ["words"] if "words" in model.heads else []
    found += [name for name, part in parts_of_kind(model, Embedding).items() if part.name == "token"]
    return found + (["tokens", "texts"] if layers(model) else [])


def points(
    model: Any, preprocessor: Preprocessor, source: str, texts: Sequence[str] = (), *, layer: str = "",
    most: int = MOST, seed: int = 0,
) -> Points:  # fmt: skip
    """The points of one of `sources`; tokens and texts are those of `texts`, at one of `depths` (the last by default).

    Raises RecipeError for a source or layer that is not there, DataError for a text without a token.
    """
    if source not in sources(model):
        raise RecipeError(
            f'no points "{source}" in this model', fix=f"there are: {', '.join(sources(model)) or 'none'}"
        )
    if source in ("tokens", "texts"):
        return of_texts(model, preprocessor, texts, source, layer).sample(most, seed)
    if source == "words":
        vectors = model.vectors()
        columns = {} if vectors.counts is None else {"count": vectors.counts.tolist()}
        return Points(vectors.words, vectors.matrix, columns).sample(most, seed)
    tokenizer = preprocessor.target if source.startswith("target") else preprocessor.source
    matrix = model.get_submodule(source).weight.detach().float().cpu().numpy()
    return Points(tokenizer.tokens(range(len(matrix))), matrix).sample(most, seed)


def of_texts(model: Any, preprocessor: Preprocessor, texts: Sequence[str], source: str, layer: str) -> Points:
    """The states of tokens (columns: text, place), or of texts, the mean of their tokens'."""
    known = depths(model)
    if layer and layer not in known:
        raise RecipeError(f'there is no layer "{layer}"', fix=f"there are: {', '.join(known)}")
    if not texts:
        raise RecipeError("there are no texts to read", fix="give some")
    labels: list[str] = []
    found: list[torch.Tensor] = []
    where: list[tuple[int, int]] = []
    n_read, cut = 0, 0
    for together in read_together(model, preprocessor, texts):
        made = states_at(model, together.batch, "token" if source == "tokens" else "text", layer or known[-1])
        found.append(made.float().cpu())
        where += [(n, place) for n, tokens in enumerate(together.tokens, n_read) for place in range(len(tokens))]
        labels += [token for tokens in together.tokens for token in tokens]
        n_read, cut = n_read + len(together.tokens), cut + together.cut
    note = f"{cut} of {len(texts)} texts were cut to the model's positions" if cut else ""
    vectors = torch.cat(found).numpy()
    if source == "texts":
        return Points([*texts], vectors, {}, note)
    return Points(labels, vectors, {"text": [n for n, _ in where], "place": [place for _, place in where]}, note)
