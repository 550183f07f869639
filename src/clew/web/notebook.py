"""The page's views in a notebook: each lies in the notebook itself, and needs no server to be seen again."""

from __future__ import annotations

from contextlib import suppress
from html import escape
from pathlib import Path
from typing import Any

from clew.errors import ClewError
from clew.runs import Run
from clew.web import attention, compare, points, predict, walks
from clew.web.folder import Runs, series, state, summary
from clew.web.model_cache import ModelCache
from clew.web.saved import Record


class View:
    """One HTML page in a frame of its own: it shows itself where a cell ends with it; `save` writes it to a file."""

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


class Given(Runs):
    """These runs, wherever they lie, each by the name of its folder, or by its whole path where two have one name."""

    def __init__(self, runs: list[Run]) -> None:
        super().__init__(runs[0].path)
        paths = [run.path.resolve() for run in runs]
        alone = len({path.name for path in paths}) == len(paths)
        self.given = {path.name if alone else path.as_posix(): path for path in paths}

    def paths(self) -> dict[str, Path]:
        return self.given


class Looked:
    """A run that is being looked at, and others beside it; the model that was asked last stays in memory."""

    def __init__(self, path: str | Path, *others: str | Path) -> None:
        self.runs = Given([Run.open(each) for each in (path, *others)])
        self.cache, self.maps, self.clouds = ModelCache(self.runs), attention.Maps(), points.Clouds()
        self.name, *self.others = self.runs.paths()

    def view(self, page: str, record: Record, height: int, **chosen: Any) -> View:
        found = [{**summary(name, run), "state": state(run)} for name, run in self.opened()]
        return View(record.page(page, found, **chosen), height)

    def opened(self) -> list[tuple[str, Run]]:
        return [(name, self.runs.open(name)) for name in self.runs.paths()]

    def attention(self, text: str, target: str = "", *, height: int = 900) -> View:
        """Every layer and head on a text, as on the page of that name.

        target: what a translator is to have written; its own translation where this is left out. Raises ClewError where
        nothing in the model attends, DataError for an empty text or a long one.
        """
        record = Record()
        self.heads(record, self.name, text, target)
        return self.view("attention", record, height, text=text, target=target)

    def heads(self, record: Record, name: str, text: str, target: str) -> None:
        found = attention.look(self.cache, self.maps, name, text, target)
        record.add(found, "attention", run=name, text=text, target=target, step=None)
        record.add_bytes(self.maps.thumbnails(found["id"]), f"attention/{found['id']}/thumbnails")
        record.add_bytes(self.maps.packed(found["id"]), f"attention/{found['id']}/packed")

    def curves(self, *, height: int = 800, **chosen: Any) -> View:
        """What the runs logged. chosen: as the page's address has it, say y="train loss", x="time", smooth=0.6."""
        record = Record()
        for name, run in self.opened():
            record.add(series(run), "series", run=name)
        return self.view("curves", record, height, **chosen)

    def play(self, text: str, *, n_best: int = 4, height: int = 700) -> View:
        """What the runs make of a text: answers with scores and the tree of a beam; of writers, token by token."""
        record = Record()
        for name, run in self.opened():
            offer = record.add(predict.examples(run), "examples", run=name)
            if offer["writes"]:
                written = [*predict.write(self.cache, name, text, offer["writes"], LENGTH)]
                record.add(written, "write", run=name, text=text, length=LENGTH, **shortest(offer["writes"]))
            else:
                found = predict.predict(self.cache, name, text, n_best)
                record.add(found, "predict", run=name, text=text, n_best=n_best, length=None)
        return self.view("play", record, height, text=text, n=n_best)

    def walk(self, text: str, kind: str = "", place: str = "", *, height: int = 800, **chosen: int | str) -> View:
        """A walk through the run's equations (see `walks_for`); chosen: target, layer, head, at."""
        record = Record()
        offer = next(
            each
            for each in record.add(walks.offers(self.cache, self.name), "walks", run=self.name)
            if kind in ("", each["kind"]) and place in ("", each["place"])
        )
        asked = {"target": "", "layer": 0, "head": 0, "at": 0} | chosen
        asked |= {"text": text, "kind": offer["kind"], "place": offer["place"]}
        record.add(walks.walk(self.cache, self.name, **asked), "walk", run=self.name, **asked)  # type: ignore[arg-type]
        return self.view("walk", record, height, text=text, walk=f"{offer['kind']}:{offer['place']}", **chosen)

    def project(self, source: str = "", *, height: int = 900, **chosen: Any) -> View:
        """Points of the run in two dimensions, by PCA. source: one of those that the page offers, else the first.

        chosen: as the page's address has it; `layer`, in which tokens or texts are looked at, 0 for embeddings.
        """
        record = Record()
        offered = record.add(points.offered(self.cache, self.name), "points/sources", run=self.name)
        source, layer = source or offered["sources"][0], chosen.get("layer")
        asked = {"run": self.name, "source": source, "layer": layer, "method": "pca", "dims": 3, "seed": 0}
        made = points.project(self.cache, self.clouds, self.name, source, "pca", 3, layer)
        [found] = record.add([*made], "points", **asked)
        record.add_bytes(self.clouds.coordinates(found["id"]), f"points/{found['id']}/coordinates")
        record.add(self.clouds.trust(found["id"]), f"points/{found['id']}/trust")
        return self.view("project", record, height, source=source, **chosen)

    def compare(self, text: str = "", *, height: int = 900) -> View:
        """The run beside the first of the others: recipes, figures, outputs, layers, and where they look in a text."""
        record = Record()
        one, other = self.name, self.others[0]
        record.add(compare.compare(*(self.runs.open(name) for name in (one, other))), "compare", one=one, other=other)
        with suppress(ClewError):  # of models without layers there is no map
            record.add(compare.alike(self.cache, one, other), "alike", one=one, other=other)
        for name in (one, other) if text else ():
            self.heads(record, name, text, "")
        return self.view("compare", record, height, **({"text": text} if text else {}))


LENGTH = 60  # tokens that are written, as the page has it


def shortest(settings: dict[str, Any]) -> dict[str, Any]:
    """Numbers as a browser writes them: 1 for 1.0."""
    return {key: value if value is None or value % 1 else int(value) for key, value in settings.items()}


def look(run: str | Path, *others: str | Path) -> Looked:
    """Look at a run, and at others beside it, in a notebook: `clew.look("runs/pairs").attention("a sentence")`."""
    return Looked(run, *others)
