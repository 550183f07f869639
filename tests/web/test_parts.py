"""Texts of several parts: what a run says that it reads, and what it answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clew.runs import Run


@pytest.fixture(scope="module")
def page(reading_runs: Path, serve: Any) -> Any:
    return serve(reading_runs)


@pytest.mark.parametrize("name, fields", [
    ("pairs", ["premise", "hypothesis"]), ("alike", ["sentence 1", "sentence 2"]), ("tags", ["words"]),
    ("choices", ["question", "choice A", "choice B", "choice C"]), ("answers", ["question", "context"]),
])  # fmt: skip
def test_a_run_says_what_it_reads_and_its_examples_have_it(page: Any, name: str, fields: list[str]) -> None:
    found = page(f"/api/examples?run={name}").json
    assert found["fields"] == fields and found["least"] == len(fields) and found["tip"]
    assert found["examples"] and {each["source"].count("\t") for each in found["examples"]} == {len(fields) - 1}
    assert "\\t" not in found["tip"]
    answer = page("/api/predict", {"run": name, "text": found["examples"][0]["source"]})
    assert answer.status == 200 and answer.json["shown"]


def test_answers_come_with_their_places(page: Any) -> None:
    text = "how many cats ?\t😀 there are two cats here, two"
    found = page("/api/predict", {"run": "answers", "text": text}).json
    said = [found["text"], *(each["text"] for each in found["alternatives"])]
    assert len(found["places"]) == len(said) > 1
    assert [text.split("\t")[1][start:end] for start, end in found["places"]] == said


def test_tags_come_word_by_word(page: Any, reading_runs: Path) -> None:
    found = page("/api/predict", {"run": "tags", "text": "two cats sleep"}).json
    assert [word for word, _, _ in found["tagged"]] == ["two", "cats", "sleep"]
    assert " ".join(tag for _, tag, _ in found["tagged"]) == found["text"]
    assert sum(p for _, _, p in found["tagged"]) / 3 == pytest.approx(found["score"])


@pytest.mark.parametrize("name, seen", [("choices", 2), ("answers", 2), ("pairs", 2), ("tags", 1)])
def test_attention_is_of_what_the_encoder_reads_at_a_time(page: Any, reading_runs: Path, name: str, seen: int) -> None:
    text = page(f"/api/examples?run={name}").json["examples"][0]["source"]
    found = page("/api/attention", {"run": name, "text": text}).json
    tokens = found["layers"][0]["rows"]
    assert tokens.count("[SEP]") == seen
    if name == "choices":
        chosen = dict(zip("ABC", text.split("\t")[1:], strict=True))[found["output"].partition(":")[0]]
        own = Run(reading_runs / name).preprocessor().tokenizer
        assert tokens[-1 - len(own.encode([chosen])[0]) : -1] == own.tokens(own.encode([chosen])[0])
