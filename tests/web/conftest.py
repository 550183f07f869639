"""A folder of small runs, trained once, and the page over it, served as `clew look` serves it."""

from __future__ import annotations

import http.client
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

sys.path.append(str(Path(__file__).parent))
from small_runs import serving, train_reading_runs, train_runs, train_word_runs


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_runs(tmp_path_factory.mktemp("look"))


@pytest.fixture(scope="session")
def word_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_word_runs(tmp_path_factory.mktemp("words"))


@pytest.fixture(scope="session")
def reading_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_reading_runs(tmp_path_factory.mktemp("reading"))


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Asks a page, with its token unless told otherwise."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self.host, self.port = parts.hostname or "", parts.port or 0
        self.token = parts.query.removeprefix("token=")

    def __call__(self, path: str, body: Any = None, method: str = "", **headers: str) -> Answer:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=300)
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        given = {"X-Clew-Token": self.token} | ({} if content is None else {"Content-Type": "application/json"})
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method or ("GET" if content is None else "POST"), path, content,
                               {name: value for name, value in given.items() if value})  # fmt: skip
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()


@pytest.fixture(scope="session")
def serve() -> Iterator[Callable[[Path], Client]]:
    """Put the page over a folder on a port, until the tests are over."""
    with serving() as start:
        yield lambda root: Client(start(root))


@pytest.fixture(scope="session")
def page(runs: Path, serve: Callable[[Path], Client]) -> Client:
    return serve(runs)
