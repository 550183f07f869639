"""`clew recipe`: a recipe filled in, and the reference of every key."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from clew.config import KINDS, Recipe, resolve
from clew.errors import RecipeError
from clew.recipe_file import dump_recipe, load_recipe


def recipe(
    file: Annotated[Path | None, typer.Argument(help="A recipe (TOML).")] = None,
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE…", help="Settings to change.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print for machines: the recipe and its origins.")] = False,
    keys: Annotated[bool, typer.Option("--keys", help="Print the reference of every key (Markdown) instead.")] = False,
) -> None:
    """Print a recipe filled in, with where each value came from: file and line, override, or default."""
    if keys:
        typer.echo(reference(), nl=False)
        return
    if file is None:
        raise RecipeError("no recipe was named", where="command line", fix="clew recipe FILE [KEY=VALUE…]")
    filled, provenance = load_recipe(file, overrides or [])
    if as_json:
        document = {"recipe": filled.model_dump(mode="json"), "provenance": provenance}
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        typer.echo(dump_recipe(filled, provenance), nl=False)


def reference() -> str:
    """Return the Markdown reference of every key, read from the settings classes and the comments on their fields."""
    return "\n".join(_reference()) + "\n"


def _reference() -> Iterator[str]:
    yield "# Every key of a recipe"
    yield ""
    yield "Printed by `clew recipe --keys`; a test keeps this page equal to the code. `clew recipe FILE` shows what a"
    yield "recipe of yours says for each of these, and where it says so."
    yield from _table("The top of the file", "", Recipe)
    for name, field in Recipe.model_fields.items():
        if name in KINDS:
            yield from _kinds(name, name)
        elif isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _table(f"`[{name}]`", name, field.annotation)
            for inner in field.annotation.model_fields:
                if inner in KINDS:
                    yield from _kinds(inner, f"{name}.{inner}")


def _kinds(section: str, path: str) -> Iterator[str]:
    for kind in KINDS[section]:
        yield from _table(f'`[{path}]` with `kind = "{kind}"`', path, resolve(section, kind).Config)


def _table(title: str, path: str, config: type[BaseModel]) -> Iterator[str]:
    """One heading, the class's sentence, a row per setting; then the tables within it that are not chosen by kind."""
    yield from (
        "",
        f"## {title}",
        "",
        inspect.getdoc(config) or "",
        "",
        "| key | type | default | |",
        "|---|---|---|---|",
    )
    notes, inner = _notes(config), []
    for name, field in config.model_fields.items():
        if name == "kind" and field.annotation is str:  # the heading says it
            continue
        if _models(field.annotation):
            inner.append((f"{path}.{name}".strip("."), _models(field.annotation)))
        yield f"| `{name}` | {_type(field)} | {_default(field)} | {notes.get(name, '')} |"
    if path:
        for key, models in inner:
            for model in models:
                yield from _table(f"`[{key}]`", key, model)


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The settings classes that an annotation names."""
    found = [part for part in (annotation, *get_args(annotation)) if isinstance(part, type)]
    return [part for part in found if issubclass(part, BaseModel) and part.__name__ != "Choice"]


def _notes(config: type[BaseModel]) -> dict[str, str]:
    """Field → the comment at the end of its line, so that what the code says is what the reference says."""
    lines = (
        line for base in reversed(config.__mro__[:-1]) if base.__module__.startswith("clew") for line in _source(base)
    )
    found = (re.match(r"    (\w+): .*?  # (.+)", line) for line in lines)
    return {match[1]: match[2].replace("|", "\\|") for match in found if match}


def _source(config: type) -> list[str]:
    return inspect.getsource(config).splitlines()


def _type(field: Any) -> str:
    limits = [
        f"{sign} {getattr(m, name)}" for m in field.metadata for name, sign in _LIMITS.items() if hasattr(m, name)
    ]
    return ", ".join([_name(field.annotation), *limits])


_LIMITS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def _name(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return " or ".join(f'`"{value}"`' for value in get_args(annotation))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "table"
    if get_args(annotation) and type(None) in get_args(annotation):
        return ", ".join([_name(part) for part in get_args(annotation) if part is not type(None)] + ["or left out"])
    return f"`{getattr(annotation, '__name__', '')}`" if not get_args(annotation) else f"`{annotation}`"


def _default(field: Any) -> str:
    value = field.default_factory() if field.default_factory else field.default
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, BaseModel):
        value = value.model_dump(exclude_unset=True)
    if value is None or value in ({}, ""):
        return ""
    if isinstance(value, dict):
        return f"`{{{', '.join(f'{key} = {json.dumps(item)}' for key, item in value.items())}}}`"
    return f"`{json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)}`"
