"""What a comparison trains: recipes, varied settings and seeds, under one budget, each with a folder of its own."""

from __future__ import annotations

import itertools
import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import getitem
from pathlib import Path

from clew.config import BudgetConfig, Recipe
from clew.errors import RecipeError, RunError
from clew.recipe_file import dump_recipe, load_recipe

UNITS = {
    "s": ("cpu_minutes", 1 / 60),
    "m": ("cpu_minutes", 1),
    "min": ("cpu_minutes", 1),
    "h": ("cpu_minutes", 60),
    "step": ("steps", 1),
    "token": ("tokens", 1),
    "epoch": ("epochs", 1),
    "flop": ("flops", 1),
}
SCALES = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}


@dataclass(frozen=True)
class Variant:
    """One competitor: its folder name, its label, the settings that tell it from the others, its recipe."""

    id: str
    label: str
    settings: dict[str, str]
    recipe: Recipe


@dataclass(frozen=True)
class Planned:
    """One training of a study; `folder` is (to be) its run folder."""

    variant: Variant
    seed: int
    folder: Path

    @property
    def recipe(self) -> Recipe:
        return self.variant.recipe.model_copy(update={"seed": self.seed})

    @property
    def recipe_file(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}.toml")

    @property
    def failure(self) -> Path:
        """Holds why the last attempt failed, while there is no finished run."""
        return self.folder.with_name(f"{self.folder.name}.failed.txt")

    @property
    def log(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}.log")


@dataclass(frozen=True)
class Plan:
    """A whole study; `save` and `load` keep it in its folder, so that it can go on and be reported at any time."""

    folder: Path
    variants: list[Variant]
    seeds: list[int]
    command: str = ""

    @property
    def runs(self) -> list[Planned]:
        """Every training, seed by seed, so that whoever stops early has compared all variants."""
        return [Planned(v, seed, self.folder / v.id / f"seed-{seed}") for seed in self.seeds for v in self.variants]

    def save(self) -> None:
        """Write `study.json` and a recipe file per training; raises RunError where another recipe trained there."""
        for run in self.runs:
            text = dump_recipe(run.recipe)
            if run.recipe_file.exists() and run.folder.exists() and load_recipe(run.recipe_file)[0] != run.recipe:
                raise RunError(
                    f'the folder holds a "{run.variant.label}" that another recipe trained',
                    where=str(run.folder),
                    fix="choose another --out, or remove that folder",
                )
            run.recipe_file.parent.mkdir(parents=True, exist_ok=True)
            run.recipe_file.write_text(text, encoding="utf-8")
        variants = [{"id": v.id, "label": v.label, "settings": v.settings} for v in self.variants]
        study = {"command": self.command, "seeds": self.seeds, "variants": variants}
        (self.folder / "study.json").write_text(json.dumps(study, indent=2, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Plan:
        """Read the plan of a study; raises RunError where the folder holds none."""
        try:
            study = json.loads((folder / "study.json").read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise RunError(
                "this is not the folder of a comparison", where=str(folder), fix="run clew compare"
            ) from error
        first = study["seeds"][0]
        variants = [
            Variant(v["id"], v["label"], v["settings"], load_recipe(folder / v["id"] / f"seed-{first}.toml")[0])
            for v in study["variants"]
        ]
        return cls(folder, variants, study["seeds"], study["command"])


def make_plan(
    recipes: Sequence[Recipe],
    vary: Mapping[str, Sequence[str]],
    seeds: int,
    folder: Path,
    *,
    budget: BudgetConfig | None = None,
    command: str = "",
) -> Plan:
    """Expand recipes by varied settings, and check that all of them may spend the same on the same data.

    A varied key applies to the recipes that have it; the others compete once, as they are. Seeds count up from that
    of the first recipe. Raises RecipeError where a key is in no recipe, names repeat, or budgets or data differ.
    """
    if budget is not None:
        recipes = [r.model_copy(update={"train": r.train.model_copy(update={"budget": budget})}) for r in recipes]
    names = [recipe.name for recipe in recipes]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise RecipeError(
            f"recipes share the name {sorted(repeated)}", where="name", fix="give each recipe its own name"
        )
    for key in vary:
        if not any(_has(recipe, key) for recipe in recipes):
            raise RecipeError(f'no recipe has the key "{key}"', where="--vary", fix="clew recipe FILE prints every key")
    variants = [variant for recipe in recipes for variant in _expand(recipe, vary, several=len(recipes) > 1)]
    _check_equal(variants, vary)
    return Plan(folder, variants, [recipes[0].seed + i for i in range(seeds)], command)


def _expand(recipe: Recipe, vary: Mapping[str, Sequence[str]], several: bool) -> list[Variant]:
    keys = [key for key in vary if _has(recipe, key)]
    short = {key: key.rpartition(".")[2] for key in keys}
    variants = []
    for values in itertools.product(*(vary[key] for key in keys)):
        settings = dict(zip(keys, values, strict=True))
        shown = values if len(keys) == 1 else [f"{short[key]}={value}" for key, value in settings.items()]
        label = ", ".join([recipe.name] * (several or not keys) + list(shown))
        name = re.sub(r"[^\w.=-]+", "-", label).strip("-.") or "variant"
        variants.append(Variant(name, label, settings, override(recipe, settings)))
    return variants


def _has(recipe: Recipe, key: str) -> bool:
    try:
        reduce(getitem, key.split("."), recipe.model_dump())
    except (KeyError, TypeError):  # no such key, or no table to look for it in
        return False
    return True


def override(recipe: Recipe, settings: Mapping[str, str]) -> Recipe:
    """Change settings of a recipe by the rules of a recipe file: a new `kind` replaces the whole choice."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{recipe.name}.toml".replace("/", "-")
        file.write_text(dump_recipe(recipe), encoding="utf-8")
        return load_recipe(file, [f"{key}={value}" for key, value in settings.items()])[0]


def _check_equal(variants: Sequence[Variant], vary: Mapping[str, Sequence[str]]) -> None:
    first = variants[0]
    for variant in variants[1:]:
        mine, theirs = first.recipe, variant.recipe
        if mine.train.budget != theirs.train.budget:
            raise RecipeError(
                f'"{first.label}" may spend {describe(mine.train.budget)}, "{variant.label}" '
                f"{describe(theirs.train.budget)}",
                where="train.budget",
                fix="give one budget for all: --budget 10m",
            )
        if mine.data != theirs.data and not any(key.startswith("data.") for key in vary):
            raise RecipeError(
                f'"{first.label}" and "{variant.label}" are trained on different data',
                where="data",
                fix="compare on one data set, or vary a data key on purpose: --vary data.…",
            )


def parse_budget(text: str) -> BudgetConfig:
    """Read "10m" (CPU-minutes; also s, h), "2000steps", "5Mtokens", "3epochs" or "2Tflops" as a budget."""
    match = re.fullmatch(r"([\d.]+(?:e\d+)?) *([kMGTP]?) *([a-z]+)", text.strip())
    try:
        number, scale, unit = match.groups()  # type: ignore[union-attr]
        field, factor = UNITS[unit.removesuffix("s") if len(unit) > 2 else unit]
        value = float(number) * SCALES[scale] * factor
    except (AttributeError, KeyError, ValueError) as error:
        fix = 'write "10m" (CPU-minutes), "90s", "1h", "2000steps", "5Mtokens", "3epochs" or "2Tflops"'
        raise RecipeError(f'cannot read the budget "{text}"', where="--budget", fix=fix) from error
    if not value > 0:
        raise RecipeError(f'a budget of "{text}" trains nothing', where="--budget", fix="give a positive number")
    return BudgetConfig(**{field: int(value) if field in ("steps", "tokens") else value})


def describe(budget: BudgetConfig) -> str:
    """Say a budget in words."""
    limits = [_limit(name, value) for name, value in budget.model_dump().items() if value is not None]
    return " or ".join(limits) + (" (whichever ends first)" if len(limits) > 1 else "") if limits else "no limit"


def _limit(name: str, value: float) -> str:
    if name not in ("cpu_minutes", "wall_minutes"):
        return f"{value:,.10g} {name}"
    of = "CPU-" if name == "cpu_minutes" else ""
    return f"{60 * value:.3g} {of}seconds" if value < 1 else f"{value:,.4g} {of}minutes"
