"""`clew predict`: run a trained model on a text, a file or standard input."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from clew.errors import DataError


def predict(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    text: Annotated[
        str, typer.Argument(metavar="TEXT|FILE|-", help="A text, a file of one text a line, or - for stdin.")
    ] = "-",
    beam: Annotated[int | None, typer.Option(min=1, help="1 is greedy; the recipe's by default.")] = None,
    n_best: Annotated[int, typer.Option(min=1, help="Print so many hypotheses of each, with scores.")] = 1,
    precision: Annotated[str | None, typer.Option(help="fp32, bf16 or int8.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Texts decoded at once.")] = None,
    attention: Annotated[bool, typer.Option(help="With --json: the attention maps too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON line per text.")] = False,
) -> None:
    """Run a trained model on a text, a file or standard input; one line out for each line in, in the same order."""
    from clew.config import DecodeConfig
    from clew.runs import Run

    opened = Run.open(run)
    changes = {"beam": beam, "precision": precision, "batch_size": batch_size}
    settings = opened.recipe.decode.model_dump() | {key: value for key, value in changes.items() if value is not None}
    settings["beam"] = max(settings["beam"], n_best)
    decode = DecodeConfig.model_validate(settings)
    predictions = opened.task.predict(opened.model(), opened.tokenizers(), lines(text), decode, attention=attention)
    for found in predictions:
        best = [(found.text, found.score), *found.alternatives][:n_best]
        if as_json:
            maps = {name: weights.tolist() for name, weights in found.attention}
            more = (
                {"source_tokens": found.source_tokens, "target_tokens": found.target_tokens, "attention": maps}
                if attention
                else {}
            )
            hypotheses = [{"text": text, "score": score} for text, score in best]
            typer.echo(
                json.dumps({"text": found.text, "score": found.score, "n_best": hypotheses, **more}, ensure_ascii=False)
            )
        elif n_best == 1:
            typer.echo(found.text)
        else:
            for hypothesis, score in best:
                typer.echo(f"{score:.4f}\t{hypothesis}")


def lines(text: str) -> Iterator[str]:
    """The texts to predict, read as they are asked for. Raises DataError naming the line that is not UTF-8."""
    if text != "-" and not Path(text).is_file():
        yield text
        return
    with sys.stdin.buffer if text == "-" else Path(text).open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise DataError(
                    "this line is not UTF-8", where=f"{text}:{number}", fix="convert it with iconv"
                ) from error
