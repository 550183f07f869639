"""A finished run is a folder that transformers loads; one that it wrote is what a run begins with."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from clew.config import Recipe
from clew.runs import Run
from clew.runs.training import train

transformers = pytest.importorskip("transformers", reason="needs the package transformers")

WORDS = [*"abcdefghij", "cat", "dog", "mat", "the", "sat", "on"]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def text(file: Path) -> Path:
    rng = random.Random(0)
    documents = ["\n".join(" ".join(rng.choices(WORDS, k=6)) + "." for _ in range(5)) for _ in range(12)]
    file.write_text("\n\n".join(documents))
    return file


def recipe(place: Path, **task: Any) -> Recipe:
    return Recipe.model_validate({
        "name": "tiny", "task": {"kind": "pretrain", "max_length": 24} | task,
        "data": {"kind": "text", "train": [str(text(place / "text.txt"))]},
        "tokenizer": {"kind": "wordpiece", "vocab_size": 90, "lowercase": True},
        "model": {"kind": "bert", "d_model": 16, "d_ff": 24, "n_heads": 2, "n_layers": 2, "max_length": 32},
        "objective": {"kind": "masked_lm"},
        "train": {"threads": 1, "device": "cpu", "batch": {"tokens": 240}, "budget": {"steps": 4}, "evaluate_every": 2},
    })  # fmt: skip


@pytest.fixture(scope="module", params=[True, False], ids=["pairs", "no_pairs"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    place = tmp_path_factory.mktemp("pretrain")
    for _ in train(recipe(place, next_sentence=request.param), place / "run"):
        pass
    return Run.open(place / "run")


@torch.no_grad()
def test_transformers_loads_a_run(run: Run) -> None:
    pairs = run.recipe.task.next_sentence  # type: ignore[attr-defined]
    kind = transformers.AutoModelForPreTraining if pairs else transformers.AutoModelForMaskedLM
    theirs, info = kind.from_pretrained(run.path, output_loading_info=True)
    assert type(theirs).__name__ == ("BertForPreTraining" if pairs else "BertForMaskedLM")
    assert not any(info.values()), info
    tokenizer = transformers.AutoTokenizer.from_pretrained(run.path)
    assert tokenizer.model_max_length == 32
    fill = transformers.pipeline("fill-mask", model=str(run.path), device="cpu")
    (ours,) = run.task.predict(run.model(), run.preprocessor(), ["the cat [MASK] on the mat."], run.recipe.decode)
    best = fill("the cat [MASK] on the mat.", top_k=1)[0]
    assert best["sequence"].replace(" .", ".") == ours.text.replace(" .", ".")
    assert best["score"] == pytest.approx(ours.score, abs=1e-5)


def test_what_config_json_says(run: Run) -> None:
    config = json.loads((run.path / "config.json").read_text())
    assert config["model_type"] == "bert" and config["hidden_size"] == 16
    assert config["clew"]["task"]["kind"] == "pretrain" and config["vocab_size"] == len(run.preprocessor())
