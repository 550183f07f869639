"""Tables that look like texts with labels: which columns, said with what speaks for it, and never taken silently."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple

import typer

from clew.cli.say import echo
from clew.errors import RecipeError

SEEN = 5000  # rows that are looked at
MOST_LABELS = 50


class Labelled(NamedTuple):
    """A column of texts and one of labels, and what a look at the rows found."""

    text: str
    label: str
    found: str


def look(columns: Mapping[str, Sequence[str]]) -> Labelled | None:
    """Return the columns that are texts and labels, where one of each looks so, and no other does.

    Labels are few and come again and again; texts are mostly different, and of several words. columns: name → values.
    """
    labels: dict[str, Counter[str]] = {}
    texts: dict[str, float] = {}
    for name, values in columns.items():
        counts = Counter(map(str, values))
        if 2 <= len(counts) <= min(MOST_LABELS, max(2, len(values) // 5)):
            labels[name] = counts
        elif len(counts) > len(values) / 2 and (words := median(len(str(value).split()) for value in values)) >= 2:
            texts[name] = words
    if len(labels) != 1 or len(texts) != 1:
        return None
    ((label, counts),), ((text, words),) = labels.items(), texts.items()
    shown = ", ".join(f"{name} ({n:,})" for name, n in counts.most_common(6))
    more = f" and {len(counts) - 6} more" if len(counts) > 6 else ""
    of_text, n = f"“{text}” has texts of {words:.0f} words", sum(counts.values())
    return Labelled(text, label, f"{of_text}, “{label}” one of {len(counts)} labels: {shown}{more}; of {n:,} rows")


def agreed(path: str, found: Labelled, named: bool, overrides: Sequence[str] = ()) -> bool:
    """Ask at a terminal whether labels are to be learned. Raise RecipeError elsewhere, with the command to type.

    named: whether the columns have names of their own; overrides: what the command line said besides.
    """
    echo(f"{path}: {found.found}", err=True)
    if sys.stdin.isatty() and sys.stderr.isatty():
        return typer.confirm(f"Train a classifier that reads “{found.text}” and gives “{found.label}”?", err=True)
    more = [*overrides] if named else [f"data.names={columns(found.text, found.label)}", *overrides]
    given = ["train", path, "--task", "classify", "--text", found.text, "--label", found.label, *more]
    command = f"clew {shlex.join(given)}"
    raise RecipeError(
        "this looks like texts with labels", where=path, fix=f"where it is: {command}; to translate: --task translate"
    )


def settings(text: str, label: str) -> list[str]:
    """Return what makes the preset read these columns."""
    return [f"data.columns={columns(text, label)}", f"task.text={quoted(text)}", f"task.label={quoted(label)}"]


def columns(*names: str) -> str:
    return f"[{', '.join(map(quoted, names))}]"


def quoted(name: str) -> str:
    """Return a name as TOML writes it."""
    import json

    return json.dumps(name, ensure_ascii=False)
