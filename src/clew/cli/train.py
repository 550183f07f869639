"""`clew train`: a recipe, or a model of the user's own files."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clew.cli.own_files import own_files
from clew.cli.say import echo
from clew.cli.trust import Trust

if TYPE_CHECKING:
    from clew.config import Recipe
    from clew.runs.training import Event, Training


def train(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="RECIPE|FILES…|RUN [KEY=VALUE…]",
            help="A recipe, your own files, or a run to go on with; then settings.",
        ),
    ],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The run folder; runs/NAME by default.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the newest checkpoint in the folder.")] = False,
    changed_data: Annotated[
        bool, typer.Option("--changed-data", help="With --resume: go on although the data is not what it was.")
    ] = False,
    task: Annotated[
        str, typer.Option("--task", metavar="classify|translate", help="Of your own table: what is to be learned.")
    ] = "",
    text: Annotated[str, typer.Option("--text", metavar="COLUMN", help="Of a table of labels: what is read.")] = "",
    label: Annotated[str, typer.Option("--label", metavar="COLUMN", help="Of a table of labels: what is given.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON line per validation, and the results.")] = False,
    trust: Trust = False,
) -> None:
    """Train what a recipe describes, or on your own files: a translator on two of parallel lines or on tables, a
    classifier on a table of texts with labels (--task classify --text COLUMN --label COLUMN), word vectors on texts or
    a folder of them, or what `clew.presets` has for a folder of images.

    `clew train RUN --resume` goes on with a run by its own recipe; under a larger budget, also where it had finished.
    """
    from clew.recipe_file import load_received, load_recipe

    paths = [argument for argument in arguments if "=" not in argument or os.path.exists(argument)]
    overrides = [argument for argument in arguments if argument not in paths]
    if len(paths) == 1 and (own := Path(paths[0]) / "recipe.toml").is_file():
        recipe = load_received(own, overrides)
        out = out or Path(paths[0])
    elif len(paths) == 1 and paths[0].endswith(".toml"):
        recipe, _ = load_recipe(paths[0], overrides)
    else:
        preset, own_settings = own_files(paths, overrides, task=task, text=text, label=label)
        with as_file(files("clew.presets") / preset) as file:
            recipe, _ = load_recipe(file, [*own_settings, *overrides])
    folder = out or Path("runs") / recipe.name
    from clew.runs.training import open_training  # comes with the models: a wrong request is answered by now

    try:
        with reading() as watch:
            training = open_training(recipe, folder, resume=resume, watch=watch, changed_data=changed_data)
        show(training, recipe, folder, as_json)
    except KeyboardInterrupt as interrupt:
        from clew.runs import Run

        raise KeyboardInterrupt(Run(folder).saved) from interrupt


@contextmanager
def reading() -> Iterator[Callable[[str, int, int], None]]:
    """Bars on standard error, at a terminal, for what is read before training; gone when it has been read."""
    from rich.console import Console
    from rich.progress import Progress, TaskID

    bars: dict[str, TaskID] = {}
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal, redirect_stdout=False) as progress:

        def watch(what: str, done: int, total: int) -> None:
            if what not in bars:
                bars[what] = progress.add_task(what)
            progress.update(bars[what], completed=done, total=total)

        yield watch


def show(training: Training | None, recipe: Recipe, folder: Path, as_json: bool) -> None:
    """Run it, with a progress bar on standard error and a line per validation."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from clew.runs import Run
    from clew.runs.results import metrics, with_interval

    console = Console(stderr=True, soft_wrap=True)
    if training is None:
        console.print("this run has finished; with a larger train.budget it would go on", highlight=False)
    else:
        for line in [*training.seen, *training.report, *training.notes, training.describe()]:
            console.print(line, markup=False, highlight=False)
        columns = [TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%")]
        columns += [TimeElapsedColumn(), TimeRemainingColumn()]
        # rich would send what is meant for a file to the terminal, where standard output and error part ways.
        with Progress(*columns, console=console, redirect_stdout=sys.stdout.isatty()) as progress:
            bar, unit = progress.add_task(recipe.name, total=1.0), training.task.unit
            for moment in training.go():
                progress.update(bar, completed=min(1.0, moment.step.done), description=describe(moment, unit))
                if moment.validation is None:
                    continue
                figures = {key: value for key, value in moment.validation.items() if key != "samples"}
                if as_json:
                    echo(json.dumps({"step": moment.step.number, **figures}))
                numbers = "  ".join(f"{key} {value:.4g}" for key, value in figures.items())
                progress.console.print(f"step {moment.step.number:,}  {numbers}", highlight=False)
                for sample in moment.validation["samples"][:1]:
                    progress.console.print(
                        f"  {sample['source']}\n  → {sample['output']}", markup=False, highlight=False
                    )
            account = training.account
            for line in (f"ended: {account['ended']}", f"kept: {account['kept']}"):
                progress.console.print(line, markup=False, highlight=False)
            progress.update(bar, description=f"{recipe.name}: measuring")
            training.finish()
    results = Run.open(folder).results()
    if as_json:
        echo(json.dumps(results, ensure_ascii=False))
        return
    for split, figures in results["splits"].items():
        echo(f"{split}: " + "  ".join(f"{name} {with_interval(value)}" for name, value in metrics(figures).items()))
    echo(f"run: {folder}\nnext: clew predict {folder} {Run.open(folder).task.asking}")


def describe(moment: Event, unit: str) -> str:
    """What the bar says: step, loss, speed in what a budget in tokens counts, gradient norm."""
    step, progress = moment.step, moment.progress
    speed = progress.read / max(progress.wall_seconds, 1e-9)
    where = f"step {step.number:,}  epoch {progress.epoch:.1f}"
    return f"{where}  loss {step.loss:.3f}  {speed:,.0f} {unit}/s  |g| {step.grad_norm:.2f}"
