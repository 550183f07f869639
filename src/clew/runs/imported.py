"""A checkpoint of transformers, or a classifier of fastText, as a run, so that every command works on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from clew.config import Recipe, build
from clew.errors import RunError
from clew.hub.fasttext_classifier import ClassifierFile
from clew.hub.transformers_folder import Checkpoint
from clew.recipe_file import dump_recipe, load_recipe
from clew.runs.folder import Run, writing


def import_checkpoint(name: str, folder: str | Path, overrides: Sequence[str] = ()) -> Run:
    """Make a run of a folder that transformers loads, of a model of the hub, or of a classifier's .bin of fastText.

    `overrides` change its recipe.

    Raise RunError where the folder holds a run already, the checkpoint is damaged, or no task has its head.
    """
    run = Run(folder)
    if run.started:
        raise RunError("this folder already holds a run", where=str(folder), fix="choose another --out")
    found: Any = ClassifierFile(Path(name)) if Path(name).is_file() else Checkpoint.find(name)
    settings = found.adapter.recipe(found, name)
    draft = Recipe.model_validate({
        "name": Path(name).name or "imported", "about": f"Imported from {name}.", "data": {"kind": "text"},
        **settings, "model": found.config.model_dump(),
        "tokenizer": {**settings["tokenizer"], "vocab_size": max(8, len(found.tokenizer))},
    })  # fmt: skip
    recipe = overridden(draft, overrides)
    task = build("task", recipe.task)
    preprocessor = found.adapter.preprocessor(found, task)
    model = task.model(recipe.model, preprocessor)
    found.adapter.take(model, found.tensors, str(found.folder))
    with writing(run.path):
        run.start(recipe, preprocessor, model)
        run.save_model(model)
    return run


def overridden(draft: Recipe, overrides: Sequence[str]) -> Recipe:
    with TemporaryDirectory() as place:
        file = Path(place) / "recipe.toml"
        file.write_text(dump_recipe(draft), encoding="utf-8")
        return load_recipe(file, [*overrides])[0]
