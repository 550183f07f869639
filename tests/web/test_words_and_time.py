"""Word vectors under view: their updates, their checkpoints in one picture; trained layers unrolled through time."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clew.inspect.points import points
from clew.inspect.projector import movers, pca, together
from clew.runs import Run


@pytest.fixture(scope="module")
def page(word_runs: Path, serve: Any) -> Any:
    return serve(word_runs)


@pytest.mark.parametrize("name, text, at", [
    ("words", "cat mat", 0), ("cbow", "the cat sat on", 1), ("glove", "cat mat 3", 0), ("film", "the film is good", 2),
])  # fmt: skip
def test_every_walk_equals_the_engine(page: Any, name: str, text: str, at: int) -> None:
    offers = page(f"/api/walks?run={name}").json
    kinds = {"words": ["skipgram"], "cbow": ["cbow"], "glove": ["glove"], "film": ["recurrent", "pooling"]}[name]
    assert [offer["kind"] for offer in offers] == kinds
    for offer in offers:
        walk = page("/api/walk", {"run": name, "text": text, "kind": offer["kind"], "place": offer["place"], "at": at})
        checks = [step["check"] for step in walk.json["steps"] if step["check"] is not None]
        assert checks and max(checks) < 1e-6
        if name != "film":  # of word vectors every step but the vectors themselves
            assert [step["name"] for step in walk.json["steps"] if step["check"] is None] == ["vectors"]


def test_an_update_is_at_the_run_s_own_rate(page: Any) -> None:
    walk = page("/api/walk", {"run": "words", "text": "cat mat", "kind": "skipgram"}).json
    assert any(r"\eta = 0.05" in step["formula"] for step in walk["steps"])


@pytest.mark.parametrize("text, what", [("cat", "two words"), ("cat mat", "count"), ("cat mat -1", "logarithm")])
def test_what_glove_lacks_is_said(page: Any, text: str, what: str) -> None:
    answer = page("/api/walk", {"run": "glove", "text": text, "kind": "glove"})
    assert answer.status == 422 and what in answer.json["what"]


@pytest.mark.parametrize("layer", [0, 1])
def test_a_trained_layer_is_unrolled(page: Any, layer: int) -> None:
    asked = {"run": "film", "text": "the film is good", "place": "encoder.layer", "layer": layer}
    found = page("/api/unrolled", asked).json
    assert len(found["tokens"]) == 4 and len(found["formulas"]) == 4 and found["about"]
    assert max(each["check"] for each in found["gradients"]) < 1e-6
    assert {len(each["paths"]) for each in found["gradients"]} == {10}


def test_what_cannot_be_unrolled_is_said(page: Any) -> None:
    asked = {"run": "film", "text": "the film", "place": "encoder.layer"}
    for change in ({"layer": 7}, {"place": "none"}, {"text": "film " * 20}, {"run": "words"}, {"text": ""}):
        answer = page("/api/unrolled", asked | change)
        assert answer.status == 422 and answer.json["what"]


def test_checkpoints_are_turned_to_the_end(page: Any, word_runs: Path) -> None:
    run = Run(word_runs / "words")
    steps = run.steps()
    assert len(steps) == 4
    found = page("/api/points", {"run": "words", "source": "words", "dims": 3}).json
    assert page(f"/api/points/{found['id']}/frames").json == [*steps, None]
    all_of = [points(run.model(step=step), run.preprocessor(), "words") for step in steps]
    all_of.append(points(run.model(), run.preprocessor(), "words"))
    for k, expected in enumerate(together(all_of, 3)):
        got = np.frombuffer(page(f"/api/points/{found['id']}/frames/{k}").body, "<f4").reshape(-1, 3)
        np.testing.assert_allclose(got, expected, atol=1e-5)
    np.testing.assert_allclose(got, pca(all_of[-1], 3).coordinates, atol=1e-5)  # the end is as it was shown
    assert page(f"/api/points/{found['id']}/frames/9").status == 422


def test_what_moved_since_a_checkpoint(page: Any, word_runs: Path) -> None:
    run = Run(word_runs / "words")
    step = run.steps()[0]
    found = page("/api/movers", {"one": "words", "other": "words", "step": step}).json
    then, now = (points(run.model(step=at), run.preprocessor(), "words") for at in (step, None))
    assert found == [asdict(each) for each in movers(then, now)]
    assert found[0]["cosine"] < 0.99995
    answer = page("/api/movers", {"one": "words", "other": "words", "step": 10**6})
    assert answer.status == 422 and str(step) in answer.json["fix"]


def test_runs_without_checkpoints_say_so(page: Any, word_runs: Path, serve: Any, tmp_path: Path) -> None:
    (tmp_path / "words").mkdir()
    for file in (word_runs / "words").glob("*.*"):
        if file.is_file():
            (tmp_path / "words" / file.name).write_bytes(file.read_bytes())
    other = serve(tmp_path)
    found = other("/api/points", {"run": "words", "source": "words"}).json
    answer = other(f"/api/points/{found['id']}/frames")
    assert answer.status == 422 and "train.keep" in answer.json["fix"]


def test_the_methods_take_their_settings(page: Any) -> None:
    pytest.importorskip("openTSNE", reason="needs openTSNE")
    asked = {"run": "words", "source": "words", "dims": 2, "method": "tsne", "seed": 3, "perplexity": 5}
    *shares, found = map(json.loads, page("/api/points", asked).body.splitlines())
    assert found["settings"] == {"dims": 2, "perplexity": 5.0, "seed": 3} and shares[-1] == {"done": 1}
    assert 0.5 < page(f"/api/points/{found['id']}/trust").json <= 1
    answer = page(f"/api/points/{found['id']}/frames")
    assert answer.status == 422 and "PCA" in answer.json["fix"]
    assert page("/api/points", asked | {"perplexity": 900}).status == 422


def test_texts_carry_their_labels(page: Any) -> None:
    found = page("/api/points", {"run": "film", "source": "texts", "dims": 2}).json
    assert {*found["columns"]["label"]} == {"yes", "no"} and len(found["labels"]) == 40
    tokens = page("/api/points", {"run": "film", "source": "tokens", "dims": 2}).json
    assert {*tokens["columns"]} == {"text", "place"} and len(tokens["labels"]) == 40 * 8


def test_two_trainings_are_compared_word_by_word(page: Any) -> None:
    moved = page("/api/movers", {"one": "words", "other": "words2"}).json
    cosines = [each["cosine"] for each in moved]
    assert cosines == sorted(cosines) and -1 <= cosines[0] < 1 and all(each["before"] for each in moved)
