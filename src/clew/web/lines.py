"""An answer line by line, as it is made: the model is free again when all is made, however slowly it is read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any

from clew.errors import ClewError

DONE = object()


class Lines:
    """The items of an iterator, made in a thread of their own, as lines of JSON.

    What goes wrong before the first is raised here; after it, it is the last line. Once nobody reads (`close`), no more
    are made.
    """

    def __init__(self, items: Iterator[Any]) -> None:
        self.made: SimpleQueue[Any] = SimpleQueue()
        self.closed = Event()
        Thread(target=self.make, args=(items,), daemon=True).start()
        self.first = self.made.get()
        if isinstance(self.first, Exception):
            raise self.first

    def make(self, items: Iterator[Any]) -> None:
        try:
            for item in items:
                self.made.put(item)
                if self.closed.is_set():
                    break
        except Exception as error:
            self.made.put(error)
        finally:
            items.close()  # type: ignore[attr-defined]  # a generator: what it holds is given back in this thread
            self.made.put(DONE)

    def __iter__(self) -> Iterator[str]:
        item = self.first
        try:
            while item is not DONE:
                yield json.dumps(told(item) if isinstance(item, Exception) else item) + "\n"
                item = self.made.get()
        finally:
            self.closed.set()


def told(error: Exception) -> dict[str, str]:
    """What went wrong, in the form that every error of the page has."""
    if isinstance(error, ClewError):
        return {"what": error.what, "where": error.where, "fix": error.fix}
    return {"what": f"the server failed ({type(error).__name__})", "where": "", "fix": ""}
