"""An answer line by line, as it is made: the model is free again when all is made, however slowly it is read."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any, TypeVar

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from clew.errors import ClewError

DONE = object()
T = TypeVar("T")


class Lines:
    """The items of an iterator, made in a thread of their own, as lines of JSON.

    What goes wrong before the first is raised here; after it, it is the last line. Once `closed`, no more are made.
    """

    def __init__(self, items: Iterator[Any]) -> None:
        self.made: SimpleQueue[Any] = SimpleQueue()
        self.closed = Event()
        Thread(target=self.make, args=(items,), daemon=True).start()
        self.first, error = self.made.get()
        if error is not None:
            raise error

    def make(self, items: Iterator[Any]) -> None:
        try:
            for item in items:
                self.made.put((item, None))
                if self.closed.is_set():
                    break
        except ClewError as error:
            self.made.put(({"what": error.what, "where": error.where, "fix": error.fix}, error))
        except Exception as error:
            self.made.put(({"what": f"the server failed ({type(error).__name__})", "where": "", "fix": ""}, error))
        finally:
            items.close()  # type: ignore[attr-defined]  # a generator: what it holds is given back in this thread
            self.made.put((DONE, None))

    def __iter__(self) -> Iterator[str]:
        item = self.first
        while item is not DONE:
            yield json.dumps(item) + "\n"
            item, _ = self.made.get()


class Streamed(StreamingResponse):
    """Such lines as an answer."""

    def __init__(self, items: Iterator[Any]) -> None:
        self.lines = Lines(items)
        super().__init__(iter(self.lines), media_type="application/x-ndjson")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.lines.closed.set()


class Stopped(Exception):
    """Nobody waits for this any more."""


def reported(work: Callable[[Callable[[float], None]], T]) -> Generator[dict[str, float], None, T]:
    """The shares of some work that are done, as it tells them; then returns what it comes to, or raises what it raised.

    Once closed, what the work tells next raises Stopped in it.
    """
    queue: SimpleQueue[Any] = SimpleQueue()
    closed = Event()

    def tell(share: float) -> None:
        if closed.is_set():
            raise Stopped
        queue.put(({"done": share}, None, None))

    def run() -> None:
        try:
            queue.put((None, work(tell), None))
        except Exception as error:
            queue.put((None, None, error))

    thread = Thread(target=run, daemon=True)
    thread.start()
    try:
        while (item := queue.get())[0] is not None:
            yield item[0]
    finally:
        closed.set()
        thread.join()
    _, found, error = item
    if error is not None:
        raise error
    return found
