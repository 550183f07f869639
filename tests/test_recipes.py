"""Every recipe of the repository and of the package can be read; those of a suite are what it names."""

from __future__ import annotations

from pathlib import Path

import pytest

from clew.presets import PRESETS as OWN
from clew.recipe_file import load_recipe
from clew.study.suite import SUITES

HOME = Path(__file__).parents[1]
PRESETS = HOME / "src" / "clew" / "presets"
RECIPES = sorted([*(HOME / "recipes").rglob("*.toml"), *PRESETS.rglob("*.toml")])


@pytest.mark.parametrize(
    "path",
    [path for path in RECIPES if path.stem != "base"],
    ids=lambda p: f"{p.parent.name}-{p.stem}",
)
def test_it_can_be_read(path: Path) -> None:
    own = path.parent == PRESETS and path.name in (OWN["text"], OWN["pairs"])
    settings = ["data.train=['mine.txt']"] if own else []  # the user's own files are its data
    recipe = load_recipe(path, settings)[0]
    assert recipe.name


@pytest.mark.parametrize("suite", SUITES)
def test_a_suite_has_a_recipe_for_each_task(suite: str) -> None:
    found = {path.stem for path in (PRESETS / suite).glob("*.toml")} - {"base"}
    assert found == set(SUITES[suite])
    assert all(load_recipe(PRESETS / suite / f"{task}.toml")[0].name == task for task in found)


def test_what_files_of_ones_own_are_learned_by_comes_with_clew() -> None:
    assert all((PRESETS / name).is_file() for name in OWN.values())
