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
    split: Annotated[
        str | None, typer.Option(help="Which split; test by default, valid where there is no test.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print for machines.")] = False,
) -> None:
    """Score a run on a split of its data: every metric of its task, with 95% intervals and signatures."""
    from clew.cli.train import score
    from clew.config import build
    from clew.errors import RecipeError
    from clew.recipe_file import load_recipe
    from clew.runs import Run
    from clew.runs.folder import device_of
    from clew.runs.training import differences

    opened = Run.open(run)
    recipe, _ = load_recipe(opened.path / "recipe.toml", overrides or [])
    changed = differences(opened.recipe.model_dump(mode="json"), recipe.model_dump(mode="json"))
    if fixed := [key for key in changed if key.partition(".")[0] not in ("data", "decode")]:
        raise RecipeError(
            f"a trained run cannot change its {', '.join(fixed)}", where="command line", fix="change data.… or decode.…"
        )
    data = build("data", recipe.data)
    split = split or ("test" if "test" in data.splits else "valid")
    rows = data.split(split)
    choose_on = data.split("valid") if "valid" in data.splits else None
    model = opened.model(device_of(recipe.train.device))
    figures = opened.task.evaluate(model, opened.tokenizers(), rows, recipe.decode, choose_on=choose_on)
    outputs = figures.pop("outputs")
    if as_json:
        typer.echo(json.dumps({"split": split, **figures, "outputs": outputs}, ensure_ascii=False))
        return
    typer.echo(f"{split}: {rows.report}")
    for name, figure in figures.items():
        typer.echo(
            f"{name:>30}  "
            + (
                f"{score(figure)}  {figure['signature']}"
                if isinstance(figure, dict)
                else f"{figure:,}"
                if isinstance(figure, int)
                else f"{figure:.4g}"
            )
        )
