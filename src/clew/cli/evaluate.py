"""`clew evaluate`: score a run on a split of its data, or on other files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE…", help="Settings to change: decode.beam=1, data.…")
    ] = None,
    split: Annotated[str, typer.Option(help="Which split of the data.")] = "test",
    as_json: Annotated[bool, typer.Option("--json", help="Print for machines.")] = False,
) -> None:
    """Score a run on a split of its data: every metric of its task, with 95% intervals and signatures."""
    from clew.cli.train import score
    from clew.config import build
    from clew.recipe_file import load_recipe
    from clew.runs import Run

    opened = Run.open(run)
    recipe, _ = load_recipe(opened.path / "recipe.toml", overrides or [])
    data = build("data", recipe.data)
    rows = data.split(split)
    choose_on = data.split("valid") if "valid" in data.splits else None
    figures = opened.task.evaluate(opened.model(), opened.tokenizers(), rows, recipe.decode, choose_on=choose_on)
    outputs = figures.pop("outputs")
    if as_json:
        typer.echo(json.dumps({"split": split, **figures, "outputs": outputs}, ensure_ascii=False))
        return
    typer.echo(str(rows.report))
    for name, figure in figures.items():
        typer.echo(
            f"{name:>30}  "
            + (f"{score(figure)}  {figure['signature']}" if isinstance(figure, dict) else f"{figure:.4g}")
        )
