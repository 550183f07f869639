"""Two runs compared on the same examples, and points projected: the figures are those of metrics and inspect."""

from __future__ import annotations

import http.client
import io
import json
import zipfile
from pathlib import Path
from time import sleep
from typing import Any

import numpy as np
import pytest

from clew.inspect.points import Points, points
from clew.inspect.projector import PROJECT, Projection, pca
from clew.metrics import bleu, paired_bootstrap
from clew.runs import Run


def test_two_runs_are_compared_on_the_same_examples(page: Any, runs: Path) -> None:
    found = page("/api/compare?one=lstm&other=transformer").json
    keys = {each["key"]: (each["one"], each["other"]) for each in found["recipe"]}
    assert keys["model.kind"] == ("seq2seq", "transformer") and "train.batch.tokens" not in keys
    one, other = Run(runs / "lstm"), Run(runs / "transformer")
    figures = {(each["split"], each["name"]): each for each in found["metrics"]}
    assert figures["test", "bleu"]["label"] == "BLEU"
    assert figures["test", "chrf"]["other"] == other.results()["splits"]["test"]["chrf"]
    references = [each["reference"] for each in sorted(found["examples"], key=lambda each: each["source"])]
    assert len(references) == 8 == sum(found["counts"].values())
    order = {(each["one"], each["other"]): each["reference"] for each in found["examples"]}
    written = list(zip(one.outputs("test"), other.outputs("test"), strict=True))
    gold = [order[pair] for pair in written] if len({*written}) == 8 else None
    paired = next(each for each in found["paired"] if each["name"] == "bleu")
    if gold is not None:
        a, b = bleu([x for x, _ in written], gold), bleu([y for _, y in written], gold)
        assert paired["difference"] == pytest.approx(paired_bootstrap(b, a).difference)
    gains = [abs(each["gain"]) for each in found["examples"]]
    assert gains == sorted(gains, reverse=True)
    assert paired["low"] <= paired["difference"] <= paired["high"] and 0 < paired["p_value"] <= 1


def test_runs_of_different_data_are_compared_as_far_as_it_goes(page: Any) -> None:
    found = page("/api/compare?one=lstm&other=words").json
    assert found["recipe"] and found["examples"] == [] and "not measured on the same examples" in found["why"]
    assert page("/api/compare?one=lstm&other=none").status == 422


def test_layers_are_alike_to_themselves(page: Any) -> None:
    found = page("/api/alike", {"one": "bert", "other": "bert"}).json
    assert len(found["rows"]) == 2 and found["examples"] >= 4
    assert np.diag(found["values"]) == pytest.approx(1, abs=1e-6)
    across = page("/api/alike", {"one": "lstm", "other": "transformer"}).json
    assert np.array(across["values"]).shape == (len(across["rows"]), len(across["columns"]))
    assert page("/api/alike", {"one": "words", "other": "bert"}).status == 422


def test_points_are_those_of_inspect_and_keep_their_neighbours(page: Any, runs: Path) -> None:
    assert page("/api/points/sources?run=words").json == {"sources": ["words"], "layers": []}
    found = page("/api/points", {"run": "words", "source": "words", "dims": 2}).json
    run = Run(runs / "words")
    own = points(run.model(), run.preprocessor(), "words")
    assert found["labels"] == own.labels and found["columns"]["count"] == list(own.columns["count"])
    got = np.frombuffer(page(f"/api/points/{found['id']}/coordinates").body, "<f4").reshape(-1, 2)
    np.testing.assert_allclose(got, pca(own, 2).coordinates, atol=1e-5)
    assert page(f"/api/points/{found['id']}/trust").json == pytest.approx(pca(own, 2).trust)
    near = page(f"/api/points/{found['id']}/neighbours?row=3").json
    ids, cosines = own.neighbours([3], 12)
    assert [each["row"] for each in near] == ids[0].tolist()
    assert [each["cosine"] for each in near] == pytest.approx(cosines[0].tolist())
    assert page(f"/api/points/{found['id']}/neighbours?row=-1").status == 422


@pytest.mark.parametrize("source", ["tokens", "texts", "encoder.embeddings.token"])
def test_every_source_has_points(page: Any, source: str) -> None:
    assert source in page("/api/points/sources?run=bert").json["sources"]
    found = page("/api/points", {"run": "bert", "source": source, "dims": 3}).json
    got = np.frombuffer(page(f"/api/points/{found['id']}/coordinates").body, "<f4")
    assert len(got) == 3 * len(found["labels"]) and np.isfinite(got).all()
    assert 0 <= page(f"/api/points/{found['id']}/trust").json <= 1


@pytest.mark.parametrize("name, n", [("bert", 2), ("gpt", 2), ("transformer", 1), ("lstm", 1), ("t5", 1)])
def test_tokens_are_those_of_the_layer_that_was_asked_for(page: Any, name: str, n: int) -> None:
    layers = page(f"/api/points/sources?run={name}").json["layers"]
    assert len(layers) == n + 1 and layers[0] == "embeddings"
    asked, seen = {"run": name, "source": "tokens", "dims": 2}, []
    for layer in [*range(n + 1), None]:
        found = page("/api/points", asked | {"layer": layer}).json
        seen.append((found["labels"], page(f"/api/points/{found['id']}/coordinates").body))
    assert len({body for _, body in seen}) == n + 1 and seen[-1] == seen[-2]  # the last by default
    assert all(labels == seen[0][0] for labels, _ in seen)
    assert page("/api/points", asked | {"layer": n + 1}).status == 422


def test_points_go_to_other_tools(page: Any) -> None:
    pyarrow = pytest.importorskip("pyarrow.parquet", reason="needs the extra `data`")
    found = page("/api/points", {"run": "words", "source": "words", "dims": 2}).json
    table = pyarrow.read_table(io.BytesIO(page(f"/api/points/{found['id']}/export/parquet").body))
    assert table.column("text").to_pylist() == found["labels"]
    archive = zipfile.ZipFile(io.BytesIO(page(f"/api/points/{found['id']}/export/tsv").body))
    assert len(archive.read("vectors.tsv").splitlines()) == len(found["labels"])
    assert page(f"/api/points/{found['id']}/export/csv").status == 422


def slow_pca(points: Points, dims: int, seed: int, perplexity: float, progress: Any) -> Projection:
    """A method that takes its time: it tells a hundred times how far it is."""
    for share in range(100):
        progress(share / 100)
        TOLD.append(share)
        sleep(0.02)
    return pca(points, dims)


TOLD: list[int] = []


def test_a_method_tells_how_far_it_is_and_stops_when_nobody_waits(page: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PROJECT, "tsne", slow_pca)
    asked = {"run": "words", "source": "words", "method": "tsne", "dims": 2, "most": 10}
    *shares, found = map(json.loads, page("/api/points", asked).body.splitlines())
    assert [each["done"] for each in shares] == [k / 100 for k in range(100)]
    assert len(found["labels"]) == 10 and "the 10 most frequent of" in found["note"]
    TOLD.clear()
    connection = http.client.HTTPConnection(page.host, page.port, timeout=60)
    headers = {"X-Clew-Token": page.token, "Content-Type": "application/json"}
    connection.request("POST", "/api/points", json.dumps(asked), headers)
    answer = connection.getresponse()
    answer.readline()
    answer.close()
    connection.close()
    seen = -1
    while seen < len(TOLD):  # until it tells no more
        seen = len(TOLD)
        sleep(0.3)
    assert seen < 90
    page("/api/points", asked)  # and the next has its turn


def test_what_is_not_there_is_said(page: Any) -> None:
    for change in ({"source": "none"}, {"method": "none"}, {"run": "none"}):
        answer = page("/api/points", {"run": "words", "source": "words"} | change)
        assert answer.status == 422 and answer.json["what"]
    assert page("/api/points/none/coordinates").status == 422
    assert page("/api/movers", {"one": "words", "other": "bert"}).status == 422
    moved = page("/api/movers", {"one": "words", "other": "words"}).json
    assert moved and all(each["cosine"] == pytest.approx(1, abs=1e-4) for each in moved)
