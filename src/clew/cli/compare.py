"""`clew compare`: several recipes, or one with settings varied, under one budget."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clew.cli.say import echo
from clew.cli.trust import Trust
from clew.errors import ClewError, RecipeError

if TYPE_CHECKING:
    from clew.study.compare import Event
    from clew.study.plan import Plan


def compare(
    arguments: Annotated[
        list[str], typer.Argument(metavar="RECIPE… [KEY=VALUE…]", help="One recipe or several; then settings for all.")
    ],
    vary: Annotated[
        list[str] | None, typer.Option(metavar="KEY=A,B,…", help="Settings to try; repeat for a grid.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each, from different random starts.")] = 1,
    budget: Annotated[
        str | None, typer.Option(help='Of each training: "10m" (CPU-minutes), "2000steps", "5Mtokens", "3epochs".')
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder; runs/compare-NAME by default. Name it again to go on.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Trainings side by side.")] = 1,
    target: Annotated[
        float | None, typer.Option(help="Validation quality to time; by default 90% of the best model's.")
    ] = None,
    by: Annotated[
        str, typer.Option(metavar="FIGURE", help="What to compare by: perplexity, chrf, accuracy…; the task's own.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole comparison as JSON.")] = False,
    trust: Trust = False,
) -> None:
    """Train several recipes, or one with settings varied, under equal budgets; report which wins, and at what cost."""
    from clew.data.lines import did_you_mean
    from clew.metrics.shown import METRICS
    from clew.recipe_file import load_recipe
    from clew.study.plan import make_plan, parse_budget

    paths = [argument for argument in arguments if "=" not in argument or os.path.exists(argument)]
    if not paths:
        raise RecipeError("no recipe was named", where="command line", fix="clew compare RECIPE… [KEY=VALUE…]")
    overrides = [argument for argument in arguments if argument not in paths]
    if by and by not in METRICS:
        raise RecipeError(f'there is no figure "{by}"', where="--by", fix=did_you_mean(by, METRICS))
    limit, varied = parse_budget(budget) if budget else None, dict(parse_vary(text) for text in vary or [])
    recipes = [load_recipe(path, overrides)[0] for path in paths]
    plan = make_plan(
        recipes,
        varied,
        seeds,
        out or Path("runs") / f"compare-{'-'.join(recipe.name for recipe in recipes)}",
        budget=limit,
        command=shlex.join(["clew", *sys.argv[1:]]),
    )
    from clew.study.compare import compare as run_study  # both come with the models: a wrong request is answered by now
    from clew.study.report import write_report

    failed = show(plan, run_study(plan, jobs=jobs))
    if failed == len(plan.runs):
        raise ClewError(
            "every training failed", where=str(plan.folder), fix="mend what is said above, and run it again"
        )
    view = write_report(plan.folder, target=target, by=by)
    if as_json:
        echo(json.dumps(view, ensure_ascii=False))
    else:
        for sentence in view["summary"]:
            echo(f"- {sentence}")
        echo(f"\nreport: {plan.folder / 'report.html'}")
    if failed:
        raise typer.Exit(1)


def parse_vary(text: str) -> tuple[str, list[str]]:
    """Read "key.sub=a,b,c"; commas inside brackets or quotes do not part values."""
    key, equals, values = text.partition("=")
    parts, depth, quote = [""], 0, ""
    for character in values:
        if character == "," and not depth and not quote:
            parts.append("")
            continue
        if character in "\"'":
            quote = "" if quote == character else quote or character
        depth += (character in "[{") - (character in "]}")
        parts[-1] += character
    parts = [part.strip() for part in parts]
    if not equals or not key.strip() or not all(parts):
        raise RecipeError(
            f'cannot read "{text}"', where="--vary", fix="write --vary model.attention.score=additive,dot"
        )
    if len(set(parts)) < len(parts):
        raise RecipeError(f'"{text}" names a value twice', where="--vary", fix="name each value once")
    return key.strip(), parts


def show(plan: Plan, events: Any) -> int:
    """Draw one line per training at work, and print each end; returns how many failed."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    several = len(plan.seeds) > 1
    columns = [TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%")]
    columns += [TextColumn("{task.fields[state]}"), TimeElapsedColumn(), TimeRemainingColumn()]
    lines: dict[int, TaskID] = {}
    failed = 0
    with Progress(*columns, console=console) as progress:
        for event in events:
            name = f"[{event.number}/{event.total}] {event.run.variant.label}"
            name += f", seed {event.run.seed}" if several else ""
            if event.number not in lines:
                lines[event.number] = progress.add_task(name, total=1.0, state="")
            if event.state == "running":
                progress.update(lines[event.number], completed=event.done or 0.0, state=_state(event))
                continue
            progress.remove_task(lines[event.number])
            failed += event.state == "failed"
            console.print(f"{name}: {event.state}" + (f"\n{event.error}" if event.error else ""), markup=False)
    return failed


def _state(event: Event) -> str:
    if event.step is None:
        return ""
    return f"step {event.step:,}" + (f" loss {event.loss:.3f}" if event.loss is not None else "")
