"""A page of `clew look` as one HTML file: the page itself, and the answers that it stands on."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode
from zlib import compress

from clew import __version__
from clew.errors import DataError
from clew.page.single_file import single_file

PAGES = {
    "runs": "Runs", "curves": "Curves", "attention": "Attention", "walk": "Walk-through", "play": "Playground",
    "project": "Projector", "compare": "Compare",
}  # fmt: skip


def shell(page: str) -> str:
    """The file with nothing in it yet, which the page in the browser fills. Raises DataError for no such page."""
    if page not in PAGES:
        raise DataError("there is no such page", where=page[:40])
    return single_file("look", {"page": page, "title": "@title@", "text": "@text@", **stamp()})


def stamp() -> dict[str, str]:
    return {"created": datetime.now(UTC).isoformat(timespec="seconds"), "version": __version__}


def question(path: str, asked: dict[str, Any]) -> str:
    """What was asked, by name, as `web/src/look/record.ts` writes it."""
    return f"{path} {json.dumps(asked, sort_keys=True, ensure_ascii=False, separators=(',', ':'))}" if asked else path


class Record:
    """Answers, by what was asked: JSON as it is, bytes deflated."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}

    def add(self, answer: Any, path: str, **asked: Any) -> Any:
        """Keep an answer in JSON, and return it."""
        self.answers[question(path, asked)] = {"json": answer}
        return answer

    def add_bytes(self, answer: bytes, path: str) -> None:
        """Keep an answer that is no JSON."""
        self.answers[path] = {"bytes": b64encode(compress(answer, 9)).decode()}

    def page(self, page: str, runs: list[dict[str, Any]], **chosen: Any) -> str:
        """The page over these answers. runs: summaries, the page's in its order; chosen: what the address says."""
        names = [run["name"] for run in runs]
        query = urlencode([*(("run", name) for name in names), *chosen.items()])
        return single_file("look", {
            "page": page, "hash": f"#/{page}?{query}", "title": f"{PAGES[page]} of {', '.join(names)}",
            "text": chosen.get("text", ""), "runs": [{**run, "command": ""} for run in runs], "answers": self.answers,
            **stamp(),
        })  # fmt: skip
