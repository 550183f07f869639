"""A run of every task under every tuning opens at any kept step as it was then, and ends as one that was resumed."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from clew.config import KINDS
from clew.errors import RecipeError
from clew.nn.low_rank import merged_state
from clew.recipe_file import load_recipe
from clew.runs import Run
from clew.runs.training import Training, open_training, train
from clew.web.folder import Runs
from clew.web.model_cache import ModelCache


def every_task() -> ModuleType:
    """tests/study/test_every_task.py: a small recipe of each task, and the files that they read."""
    file = Path(__file__).parents[1] / "study" / "test_every_task.py"
    spec = importlib.util.spec_from_file_location("every_task", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tasks = every_task()
home = tasks.home
WITHOUT_BLOCKS = {"translate", "embed", "reward_model"}  # of the models in the recipes there
WITHOUT_HEAD = {"language_model", "preference", "ppo"}
TRANSFORMER = """
tokenizer = { kind = "word", punctuation = false }
model = { kind = "transformer", d_model = 8, d_ff = 16, n_heads = 2, n_encoder_layers = 1, n_decoder_layers = 1 }
"""
BERT = tasks.BERT.replace("max_length = 64", "max_length = 256")
MODELS = {"": "", "transformer": TRANSFORMER, "bert": BERT}
# Each task by the model of its recipe; and where that has no blocks, by one that does.
BY = [*((task, "") for task in tasks.RECIPES), ("translate", "transformer"), ("reward_model", "bert")]
CASES = [(*by, tuning) for by in BY for tuning in KINDS["tuning"]]
TIMES = ("cpu_seconds", "wall_seconds", "per_cpu_second")


@pytest.fixture(autouse=True)
def place_of_its_own(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CLEW_CACHE", str(home / "cache"))
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def opened(home: Path, folder: Path, task: str, model: str, tuning: str, resume: bool = False) -> Training:
    for needed in ("language_model", "classify") if task in ("preference", "ppo") else ():
        if not (home / needed).exists():
            for _ in train(load_recipe(tasks.recipe(home, needed), [])[0], home / needed):
                pass
    file = tasks.recipe(home, task)
    if model:
        lines = [line for line in file.read_text().splitlines() if not line.startswith(("model = ", "tokenizer = "))]
        file.write_text("\n".join([*lines[:1], MODELS[model], *lines[1:]]))
    settings = [f"train.tuning.kind={tuning}", "train.save_every=1", "train.keep=3", "train.evaluate_examples=1"]
    if task == "embed":
        settings.append("objective.subsample=0")  # else so few words are left that a step may move nothing
    made = open_training(load_recipe(file, settings)[0], folder, resume=resume)
    assert made is not None
    return made


def copy(model: Any) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in merged_state(model).items()}


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def figures(run: Path) -> list[Any]:
    """Return the results of a run and each line that it logged, but for times."""

    def timeless(found: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in found.items() if not name.endswith(TIMES)}

    texts = [(run / "results.json").read_text(), *(run / "metrics.jsonl").read_text().splitlines()]
    return [json.loads(text, object_hook=timeless) for text in texts]


@pytest.mark.parametrize(("task", "model", "tuning"), CASES)
def test_a_run_opens_at_every_kept_step(home: Path, tmp_path: Path, task: str, model: str, tuning: str) -> None:
    without = (not model and task in WITHOUT_BLOCKS) or (tuning == "frozen" and task in WITHOUT_HEAD)
    if tuning != "full" and without:
        with pytest.raises(RecipeError, match=r"does not have|nothing learns") as refused:
            opened(home, tmp_path / "run", task, model, tuning)
        assert refused.value.where == "train.tuning.kind" and not (tmp_path / "run").exists()
        return
    training = opened(home, tmp_path / "run", task, model, tuning)
    begun = copy(training.model)
    seen = {event.step.number: copy(training.model) for event in training.go()}
    run = Run(tmp_path / "run")
    assert run.steps() == [*seen] == [1, 2]
    assert not same(begun, seen[1]) and not same(seen[1], seen[2])  # something learns from the first step on
    assert same(copy(run.model(step=2)), seen[2])
    with ModelCache(Runs(tmp_path)).use("run", 1) as page:
        assert same(copy(page.model), seen[1])
    final = copy(run.model())
    assert final.keys() == seen[2].keys()
    assert all(torch.allclose(final[name], value, atol=1e-6) for name, value in seen[2].items())
    if tuning != "full" and task != "classify":
        return

    training.finish()
    again = shutil.copytree(run.path, tmp_path / "again")
    (again / "results.json").unlink()
    shutil.rmtree(again / "checkpoints" / "step-00000002")
    resumed = opened(home, again, task, model, tuning, resume=True)
    assert [event.step.number for event in resumed.go()] == [2]
    resumed.finish()
    assert figures(again) == figures(run.path)
    found, *_, last = figures(again)
    assert found["flops"] == last["flops"] and (found["flops"] > 0) == (task != "embed")
