"""A suite: one pre-trained encoder, fine-tuned on each of its tasks, in one table with one average."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import as_file, files
from pathlib import Path
from statistics import fmean
from typing import Any

from clew.config import Recipe, build, resolve
from clew.errors import DataError, MissingExtra, RecipeError
from clew.hub.transformers_folder import Checkpoint
from clew.recipe_file import load_recipe
from clew.runs.folder import Run, write
from clew.study.compare import reason
from clew.study.plan import Plan, Variant
from clew.study.statistics import of_scores, over_seeds

# Name → its tasks, each a recipe in the folder of that name in clew/presets.
SUITES = {"glue": ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli")}

Report = dict[str, Any]


def make_suite(
    name: str,
    encoder: str,
    folder: Path,
    *,
    tasks: Sequence[str] = (),
    overrides: Sequence[str] = (),
    seeds: int = 1,
    command: str = "",
) -> tuple[Plan, dict[str, str]]:
    """What there is to train, which `clew.study.compare.compare` does; and the tasks left out, with the reason.

    encoder: a run, or a folder or hub name that transformers loads. tasks: some of the suite, or none for all of them.
    overrides: settings, `key=value` for all tasks, `TASK.key=value` for one. A finished task needs no data any more.
    Raises RecipeError for an unknown suite or task or what is no encoder, DataError where no task has data.
    """
    recipes = load_suite(name, encoder, tasks, overrides)
    check_encoder(encoder)
    first = next(iter(recipes.values())).seed
    plan = Plan(folder, [Variant(task, task, {}, r) for task, r in recipes.items()], [first + i for i in range(seeds)],
                command)  # fmt: skip
    to_do = {run.variant.id for run in plan.runs if not Run(run.folder).finished}
    left_out = {task: why for task, r in recipes.items() if task in to_do and (why := unavailable(r))}
    if len(left_out) == len(recipes):
        reasons = "\n".join(f"{task}: {why}" for task, why in left_out.items())
        raise DataError(f"none of the tasks has its data here\n{reasons}", where=f"suite {name}")
    return Plan(folder, [v for v in plan.variants if v.id not in left_out], plan.seeds, command), left_out


def load_suite(name: str, encoder: str, tasks: Sequence[str], overrides: Sequence[str]) -> dict[str, Recipe]:
    """Task → its recipe, which starts from the encoder."""
    known = SUITES.get(name)
    if known is None:
        raise RecipeError(f'there is no suite "{name}"', where="--suite", fix=f"known: {', '.join(SUITES)}")
    if unknown := [task for task in tasks if task not in known]:
        raise RecipeError(
            f"{name} has no task {', '.join(unknown)}", where="--tasks", fix=f"its tasks: {', '.join(known)}"
        )
    shared = [o for o in overrides if o.partition(".")[0] not in known]
    recipes = {}
    with as_file(files("clew.presets") / name) as presets:
        for task in tasks or known:
            own = [o.removeprefix(f"{task}.") for o in overrides if o.startswith(f"{task}.")]
            settings = [f"model.start={json.dumps(encoder)}", *shared, *own]
            recipes[task] = load_recipe(presets / f"{task}.toml", settings)[0]
    return recipes


def check_encoder(encoder: str) -> None:
    """Raise RecipeError for a run of another kind, RunError or DataError where there are no weights to start from."""
    run = Run(encoder)
    kind = run.recipe.model.kind if run.started else ""
    if kind and not resolve("model", kind).bears_heads:
        raise RecipeError(
            f"this run holds a {kind}, which is no encoder that a task could start from", where=encoder,
            fix="give a pre-trained encoder (recipes/bert/wikipedia.toml), or one that transformers loads",
        )  # fmt: skip
    found = Checkpoint.find(encoder)
    _ = found.config, found.files


def unavailable(recipe: Recipe) -> str:
    """Why its data cannot be had; nothing where it can."""
    try:
        build("data", recipe.data).split("valid")
    except (DataError, MissingExtra) as error:
        return str(error)
    return ""


def report(name: str, encoder: str, plan: Plan, left_out: dict[str, str]) -> Report:
    """The figures of every task that has finished, from the run folders alone.

    A task's score is the mean of its metrics, over splits where it has several (matched and mismatched MNLI); the
    average is the mean of the tasks' scores (Wang et al. 2018, §3). All are in percent. Intervals as `of_scores` says.
    """
    tasks: dict[str, Any] = {}
    failed: dict[str, str] = {}
    for variant in plan.variants:
        runs = [run for run in plan.runs if run.variant is variant]
        if all(Run(run.folder).finished for run in runs):
            tasks[variant.id] = figures([Run(run.folder).results() for run in runs], variant.recipe.task.metrics)
            continue
        notes = [run.failure.read_text(encoding="utf-8") for run in runs if run.failure.exists()]
        failed[variant.id] = reason(notes[0]) if notes else "not finished"
    scores = [task["score"]["per_seed"] for task in tasks.values()]
    return {
        "suite": name, "encoder": encoder, "seeds": plan.seeds, "tasks": tasks,
        "average": asdict(over_seeds([fmean(seed) for seed in zip(*scores, strict=True)])) if scores else None,
        "left_out": left_out, "failed": failed,
    }  # fmt: skip


def figures(results: Sequence[dict[str, Any]], metrics: Sequence[str]) -> dict[str, Any]:
    """One task's figures over its seeds, split by split, and its score."""
    splits = {
        split: {"examples": measured["sentences"]}
        | {metric: asdict(of_scores([each["splits"][split][metric] for each in results])) for metric in metrics}
        for split, measured in results[0]["splits"].items()
    }
    scores = [fmean(split[m]["value"] for split in each["splits"].values() for m in metrics) for each in results]
    return {
        "splits": splits,
        "score": asdict(over_seeds(scores)),
        "cpu_seconds": sum(r["cpu_seconds"] for r in results),
    }


def write_report(view: Report, folder: Path) -> str:
    """Write report.md beside the runs; returns its text."""
    text = markdown(view)
    write(folder / "report.md", text)
    return text


def markdown(view: Report) -> str:
    """The table, then what is missing from it and what its intervals are."""
    of = len(SUITES[view["suite"]])
    seeds, several = view["seeds"], len(view["seeds"]) > 1
    rows = [["task", "split", "examples", "figures", "score", "CPU-min"], ["---"] * 6]
    for task, found in view["tasks"].items():
        last = [shown(found["score"], several), f"{found['cpu_seconds'] / 60:.1f}"]
        for split, measured in found["splits"].items():
            metrics = ", ".join(f"{m} {shown(f)}" for m, f in measured.items() if m != "examples")
            rows.append([task, split, f"{measured['examples']:,}", metrics, *last])
            task, last = "", ["", ""]
    if view["average"]:
        n, total = len(view["tasks"]), sum(found["cpu_seconds"] for found in view["tasks"].values())
        name = f"average of {n}" + (f" of {of}" if n < of else "")
        rows.append([name, "", "", "", shown(view["average"], several), f"{total / 60:.1f}"])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [f"# {view['suite'].upper()}: {view['encoder']}", ""]
    lines += [f"| {' | '.join(cell.ljust(w) for cell, w in zip(row, widths, strict=True))} |" for row in rows]
    for title, group in (("Left out", view["left_out"]), ("Failed", view["failed"])):
        for task, why in group.items():
            lines += ["", f"{title}: {task}: {' '.join(why.split())}"]
    over = f"over {len(seeds)} trainings (Student's t)" if several else "over examples (bootstrap) of one training"
    lines += [
        "",
        f"In percent; 95% intervals {over}. A score is the mean of a task's figures, the average that of scores.",
    ]
    return "\n".join(lines) + "\n"


def shown(interval: dict[str, Any], width: bool = True) -> str:
    return f"{interval['mean']:.1f}" + (f" [{interval['low']:.1f}, {interval['high']:.1f}]" if width else "")
