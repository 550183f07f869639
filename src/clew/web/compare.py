"""Two runs beside each other: what was asked of them, what they reached, what each wrote, which layers are alike."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from clew.config import build
from clew.errors import ClewError, DataError, told
from clew.inspect.cka import cka_map
from clew.inspect.reading import read_together
from clew.metrics import Score, paired_bootstrap
from clew.metrics.shown import about
from clew.runs import Run, results
from clew.web.model_cache import ModelCache

SHOWN = 60  # examples in which the two differ most
TEXTS = 64  # that layers are compared on


def compare(one: Run, other: Run) -> dict[str, Any]:
    """The differences of two runs. What cannot be had of their data is told in `why`, and the rest is there."""
    mine, theirs = (run.recipe.model_dump(mode="json") for run in (one, other))
    out: dict[str, Any] = {
        "recipe": [{"key": key, "one": a, "other": b} for key, a, b in results.differences(mine, theirs)],
        "metrics": metrics(one, other), "paired": [], "examples": [], "split": "", "counts": None, "why": "",
    }  # fmt: skip
    try:
        out |= outputs(one, other)
    except (ClewError, OSError) as error:
        out["why"] = told(error)
    return out


def metrics(one: Run, other: Run) -> list[dict[str, Any]]:
    """Every figure that both measured at their end."""
    if not (one.finished and other.finished):
        return []
    splits = [
        {split: results.metrics(figures) for split, figures in run.results()["splits"].items()} for run in (one, other)
    ]
    return [
        {"split": split, "name": name, "label": named(name), "one": figure, "other": splits[1][split][name]}
        for split, figures in splits[0].items() if split in splits[1]
        for name, figure in figures.items() if name in splits[1][split]
    ]  # fmt: skip


def named(figure: str) -> str:
    """A figure's name for people: that of the metric, and the set or part that it is of."""
    metric, _, part = figure.partition(":")
    return ", ".join(filter(None, (about(metric)["label"], part)))


def outputs(one: Run, other: Run) -> dict[str, Any]:
    """What both made of the same examples. Raises DataError where there are none that both were measured on."""
    a, b = one.recipe, other.recipe
    if a.task != b.task or a.data != b.data:
        raise DataError("these two were not measured on the same examples: their task or their data differ")
    if not (one.finished and other.finished):
        raise DataError("both must have finished: their outputs are written at the end")
    split = next(iter(one.results()["splits"]))
    given, references = examples(one, split)
    texts = [run.outputs(split) for run in (one, other)]
    if not len(given) == len(texts[0]) == len(texts[1]):
        raise DataError("there are no outputs of the same examples to compare")
    task = one.task
    scores = [task.each_score(written, references) for written in texts]
    gain = scores[1] - scores[0]
    order = np.argsort(-np.abs(gain), kind="stable")[:SHOWN]
    return {
        "split": split,
        "paired": [paired(name, *both) for name, both in task.paired(texts[0], texts[1], references).items()],
        "counts": {"better": int((gain > 0).sum()), "worse": int((gain < 0).sum()), "equal": int((gain == 0).sum())},
        "examples": [
            {"source": given[i], "reference": references[i], "one": texts[0][i], "other": texts[1][i],
             "gain": float(gain[i])}
            for i in order
        ],
    }  # fmt: skip


def examples(run: Run, split: str) -> tuple[list[str], list[str]]:
    """Inputs, as people read them, and right answers of a split. Raises DataError for a task that has none."""
    task, rows = run.task, build("data", run.recipe.data).split(split)
    return [*map(task.line, task.inputs(rows))], task.references(rows)


def paired(name: str, one: Score, other: Score) -> dict[str, Any]:
    """The second less the first, by a paired bootstrap."""
    return {"name": name, "one": one.value, "other": other.value, **asdict(paired_bootstrap(other, one))}


def alike(cache: ModelCache, one: str, other: str) -> dict[str, Any]:
    """CKA of every layer of one run with every layer of the other, on the first's own texts."""
    run = cache.runs.open(one)
    data = build("data", run.recipe.data)
    split = next((name for name in data.splits if name not in ("train", "valid")), "valid")
    texts = cka_texts(run, data, split)
    with cache.use(one) as first:
        model, preprocessor = first.model, first.preprocessor
    with cache.use(other) as second:  # the first stays in memory meanwhile: this page alone holds two
        batches = (
            (a.batch, b.batch)
            for a, b in zip(
                read_together(model, preprocessor, texts),
                read_together(second.model, second.preprocessor, texts), strict=True,
            )
        )  # fmt: skip
        found = cka_map(model, second.model, batches)
    return asdict(found)


def cka_texts(run: Run, data: Any, split: str) -> list[str]:
    """Texts that a run reads: the first of a split, or the examples of its task where rows have no texts."""
    found = run.task.texts(data, split, TEXTS)
    if len(found) < 4:
        raise DataError("there are too few texts to compare layers on")
    return found
