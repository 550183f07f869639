"""What the page may ask for: one function each."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from clew import __version__
from clew.errors import ClewError
from clew.inspect.points import MOST
from clew.page.single_file import LOOK
from clew.web import attention, compare, points, predict, saved, walks
from clew.web.folder import Runs, samples, series
from clew.web.guard import Guard
from clew.web.lines import Streamed
from clew.web.model_cache import Busy, ModelCache, NoRoom

EVERY = 1.0  # seconds between two looks at the folder
STREAMS = 64  # open pages that are told of changes
TEXT = 20_000  # characters of a text, at most
SLOW = 5_000  # points for t-SNE and UMAP, unless more are asked for
KINDS = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".html": "text/html",
    ".md": "text/plain",
    ".woff2": "font/woff2",
}


class Asked(BaseModel):
    """A run and a text for it."""

    model_config = ConfigDict(extra="forbid")
    run: str = Field(max_length=500)
    text: str = Field(max_length=TEXT)


class Look(Asked):
    target: str = Field("", max_length=TEXT)
    step: int | None = Field(None, ge=0)  # of a checkpoint; without one, the run's model


class Predict(Asked):
    n_best: int = Field(1, ge=1, le=16)
    length: int | None = Field(None, ge=1, le=1000)


class Write(Asked):
    temperature: float = Field(1.0, ge=0, le=10)
    top_k: int | None = Field(None, ge=1)
    top_p: float | None = Field(None, gt=0, le=1)
    min_p: float | None = Field(None, ge=0, le=1)
    repetition_penalty: float = Field(1.0, ge=0.1, le=10)
    seed: int = Field(1, ge=0, le=2**31)
    length: int = Field(60, ge=1, le=1000)


class Two(BaseModel):
    model_config = ConfigDict(extra="forbid")
    one: str = Field(max_length=500)
    other: str = Field(max_length=500)


class Moved(Two):
    step: int | None = Field(None, ge=0)  # of a checkpoint of the first; without one, its end


class Project(BaseModel):
    model_config = ConfigDict(extra="forbid")
    run: str = Field(max_length=500)
    source: str = Field(max_length=200)
    layer: int | None = Field(None, ge=0)  # of tokens and texts: 0 for embeddings, the last by default
    method: str = Field("pca", max_length=20)
    dims: int = Field(3, ge=2, le=3)
    most: int = Field(SLOW, ge=4, le=MOST)  # points of methods that take their time
    seed: int = Field(0, ge=0, le=2**31)
    perplexity: float = Field(30.0, ge=1, le=1000)  # of t-SNE
    neighbours: int = Field(15, ge=2, le=1000)  # of UMAP, as is what follows
    min_dist: float = Field(0.1, ge=0, le=1)

    def settings(self) -> dict[str, Any]:
        """Those of the method."""
        own = {"tsne": ("perplexity", "seed"), "umap": ("neighbours", "min_dist", "seed")}.get(self.method, ())
        return self.model_dump(include={*own})


class Walk(Asked):
    target: str = Field("", max_length=TEXT)
    kind: str = Field(max_length=40)
    place: str = Field("", max_length=100)
    layer: int = Field(0, ge=0)
    head: int = Field(0, ge=0)
    at: int = Field(0, ge=0)


class Unroll(BaseModel):
    model_config = ConfigDict(extra="forbid")
    text: str = Field(max_length=2000)
    d: int = Field(2, ge=1, le=4)
    run: str = Field("", max_length=500)  # without one: the textbook's
    place: str = Field("", max_length=100)
    layer: int = Field(0, ge=0)
    target: str = Field("", max_length=2000)


def make_app(root: Path, token: str, hosts: list[str]) -> Guard:
    """The page over the runs of a folder, behind its guard."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    runs = Runs(root)
    cache = ModelCache(runs)
    app.state.runs, app.state.cache, app.state.maps = runs, cache, attention.Maps()
    app.state.gold, app.state.streams = attention.Gold(cache), 0
    for error, status in {ClewError: 422, Busy: 503, NoRoom: 507}.items():
        app.add_exception_handler(error, partial(explained, status))
    app.add_exception_handler(RequestValidationError, misread)
    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(OSError, gone)
    app.add_exception_handler(Exception, unforeseen)
    add_pages(app)
    add_runs(app, runs)
    add_models(app, cache)
    add_walks(app, cache)
    add_compare(app, cache)
    add_points(app, cache, points.Clouds())
    return Guard(app, token, hosts)


async def explained(status: int, request: Request, error: Any) -> Response:
    """Say what was wrong, where, and what to do, as on the command line, but for where the folder lies."""
    root = request.app.state.runs.root
    said = {"what": error.what, "where": error.where, "fix": error.fix}
    hidden = {key: text.replace(f"{root}/", "").replace(str(root), root.name) for key, text in said.items()}
    return JSONResponse(hidden, status)


async def misread(_request: Request, error: Any) -> Response:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return JSONResponse({"what": first["msg"], "where": where, "fix": ""}, 400)


async def refused(_request: Request, error: Any) -> Response:
    """No such page, or a body that is no JSON."""
    return JSONResponse({"what": str(error.detail), "where": "", "fix": ""}, error.status_code)


async def gone(_request: Request, _error: Exception) -> Response:
    """A run that was deleted, or is being written, while it was read."""
    return JSONResponse(
        {"what": "this run changed or was deleted while it was read", "where": "", "fix": "try again"}, 503
    )


async def unforeseen(_request: Request, error: Exception) -> Response:
    """A fault of ours: the page stays up and says no more than its kind; the terminal has the rest."""
    return JSONResponse({"what": f"the server failed ({type(error).__name__})", "where": "", "fix": ""}, 500)


def add_pages(app: FastAPI) -> None:
    @app.get("/")
    def page() -> Response:
        return asset("index.html")

    @app.get("/api/shell")
    def shell(page: str) -> Response:
        return Response(saved.shell(page), media_type="text/plain; charset=utf-8")  # to be saved, not to be opened here

    @app.get("/assets/{name}")
    def assets(name: str) -> Response:
        return asset(f"assets/{name}")


def asset(name: str) -> Response:
    """A file of the built page, by the names that were built. Raises ClewError where the page was not."""
    if not (LOOK / "index.html").is_file():
        raise ClewError("the browser page has not been built", where=str(LOOK), fix="python web/build.py")
    built = {path.relative_to(LOOK).as_posix(): path for path in LOOK.rglob("*") if path.is_file()}
    path = built.get(name)
    if path is None:
        return JSONResponse({"what": "there is no such file", "where": "", "fix": ""}, 404)
    return FileResponse(path, media_type=KINDS.get(path.suffix, "application/octet-stream"))


def add_runs(app: FastAPI, runs: Runs) -> None:
    @app.get("/api/runs")
    def listed() -> Any:
        return {"version": __version__, "folder": runs.root.name, "runs": runs.summaries()}

    @app.get("/api/series")
    def curves(run: str) -> Any:
        return series(runs.open(run))

    @app.get("/api/samples")
    def written(run: str, first: int = 0, last: int = 2**53) -> Any:
        return samples(runs.open(run), first, last)

    @app.get("/api/events")
    async def changes(request: Request) -> Response:
        if app.state.streams >= STREAMS:
            raise Busy(f"{STREAMS} pages are open already", fix="close one")
        return StreamingResponse(told(app, runs, request), media_type="text/event-stream")


async def told(app: FastAPI, runs: Runs, request: Request) -> AsyncIterator[str]:
    """The list of runs, at once and whenever it has changed; a sign of life in between."""
    app.state.streams += 1
    before: Any = None
    try:
        yield f"event: version\ndata: {__version__}\n\n"
        while not await request.is_disconnected():
            now = await asyncio.to_thread(runs.summaries)
            if now != before:
                yield f"event: runs\ndata: {json.dumps(now, ensure_ascii=True)}\n\n"
            else:
                yield ": still here\n\n"
            before = now
            await asyncio.sleep(EVERY)
    finally:
        app.state.streams -= 1


def add_models(app: FastAPI, cache: ModelCache) -> None:
    maps, gold = app.state.maps, app.state.gold

    @app.post("/api/predict")
    def predicted(asked: Predict) -> Any:
        return predict.predict(cache, asked.run, asked.text, asked.n_best, asked.length)

    @app.post("/api/write")
    def written(asked: Write) -> Any:
        how = asked.model_dump(exclude={"run", "text", "length"})
        return Streamed(predict.write(cache, asked.run, asked.text, how, asked.length))

    @app.get("/api/examples")
    def examples(run: str) -> Any:
        return predict.examples(cache.runs.open(run))

    @app.post("/api/attention")
    def look(asked: Look) -> Any:
        return attention.look(cache, maps, asked.run, asked.text, asked.target, asked.step)

    @app.get("/api/attention/{name}/thumbnails")
    def thumbnails(name: str) -> Response:
        return Response(maps.thumbnails(name), media_type="application/octet-stream")

    @app.get("/api/attention/{name}/packed")
    def packed(name: str) -> Response:
        return Response(maps.packed(name), media_type="application/octet-stream")

    @app.get("/api/attention/{name}/{layer}/{head}")
    def weights(name: str, layer: int, head: int) -> Response:
        return Response(maps.head(name, layer, head), media_type="application/octet-stream")

    @app.get("/api/gold")
    def aligned(run: str) -> Any:
        return gold.measure(run)


def add_walks(app: FastAPI, cache: ModelCache) -> None:
    @app.get("/api/walks")
    def offered(run: str) -> Any:
        return walks.offers(cache, run)

    @app.post("/api/walk")
    def walked(asked: Walk) -> Any:
        return walks.walk(cache, **{("name" if key == "run" else key): value for key, value in asked})

    @app.post("/api/unrolled")
    def unrolled(asked: Unroll) -> Any:
        return walks.unrolled(cache, **dict(asked))


def add_compare(app: FastAPI, cache: ModelCache) -> None:
    @app.get("/api/compare")
    def compared(one: str, other: str) -> Any:
        return compare.compare(cache.runs.open(one), cache.runs.open(other))

    @app.post("/api/alike")
    def alike(asked: Two) -> Any:
        return compare.alike(cache, asked.one, asked.other)


def add_points(app: FastAPI, cache: ModelCache, clouds: points.Clouds) -> None:
    @app.get("/api/points/sources")
    def sources(run: str) -> Any:
        return points.offered(cache, run)

    @app.post("/api/points")
    def projected(asked: Project) -> Any:
        how = asked.model_dump(include={"source", "method", "dims", "layer", "most"}) | asked.settings()
        return Streamed(points.project(cache, clouds, asked.run, **how))

    @app.get("/api/points/{name}/coordinates")
    def coordinates(name: str) -> Response:
        return Response(clouds.coordinates(name), media_type="application/octet-stream")

    @app.get("/api/points/{name}/trust")
    def trust(name: str) -> Any:
        return clouds.trust(name)

    @app.get("/api/points/{name}/frames")
    def frames(name: str) -> Any:
        return points.frames(cache, clouds, name)

    @app.get("/api/points/{name}/frames/{number}")
    def frame(name: str, number: int) -> Response:
        return Response(points.frame(cache, clouds, name, number), media_type="application/octet-stream")

    @app.get("/api/points/{name}/neighbours")
    def neighbours(name: str, row: int) -> Any:
        return clouds.neighbours(name, row)

    @app.get("/api/points/{name}/export/{form}")
    def export(name: str, form: str) -> Response:
        return Response(clouds.export(name, form), media_type="application/octet-stream")

    @app.post("/api/movers")
    def moved(asked: Moved) -> Any:
        return points.moved(cache, **dict(asked))
