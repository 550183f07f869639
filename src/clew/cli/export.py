"""`clew export`: write a run for another program."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Target(StrEnum):
    ctranslate2 = "ctranslate2"


def export(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    to: Annotated[Target, typer.Option(help="The program to write for.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder to write; RUN/PROGRAM by default.")] = None,
    quantization: Annotated[
        str | None, typer.Option(help="How that program stores weights: int8, int16, float16, …")
    ] = None,
) -> None:
    """Write a run for another program: CTranslate2, a C++ engine for translators."""
    from clew.hub.ctranslate2 import export as write
    from clew.runs import Run

    opened = Run.open(run)
    folder = out or run / to.value
    write(opened.model(), opened.tokenizers(), folder, quantization=quantization)
    typer.echo(f"{to.value}: {folder}")
