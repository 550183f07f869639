"""The list of runs and their curves: what is shown, and what becomes of runs that are written, damaged or gone."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from clew.runs import Run
from clew.web.folder import Runs, rows, samples, series, state, thin
from clew.web.model_cache import ModelCache


@pytest.fixture
def copied(runs: Path, tmp_path: Path) -> Path:
    """The runs, to be damaged."""
    shutil.copytree(runs, tmp_path / "runs")
    return tmp_path / "runs"


def test_the_list_says_of_each_run_what_its_folder_says(page: Any, runs: Path) -> None:
    found = {run["name"]: run for run in page("/api/runs").json["runs"]}
    assert list(found) == ["bert", "gpt", "lstm", "t5", "transformer", "words"]
    lstm, results = found["lstm"], Run(runs / "lstm").results()
    assert (lstm["family"], lstm["task"], lstm["seed"], lstm["state"]) == ("seq2seq", "translate", 1, "finished")
    assert lstm["quality"] == "bleu" and lstm["splits"]["test"]["bleu"] == results["splits"]["test"]["bleu"]
    assert lstm["best"] == results["best"]["best"] and lstm["step"] == 4
    assert lstm["data"] == found["transformer"]["data"] != found["bert"]["data"]
    gpt = found["gpt"]  # judged by a figure of which less is better
    validated = [row["valid"]["perplexity_per_byte"] for row in Run(runs / "gpt").metrics() if "valid" in row]
    assert gpt["quality_label"] == "Perplexity per byte" and gpt["best"] == min(validated)
    assert gpt["quality"] in gpt["splits"]["valid"]
    assert lstm["command"].startswith("clew train ") and lstm["problem"] == ""


def test_series_are_all_that_was_logged(page: Any, runs: Path) -> None:
    found = page("/api/series?run=lstm").json
    logged = Run(runs / "lstm").metrics()
    assert found["valid"]["bleu"] == [row["valid"]["bleu"] for row in logged if "valid" in row]
    assert found["train"]["loss"] == [row["loss"] for row in logged if "loss" in row]
    assert found["train"]["grad_norm"] and found["train"]["lr"] and found["train"]["tokens"]


def test_samples_are_those_of_the_stretch(page: Any) -> None:
    assert [each["step"] for each in page("/api/samples?run=lstm").json] == [2, 4]
    (only,) = page("/api/samples?run=lstm&first=3&last=9").json
    assert only["step"] == 4 and "reference" in only["text"]


def test_a_run_being_written_is_read_as_far_as_it_is_whole(copied: Path) -> None:
    run = Run(copied / "lstm")
    (run.path / "results.json").unlink()
    before = len(rows(run))
    with (run.path / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 5, "loss": NaN}\n{"step": 6, "lo')
    assert len(rows(run)) == before + 1
    assert series(run)["train"]["loss"][-1] is None  # JSON has no NaN
    assert state(run) == "running"


def test_states(copied: Path) -> None:
    run = Run(copied / "lstm")
    assert state(run) == "finished"
    (run.path / "results.json").unlink()
    old = time.time() - 3600
    for name in ("recipe.toml", "metrics.jsonl"):
        os.utime(run.path / name, (old, old))
    assert state(run) == "stopped"
    (copied / "lstm.failed.txt").write_text("Traceback\nNonFiniteLoss: the loss became NaN", encoding="utf-8")
    assert state(run) == "failed"
    found = {each["name"]: each for each in Runs(copied).summaries()}
    assert found["lstm"]["problem"] == "NonFiniteLoss: the loss became NaN"


def test_damaged_runs_are_listed_with_what_is_wrong(copied: Path, serve: Any) -> None:
    (copied / "lstm" / "recipe.toml").write_text("name = <script>", encoding="utf-8")
    (copied / "bert" / "results.json").write_text("{", encoding="utf-8")
    weights = copied / "transformer" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:200])
    page = serve(copied)
    found = {each["name"]: each for each in page("/api/runs").json["runs"]}
    assert found["lstm"]["problem"] and "results.json" in found["bert"]["problem"]
    answer = page("/api/predict", {"run": "transformer", "text": "the cat"})
    assert answer.status == 422 and "model.safetensors has changed" in answer.json["what"] and answer.json["fix"]
    assert page("/api/predict", {"run": "words", "text": "cat"}).status == 200


def test_a_run_that_is_deleted_under_view_is_told_and_the_page_stays(copied: Path, serve: Any) -> None:
    page = serve(copied)
    assert page("/api/predict", {"run": "lstm", "text": "the cat"}).status == 200
    shutil.rmtree(copied / "lstm")
    for answer in (page("/api/series?run=lstm"), page("/api/predict", {"run": "lstm", "text": "the cat"})):
        assert answer.status == 422 and answer.json["what"] == "there is no such run here"
    time.sleep(0.6)
    assert [run["name"] for run in page("/api/runs").json["runs"]] == ["bert", "gpt", "t5", "transformer", "words"]


@pytest.mark.parametrize("error", [
    MemoryError(), torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
])  # fmt: skip
def test_what_does_not_fit_in_memory_is_said_and_the_model_makes_room(
    runs: Path, serve: Any, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    from clew.tasks.translate import Translate

    def full(*_: Any, **__: Any) -> Any:
        raise error

    page = serve(runs)
    with monkeypatch.context() as patch:
        patch.setattr(Translate, "predict", full)
        answer = page("/api/predict", {"run": "lstm", "text": "the cat"})
    assert answer.status == 507 and answer.json["what"] == "this does not fit in memory"
    assert page("/api/predict", {"run": "lstm", "text": "the cat"}).status == 200


def test_one_model_is_in_memory_and_a_changed_one_is_read_again(copied: Path) -> None:
    cache = ModelCache(Runs(copied))
    with cache.use("lstm") as first:
        model = first.model
    with cache.use("lstm") as again:
        assert again.model is model
    with cache.use("bert"):
        pass
    assert cache.opened is not None and cache.opened.run.path.name == "bert"
    with cache.use("lstm") as anew:
        assert anew.model is not model
    file = copied / "lstm" / "model.safetensors"
    os.utime(file, (1, 1))
    with cache.use("lstm") as changed:
        assert changed.model is not anew.model


def test_changes_are_told_while_they_happen(copied: Path, serve: Any) -> None:
    page = serve(copied)
    connection = http.client.HTTPConnection(page.host, page.port, timeout=20)
    connection.request("GET", "/api/events", headers={"X-Clew-Token": page.token})
    answer = connection.getresponse()
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert [answer.readline() for _ in range(4)][::3] == [b"event: version\n", b"event: runs\n"]
    assert len(json.loads(answer.readline().removeprefix(b"data: "))) == 6
    shutil.rmtree(copied / "words")
    lines = iter(answer.readline, b"")
    told = next(json.loads(line.removeprefix(b"data: ")) for line in lines if line.startswith(b"data: "))
    assert [run["name"] for run in told] == ["bert", "gpt", "lstm", "t5", "transformer"]
    connection.close()


def test_text_of_runs_never_becomes_markup(copied: Path, serve: Any) -> None:
    nasty = "</script><img src=x onerror=alert(1)>"
    (copied / "words").rename(copied / "<b onload=x>")
    recipe = copied / "lstm" / "recipe.toml"
    recipe.write_text(recipe.read_text().replace('name = "lstm"', f'name = "{nasty}"'), encoding="utf-8")
    answer = serve(copied)("/api/runs")
    assert answer.headers["content-type"].startswith("application/json")
    found = {run["name"]: run for run in answer.json["runs"]}
    assert found["lstm"]["title"] == nasty and "<b onload=x>" in found


def test_thinning_keeps_the_last() -> None:
    assert thin([*range(10)], 3) == [1, 5, 9] and thin([], 3) == [] and thin([4], 3) == [4]
    assert samples(Run(Path("/none")), 0, 9) == []
