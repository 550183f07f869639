"""The reference of every key of a recipe, written from the settings classes so that it cannot say anything else."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from clew.config import KINDS, Choice, Recipe, resolve

LIMITS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def reference() -> str:
    """Return the Markdown reference of every key, read from the settings classes and the comments on their fields."""
    return "\n".join(_reference()) + "\n"


def _reference() -> Iterator[str]:
    yield "# Every key of a recipe"
    yield ""
    yield "Printed by `clew recipe --keys`; a test keeps this page equal to the code. `clew recipe FILE` shows what a"
    yield 'recipe of yours says for each of these, and where it says so. Where a number may be left out, "none" undoes'
    yield 'its default. Beside the kinds listed here, a recipe may name its own, `kind = "package.module:Class"`, of a'
    yield "module that Python finds (installed, or in a folder of `PYTHONPATH`). Of a run folder such a class is"
    yield "imported with `--trust` alone, since whoever made the folder may not be you."
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
    yield from ("", f"## {title}", "")
    if about := inspect.cleandoc(config.__dict__.get("__doc__") or ""):  # its own words, not inherited ones
        yield from (about, "")
    yield from ("| key | type | default | |", "|---|---|---|---|")
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
    return [part for part in found if issubclass(part, BaseModel) and part is not Choice]


def _notes(config: type[BaseModel]) -> dict[str, str]:
    """Field → the comment at the end of its line, so that what the code says is what the reference says."""
    classes = [base for base in reversed(config.__mro__) if issubclass(base, BaseModel) and base is not BaseModel]
    lines = (line for base in classes for line in inspect.getsource(base).splitlines())
    found = (re.match(r"    (\w+): .*?  # (.+)", line) for line in lines)
    return {match[1]: match[2].replace("|", "\\|") for match in found if match}


def _type(field: Any) -> str:
    found = ((sign, getattr(limit, name, None)) for limit in field.metadata for name, sign in LIMITS.items())
    limits = [f"{sign} {value}" for sign, value in found if value is not None]
    return ", ".join([_name(field.annotation), *limits])


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
