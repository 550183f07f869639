"""A fake training that is quick, deterministic and can be cut short, for the tests of studies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import torch

from clew.config import Choice, Recipe
from clew.contracts import Example, Prediction
from clew.data.rows import ReadReport, Rows
from clew.errors import NonFiniteLoss
from clew.runs.folder import Run
from clew.tasks.translate import Translate, TranslateConfig

STEPS = 8
QUALITY = {"none": 18.0, "additive": 30.0, "dot": 29.0, "cosine": 24.0}


class FakeData:
    """Sentences of growing length, with an alignment."""

    class Config(Choice):
        kind: str = "study_fakes:FakeData"
        size: int = 20

    splits = ("train", "valid", "test", "combinations")
    about: ClassVar = {"licence": "none needed"}

    def __init__(self, config: Any) -> None:
        self.config, self.size = config, config.size

    def split(self, name: str) -> Rows:
        texts = [" ".join(f"w{k}" for k in range(n)) for n in range(1, self.size + 1)]
        columns = {"en": texts, "fr": [t.upper() for t in texts], "alignment": ["0-0"] * len(texts)}
        return Rows(columns, ReadReport(name))


PREPROCESSOR = SimpleNamespace(parse=lambda line, base: line)
REAL = Translate(TranslateConfig(source="en", target="fr"))


class FakeTask:
    """Translates by reversing the words, looking at the word that it writes."""

    class Config(Choice):
        kind: str = "study_fakes:FakeTask"
        source: str = "en"
        target: str = "fr"
        alignment: str = "alignment"

    quality, example_name, unit = "bleu", "sentence", "target tokens"

    compared, open_ended = "bleu", False
    compared_by = staticmethod(REAL.compared_by)

    def __init__(self, config: Any) -> None:
        self.config = config

    def bind(self, context: Any) -> None:
        """It needs nothing of the run."""

    def examples(self, data: FakeData, splits: list[str]) -> list[Example]:
        return REAL.examples(data, splits)

    def references(self, rows: Rows) -> list[str]:
        return REAL.references(rows)

    def paired(self, one: list[str], other: list[str], references: list[str]) -> dict[str, Any]:
        return REAL.paired(one, other, references)

    def predict(
        self, model: str, preprocessor: Any, texts: list[str], decode: Any, *, attention: bool
    ) -> Iterator[Any]:
        for text in texts:
            words = text.split()
            hot = torch.eye(len(words)).flip(0)
            maps = [] if model == "none" else [("layers.0", hot.mean(0).expand_as(hot)), ("layers.0[1]", hot)]
            written = words[::-1]
            yield Prediction(" ".join(written), -1.5, source_tokens=words, target_tokens=written, attention=maps)


def recipe(name: str = "lstm", **changes: Any) -> Recipe:
    return Recipe.model_validate(
        {
            "name": name,
            "task": {"kind": "study_fakes:FakeTask"},
            "data": {"kind": "study_fakes:FakeData"},
            "model": {"kind": "seq2seq", "d_model": 16, "d_embedding": 16},
            "objective": {"kind": "translation"},
            **changes,
        }
    )


def score(recipe: Recipe) -> float:
    return QUALITY[recipe.model.attention.score] + 0.3 * (recipe.seed % 3)


def train(recipe: Recipe, folder: Path, *, resume: bool) -> Iterator[SimpleNamespace]:
    """Write what a run writes, after the steps that are there; cosine fails where the recipe is about that."""
    assert resume
    run = Run(folder)
    if run.finished:
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.toml").write_text(_toml(recipe))
    for step in range(len(run.metrics()) // 2 + 1, STEPS + 1):
        if recipe.about == "cosine fails" and recipe.model.attention.score == "cosine" and step == 3:
            raise NonFiniteLoss("the loss became nan", where="step 3")
        row = {"step": step, "tokens": 100 * step, "cpu_seconds": 2.0 * step}
        valid = {"loss": 4 / step, "perplexity": 50 / step, "bleu": score(recipe) * step / STEPS}
        run.log(row | {"valid": valid})
        run.log(row | {"loss": 5 / step, "lr": 0.1})
        yield SimpleNamespace(step=SimpleNamespace(number=step, loss=5 / step, done=step / STEPS))
    texts = FakeData(recipe.data).split("test")["fr"]
    wrong = int(100 / score(recipe))
    run.save_outputs("test", [text if i > wrong else "no" for i, text in enumerate(texts)])
    run.finish(results(recipe))


def _toml(recipe: Recipe) -> str:
    from clew.recipe_file import dump_recipe

    return dump_recipe(recipe)


def results(recipe: Recipe) -> dict[str, Any]:
    value, attention = score(recipe), recipe.model.attention.score

    def measured(value: float, width: float, signature: str) -> dict[str, Any]:
        return {"value": value, "low": value - width, "high": value + width, "signature": signature}

    test = {
        "sentences": 20,
        "bleu": measured(value, 1.5, "nrefs:1|tok:13a"),
        "perplexity": measured(100 / value, 0.2, "perplexity|per:token"),
        "decode_sentences_per_cpu_second": 20.0 + recipe.seed,
    }
    if attention != "none":
        test["aer"] = measured(4 / value, 0.02, "aer") | {"map": "layers.0[1]"}
    return {
        "splits": {"test": test, "combinations": {"sentences": 20, "bleu": measured(value - 8, 2, "nrefs:1|tok:13a")}},
        "parameters": 12345,
        "cpu_seconds": 2.0 * STEPS + len(attention),
        "train_tokens_per_cpu_second": 50.0,
        "hardware": "an abacus",
        "data": ["train: 20 of 20 rows kept"],
    }


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
