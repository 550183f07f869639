"""The co-occurrence matrix equals one counted by plain loops, in one run and in several; its batches can be resumed."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from clew.data.cooccurrence import CooccurrenceLoader, count_to
from clew.errors import DataError

V = 40


def text(n=500, seed=1):
    """Ids by a steep distribution (a word stands beside itself too), sentences of 0 to 25 words."""
    rng = np.random.default_rng(seed)
    ids = np.minimum(rng.geometric(0.1, n) - 1, V - 1).astype(np.int32)
    ends = np.cumsum(rng.integers(0, 26, n))
    return ids, np.append(ends[ends < n], n)


def by_loops(ids, ends, window):
    matrix = np.zeros((V, V))
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        for p in range(start, end):
            for q in range(max(start, p - window), p):
                matrix[ids[p], ids[q]] += 1 / (p - q)
                matrix[ids[q], ids[p]] += 1 / (p - q)
    return matrix


def dense(rows, cols, counts):
    matrix = np.zeros((V, V))
    assert len(set(zip(rows.tolist(), cols.tolist(), strict=True))) == len(rows), "an entry occurs twice"
    matrix[rows, cols] = counts
    return matrix


@pytest.mark.parametrize("window", [1, 4, 15])
def test_counts_are_those_of_plain_loops(tmp_path: Path, window: int) -> None:
    ids, ends = text()
    before = ids.copy()
    found = count_to(tmp_path, ids, ends, window=window, batch_entries=100, memory_mb=10, seed=1)
    np.testing.assert_allclose(dense(*found[:3]), by_loops(ids, ends, window), rtol=1e-6)
    assert (ids == before).all() and sorted(path.name for path in tmp_path.iterdir()) == ["cols", "counts", "rows"]


def test_runs_and_parts_add_up_to_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids, ends = text(3000)
    monkeypatch.setattr("clew.data.cooccurrence.MB", 4000)  # parts of 250 words, 100 entries at once
    found = count_to(tmp_path, ids, ends, window=10, batch_entries=100, memory_mb=1, seed=1)
    assert len(found.bounds) > 5
    np.testing.assert_allclose(dense(*found[:3]), by_loops(ids, ends, 10), rtol=1e-6)


def test_each_entry_comes_once_an_epoch_in_batches_dealt_by_the_seed(tmp_path: Path) -> None:
    ids, ends = text()
    loaders = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / name).mkdir()
        matrix = count_to(tmp_path / name, ids, ends, window=5, batch_entries=60, memory_mb=1, seed=seed)
        loaders.append(CooccurrenceLoader(matrix))
    first, again, other = loaders
    n = first.matrix.bounds.shape[1] - 1
    batches = list(islice(first, 2 * n))
    assert n > 5 and first.epochs_done == 2
    assert all(30 < len(batch.rows) < 90 for batch in batches)
    assert all((np.diff(batch.rows.numpy()) >= 0).all() for batch in batches)  # in the order of the rows
    whole = [np.concatenate([getattr(b, name) for b in batches[:n]]) for name in ("rows", "cols", "counts")]
    np.testing.assert_allclose(dense(*whole), by_loops(ids, ends, 5), rtol=1e-6)
    assert all((a.cols == b.cols).all() for a, b in zip(batches[n:], again, strict=False))
    assert [len(b.rows) for b in islice(other, n)] != [len(b.rows) for b in batches[:n]]


def test_a_loader_goes_on_where_it_stood(tmp_path: Path) -> None:
    matrix = count_to(tmp_path, *text(), window=5, batch_entries=60, memory_mb=1, seed=1)
    one, two = CooccurrenceLoader(matrix), CooccurrenceLoader(matrix)
    for steps in (3, matrix.bounds.shape[1] - 1):  # within an epoch, and at its end
        list(islice(one, steps))
        two.load_state_dict(one.state_dict())
        assert two.epochs_done == one.epochs_done > 0
        assert (next(iter(one)).cols == next(iter(two)).cols).all()


def test_words_that_stand_alone_are_nothing_to_count(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing to count"):
        count_to(
            tmp_path, np.arange(5, dtype=np.int32), np.arange(1, 6), window=5, batch_entries=9, memory_mb=1, seed=1
        )


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be written"):
        count_to(tmp_path / "no" / "where", *text(), window=5, batch_entries=9, memory_mb=1, seed=1)
