"""The report of a study, made from its run folders alone: report.json, report.md, report.html."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clew.config import build
from clew.data.rows import Rows
from clew.inspect.attention import salient
from clew.metrics import bleu, chrf, paired_bootstrap, parse_links
from clew.page.single_file import single_file
from clew.runs.folder import Run
from clew.study.compare import reason
from clew.study.plan import Plan
from clew.study.view import Finished, View, build_view, main_split
from clew.study.words import markdown, ranked, summarise

SHOWN = (0.05, 0.25, 0.5, 0.75, 0.95)  # which sentences of the split that runs are judged by: quantiles of length
SHOWN_OTHER = (0.25, 0.75)  # and of each other split that they measured
DIGITS = 3  # of attention weights, which are shown as shades
PAIRED = {"bleu": bleu, "chrf": chrf}  # metrics that two sets of outputs can be compared by, sentence by sentence


@dataclass(frozen=True)
class Example:
    """A sentence that every model is shown."""

    source: str
    reference: str
    gold: list[list[int]] | None  # [source word, target word]


def write_report(folder: Path, *, target: float | None = None) -> View:
    """Write report.json, report.md and report.html into the folder of a study and return the view that they show.

    target: the validation quality that "time to quality" refers to; by default 90% of the best model's last.
    Raises RunError where nothing has finished, ClewError where the browser page has not been built.
    """
    plan = Plan.load(folder)
    runs: dict[str, dict[int, Run]] = {variant.id: {} for variant in plan.variants}
    for planned in plan.runs:
        if (run := Run(planned.folder)).finished:
            runs[planned.variant.id][planned.seed] = run
    failed = {
        run.variant.id: reason(run.failure.read_text(encoding="utf-8")) for run in plan.runs if run.failure.exists()
    }
    read = {id: [Finished(seed, run.results(), run.metrics()) for seed, run in of.items()] for id, of in runs.items()}
    recipe = plan.variants[0].recipe
    view = build_view(plan, read, failed, build("task", recipe.task).quality, target)
    data = build("data", recipe.data)
    firsts = {id: next(iter(of.values())) for id, of in runs.items() if of}
    results = next(iter(firsts.values())).results()
    view["data"] = describe_data(data, results)
    view["sentences"] = sentences(choose_examples(data, recipe.task, list(results["splits"])), firsts)
    view["summary"] = summarise(view, p_values(view, firsts, data))
    (folder / "report.json").write_text(json.dumps(view, ensure_ascii=False, allow_nan=False), encoding="utf-8")
    (folder / "report.md").write_text(markdown(view), encoding="utf-8")
    (folder / "report.html").write_text(single_file("compare", view), encoding="utf-8")
    return view


def p_values(view: View, firsts: Mapping[str, Run], data: Any) -> dict[tuple[str, str], float]:
    """Paired bootstrap between the best two of a one-seed study, from their outputs for the same test sentences."""
    best = ranked(view, view["quality"])[:2]
    runs = [firsts[model["id"]] for model in best]
    measure = PAIRED.get(view["quality"])
    same_data = len({run.recipe.data.model_dump_json() for run in runs}) == 1
    if len(runs) < 2 or any(len(model["seeds"]) > 1 for model in best) or measure is None or not same_data:
        return {}
    split = main_split(runs[0].results())
    references = data.split(split)[runs[0].recipe.task.target]
    a, b = (measure(run.outputs(split), references) for run in runs)
    return {(best[0]["id"], best[1]["id"]): paired_bootstrap(a, b).p_value}


def describe_data(data: Any, results: Mapping[str, Any]) -> str:
    """Name a data source, its licence, what was read of it and the sentences of the splits that were measured."""
    name = getattr(data.config, "name", data.config.kind)
    measured = ", ".join(f"{split} {figures['sentences']:,} rows" for split, figures in results["splits"].items())
    return "; ".join([f"{name} (licence: {data.about['licence']})", *results["data"], measured])


def choose_examples(data: Any, task: Any, splits: Sequence[str]) -> list[Example]:
    """Take sentences of varied lengths from the splits that the runs measured, most from the first."""
    examples = []
    for n, split in enumerate(splits):
        rows = data.split(split)
        examples += [_example(rows, i, task) for i in by_length(rows[task.source], SHOWN_OTHER if n else SHOWN)]
    return examples


def by_length(texts: Sequence[str], quantiles: Sequence[float]) -> list[int]:
    """The rows at the given quantiles of length in words, each row once."""
    order = sorted(range(len(texts)), key=lambda i: (len(texts[i].split()), i))
    return list(dict.fromkeys(order[math.floor(q * (len(order) - 1))] for q in quantiles)) if order else []


def _example(rows: Rows, i: int, task: Any) -> Example:
    gold = None
    if task.alignment in rows.columns:
        gold = [list(link) for link in sorted(parse_links(rows[task.alignment][i])[1])]
    return Example(rows[task.source][i], rows[task.target][i], gold)


def sentences(examples: Sequence[Example], runs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Have every model (its first seed) predict the same examples, and keep what it looked at."""
    texts = [example.source for example in examples]
    predicted = {}
    for id, run in runs.items():
        found = run.task.predict(run.model(), run.tokenizers(), texts, run.recipe.decode, attention=True)
        predicted[id] = [_output(prediction, best_aligned(run)) for prediction in found]
    return [
        {
            "source": example.source,
            "reference": example.reference,
            "gold_alignment": example.gold,
            "outputs": {id: outputs[i] for id, outputs in predicted.items()},
        }
        for i, example in enumerate(examples)
    ]


def best_aligned(run: Run) -> str | None:
    """The attention map that was chosen for its alignment, where there were gold alignments to choose by."""
    results = run.results()
    name: str | None = results["splits"][main_split(results)].get("aer", {}).get("map")
    return name


def _output(prediction: Any, best: str | None) -> dict[str, Any]:
    """Plain data of one prediction; its first attention map is the one to show."""
    maps = dict(prediction.attention)
    first = best if best in maps else _likeliest(list(maps))
    shown = sorted(maps, key=lambda name: name != first)
    return {
        "text": prediction.text,
        "score": prediction.score,
        "source_tokens": prediction.source_tokens,
        "target_tokens": prediction.target_tokens,
        "attention": [{"name": name, "weights": _rounded(maps[name])} for name in shown],
        "salient": salient(maps[first]) if first else [],
    }


def _likeliest(names: Sequence[str]) -> str | None:
    """Without gold alignments: the mean of the last layer but one, which aligns best as a rule (Garg et al. 2019).

    Of one or two layers, the last.
    """
    layers = [name for name in names if not name.endswith("]")]
    return layers[-2] if len(layers) > 2 else layers[-1] if layers else None


def _rounded(weights: Any) -> list[list[float]]:
    return [[round(float(weight), DIGITS) for weight in row] for row in weights]
