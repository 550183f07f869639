"""Predictions are those of `clew predict`; walks are those of inspect, and equal the engine."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any

import numpy as np
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
    own = next(iter(run.task.predict(run.model(), run.preprocessor(), [text], decode)))
    assert found["text"] == own.text and found["score"] == pytest.approx(own.score, abs=1e-6)
    assert [each["text"] for each in found["alternatives"]][:2] == [text for text, _ in own.alternatives][:2]
    assert found["shown"] == (own.shown or own.text) and found["seconds"] > 0


@pytest.mark.parametrize("name, text", [("lstm", "the cat sleeps ."), ("t5", "the <extra_id_0> sat .")])
def test_the_tree_is_that_of_the_search(page: Any, runs: Path, name: str, text: str) -> None:
    found = page("/api/predict", {"run": name, "text": text, "n_best": 4}).json
    tree, run = found["tree"], Run(runs / name)
    scores = [found["score"], *(each["score"] for each in found["alternatives"])]
    assert [tree["score"][place] for place in tree["best"]] == pytest.approx(scores[: len(tree["best"])])
    path, node = [], tree["best"][0]
    while node >= 0:
        path.append(tree["token"][node])
        node = tree["parent"][node]
    ids = [run.preprocessor().target.inner.token_to_id(token) for token in path[::-1]]
    written = run.preprocessor().target.decode([ids])[0]
    if name == "lstm":
        assert " ".join(written.split()) == found["text"]
    assert len({len(column) for key, column in tree.items() if key != "best"}) == 1
    assert page("/api/predict", {"run": "bert", "text": "the [MASK]"}).json["tree"] is None


def test_each_token_that_is_written_comes_with_what_it_might_have_been(page: Any, runs: Path) -> None:
    asked = {"run": "gpt", "text": "the cat", "temperature": 0.7, "top_k": 5, "seed": 3, "length": 12}
    answer = page("/api/write", asked)
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    *tokens, end = [json.loads(line) for line in answer.body.decode().splitlines()]
    assert end["tokens"] == len(tokens) == 12 and end["seconds"] > 0
    run = Run(runs / "gpt")
    how = run.recipe.decode.sample.model_copy(update={"temperature": 0.7, "top_k": 5, "seed": 3})
    decode = run.recipe.decode.model_copy(update={"sample": how, "max_length": 12})
    own = next(iter(run.task.predict(run.model(), run.preprocessor(), ["the cat"], decode)))
    assert "".join(each["piece"] for each in tokens) == own.text
    assert own.score == pytest.approx(np.mean([np.log(each["choice"]["p"]) for each in tokens]), abs=1e-4)
    for each in tokens:
        likely = [other["p"] for other in each["others"]]
        assert likely == sorted(likely, reverse=True) and each["choice"]["drawn"] > 0
        assert sum(other["drawn"] > 0 for other in each["others"]) == 5
    assert page("/api/write", asked).body.splitlines()[:-1] == answer.body.splitlines()[:-1]
    assert page("/api/write", asked | {"seed": 4}).body.splitlines()[:-1] != answer.body.splitlines()[:-1]


def test_writing_says_what_is_wrong_before_it_begins_and_gives_the_model_back(page: Any) -> None:
    answer = page("/api/write", {"run": "bert", "text": "the cat"})
    assert answer.status == 422 and "does not go on" in answer.json["what"]
    assert page("/api/write", {"run": "gpt", "text": "a", "top_p": 2}).status == 400
    assert page("/api/write", {"run": "gpt", "text": "a", "length": 10**6}).status == 400
    connection = http.client.HTTPConnection(page.host, page.port, timeout=20)
    headers = {"X-Clew-Token": page.token, "Content-Type": "application/json"}
    connection.request("POST", "/api/write", json.dumps({"run": "gpt", "text": "a", "length": 1000}), headers)
    connection.getresponse().readline()
    connection.close()  # nobody reads on
    assert page("/api/predict", {"run": "words", "text": "cat"}).status == 200


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
