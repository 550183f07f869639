"""Run folders that somebody else made, or that broke: refused in words, and never in the way of the good ones."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from clew.cli.say import shown
from clew.config import trusting
from clew.errors import ClewError, RecipeError, RunError
from clew.recipe_file import load_recipe
from clew.runs import Run, received
from clew.web.folder import Runs

DRILLS = Path(__file__).parents[2] / "benchmarks" / "faults"


def drill(name: str) -> ModuleType:
    sys.path.insert(0, str(DRILLS))
    try:
        spec = importlib.util.spec_from_file_location(name, DRILLS / f"{name}.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(DRILLS))
    return module


drills = drill("received")
HARMLESS = {"a log of wrong types", "checkpoints that are a file"}  # of which nothing is believed that is wrong


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("received")
    recipe = drills.made(place)
    (place / "runs").mkdir()
    drills.run_of(recipe, place / "runs" / "good")
    return place / "runs"


@pytest.mark.parametrize("bad", drills.BAD)
def test_bad_folders_are_refused_and_the_good_one_listed(runs: Path, bad: str) -> None:
    folder = Path(shutil.copytree(runs / "good", runs / "bad"))
    try:
        (folder / "manifest.json").unlink()
        drills.BAD[bad](folder)
        listed = {each["name"]: each for each in Runs(runs).summaries()}
        assert not listed["good"]["problem"]
        opened = False
        try:
            run = Run.open(folder)
            list(run.task.predict(run.model(), run.preprocessor(), ["film 1"], run.recipe.decode))
            opened = bool(run.results())
        except ClewError as error:
            assert error.where
        assert opened == (bad in HARMLESS)
    finally:
        shutil.rmtree(folder)


def test_a_link_out_of_the_folder_is_followed_by_trust_alone(runs: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(runs / "good", tmp_path / "run"))
    shutil.move(copy / "checkpoints", tmp_path / "elsewhere")
    (copy / "checkpoints").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match=r"'checkpoints' is a link out of the folder(.|\n)*--trust"):
        received.check(copy)
    with trusting():
        received.check(copy)


@pytest.mark.parametrize("name", ["../up", "/up", "a/../../up", "", "..", "a\x1b[2J", "x" * 300])
def test_a_name_is_that_of_a_folder(runs: Path, name: str) -> None:
    recipe = Run(runs / "good").recipe
    with pytest.raises(ValueError, match="what a folder can be called"):
        type(recipe).model_validate({**recipe.model_dump(), "name": name})


@pytest.mark.parametrize(("key", "value"), [("model.n_layers", 10**9), ("model.d_ff", 10**9), ("train.threads", 10**5)])
def test_sizes_for_which_no_machine_has_room(runs: Path, key: str, value: int) -> None:
    with pytest.raises(RecipeError, match=f"{key}"):
        load_recipe(runs / "good" / "recipe.toml", [f"{key}={value}"])


@pytest.mark.parametrize(
    ("text", "written"),
    [("caf\u00e9\tand\nmore", "caf\u00e9\tand\nmore"), ("\x1b[31mred", "\\x1b[31mred"), ("a\u202eb", "a\\u202eb")],
)
def test_control_characters_are_shown(text: Any, written: str) -> None:
    assert shown(text) == written
