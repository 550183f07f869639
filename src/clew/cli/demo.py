"""`clew demo`: the main job on data that needs no download."""

from __future__ import annotations

import os
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clew.cli.say import echo
from clew.errors import ClewError

if TYPE_CHECKING:
    from clew.study.plan import Plan

SCORES = ["none", "additive", "cosine", "scaled_dot"]


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the comparison; the same one goes on.")] = Path(
        "runs/demo"
    ),
    jobs: Annotated[int, typer.Option(min=1, help="Trainings side by side.")] = min(2, os.cpu_count() or 1),
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each.")] = 1,
    budget: Annotated[
        str | None, typer.Option(help='Of each training, for instance "500ktokens" or "5m" (CPU-minutes).')
    ] = None,
) -> None:
    """Compare LSTMs without and with attention, and a Transformer, on sentences whose word alignments are known."""
    from clew.cli.compare import show
    from clew.study.compare import compare
    from clew.study.report import write_report

    plan = demo_plan(out, seeds, budget)
    failed = show(plan, compare(plan, jobs=jobs))
    if failed == len(plan.runs):
        raise ClewError("every training failed", where=str(out), fix="mend what is said above, and run it again")
    for sentence in write_report(out)["summary"]:
        echo(f"- {sentence}")
    echo(f"\nOpen the report in a browser: {out / 'report.html'}")
    if failed:
        raise typer.Exit(1)


def demo_plan(out: Path, seeds: int = 1, budget: str | None = None) -> Plan:
    """Return what the demo compares. Raise RecipeError for a budget that cannot be read."""
    from clew.recipe_file import load_recipe
    from clew.study.plan import make_plan, parse_budget

    with as_file(files("clew.presets") / "demo") as folder:
        recipes = [load_recipe(folder / f"{name}.toml")[0] for name in ("lstm", "transformer")]
    limit = parse_budget(budget) if budget else None
    return make_plan(recipes, {"model.attention.score": SCORES}, seeds, out, budget=limit, command="clew demo")
