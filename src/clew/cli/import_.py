"""`clew import`: make a run of a checkpoint of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clew.cli.say import echo


def import_(
    checkpoint: Annotated[
        str, typer.Argument(help="A folder that transformers loads, a name on its hub, or a .bin of fastText.")
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE…", help="Settings of its recipe: task.pair=premise, …")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The run folder to write; runs/NAME by default.")
    ] = None,
) -> None:
    """Make a run of a checkpoint of transformers: BERT with any of its heads (pre-training or masked LM → pretrain;
    sequence classification → classify, or regress with one output; token classification → tag; multiple choice →
    choose; question answering → answer); GPT-2 and Llama (→ language_model); T5 (→ denoise, or
    text_to_text where its vocabulary marks no gaps). Or of a classifier of fastText
    (.bin → classify). Weights are read from safetensors, never a pickle.
    """
    from clew.runs.imported import import_checkpoint

    run = import_checkpoint(checkpoint, out or Path("runs") / Path(checkpoint).name, overrides or [])
    recipe = run.recipe
    echo(f"{run.path}: a {recipe.model.kind} for the task {recipe.task.kind}, {run.preprocessor()}")
