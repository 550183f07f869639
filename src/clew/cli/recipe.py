"""`clew recipe`: a recipe filled in, and the reference of every key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from clew.cli.say import echo
from clew.cli.trust import Trust
from clew.errors import RecipeError
from clew.recipe_file import dump_recipe, load_recipe
from clew.recipe_reference import reference


def recipe(
    file: Annotated[Path | None, typer.Argument(help="A recipe (TOML).")] = None,
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE…", help="Settings to change.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print for machines: the recipe and its origins.")] = False,
    keys: Annotated[bool, typer.Option("--keys", help="Print the reference of every key (Markdown) instead.")] = False,
    trust: Trust = False,
) -> None:
    """Print a recipe filled in, with where each value came from: file and line, override, or default."""
    if keys:
        echo(reference(), nl=False)
        return
    if file is None:
        raise RecipeError("no recipe was named", where="command line", fix="clew recipe FILE [KEY=VALUE…]")
    filled, provenance = load_recipe(file, overrides or [])
    if as_json:
        document = {"recipe": filled.model_dump(mode="json"), "provenance": provenance}
        echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        echo(dump_recipe(filled, provenance), nl=False)
