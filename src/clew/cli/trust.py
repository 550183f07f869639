"""`--trust`: the option of every command that opens run folders, which others may have made."""

from __future__ import annotations

from typing import Annotated

import typer

from clew.config import trusting


def take(context: typer.Context, given: bool) -> bool:
    """Trust what run folders name until the command ends."""
    if given:
        context.with_resource(trusting())
    return given


Trust = Annotated[
    bool, typer.Option("--trust", callback=take, help="Import classes from outside of clew that a run folder names.")
]
