"""What every class of clew passes is passed by its own, for every task, and finds what is planted in a class."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from clew.config import KINDS
from clew.recipe_file import load_recipe
from clew.runs.training import train
from clew.study.conformance import conformance

OWN = """
from typing import Any

import torch
from torch import Tensor, nn

from clew.config import Choice
from clew.contracts import Encoder, Loss
from clew.models.gpt2 import GPT2, DecoderOutput, GPT2Config
from clew.objectives.classification import Classification, ClassificationConfig


class Output:
    def __init__(self, pooled: Tensor) -> None:
        self.pooled = pooled


class Bag(Encoder):
    class Config(Choice):
        kind: str = "planted:Bag"
        width: int = 8

    def __init__(self, config: Any, spec: Any) -> None:
        super().__init__()
        self.config, self.width = config, config.width
        self.table, self.mix = nn.Embedding(spec.vocab_size, config.width), nn.Linear(config.width, config.width)

    def weights(self, batch: Any) -> Tensor:
        return batch.mask[..., None].float()

    def forward(self, batch: Any, at: Any = None) -> Output:
        weights = self.weights(batch)
        return Output(torch.tanh(self.mix((self.table(batch.text) * weights).sum(1) / weights.sum(1))))

    def blocks(self) -> list[nn.Module]:
        return [self.table, self.mix]


class ReadsPadding(Bag):
    def weights(self, batch: Any) -> Tensor:
        return torch.ones_like(batch.mask)[..., None].float()


class ReadsOthers(Bag):
    def forward(self, batch: Any, at: Any = None) -> Output:
        pooled = super().forward(batch).pooled
        return Output(pooled - pooled.mean(0))


class DropsAlways(Bag):
    def forward(self, batch: Any, at: Any = None) -> Output:
        return Output(nn.functional.dropout(super().forward(batch).pooled, 0.3))


class Unused(Bag):
    def __init__(self, config: Any, spec: Any) -> None:
        super().__init__(config, spec)
        self.forgotten = nn.Linear(3, 3)


class Twice(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return gradient


class WrongGradient(Bag):
    def forward(self, batch: Any, at: Any = None) -> Output:
        return Output(Twice.apply(super().forward(batch).pooled))


class Blind(Bag):
    def forward(self, batch: Any, at: Any = None) -> Output:
        return Output(0 * super().forward(batch).pooled)


class StrangeBlocks(Bag):
    def blocks(self) -> list[nn.Module]:
        return [nn.Linear(2, 2)]


class Unsaved(Bag):
    seen = 0.0

    def forward(self, batch: Any, at: Any = None) -> Output:
        if self.training:
            self.seen += 1.0
        return Output(super().forward(batch).pooled * (1 + self.seen))


class Leaks(GPT2):
    class Config(GPT2Config):
        kind: str = "planted:Leaks"

    def forward(self, text: Tensor, position: Any = None, cache: Any = None) -> DecoderOutput:
        hidden = super().forward(text, position, cache).hidden
        return DecoderOutput(hidden + hidden.mean(1, keepdim=True))


class Mean(Classification):
    class Config(ClassificationConfig):
        kind: str = "planted:Mean"

    def __call__(self, model: Any, batch: Any) -> Loss:
        loss = super().__call__(model, batch)
        return Loss(loss.total / loss.count, loss.count, loss.tokens, loss.parts)


class Forgets(Classification):
    steps = 0

    class Config(ClassificationConfig):
        kind: str = "planted:Forgets"

    def __call__(self, model: Any, batch: Any) -> Loss:
        loss = super().__call__(model, batch)
        self.steps += model.training
        return Loss(loss.total * (1 + self.steps), loss.count, loss.tokens, loss.parts)
"""
PLANTED = {
    "ReadsPadding": "sum of its rows", "ReadsOthers": "sum of its rows", "DropsAlways": "one loss",
    "Unused": "part in the loss", "WrongGradient": "Gradients are", "Blind": "learned by heart",
    "StrangeBlocks": "Blocks are", "Unsaved": "What is saved",
}  # fmt: skip


def every_task() -> ModuleType:
    """tests/study/test_every_task.py: a small recipe of each task, and the files that they read."""
    spec = importlib.util.spec_from_file_location("every_task", Path(__file__).with_name("test_every_task.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tasks = every_task()
home = tasks.home


@pytest.fixture(autouse=True)
def place_of_its_own(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CLEW_CACHE", str(home / "cache"))
    (home / "planted.py").write_text(OWN, encoding="utf-8")
    rows = [{"text": "film " * (1 + n % 5) + ("good", "bad")[n % 2], "label": ("yes", "no")[n % 2]} for n in range(40)]
    (home / "varied.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    monkeypatch.syspath_prepend(home)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
    sys.modules.pop("planted", None)


def found(recipe: Path, folder: Path, *settings: str) -> dict[str, str]:
    """Return what is wrong, by the check that says so."""
    checks = [*conformance(load_recipe(recipe, [*settings])[0], folder)]
    assert len(checks) == 9 and any(not check.problem and not check.skipped for check in checks)
    return {check.name: check.problem for check in checks if check.problem}


@pytest.mark.parametrize("task", tasks.RECIPES)
def test_every_task_is_sound(home: Path, tmp_path: Path, task: str) -> None:
    assert tasks.RECIPES.keys() == KINDS["task"].keys() - {"ask"}
    for needed in ("language_model", "classify") if task in ("preference", "ppo") else ():
        if not (home / needed).exists():
            for _ in train(load_recipe(tasks.recipe(home, needed), [])[0], home / needed):
                pass
    assert not found(tasks.recipe(home, task), tmp_path)


@pytest.mark.parametrize("name", PLANTED)
def test_a_mistake_in_a_model_is_named(home: Path, tmp_path: Path, name: str) -> None:
    varied = [f'data.train=["{home}/varied.jsonl"]', 'data.columns=["text", "label"]']
    settings = ['model={kind="planted:Bag"}', f'model.kind="planted:{name}"', *varied]
    problems = found(tasks.recipe(home, "classify"), tmp_path, *settings)
    assert any(PLANTED[name] in check for check in problems), problems


def test_a_sound_model_of_ones_own_is_not_accused(home: Path, tmp_path: Path) -> None:
    assert not found(tasks.recipe(home, "classify"), tmp_path, 'model={kind="planted:Bag"}')


def test_a_look_at_the_future_is_named(home: Path, tmp_path: Path) -> None:
    sizes = '{kind="planted:Leaks", d_model=16, n_heads=2, n_layers=1, max_length=64, dropout=0.0}'
    [problem] = found(tasks.recipe(home, "language_model"), tmp_path, f"model={sizes}").items()
    assert "comes after it" in problem[0] and "a mask is missing" in problem[1]


@pytest.mark.parametrize(("name", "named"), {"Mean": "sum of its rows", "Forgets": "was interrupted"}.items())
def test_a_mistake_in_an_objective_is_named(home: Path, tmp_path: Path, name: str, named: str) -> None:
    problems = found(tasks.recipe(home, "classify"), tmp_path, f'objective.kind="planted:{name}"')
    assert any(named in check for check in problems), problems
