"""Vectors brought to two or three dimensions, how far that can be trusted, and what moved between two sets of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import Any, Literal

import numpy as np

from clew.errors import DataError, MissingExtra, RecipeError
from clew.inspect.points import ROWS, Points, times, unit

Progress = Callable[[float], None]


@dataclass(frozen=True, eq=False)
class Projection:
    """coordinates: (n, dims) float32. settings: what it was made with, the seed among them where chance played a part.

    axes: PCA's alone.
    """

    method: Literal["pca", "tsne", "umap"]
    points: Points
    coordinates: np.ndarray
    settings: dict[str, Any]
    axes: Axes | None = None

    @property
    def explained(self) -> list[float] | None:
        """The share of the variance along each axis (PCA alone)."""
        return self.axes.explained if self.axes else None

    @cached_property
    def trust(self) -> float:
        """See `trustworthiness`: computed when it is first asked for, since it takes longer than PCA."""
        return trustworthiness(self.points, self.coordinates)


@dataclass(frozen=True, eq=False)
class Axes:
    """Principal axes: mean (d,), axes (dims, d) of length 1, the share of the variance along each."""

    mean: np.ndarray
    axes: np.ndarray
    explained: list[float]

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Any vectors along these axes: (n, d) -> (n, dims). So that checkpoints share one picture."""
        mean, axes = self.mean.astype(np.float32), self.axes.astype(np.float32)
        return times(vectors - mean, axes.T)


def principal_axes(vectors: np.ndarray, dims: int = 2) -> Axes:
    """The directions in which the vectors vary most, from their covariance: exact, and the same each time.

    An axis points to where its largest component is positive, since its sign means nothing.
    """
    check_dims(dims, vectors)
    mean = vectors.mean(axis=0, dtype=np.float64)
    variance, axes = np.linalg.eigh(covariance(vectors, mean, vectors, mean))  # rising
    chosen = axes[:, ::-1][:, :dims].T
    chosen *= np.sign(chosen[np.arange(dims), np.abs(chosen).argmax(axis=1)])[:, None]
    whole = max(float(variance.sum()), 1e-300)
    return Axes(mean, chosen, [float(each) / whole for each in variance[::-1][:dims].clip(0)])


def covariance(one: np.ndarray, mean: np.ndarray, other: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Σ_i (one_i - mean) (other_i - others)ᵀ: (d, d') float64, a stretch of rows at a time."""
    total = np.zeros((one.shape[1], other.shape[1]))
    for start in range(0, len(one), ROWS):
        rows = slice(start, start + ROWS)
        total += times((one[rows].astype(np.float64) - mean).T, other[rows].astype(np.float64) - others)
    return total


def pca(points: Points, dims: int = 2) -> Projection:
    """Onto the principal axes (Pearson 1901)."""
    axes = principal_axes(points.vectors, dims)
    return Projection("pca", points, axes(points.vectors), {"dims": dims}, axes)


def tsne(
    points: Points, dims: int = 2, *, perplexity: float = 30.0, seed: int = 0, progress: Progress = lambda _: None
) -> Projection:
    """t-SNE (van der Maaten & Hinton 2008) by cosine, begun from PCA; by openTSNE. Raises MissingExtra without it.

    perplexity: how many neighbours each point keeps, about. progress: is told the share that is done, once neighbours
    are found; what it raises ends the work.
    """
    check_dims(dims, points.vectors)
    if not 1 <= perplexity <= (len(points) - 1) / 3:
        raise RecipeError(
            f"a perplexity of {perplexity:g} does not fit {len(points)} points", fix="take a third of them at most"
        )
    try:
        from openTSNE import TSNE
    except ImportError as error:
        raise MissingExtra("t-SNE needs openTSNE", fix="pip install openTSNE") from error
    done = count(1)
    method: Any = TSNE(
        n_components=dims, perplexity=perplexity, metric="cosine", random_state=seed, n_jobs=-1,
        callbacks_every_iters=10,
        callbacks=lambda *_: progress(next(done) * 10 / (method.early_exaggeration_iter + method.n_iter)),
    )  # fmt: skip
    coordinates = method.fit(np.ascontiguousarray(points.vectors))
    settings = {"dims": dims, "perplexity": perplexity, "seed": seed}
    return Projection("tsne", points, np.asarray(coordinates, dtype=np.float32), settings)


def umap(
    points: Points, dims: int = 2, *, neighbours: int = 15, min_dist: float = 0.1, seed: int = 0,
    progress: Progress = lambda _: None,
) -> Projection:  # fmt: skip
    """UMAP (McInnes et al. 2018) by cosine; by umap-learn. Raises MissingExtra without it.

    progress: is told the share that is done, once neighbours are found; what it raises is raised at the end, since
    umap-learn cannot be stopped.
    """
    check_dims(dims, points.vectors)
    if not 2 <= neighbours < len(points):
        raise RecipeError(f"{neighbours} neighbours do not fit {len(points)} points", fix="take fewer, two at least")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ImportWarning)  # of a part that is not used
            from umap import UMAP
    except ImportError as error:
        raise MissingExtra("UMAP needs umap-learn", fix="pip install 'clew[umap]'") from error
    bar = Bar(progress)
    method = UMAP(
        n_components=dims, n_neighbors=neighbours, min_dist=min_dist, metric="cosine", random_state=seed, n_jobs=1,
        tqdm_kwds={"disable": False, "bar_format": "{n}/{total}", "file": bar},
    )  # fmt: skip
    coordinates = method.fit_transform(np.ascontiguousarray(points.vectors))
    if bar.raised:
        raise bar.raised[0]
    settings = {"dims": dims, "neighbours": neighbours, "min_dist": min_dist, "seed": seed}
    return Projection("umap", points, np.asarray(coordinates, dtype=np.float32), settings)


class Bar:
    """What tqdm writes its bar on, "n/total": tells what share is done. It keeps what that raises: tqdm holds a lock
    while it writes, and would not give it back."""

    def __init__(self, progress: Progress) -> None:
        self.progress, self.raised = progress, list[Exception]()

    def write(self, text: str) -> None:
        n, _, total = text.strip().partition("/")
        if total and not self.raised:
            try:
                self.progress(int(n) / int(total))
            except Exception as error:
                self.raised.append(error)

    def flush(self) -> None:
        pass


PROJECT: dict[str, Callable[..., Projection]] = {"pca": pca, "tsne": tsne, "umap": umap}


def check_dims(dims: int, vectors: np.ndarray) -> None:
    if dims not in (2, 3):
        raise RecipeError(f"a picture of {dims} dimensions", fix="take 2 or 3")
    if len(vectors) < 4 or vectors.shape[1] < dims:
        raise DataError(f"{len(vectors)} vectors of {vectors.shape[1]} are too few to project", fix="give more")


def trustworthiness(points: Points, coordinates: np.ndarray, *, k: int = 10, rows: int = 1000, seed: int = 0) -> float:
    """How far neighbours in the picture are neighbours by cosine in the original space: 1 wholly, about ½ by chance.

    T = 1 - 2 / (n k (2n - 3k - 1)) Σ_i Σ_{j ∈ picture's k nearest of i} max(0, r(i, j) - k), where j is the r-th
    nearest of i in the original space (Venna & Kaski 2001, eq. 1). Of more than `rows` points, over so many drawn ones.
    """
    n = len(points)
    k = min(k, (n - 1) // 2)
    drawn = np.arange(n) if n <= rows else np.random.default_rng(seed).choice(n, size=rows, replace=False)
    picture = coordinates.astype(np.float64)
    lengths, lost, step = (picture**2).sum(axis=1), 0, max(1, 2**22 // n)
    for start in range(0, len(drawn), step):
        some = drawn[start : start + step]
        here = np.arange(len(some))
        far = times(-2 * picture[some], picture.T)  # squared distance, but for a constant of the row
        far += lengths
        far[here, some] = np.inf
        nearest = np.argpartition(far, k - 1, axis=1)[:, :k]
        near = times(points.directions[some], points.directions.T)
        near[here, some] = -np.inf
        for i, neighbours in enumerate(nearest):
            nearer = (int(np.count_nonzero(near[i] > cosine)) for cosine in near[i][neighbours])
            lost += sum(max(rank + 1 - k, 0) for rank in nearer)
    return 1 - 2 * lost / (len(drawn) * k * (2 * n - 3 * k - 1))


def procrustes(moving: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The rotation R (d, d') that brings moving (n, d) nearest to reference (n, d'): argmin ‖moving R - reference‖.

    R = UVᵀ of movingᵀ reference = UΣVᵀ, R RᵀR = R (Schönemann 1966). Cosines among what is turned stay where d ≤ d'.
    """
    origin = np.zeros(())
    return nearest_turn(covariance(moving, origin, reference, origin))


def nearest_turn(product: np.ndarray) -> np.ndarray:
    u, _, v = np.linalg.svd(product, full_matrices=False)
    return u @ v


def shared(one: Points, other: Points) -> tuple[list[int], list[int]]:
    """The rows of the labels that occur once in each, in the order of `one`. Raises DataError where there are none."""
    index, found = once(other), once(one)
    rows = [(row, index[label]) for label, row in found.items() if label in index]
    if not rows:
        raise DataError("these have no label in common", fix="compare runs over the same words")
    return [a for a, _ in rows], [b for _, b in rows]


def once(points: Points) -> dict[str, int]:
    """The row of each label that occurs once."""
    rows = dict(zip(points.labels, range(len(points)), strict=True))
    if len(rows) < len(points):
        first: dict[str, int] = {}
        for row, label in enumerate(points.labels):
            first.setdefault(label, row)
        rows = {label: row for label, row in rows.items() if first[label] == row}
    return rows


def together(frames: Sequence[Points], dims: int = 2) -> list[np.ndarray]:
    """One picture for several checkpoints: each turned to the last by Procrustes, then along the last's axes.

    Returns (n, dims) of each. Distances within a checkpoint are its own; only its turn is taken away.
    """
    axes = principal_axes(frames[-1].vectors, dims)
    return [turned(frame, frames[-1], axes) for frame in frames]


def turned(moving: Points, reference: Points, axes: Axes) -> np.ndarray:
    """Where points of a checkpoint lie along another's axes (`together`): (n, dims)."""
    if moving is reference:
        return axes(moving.vectors)
    # The same points in the same order are paired by their rows: the labels of tokens repeat.
    a, b = (slice(None), slice(None)) if moving.labels == reference.labels else shared(moving, reference)
    mine, theirs = moving.vectors[a], reference.vectors[b]
    middle, end = (each.mean(axis=0, dtype=np.float64) for each in (mine, theirs))
    down = nearest_turn(covariance(mine, middle, theirs, end)) @ axes.axes.T  # (d, dims)
    return Axes(middle, down.T, axes.explained)(moving.vectors) + ((end - axes.mean) @ axes.axes.T).astype(np.float32)


@dataclass(frozen=True)
class Mover:
    """A label, its cosine with itself after turning, and its nearest labels before and after."""

    label: str
    cosine: float
    before: list[str]
    after: list[str]


def movers(one: Points, other: Points, k: int = 20, neighbours: int = 5) -> list[Mover]:
    """The k labels that moved most from one set to another, the farthest first (Hamilton et al. 2016, §3.1).

    Directions alone count, so that vectors of zeros are left out; the second set is turned onto the first over all
    labels that both have.
    """
    rows = [(i, j) for i, j in zip(*shared(one, other), strict=True) if one.vectors[i].any() and other.vectors[j].any()]
    first, second = one.take([i for i, _ in rows], ""), other.take([j for _, j in rows], "")
    turned = unit(second.directions @ procrustes(second.directions, first.directions))
    cosines = (first.directions * turned).sum(axis=1)
    farthest = np.argsort(cosines, kind="stable")[:k].tolist()
    before, after = (each.neighbours(farthest, neighbours)[0] for each in (first, second))
    return [
        Mover(first.labels[row], float(cosines[row]), [first.labels[i] for i in x], [first.labels[i] for i in y])
        for row, x, y in zip(farthest, before, after, strict=True)
    ]
