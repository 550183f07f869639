"""The comparison as data: the dict that the page shows and that report.json holds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from clew import __version__
from clew.errors import RecipeError, RunError
from clew.metrics.shown import METRICS, about
from clew.runs.results import metrics
from clew.study.plan import Plan, Variant, describe
from clew.study.statistics import of_scores, over_seeds

View = dict[str, Any]

SPLITS = {"test": "", "valid": "validation", "combinations": "held-out combinations"}  # how a label names them
QUALITY_SHARE = 0.9  # of the best model's final validation quality, unless a target is given
POINTS = 300  # of each learning curve


@dataclass(frozen=True)
class Finished:
    """What a finished run says of itself: its seed, its results and the rows of its metrics file."""

    seed: int
    results: dict[str, Any]
    rows: list[dict[str, Any]]


def build_view(
    plan: Plan,
    finished: Mapping[str, Sequence[Finished]],
    failed: Mapping[str, str],
    quality: str,
    target: float | None = None,
) -> View:
    """Put the finished runs of a study side by side; sentences and summary are added by `report`.

    finished: variant id → its runs; failed: variant id → why it has fewer than asked for; quality: the metric that the
    comparison is about, which also judges validations. Raise RunError where nothing has finished, RecipeError where
    the metric was not measured.
    """
    everything = [run for runs in finished.values() for run in runs]
    if not everything:
        raise RunError("no training of this comparison has finished", where=str(plan.folder), fix="run it again")
    described = _metrics(everything)
    if quality not in described:
        raise RecipeError(f'"{quality}" was not measured', where="--by", fix=f"there are {', '.join(described)}")
    higher = bool(described[quality]["higher_is_better"])
    target = _default_target(finished, quality, higher) if target is None else target
    models = [
        _model(variant, finished.get(variant.id, ()), failed.get(variant.id), quality) for variant in plan.variants
    ]
    for model, variant in zip(models, plan.variants, strict=True):
        runs = finished.get(variant.id, ())
        times = [_seconds_to(run.rows, quality, target, higher) for run in runs] if target is not None else []
        reached = [seconds for seconds in times if seconds is not None]
        model["cpu_seconds_to_quality"] = (
            sum(reached) / len(reached) if reached and len(reached) == len(times) else None
        )
    _mark_frontier(models, quality, higher)
    labels = [variant.label for variant in plan.variants]
    return {
        "title": " · ".join(labels) if len(labels) <= 3 else f"{len(labels)} models compared",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "command": plan.command,
        "hardware": "; ".join(sorted({run.results["hardware"] for run in everything})),
        "budget": f"{describe(plan.variants[0].recipe.train.budget)} for each training",
        "data": "",
        "summary": [],
        "quality": quality,
        "metrics": described,
        "models": models,
        "quality_target": target,
        "sentences": [],
    }


def _scores(run: Finished) -> dict[str, dict[str, Any]]:
    """Metric key → {value, low, high, signature}, of every split; a metric of another split carries its name."""
    found = {}
    for split, measured in run.results["splits"].items():
        for name, score in metrics(measured).items():
            if math.isfinite(score["value"]):
                found[_key(run, split, name)] = score
    return found


def _key(run: Finished, split: str, metric: str) -> str:
    return metric if split == main_split(run.results) else f"{split}_{metric}"


def main_split(results: Mapping[str, Any]) -> str:
    """The split that a run is judged by: the first that it measured, the test split where there is one."""
    return str(next(iter(results["splits"])))


def _metrics(runs: Sequence[Finished]) -> dict[str, dict[str, Any]]:
    """Describe every metric that some run reports, split by split, in the order of METRICS."""
    reported = {key: score for run in runs for key, score in _scores(run).items()}
    order = {name: n for n, name in enumerate(METRICS)}
    described = {}
    for split in runs[0].results["splits"]:
        names = dict.fromkeys(name for run in runs for name in run.results["splits"].get(split, ()))
        for name in sorted(names, key=lambda name: order.get(name.partition(":")[0], len(order))):
            base, _, part = name.partition(":")  # "similarity:men": the metric on one of its sets
            if (key := _key(runs[0], split, name)) in reported:
                metric = about(base)
                where = SPLITS.get(split, split) if metric.get("split", True) else ""
                label = ", ".join(word for word in (metric["label"], part, where) if word)
                described[key] = metric | {"label": label, "signature": reported[key].get("signature", "")}
                if "baseline" in reported[key]:
                    described[key]["baseline"] = reported[key]["baseline"]
                    described[key]["about"] += (
                        f"; {reported[key]['baseline']:.{metric['digits']}f} for the commonest answer"
                    )
    return described


def _model(variant: Variant, runs: Sequence[Finished], failed: str | None, quality: str) -> dict[str, Any]:
    scores = [_scores(run) for run in runs]
    shared = [key for key in (scores[0] if scores else {}) if all(key in score for score in scores)]
    model = {
        "id": variant.id,
        "label": variant.label,
        "kind": variant.recipe.model.kind,
        "parameters": runs[0].results["parameters"] if runs else 0,
        "seeds": [run.seed for run in runs],
        "settings": variant.settings,
        "results": {key: asdict(of_scores([score[key] for score in scores])) for key in shared},
        "undertrained": [run.seed for run in runs if run.results.get("undertrained")],
        "repeating": max((_of_main_split(run, "repeating") or 0.0 for run in runs), default=0.0),
        "tokens": _measured(run.results["tokens"] for run in runs if "tokens" in run.results),
        "train_tokens_per_cpu_second": _measured(run.results["train_tokens_per_cpu_second"] for run in runs),
        "decode_sentences_per_cpu_second": _measured(
            speed for run in runs if (speed := _of_main_split(run, "decode_sentences_per_cpu_second"))
        ),
        "cpu_seconds": _measured(run.results["cpu_seconds"] for run in runs),
        "cpu_seconds_to_quality": None,
        "curves": [{"seed": run.seed, "points": curve(run.rows, quality)} for run in runs],
        "on_frontier": False,
    }
    return model | ({"failed": failed} if failed else {})


def _measured(values: Iterable[float]) -> dict[str, Any] | None:
    measured = list(values)
    return asdict(over_seeds(measured)) if measured else None


def _of_main_split(run: Finished, name: str) -> float | None:
    """Return a plain number of the split that the run is judged by; None where the task has no such."""
    found: float | None = run.results["splits"][main_split(run.results)].get(name)
    return found


def curve(rows: Sequence[Mapping[str, Any]], quality: str) -> list[dict[str, Any]]:
    """Thin the rows of a run to at most POINTS training points, and keep all its validations.

    A training point's loss is the mean since the last point kept; a validation has its loss and its quality besides.
    """
    n_train = sum("valid" not in row for row in rows)
    every = max(1, math.ceil(n_train / POINTS))
    points: list[dict[str, Any]] = []
    losses: list[float] = []
    for row in rows:
        valid = row.get("valid")
        if valid is None:
            losses.append(row["loss"])
            if len(losses) < every:
                continue
        point = {key: row[key] for key in ("step", "tokens", "cpu_seconds")}
        point["loss"] = _finite(sum(losses) / len(losses)) if losses else None
        point["valid_loss"] = _finite(valid.get("loss")) if valid else None
        point["quality"] = _finite(valid.get(quality)) if valid else None
        points.append(point)
        losses = []
    return points


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _qualities(rows: Sequence[Mapping[str, Any]], quality: str) -> list[tuple[float, float]]:
    """(CPU-seconds, validation quality) of each validation that measured it."""
    found = [(row["cpu_seconds"], _finite(row["valid"].get(quality))) for row in rows if "valid" in row]
    return [(seconds, value) for seconds, value in found if value is not None]


def _default_target(finished: Mapping[str, Sequence[Finished]], quality: str, higher: bool) -> float | None:
    """QUALITY_SHARE of what the best model reached at its last validation, as a mean over its seeds."""
    finals = []
    for runs in finished.values():
        last = [values[-1][1] for run in runs if (values := _qualities(run.rows, quality))]
        if last:
            finals.append(sum(last) / len(last))
    if not finals:
        return None
    best = max(finals) * QUALITY_SHARE if higher else min(finals) / QUALITY_SHARE
    return best or None  # nothing was learned: there is nothing to be first to


def _seconds_to(rows: Sequence[Mapping[str, Any]], quality: str, target: float, higher: bool) -> float | None:
    """CPU-seconds of training until the first validation at least as good as the target."""
    for seconds, value in _qualities(rows, quality):
        if value >= target if higher else value <= target:
            return seconds
    return None


def _mark_frontier(models: Sequence[dict[str, Any]], quality: str, higher: bool) -> None:
    """Mark the models that no other beats in quality for the same training time or less, nor equals for less."""
    sign = 1 if higher else -1
    known = [m for m in models if quality in m["results"]]
    places = {m["id"]: (sign * m["results"][quality]["mean"], -m["cpu_seconds"]["mean"]) for m in known}
    for model in known:
        mine = places[model["id"]]
        model["on_frontier"] = not any(
            other != mine and other[0] >= mine[0] and other[1] >= mine[1] for other in places.values()
        )
