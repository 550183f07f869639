"""Points of a run for the projector: brought to the plane once, kept for a while, asked for neighbours."""

from __future__ import annotations

import io
import secrets
import tempfile
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from clew.config import build
from clew.errors import DataError, RecipeError
from clew.inspect.export import to_parquet, to_tensorflow
from clew.inspect.points import MOST, Points, points, sources
from clew.inspect.projector import PROJECT, Projection, movers, pca, turned
from clew.inspect.states import depths
from clew.runs import Run
from clew.web.folder import thin
from clew.web.lines import reported
from clew.web.model_cache import LoadedRun, ModelCache, RequestQueue

KEPT = 2  # sets of points
TEXTS = 2_000  # texts whose tokens or whole states are shown, at most
NEIGHBOURS = 12
FRAMES = 12  # checkpoints in one picture, at most
FREQUENT = 20_000  # words, the first of a vocabulary, among which movers are looked for


@dataclass
class Cloud:
    """A picture of points, where they came from, and their places at checkpoints by step, once asked for."""

    run: str
    source: str
    layer: int | None
    projection: Projection
    frames: dict[int, np.ndarray] = field(default_factory=dict)

    @property
    def points(self) -> Points:
        return self.projection.points


class Clouds:
    """The sets of points that were asked for last, by a name that does not tell where they came from."""

    def __init__(self) -> None:
        self.found: OrderedDict[str, Cloud] = OrderedDict()
        self.turns = RequestQueue("the projector")

    def keep(self, cloud: Cloud) -> str:
        name = secrets.token_hex(8)
        self.found[name] = cloud
        while len(self.found) > KEPT:
            self.found.popitem(last=False)
        return name

    def get(self, name: str) -> Cloud:
        """Raise DataError for points that are not kept (any more)."""
        found = self.found.get(name)
        if found is None:
            raise DataError("these points are not kept any more", where=name[:40], fix="ask for them again")
        return found

    def coordinates(self, name: str) -> bytes:
        """(points, dims) float32, little end first."""
        return self.get(name).projection.coordinates.astype("<f4").tobytes()

    def trust(self, name: str) -> float:
        """How far neighbours in the picture are neighbours in the original space."""
        return self.get(name).projection.trust

    def neighbours(self, name: str, row: int) -> list[dict[str, Any]]:
        """The nearest points of one, by cosine in the original space."""
        some = self.get(name).points
        if not 0 <= row < len(some):
            raise DataError(f"there are points 0 to {len(some) - 1}", where=f"row {row}")
        ids, cosines = some.neighbours([row], NEIGHBOURS)
        return [
            {"row": int(i), "label": some.labels[i], "cosine": float(c)}
            for i, c in zip(ids[0], cosines[0], strict=True)
        ]

    def export(self, name: str, form: str) -> bytes:
        """What embedding-atlas opens (parquet), or the two tables of the TensorFlow projector in one archive (tsv)."""
        cloud = self.get(name)
        some, projection = cloud.points, cloud.projection
        with tempfile.TemporaryDirectory(prefix="clew-") as folder:
            if form == "parquet":
                return to_parquet(some, projection, Path(folder) / "points.parquet").read_bytes()
            if form != "tsv":
                raise RecipeError(f'points are not written as "{form}"', fix="ask for parquet or tsv")
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
                for file in to_tensorflow(some, folder):
                    archive.write(file, file.name)
            return packed.getvalue()


def offered(cache: ModelCache, name: str) -> dict[str, list[str]]:
    """Where points can be had from in a run's model, and the layers in which tokens and texts are found, from 0 on."""
    with cache.use(name) as opened:
        return {"sources": sources(opened.model), "layers": depths(opened.model)}


def project(
    cache: ModelCache, clouds: Clouds, name: str, source: str, method: str, dims: int, layer: int | None = None,
    most: int = MOST, **settings: Any,
) -> Iterator[Any]:  # fmt: skip
    """The shares that are done, of methods which take their time; then points, their coordinates kept under `id`.

    layer: by its number, 0 for embeddings, the last by default. most: points for such methods. Raises RecipeError for a
    method, a source or a layer that is not there, or settings that do not fit.
    """
    if method not in PROJECT:
        raise RecipeError(f'there is no method "{method}"', fix=f"there are: {', '.join(PROJECT)}")
    with cache.use(name) as opened:
        some = points_of(opened, source, layer, MOST if method == "pca" else most)
    if method == "pca":
        projection = pca(some, dims)
    else:
        with clouds.turns.take():
            projection = yield from reported(lambda tell: PROJECT[method](some, dims, progress=tell, **settings))
    yield {
        "id": clouds.keep(Cloud(name, source, layer, projection)), "labels": some.labels, "note": some.note,
        "columns": {key: [*values] for key, values in some.columns.items()}, "width": some.vectors.shape[1],
        "dims": dims, "method": method, "settings": projection.settings, "explained": projection.explained,
    }  # fmt: skip


def points_of(opened: LoadedRun, source: str, layer: int | None, most: int) -> Points:
    """The points of a model; texts carry the labels that the data gives them."""
    known = depths(opened.model) if source in ("tokens", "texts") else []
    texts, columns = texts_of(opened.run) if known else ([], {})
    if layer is not None and texts and layer >= len(known):
        raise RecipeError(f"there is no layer {layer}", fix=f"there are 0 to {len(known) - 1}")
    depth = known[-1 if layer is None else layer] if texts else ""
    some = points(opened.model, opened.preprocessor, source, texts, layer=depth, most=most)
    return replace(some, columns={**some.columns, **columns}) if source == "texts" else some


def frames(cache: ModelCache, clouds: Clouds, name: str) -> list[int | None]:
    """The steps at which `frame` shows points, oldest first; None is the run's end.

    Raises DataError where no checkpoints are kept, or the picture is not PCA's.
    """
    cloud = clouds.get(name)
    if cloud.projection.axes is None:
        raise DataError("checkpoints share one picture along principal axes", fix="choose PCA")
    steps = thin(cache.runs.open(cloud.run).steps(), FRAMES)
    if not steps:
        raise DataError("this run keeps no checkpoints", where=cloud.run, fix="train with train.keep=10 or so")
    return [*steps, None]


def frame(cache: ModelCache, clouds: Clouds, name: str, number: int) -> bytes:
    """Where points stood at one of `frames`, turned to the end by Procrustes and seen along the end's principal axes.

    (points, dims) float32. Raises DataError for a number that is not among them.
    """
    cloud, steps = clouds.get(name), frames(cache, clouds, name)
    if not 0 <= number < len(steps):
        raise DataError(f"there are {len(steps)} checkpoints here", where=f"checkpoint {number}")
    step, axes = steps[number], cloud.projection.axes
    if step is None or axes is None:
        return clouds.coordinates(name)
    if step not in cloud.frames:
        with cache.use(cloud.run, step) as opened:
            then = points_of(opened, cloud.source, cloud.layer, len(cloud.points))
        cloud.frames[step] = turned(then, cloud.points, axes)
    return cloud.frames[step].astype("<f4").tobytes()


def texts_of(run: Run) -> tuple[list[str], dict[str, list[str]]]:
    """Texts of the run's own data, the first of a split that was not trained on, or its examples; their labels, where
    the task gives a text one."""
    task, data = run.task, build("data", run.recipe.data)
    split = next((each for each in data.splits if each not in ("train", "valid")), "valid")
    labels = task.groups(data, split, TEXTS)
    return task.texts(data, split, TEXTS), {"label": labels} if labels else {}


def moved(cache: ModelCache, one: str, other: str, step: int | None = None) -> list[dict[str, Any]]:
    """The words that moved most from one run, as it was at a step or at its end, to the other's end."""
    found = []
    for name, at in ((one, step), (other, None)):
        with cache.use(name, at) as opened:
            if "words" not in sources(opened.model):
                raise DataError("movers are found between word vectors", where=name, fix="choose two runs of words")
            found.append(points(opened.model, opened.preprocessor, "words", most=2**31))
    before, after = (some.take(range(min(FREQUENT, len(some))), "") for some in found)
    return [asdict(mover) for mover in movers(before, after)]
