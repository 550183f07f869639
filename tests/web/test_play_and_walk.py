"""Predictions are those of `clew predict`; walks are those of inspect, and equal the engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clew.runs import Run


@pytest.mark.parametrize("name, text", [
    ("lstm", "the cat sleeps ."), ("transformer", "the cat sleeps ."), ("bert", "the [MASK] sat ."), ("words", "cat"),
    ("words", "cat - mat + dog"),
])  # fmt: skip
def test_predictions_are_those_of_the_task(page: Any, runs: Path, name: str, text: str) -> None:
    found = page("/api/predict", {"run": name, "text": text, "n_best": 3}).json
    run = Run(runs / name)
    decode = run.recipe.decode.model_copy(update={"beam": 3})
    own = next(iter(run.task.predict(run.model(), run.tokenizers(), [text], decode)))
    assert found["text"] == own.text and found["score"] == pytest.approx(own.score, abs=1e-6)
    assert [each["text"] for each in found["alternatives"]][:2] == [text for text, _ in own.alternatives][:2]
    assert found["shown"] == (own.shown or own.text) and found["seconds"] > 0


def test_what_a_task_cannot_read_is_said(page: Any) -> None:
    answer = page("/api/predict", {"run": "bert", "text": "no mask here"})
    assert answer.status == 422 and "[MASK]" in answer.json["what"] and answer.json["fix"]
    assert page("/api/predict", {"run": "words", "text": "zzz"}).json["shown"].startswith("?")
    assert page("/api/predict", {"run": "lstm", "text": "  "}).status == 422


def test_examples_are_those_of_the_newest_samples(page: Any, runs: Path) -> None:
    found = page("/api/examples?run=lstm").json["examples"]
    samples = (runs / "lstm" / "samples" / "step-00000004.txt").read_text()
    assert found and all(f"source    {each['source']}\nreference {each['reference']}\n" in samples for each in found)
    masked = page("/api/examples?run=bert").json
    assert "[MASK]" in masked["tip"] and all("[MASK]" in each["source"] for each in masked["examples"])


@pytest.mark.parametrize("name, text", [("transformer", "the cat sleeps ."), ("lstm", "the cat sleeps ."),
                                        ("bert", "the cat sat"), ("words", "cat mat")])  # fmt: skip
def test_every_walk_that_a_run_offers_equals_the_engine(page: Any, name: str, text: str) -> None:
    offers = page(f"/api/walks?run={name}").json
    assert offers
    for offer in offers:
        asked = {"run": name, "text": text, "kind": offer["kind"], "place": offer["place"]}
        walk = page("/api/walk", asked).json
        assert walk["tokens"] and all(step["formula"] and step["values"] for step in walk["steps"])
        checks = [step["check"] for step in walk["steps"] if step["check"] is not None]
        assert checks and max(checks) < 1e-6


def test_what_is_not_offered_is_refused(page: Any) -> None:
    asked = {"run": "bert", "text": "the cat", "kind": "attention", "place": "encoder"}
    for change in ({"kind": "none"}, {"layer": 9}, {"head": 9}, {"text": ""}, {"text": "a " * 300}, {"place": "cross"}):
        answer = page("/api/walk", asked | change)
        assert answer.status == 422 and answer.json["what"]


def test_an_unrolled_network_s_gradients_are_the_sums_of_their_paths(page: Any) -> None:
    found = page("/api/unrolled", {"text": "the cat sat down"}).json
    assert len(found["tokens"]) == 4 and {each["parameter"] for each in found["gradients"]} == {"U", "W", "V", "b", "c"}
    assert max(each["check"] for each in found["gradients"]) < 1e-6
    assert page("/api/unrolled", {"text": "a " * 40}).status == 422
    assert page("/api/unrolled", {"text": "a", "d": 900}).status == 400
