"""The co-occurrence matrix of a text, counted in bounded memory into flat files, and its entries as batches.

Each part of the text that fits into memory is counted into a run: the rows of the matrix, in order, on disk. The runs
are added up row by row, and each entry is dealt at random to one of the batches. Within its batch it stays in the order
of the rows: a word's own vector then remains in the cache while its entries pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from clew.batches import CooccurrenceBatch
from clew.contracts import Loader
from clew.errors import DataError
from clew.kernels.cooccurrence import add_rows, count_rows, mark_ends, places

MB = 1_000_000


class Cooccurrences(NamedTuple):
    """The entries above 0, memory-mapped. Batch b is entries[bounds[p, b] : bounds[p, b + 1]] of every part p."""

    rows: np.ndarray  # (n,) int32
    cols: np.ndarray  # (n,) int32
    counts: np.ndarray  # (n,) float32
    bounds: np.ndarray  # (parts, batches + 1) int64


class CooccurrenceLoader(Loader):
    """An endless stream of batches, the same in each epoch."""

    def __init__(self, matrix: Cooccurrences) -> None:
        super().__init__(seed=0)
        self.matrix = matrix

    @property
    def epochs_done(self) -> float:
        bounds = self.matrix.bounds
        done = (bounds[:, self.position] - bounds[:, 0]).sum()
        return self.epoch + float(done) / len(self.matrix.rows)

    def plan(self, epoch: int) -> range:
        return range(self.matrix.bounds.shape[1] - 1)

    def collate(self, rows: int, rng: np.random.Generator) -> CooccurrenceBatch:
        *arrays, bounds = self.matrix
        parts = [slice(*part[rows : rows + 2]) for part in bounds]
        joined = (np.concatenate([array[part] for part in parts]) for array in arrays)
        return CooccurrenceBatch(*map(torch.from_numpy, joined))


def count_to(
    folder: str | Path, ids: np.ndarray, ends: np.ndarray, *, window: int, batch_entries: int, memory_mb: int, seed: int
) -> Cooccurrences:
    """Count how often words stand within `window` of each other in a sentence, 1/distance each time, into `folder`.

    ids (N,) int32 and ends (S,) int64 as in `EncodedText`. Symmetric, as the authors count by default. Entries are
    dealt by `seed` to batches of about `batch_entries` (fewer where the runs have much in common). Memory: memory_mb,
    and per word of the vocabulary 32 bytes and 8 per run; disk: 20 bytes per entry. DataError where no two words share
    a sentence, or the folder cannot be written.
    """
    folder, words = Path(folder), int(ids.max()) + 1
    room = max(words, memory_mb * MB // 40)  # entries held at once; some 40 bytes each while they are dealt
    tokens = memory_mb * MB // 16  # words of a part of the text: ids and places take half of the memory
    try:
        runs = [
            Run.of(folder / f"run-{number}", part, part_ends, words, window, room)
            for number, (part, part_ends) in enumerate(parts(ids, ends, tokens))
        ]
        if not sum(run.starts[-1] for run in runs):
            raise DataError(
                "no word stands beside another: there is nothing to count",
                where=f"{len(ends):,} sentences", fix="give text of more than one word a line",
            )  # fmt: skip
        bounds = deal(folder, added(runs, room), -(-sum(int(run.starts[-1]) for run in runs) // batch_entries), seed)
        for run in runs:
            run.remove()
    except OSError as error:
        raise DataError(
            f"the co-occurrences cannot be written: {error}",
            where=str(folder), fix="make room there, or set TMPDIR to a folder with more",
        ) from error  # fmt: skip
    rows, cols = (np.memmap(folder / name, np.int32, "r") for name in ("rows", "cols"))
    return Cooccurrences(rows, cols, np.memmap(folder / "counts", np.float32, "r"), bounds)


def parts(ids: np.ndarray, ends: np.ndarray, tokens: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The text in parts of whole sentences, at most `tokens` words unless a sentence is longer, with their ends."""
    first = start = 0
    while start < len(ids):
        last = max(first + 1, int(np.searchsorted(ends, start + tokens, side="right")))
        yield np.array(ids[start : ends[last - 1]]), np.array(ends[first:last]) - start
        first, start = last, int(ends[last - 1])


class Run(NamedTuple):
    """The counts of one part of a text: row i is cols[starts[i] : starts[i + 1]] and as many counts."""

    path: Path
    starts: np.ndarray  # (V + 1,) int64

    @classmethod
    def of(cls, path: Path, ids: np.ndarray, ends: np.ndarray, words: int, window: int, room: int) -> Run:
        """Count a part of a text into the files `path`.cols and `path`.counts; ids are changed."""
        order, bounds = places(ids, words)
        mark_ends(ids, ends)
        lengths, sums = np.zeros(words, np.int64), np.zeros(words)
        cols, counts = np.empty(room, np.int32), np.empty(room, np.float32)
        first = 0
        with open(path.with_suffix(".cols"), "wb") as col_file, open(path.with_suffix(".counts"), "wb") as count_file:
            while first < words:
                done = count_rows(ids, order, bounds, first, window, sums, cols, counts, lengths[first:])
                n = lengths[first : first + done].sum()
                cols[:n].tofile(col_file)
                counts[:n].tofile(count_file)
                first += done
        return cls(path, np.append(0, np.cumsum(lengths)))

    def rows(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        """Columns and counts of the rows first … last − 1."""
        start, n = int(self.starts[first]), int(self.starts[last] - self.starts[first])
        return (
            np.fromfile(self.path.with_suffix(".cols"), np.int32, n, offset=4 * start),
            np.fromfile(self.path.with_suffix(".counts"), np.float32, n, offset=4 * start),
        )

    def remove(self) -> None:
        for suffix in (".cols", ".counts"):
            self.path.with_suffix(suffix).unlink()


class Rows(NamedTuple):
    """Rows of the matrix, from `first` on: lengths[k] columns and counts each, one row after another."""

    first: int
    lengths: np.ndarray
    cols: np.ndarray
    counts: np.ndarray


def added(runs: list[Run], room: int) -> Iterator[Rows]:
    """The sum of the runs, as many rows at a time as have `room` entries, at least one."""
    words, total = len(runs[0].starts) - 1, np.sum([run.starts for run in runs], axis=0)
    sums, first = np.zeros(words), 0
    while first < words:
        last = max(first + 1, int(np.searchsorted(total, total[first] + room, side="right")) - 1)
        read = [run.rows(first, last) for run in runs]
        if len(runs) == 1:
            yield Rows(first, np.diff(total[first : last + 1]), *read[0])
        else:
            cols, counts = (np.concatenate(arrays) for arrays in zip(*read, strict=True))
            offsets = np.cumsum([0, *(len(found) for found, _ in read[:-1])])
            starts = np.stack(
                [run.starts[first : last + 1] - run.starts[first] + at for run, at in zip(runs, offsets, strict=True)]
            )
            lengths = np.empty(last - first, np.int64)
            out = np.empty_like(cols), np.empty_like(counts)
            add_rows(cols, counts, starts, sums, *out, lengths)
            n = lengths.sum()
            yield Rows(first, lengths, out[0][:n], out[1][:n])
        first = last


def deal(folder: Path, matrix: Iterator[Rows], batches: int, seed: int) -> np.ndarray:
    """Give each entry a batch at random; write entries part by part, in each by batch; returns the bounds."""
    rng, bounds, written = np.random.default_rng(seed), [], 0
    with (
        open(folder / "rows", "wb") as rows,
        open(folder / "cols", "wb") as cols,
        open(folder / "counts", "wb") as counts,
    ):
        for part in matrix:
            order, part_bounds = places(rng.integers(0, batches, len(part.cols), np.int32), batches)
            numbers = np.arange(part.first, part.first + len(part.lengths), dtype=np.int32)
            np.repeat(numbers, part.lengths)[order].tofile(rows)
            part.cols[order].tofile(cols)
            part.counts[order].tofile(counts)
            bounds.append(part_bounds + written)
            written += len(order)
    return np.stack(bounds)
