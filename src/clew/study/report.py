"""The report of a study, made from its run folders alone: report.json, report.md, report.html."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clew.config import build
from clew.errors import DataError
from clew.metrics import paired_bootstrap
from clew.metrics.alignment import salient
from clew.page.single_file import single_file
from clew.runs.folder import Run
from clew.study.compare import reason
from clew.study.plan import Plan
from clew.study.view import Finished, View, build_view, main_split
from clew.study.words import markdown, ranked, summarise

DIGITS = 3  # of attention weights, which are shown as shades


def write_report(folder: Path, *, target: float | None = None, by: str = "") -> View:
    """Write report.json, report.md and report.html into the folder of a study and return the view that they show.

    target: the validation quality that "time to quality" refers to; by default 90% of the best model's last. by: the
    figure to compare by, instead of the task's own. Raise RunError where nothing has finished, RecipeError where that
    figure was not measured, ClewError where the browser page has not been built.
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
    task = build("task", recipe.task)
    measured = [run.results["splits"][main_split(run.results)] for of in read.values() for run in of]
    quality, reason_for_it = task.compared_by(measured, by)
    view = build_view(plan, read, failed, quality, target) | {
        "compared_because": reason_for_it,
        "items": task.example_name,
        "counted": task.unit,
        "open_ended": task.open_ended,
    }
    firsts = {id: next(iter(of.values())) for id, of in runs.items() if of}
    first = next(iter(firsts.values()))
    data, results = build("data", first.recipe.data), first.results()  # as it was parted for training
    view["data"] = describe_data(data, results)
    view["sentences"] = sentences(task.examples(data, list(results["splits"])), firsts)
    view["summary"] = summarise(view, p_values(view, firsts, data))
    (folder / "report.json").write_text(json.dumps(view, ensure_ascii=False, allow_nan=False), encoding="utf-8")
    (folder / "report.md").write_text(markdown(view), encoding="utf-8")
    (folder / "report.html").write_text(single_file("compare", view), encoding="utf-8")
    return view


def p_values(view: View, firsts: Mapping[str, Run], data: Any) -> dict[tuple[str, str], float]:
    """Paired bootstrap between the best two of a one-seed study, from their outputs for the same test sentences."""
    best = ranked(view, view["quality"])[:2]
    runs = [firsts[model["id"]] for model in best]
    same_data = len({run.recipe.data.model_dump_json() for run in runs}) == 1
    if len(runs) < 2 or any(len(model["seeds"]) > 1 for model in best) or not same_data:
        return {}
    split = main_split(runs[0].results())
    try:
        references = runs[0].task.references(data.split(split))
    except DataError:  # of running text there are none
        return {}
    one, other = (run.outputs(split) for run in runs)
    scores = runs[0].task.paired(one, other, references).get(view["quality"])
    return {(best[0]["id"], best[1]["id"]): paired_bootstrap(*scores).p_value} if scores else {}


def describe_data(data: Any, results: Mapping[str, Any]) -> str:
    """Name a data source, its licence, what was read of it and the sentences of the splits that were measured."""
    name = data.config.model_dump().get("name", data.config.kind)
    measured = [f"{split} {f['sentences']:,} rows" for split, f in results["splits"].items() if "sentences" in f]
    parts = [f"{name or data.config.kind} (licence: {data.about['licence']})", *results["data"], ", ".join(measured)]
    return "; ".join(part for part in parts if part)


def sentences(examples: Sequence[Any], runs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Have every model (its first seed) predict the same examples, and keep what it looked at."""
    texts = [example.source for example in examples]
    predicted = {}
    for id, run in runs.items():
        model, preprocessor = run.model(), run.preprocessor()
        inputs = (preprocessor.parse(text, Path()) for text in texts)
        found = run.task.predict(model, preprocessor, inputs, run.recipe.decode, attention=True)
        best = best_aligned(run)
        predicted[id] = [_output(each, best, example.reference) for each, example in zip(found, examples, strict=True)]
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


def _output(prediction: Any, best: str | None, reference: str) -> dict[str, Any]:
    """Plain data of one prediction, as the reference is written; its first attention map is the one to show."""
    maps = dict(prediction.attention)
    first = best if best in maps else _likeliest(list(maps))
    shown = sorted(maps, key=lambda name: name != first)
    return {
        "text": prediction.text if reference else prediction.shown or prediction.text,
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
