"""The page's views in a notebook: each lies in the notebook itself, and needs no server to be seen again."""

from __future__ import annotations

from html import escape
from pathlib import Path

from clew.runs import Run
from clew.web import attention
from clew.web.folder import Runs
from clew.web.room import Room


class View:
    """One HTML page in a frame of its own: it shows itself where a cell ends with it, and `save` writes it to a file."""

    def __init__(self, html: str, height: int) -> None:
        self.html, self.height = html, height

    def save(self, path: str | Path) -> Path:
        file = Path(path)
        file.write_text(self.html, encoding="utf-8")
        return file

    def _repr_html_(self) -> str:
        # A frame without an origin of its own: its script reaches nothing of the notebook.
        return (
            f'<iframe srcdoc="{escape(self.html)}" sandbox="allow-scripts allow-downloads" title="clew" '
            f'style="width: 100%; height: {self.height}px; border: 0"></iframe>'
        )


class Looked:
    """A run that is being looked at; its model is read once."""

    def __init__(self, path: str | Path) -> None:
        self.run = Run.open(path)
        self.room, self.maps = Room(Runs(self.run.path)), attention.Maps()

    def attention(self, text: str, target: str = "", *, height: int = 900) -> View:
        """Every layer and head on a text, as on the page of that name.

        target: what a translator is to have written; its own translation where this is left out. Raises ClewError where
        nothing in the model attends, DataError for an empty text or a long one.
        """
        name = self.run.path.resolve().name
        found = attention.look(self.room, self.maps, name, text, target)
        return View(self.maps.page(found["id"]), height)


def look(run: str | Path) -> Looked:
    """Look at a run in a notebook: `clew.look("runs/pairs").attention("a sentence")`."""
    return Looked(run)
