"""Run folders that clew 0.1.0 wrote, before kinds and settings had today's names: they open and predict as they did.

`former_runs.tar.xz` holds one of every kind of task but `ask`, tiny, on invented text, and what that version predicted.
"""

from __future__ import annotations

import json
import lzma
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest

from clew.config import BudgetConfig
from clew.errors import CheckpointError
from clew.runs import Run
from clew.runs.training import open_training

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


@pytest.mark.parametrize("name", NAMES)
def test_a_former_run_goes_on(name: str, former: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For one more step. What PPO learned from was in no checkpoint then: it is refused."""
    monkeypatch.chdir(former)
    monkeypatch.setenv("CLEW_CACHE", str(tmp_path / "cache"))
    run = Run(shutil.copytree(name, tmp_path / name))
    more = run.recipe.train.model_copy(update={"budget": BudgetConfig(steps=run.steps()[-1] + 1)})
    training = open_training(run.recipe.model_copy(update={"train": more}), run.path, resume=True)
    assert training is not None
    if name == "steer_gpt2":
        with pytest.raises(CheckpointError, match="is of another model"):
            next(training.go())
    else:
        assert [event.step.number for event in training.go()] == [run.recipe.train.budget.steps] == run.steps()[-1:]
