"""Run folders that clew 0.1.0 wrote, before kinds and settings had today's names: they open and predict as they did.

`former_runs.tar.xz` holds one of every kind of task but `ask`, tiny, on invented text, and what that version predicted.
"""

from __future__ import annotations

import json
import lzma
import tarfile
from pathlib import Path
from typing import Any

import pytest

from clew.runs import Run

ARCHIVE = Path(__file__).with_name("former_runs.tar.xz")
NAMES = [
    "translate_transformer",
    "translate_seq2seq",
    "translate_encoder",
    "embed_word2vec",
    "embed_ngrams",
    "embed_glove",
    "pretrain_bert",
    "classify_bert",
    "classify_frozen",
    "classify_lora",
    "classify_words",
    "regress_bert",
    "tag_bert",
    "choose_bert",
    "answer_bert",
    "denoise_t5",
    "text_to_text_t5",
    "write_gpt2",
    "write_llama",
    "write_lstm",
    "judge_gpt2",
    "judge_bert",
    "prefer_gpt2",
    "prefer_asked",
    "steer_gpt2",
]


@pytest.fixture(scope="module")
def former(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("former")
    with lzma.open(ARCHIVE) as file, tarfile.open(fileobj=file) as archive:
        archive.extractall(folder, filter="data")
    return folder / "old_runs"


def test_every_folder_is_named_here(former: Path) -> None:
    assert {path.parent.name for path in former.glob("*/recipe.toml")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_former_run_predicts_as_it_did(name: str, former: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(former)
    wanted: dict[str, Any] = json.loads(Path("expected.json").read_text("utf-8"))[name]
    run = Run.open(name)
    model = run.model()
    assert sum(p.numel() for p in model.parameters()) == wanted["parameters"]
    (found,) = run.task.predict(model, run.preprocessor(), [wanted["input"]], run.recipe.decode)
    assert found.text == wanted["text"]
    assert found.score == pytest.approx(wanted["score"], rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_former_run_opens_at_every_kept_step(name: str, former: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(former)
    run, wanted = Run.open(name), json.loads(Path("expected.json").read_text("utf-8"))[name]
    assert run.steps() == wanted["steps"]
    for step in wanted["steps"]:
        assert all(p.isfinite().all() for p in run.model(step=step).parameters())
