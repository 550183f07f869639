"""One stream for all loaders: batches shared out to processes, and a place that is found again."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest

import clew.data
import clew.objectives
from clew.contracts import Loader
from clew.errors import DataError


class Numbers(Loader):
    """Rows 0 … n - 1, three at a time, and one batch fewer in every other epoch."""

    def __init__(self, n: int) -> None:
        super().__init__(seed=1)
        self.n = n

    def plan(self, epoch: int) -> list[np.ndarray]:
        rows = np.random.default_rng([self.seed, epoch]).permutation(self.n)
        return [rows[start : start + 3] for start in range(0, self.n - 3 * (epoch % 2), 3)]

    def collate(self, rows: np.ndarray, rng: np.random.Generator) -> Any:
        return [*rows.tolist(), int(rng.integers(1 << 30))]


def loaders(base: type[Loader]) -> Iterator[type[Loader]]:
    for each in base.__subclasses__():
        yield each
        yield from loaders(each)


def test_there_is_one_stream_and_one_place() -> None:
    """No loader of clew has a way of its own to go on, or to remember where it stands."""
    for room in (clew.data, clew.objectives):
        for module in pkgutil.iter_modules(room.__path__, f"{room.__name__}."):
            importlib.import_module(module.name)
    found = [each for each in loaders(Loader) if each.__module__.startswith("clew.")]
    assert len(found) > 8
    for each in found:
        assert vars(each).keys().isdisjoint({"__iter__", "planned", "shard", "state_dict", "load_state_dict"}), each


def test_it_goes_on_where_it_stood() -> None:
    alone, n = [*islice(Numbers(40), 40)], 14
    for stop in (1, n, n + 3, 2 * n - 1):
        first, second = Numbers(40), Numbers(40)
        assert [*islice(first, stop)] == alone[:stop]
        second.load_state_dict(first.state_dict())
        assert second.epochs_done == first.epochs_done
        assert [*islice(second, 40 - stop)] == alone[stop:]


def test_processes_share_the_batches_of_one() -> None:
    alone, n = [*islice(Numbers(40), 27)], 14  # an epoch of 14 batches, and one of 13
    each = []
    for rank in (0, 1):
        loader = Numbers(40)
        loader.shard(rank, 2)
        each.append([*islice(loader, 13)])
    both = [batch for pair in zip(*each, strict=True) for batch in pair]
    assert both == [*alone[:n], *alone[n : n + 12]]  # an odd one is left out
    crowd = Numbers(4)
    crowd.shard(0, 3)
    with pytest.raises(DataError, match="1 batches cannot be shared out to 3"):
        next(iter(crowd))
