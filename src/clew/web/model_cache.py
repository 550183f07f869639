"""The one model in memory, and the queue before it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock, Semaphore
from typing import Any

import torch

from clew.errors import ClewError
from clew.runs import Run
from clew.web.folder import Runs

WAITING = 8  # requests in the queue, the one at work among them
SECONDS = 60.0  # that a request waits for its turn
READ = ("model.safetensors", "tokenizer*.json")  # what a model in memory was read from: written anew, it is read again


class Busy(ClewError):
    """The queue is full, or a turn did not come."""


class NoRoom(ClewError):
    """The model, or what it was asked, does not fit in memory."""


@dataclass
class LoadedRun:
    """A run with its model in memory."""

    run: Run
    task: Any
    preprocessor: Any
    model: Any


class RequestQueue:
    """One request at a time; the others wait, so many and no longer."""

    def __init__(self, what: str) -> None:
        self.what, self.lock, self.queue = what, Lock(), Semaphore(WAITING)

    @contextmanager
    def take(self) -> Iterator[None]:
        """A turn, for as long as the block lasts. Raises Busy."""
        if not self.queue.acquire(blocking=False):
            raise Busy(f"{WAITING} requests are waiting already", fix="ask again in a moment")
        try:
            if not self.lock.acquire(timeout=SECONDS):
                raise Busy(f"{self.what} is busy with other requests", fix="ask again in a moment")
            try:
                yield
            finally:
                self.lock.release()
        finally:
            self.queue.release()


class ModelCache:
    """One model at a time, used by one request at a time."""

    def __init__(self, runs: Runs) -> None:
        self.runs, self.turns = runs, RequestQueue("the model")
        self.key: tuple[Any, ...] = ()
        self.opened: LoadedRun | None = None

    @contextmanager
    def use(self, name: str, step: int | None = None) -> Iterator[LoadedRun]:
        """The run's model, for as long as the block lasts; step: as it was at that checkpoint.

        Raises Busy, NoRoom, RunError where the run is gone, unfinished or damaged, and whatever the block raises.
        """
        with self.turns.take():
            try:
                yield self.load(name, step)
            except (MemoryError, torch.OutOfMemoryError) as error:
                self.leave()
                raise NoRoom("this does not fit in memory", where=name, fix="ask with a shorter text") from error
            except RuntimeError as error:
                if "memory" not in str(error):  # torch's allocator for the CPU has no type of its own
                    raise
                self.leave()
                raise NoRoom("this does not fit in memory", where=name, fix="ask with a shorter text") from error

    def load(self, name: str, step: int | None) -> LoadedRun:
        """The model in memory where it is that run's, as it stands in the folder; else it makes cache for it."""
        run = self.runs.open(name)
        stats = [file.stat() for part in READ for file in sorted(run.path.glob(part))]
        seen = (name, step, *((stat.st_mtime_ns, stat.st_size) for stat in stats))
        if self.opened is None or self.key != seen:
            self.leave()
            self.opened = LoadedRun(run, run.task, run.preprocessor(), run.model(run.device, step))
            self.key = seen
        return self.opened

    def leave(self) -> None:
        self.opened, self.key = None, ()
