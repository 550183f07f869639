"""Points and pictures in other tools' formats: Parquet for embedding-atlas, TSV for TensorFlow's projector."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clew.errors import MissingExtra, RecipeError
from clew.inspect.points import Points
from clew.inspect.projector import Projection

AXES = ("projection_x", "projection_y", "projection_z")
SPACES = str.maketrans("\t\r\n", "   ")


def to_parquet(points: Points, projection: Projection, path: str | Path, *, neighbours: int = 10) -> Path:
    """One row for each point: text, its columns, projection_x and so on, vector, and neighbors (ids, distances).

    Opens with `embedding-atlas FILE --text text --x projection_x --y projection_y --neighbors neighbors`. distances are
    1 - cosine in the original space. Raises MissingExtra without pyarrow, RecipeError where a column has a taken name.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra("writing Parquet needs pyarrow", fix="pip install 'clew[data]'") from error
    taken = {"text", "vector", "neighbors", *AXES}
    if both := taken & set(points.columns):
        raise RecipeError(f"the columns {', '.join(sorted(both))} have other uses in this format", fix="rename them")
    ids, cosines = points.neighbours(range(len(points)), neighbours)
    distances = 1 - cosines
    table: dict[str, Any] = {"text": points.labels, **points.columns}
    table |= dict(zip(AXES, projection.coordinates.T, strict=False))
    vectors = pyarrow.FixedSizeListArray.from_arrays(points.vectors.ravel(), points.vectors.shape[1])
    lists = [
        pyarrow.ListArray.from_arrays(np.arange(len(ids) + 1, dtype=np.int32) * ids.shape[1], each.ravel())
        for each in (ids, distances)
    ]
    table["vector"], table["neighbors"] = vectors, pyarrow.StructArray.from_arrays(lists, ["ids", "distances"])
    pyarrow.parquet.write_table(pyarrow.table(table), path)
    return Path(path)


def to_tensorflow(points: Points, folder: str | Path) -> tuple[Path, Path]:
    """vectors.tsv and metadata.tsv, as projector.tensorflow.org loads them.

    The metadata has a first line of names where there are columns beside the labels, and none otherwise, as it asks.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    vectors, metadata = folder / "vectors.tsv", folder / "metadata.tsv"
    with vectors.open("w", encoding="utf-8") as stream:
        form = "\t".join(["%.9g"] * points.vectors.shape[1]) + "\n"  # nine digits hold a float32
        stream.writelines(form % tuple(row.tolist()) for row in points.vectors)
    with metadata.open("w", encoding="utf-8") as stream:
        if points.columns:
            stream.write(line(["label", *points.columns]))
        for row in zip(points.labels, *points.columns.values(), strict=True):
            stream.write(line(row))
    return vectors, metadata


def line(cells: Sequence[Any]) -> str:
    """A record of a table without quotes: tabs and line ends within a cell become spaces."""
    return "\t".join(str(cell).translate(SPACES) for cell in cells) + "\n"
