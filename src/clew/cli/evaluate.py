"""`clew evaluate`: score a run on a split of its data, or on other files; an encoder on the tasks of a suite."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from clew.cli.say import echo, model_of
from clew.cli.trust import Trust
from clew.errors import ClewError, RecipeError


def evaluate(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE…", help="Settings: decode.beam=1, data.…; with --suite any, TASK.KEY=… too."),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Which split; test by default, valid where there is no test.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print for machines.")] = False,
    ask: Annotated[
        Path | None, typer.Option(metavar="RECIPE", help="Ask a run that writes what this recipe of the task asks.")
    ] = None,
    suite: Annotated[
        str | None, typer.Option(help="Fine-tune this encoder on every task of a suite: glue. Run it again to go on.")
    ] = None,
    tasks: Annotated[str | None, typer.Option(metavar="A,B,…", help="Of the suite, only these.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Of the suite: trainings of each task.")] = 1,
    jobs: Annotated[int, typer.Option(min=1, help="Of the suite: trainings side by side.")] = 1,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Of the suite: its folder; RUN/SUITE by default.")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Only check that every file is as it was when the run finished.")
    ] = False,
    trust: Trust = False,
) -> None:
    """Score a run on a split of its data: every metric of its task, with 95% intervals and signatures.

    `--ask RECIPE`: a model that writes answers the questions of another recipe, whose settings may be changed.
    `--suite glue`: fine-tune this encoder on each of its tasks, a run each, and print the table.
    """
    if verify:
        _verify(run)
        return
    if ask is not None:
        _ask(ask, run, overrides or [], split, as_json)
        return
    if suite is not None:
        if split is not None:
            raise RecipeError("a suite measures the splits of its tasks", where="--split", fix="leave it out")
        names = [task.strip() for task in tasks.split(",")] if tasks else []
        _suite(suite, run, names, overrides or [], seeds, jobs, out, as_json)
        return
    if tasks or out or seeds > 1 or jobs > 1:
        raise RecipeError("--tasks, --seeds, --jobs and --out are about a suite", where="command line",
                          fix="add --suite glue")  # fmt: skip
    from clew.config import build
    from clew.recipe_file import recipe_of_run

    recipe_of_run(run)  # before the models are imported
    from clew.runs import Run

    opened = Run.open(run)
    recipe = changed(opened, overrides or [], "data", "decode")
    data = build("data", recipe.data)
    split = split or ("test" if "test" in data.splits else "valid")
    rows = data.split(split)
    choose_on = data.split("valid") if "valid" in data.splits else None
    model = model_of(opened)
    figures = opened.task.evaluate(model, opened.preprocessor(), rows, recipe.decode, choose_on=choose_on)
    _show(split, rows, figures, as_json, opened.task.example_name)


def _verify(run: Path) -> None:
    """Print how many files are as they were. Raise RunError naming those that are not, or where there is no list."""
    from clew.errors import RunError
    from clew.recipe_file import recipe_of_run

    recipe_of_run(run)
    from clew.runs import manifest

    listed = manifest.read_manifest(run)
    if listed is None:
        raise RunError(
            f"this run has no {manifest.MANIFEST}: it has not finished, or comes from an older clew", where=str(run),
            fix=f"finish it: clew train {run} --resume",
        )  # fmt: skip
    manifest.check(run)
    echo(f"{len(listed)} files and {len([*run.glob('checkpoints/step-*')])} checkpoints are as they were written")


def changed(run: Any, overrides: list[str], *tables: str) -> Any:
    """The recipe of a run with the settings of the command line. Raises RecipeError where they are not in `tables`."""
    from clew.recipe_file import load_received
    from clew.runs.results import differences

    recipe = load_received(run.path / "recipe.toml", overrides)
    found = differences(run.recipe.model_dump(mode="json"), recipe.model_dump(mode="json"))
    if fixed := [key for key, _, _ in found if key.partition(".")[0] not in tables]:
        raise RecipeError(
            f"a trained run cannot change its {', '.join(fixed)}", where="command line",
            fix="change " + " or ".join(f"{table}.…" for table in tables),
        )  # fmt: skip
    return recipe


def _ask(questions: Path, run: Path, overrides: list[str], split: str | None, as_json: bool) -> None:
    """Score the choices of a recipe's questions by a run that writes."""
    from clew.config import build
    from clew.recipe_file import load_recipe, recipe_of_run

    recipe_of_run(run)  # before the models are imported
    recipe, _ = load_recipe(questions, overrides)
    from clew.runs import Run

    opened = Run.open(run)
    task = build("task", recipe.task)
    if not (task.asks and opened.task.writes_on):
        raise RecipeError(
            f"a run of the task {opened.recipe.task.kind} is asked by a recipe of the task {recipe.task.kind}",
            where="--ask", fix='a run of the task language_model, and a recipe of the task ask, are wanted',
        )  # fmt: skip
    data = build("data", recipe.data)
    split = split or ("test" if "test" in data.splits else "valid")
    train = data.split("train") if "train" in data.splits else None
    model = model_of(opened)
    rows = data.split(split)
    figures = task.evaluate(model, opened.preprocessor(), rows, recipe.decode, choose_on=train)
    _show(split, rows, figures, as_json, task.example_name)


def _show(split: str, rows: Any, figures: dict[str, Any], as_json: bool, item: str) -> None:
    from clew.runs.results import shown

    outputs = figures.pop("outputs")
    if as_json:
        echo(json.dumps({"split": split, **figures, "outputs": outputs}, ensure_ascii=False))
        return
    for line in rows.seen:
        echo(line, err=True)
    echo(f"{split}: {rows.report}")
    for name, figure in figures.items():
        echo(f"{name.replace('sentence', item):>30}  {shown(figure)}")


def _suite(
    name: str, run: Path, tasks: list[str], settings: list[str], seeds: int, jobs: int, out: Path | None, as_json: bool
) -> None:
    """Fine-tune on each task, print the table; exit code 1 where a training failed."""
    from clew.cli.compare import show
    from clew.study.compare import compare
    from clew.study.suite import make_suite, report, write_report

    folder = out or (run / name if run.is_dir() else Path("runs") / f"{name}-{run.name}")
    command = shlex.join(["clew", *sys.argv[1:]])
    plan, left_out = make_suite(
        name, str(run), folder, tasks=tasks, overrides=settings, seeds=seeds, command=command
    )  # fmt: skip
    for task, why in left_out.items():
        echo(f"{task} is left out: {why}", err=True)
    failed = show(plan, compare(plan, jobs=jobs))
    view = report(name, str(run), plan, left_out)
    text = write_report(view, folder)
    if not view["tasks"]:
        raise ClewError("every training failed", where=str(folder), fix="mend what is said above, and run it again")
    echo(json.dumps(view, ensure_ascii=False) if as_json else f"{text}\ntable: {folder / 'report.md'}")
    if failed:
        raise typer.Exit(1)
