"""What the commands print: text, never instructions to a terminal, whatever names and outputs hold."""

from __future__ import annotations

import re
import sys
from typing import Any

import typer

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")  # but tabs and the ends of lines


def shown(text: str) -> str:
    """Return a text whose control characters, and marks of direction, are written out: an escape as \\x1b."""
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def echo(text: Any = "", *, err: bool = False, nl: bool = True) -> None:
    """Print; to a terminal as `shown`, to a file or a pipe as it is."""
    stream = sys.stderr if err else sys.stdout
    typer.echo(shown(str(text)) if stream.isatty() else text, err=err, nl=nl)


def model_of(run: Any) -> Any:
    """Return the model of a run where it was trained, or on the CPU where that device is not here, which is said."""
    if run.device != run.recipe.train.device != "auto":
        echo(f"trained on {run.recipe.train.device}, which is not here: it runs on {run.device}", err=True)
    return run.model(run.device)
