"""The projector: pictures, trust, neighbours, turns and movers, against their definitions; files that others read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clew.errors import ClewError, DataError, MissingExtra, RecipeError
from clew.inspect.export import to_parquet, to_tensorflow
from clew.inspect.points import Points, unit
from clew.inspect.projector import (
    PROJECT,
    movers,
    pca,
    principal_axes,
    procrustes,
    together,
    trustworthiness,
    tsne,
    umap,
)


def cloud(n: int = 60, d: int = 8, seed: int = 0, **columns: Any) -> Points:
    """Points about five centres."""
    rng = np.random.default_rng(seed)
    which = rng.integers(5, size=n)
    vectors = 4 * rng.normal(size=(5, d))[which] + rng.normal(size=(n, d))
    return Points([f"w{i}" for i in range(n)], vectors.astype(np.float32), {"class": which.tolist(), **columns})


def turn(d: int, seed: int = 1) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]


@pytest.mark.parametrize("dims", [2, 3])
def test_pca_by_svd(dims: int) -> None:
    points = cloud()
    found = pca(points, dims)
    centred = points.vectors - points.vectors.mean(axis=0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    expected = (u * s)[:, :dims]
    signs = np.sign((expected * found.coordinates).sum(axis=0))
    np.testing.assert_allclose(found.coordinates, expected * signs, atol=1e-4)
    assert found.explained == pytest.approx((s**2 / (s**2).sum())[:dims].tolist(), rel=1e-4)
    assert found.settings == {"dims": dims}
    np.testing.assert_array_equal(pca(points, dims).coordinates, found.coordinates)


def test_pca_of_parts_is_pca_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = principal_axes(cloud().vectors)
    monkeypatch.setattr("clew.inspect.projector.ROWS", 7)
    np.testing.assert_allclose(principal_axes(cloud().vectors).axes, whole.axes, atol=1e-10)


def test_neighbours_by_cosine() -> None:
    points = cloud()
    ids, cosines = points.neighbours([3, 40], k=4)
    for row, found, value in zip([3, 40], ids, cosines, strict=True):
        everyone = unit(points.vectors) @ unit(points.vectors[row : row + 1])[0]
        order = [i for i in np.argsort(-everyone, kind="stable") if i != row][:4]
        assert found.tolist() == order
        np.testing.assert_allclose(value, everyone[order], rtol=1e-5)
    assert points.neighbours([0], k=100)[0].shape == (1, 59)
    assert cloud(1).neighbours([0])[0].shape == (1, 0)


def by_definition(points: Points, coordinates: np.ndarray, k: int) -> float:
    """Trustworthiness, by ranks in loops."""
    n, near = len(points), points.directions @ points.directions.T
    lost = 0
    for i in range(n):
        others = [j for j in range(n) if j != i]
        rank = {j: r for r, j in enumerate(sorted(others, key=lambda j: -near[i, j]), 1)}
        close = sorted(others, key=lambda j: float(((coordinates[i] - coordinates[j]) ** 2).sum()))[:k]
        lost += sum(max(0, rank[j] - k) for j in close)
    return 1 - 2 * lost / (n * k * (2 * n - 3 * k - 1))


def test_trustworthiness() -> None:
    points = cloud(40)
    picture = pca(points).coordinates
    assert trustworthiness(points, picture, k=5) == pytest.approx(by_definition(points, picture, 5))
    assert trustworthiness(points, unit(points.vectors), k=5) == 1.0
    large = cloud(600)
    noise = np.random.default_rng(3).normal(size=(600, 2))
    assert abs(trustworthiness(large, noise) - 0.5) < 0.03
    picture = pca(large).coordinates
    assert trustworthiness(large, picture, rows=200) == pytest.approx(trustworthiness(large, picture), abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "module"), [(tsne, "openTSNE"), (umap, "umap")])
@pytest.mark.parametrize("dims", [2, 3])
def test_neighbourhoods_are_kept(method: Any, module: str, dims: int) -> None:
    """The five clouds stay apart, better than PCA does, and the same seed gives the same picture."""
    pytest.importorskip(module, reason=f"needs {module}", exc_type=ImportError)
    points = cloud(200, 20)
    found = method(points, dims, seed=1)
    assert found.coordinates.shape == (200, dims) and found.settings["seed"] == 1
    assert found.trust > max(0.9, pca(points, dims).trust) and found.explained is None
    np.testing.assert_array_equal(method(points, dims, seed=1).coordinates, found.coordinates)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "module"), [(tsne, "openTSNE"), (umap, "umap")])
def test_slow_methods_tell_how_far_they_are_and_can_be_ended(method: Any, module: str) -> None:
    pytest.importorskip(module, reason=f"needs {module}", exc_type=ImportError)
    told: list[float] = []
    method(cloud(100), progress=told.append)
    assert told == sorted(told) and 0 <= told[0] < 0.5 and told[-1] == 1

    def end(_: float) -> None:
        raise KeyError("enough")

    for _ in range(2):  # and again: no lock is left behind
        with pytest.raises(KeyError):
            method(cloud(100), progress=end)


def test_settings_that_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    points = cloud(20)
    for wrong in (lambda: pca(points, 4), lambda: tsne(points, perplexity=10), lambda: umap(points, neighbours=20)):
        with pytest.raises(RecipeError):
            wrong()
    with pytest.raises(DataError, match="too few"):
        pca(cloud(3))
    assert sorted(PROJECT) == ["pca", "tsne", "umap"]
    for method, module in ((tsne, "openTSNE"), (umap, "umap")):
        monkeypatch.setitem(__import__("sys").modules, module, None)
        with pytest.raises(MissingExtra, match="needs"):
            method(cloud(100))


def test_procrustes_finds_the_turn() -> None:
    vectors = cloud().vectors
    np.testing.assert_allclose(procrustes(vectors @ turn(8), vectors), turn(8).T, atol=1e-5)
    narrow = procrustes(vectors[:, :5], vectors)  # of other widths
    np.testing.assert_allclose(narrow @ narrow.T, np.eye(5), atol=1e-10)


def test_checkpoints_share_one_picture() -> None:
    last = cloud()
    turned = Points(last.labels, (last.vectors @ turn(8) + 3).astype(np.float32))
    mixed = Points(last.labels[::-1], turned.vectors[::-1])  # in another order
    first, second, third = together([turned, mixed, last])
    np.testing.assert_allclose(third, pca(last).coordinates, atol=1e-5)
    np.testing.assert_allclose(first, third, atol=1e-3)
    np.testing.assert_allclose(second, third[::-1], atol=1e-3)


def test_tokens_of_a_checkpoint_are_paired_by_their_places() -> None:
    last = Points(["a"] * 60, cloud().vectors)  # a label that repeats pairs nothing
    first, second = together([Points(last.labels, (last.vectors @ turn(8)).astype(np.float32)), last])
    np.testing.assert_allclose(first, second, atol=1e-3)


def test_movers() -> None:
    one = cloud()
    vectors = one.vectors @ turn(8)
    vectors[[7, 30]] *= -1
    other = Points([*one.labels, "new"], np.concatenate([vectors, vectors[:1]]).astype(np.float32))
    found = movers(one, other, k=3)
    assert {each.label for each in found[:2]} == {"w7", "w30"} and found[1].cosine < -0.8 < 0.8 < found[2].cosine
    assert "w7" not in found[0].before and not set(found[0].before) & set(found[0].after) - {"w7", "w30"}
    with pytest.raises(DataError, match="in common"):
        movers(one, Points(["x"], np.ones((1, 8), dtype=np.float32)))


def test_labels_that_repeat_are_left_out() -> None:
    vectors = np.eye(5, dtype=np.float32)
    vectors[4] = 0  # and what has no direction
    one = Points(["a", "b", "b", "c", "<pad>"], vectors)
    assert {each.label for each in movers(one, one)} == {"a", "c"}


def test_sampling_is_said() -> None:
    points = cloud()
    assert points.sample(60) is points
    few = points.sample(10, seed=2)
    assert few.note == "10 of 60 points, drawn at random (seed 2)" and len(few.columns["class"]) == 10
    rows = [points.labels.index(label) for label in few.labels]
    assert rows == sorted(set(rows))
    np.testing.assert_array_equal(few.vectors, points.vectors[rows])


def test_what_is_no_set_of_points() -> None:
    with pytest.raises(ClewError, match="do not fit"):
        Points(["a"], np.zeros((2, 2), dtype=np.float32))
    with pytest.raises(ClewError, match='"b" is not finite'):
        Points(["a", "b"], np.array([[0, 1], [np.nan, 0]], dtype=np.float32))


def test_parquet(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    points = cloud(12, count=[*range(12)])
    path = to_parquet(points, pca(points, 3), tmp_path / "points.parquet", neighbours=4)
    rows = parquet.read_table(path).to_pylist()
    assert list(rows[0]) == [
        "text", "class", "count", "projection_x", "projection_y", "projection_z", "vector", "neighbors",
    ]  # fmt: skip
    ids, cosines = points.neighbours(range(12), 4)
    for i, row in enumerate(rows):
        assert row["text"] == f"w{i}" and row["count"] == i and row["neighbors"]["ids"] == ids[i].tolist()
        assert row["neighbors"]["distances"] == pytest.approx((1 - cosines[i]).tolist())
        assert row["vector"] == pytest.approx(points.vectors[i].tolist())
    with pytest.raises(RecipeError, match="vector"):
        to_parquet(cloud(12, vector=[0] * 12), pca(points), tmp_path / "other.parquet")


def test_tensorflow(tmp_path: Path) -> None:
    points = Points(["a\tb", "c"], np.array([[0.1, 2], [3, -4]], dtype=np.float32), {"count": [5, 6]})
    vectors, metadata = to_tensorflow(points, tmp_path / "tf")
    assert metadata.read_text() == "label\tcount\na b\t5\nc\t6\n"
    np.testing.assert_array_equal(np.loadtxt(vectors, delimiter="\t", dtype=np.float32), points.vectors)
    _, metadata = to_tensorflow(Points(points.labels, points.vectors), tmp_path / "tf")
    assert metadata.read_text() == "a b\nc\n"  # one column: no line of names
