"""The comparison in words: a summary that claims no more than the figures carry, and the report as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from clew.metrics.shown import about
from clew.study.statistics import welch
from clew.study.view import View

Model = dict[str, Any]
CHANCE = 0.05  # a p-value below this is called beyond chance
REPEATING = 0.1  # share of outputs that repeat themselves, from which on a model's speed of writing is no merit
UNALIGNED = 0.6  # AER of attention that has not formed: looking everywhere alike gives some 0.8


def summarise(view: View, p_values: Mapping[tuple[str, str], float] | None = None) -> list[str]:
    """Say which model wins, by how much, at what cost, who is first to the target, whose attention aligns best.

    p_values: (id of a, id of b) → p-value of a paired bootstrap test over the test sentences, for one-seed studies.
    """
    ranking = ranked(view, view["quality"])
    return [
        *([f"{view['compared_because']}."] if view.get("compared_because") else []),
        *_winner(view, ranking, p_values or {}),
        *_baseline(view, ranking),
        *_cost(ranking, view["counted"], view["items"]),
        *_target(view),
        *_others(view),
        *_read(view),
        *_doubts(view),
        *(f"{named(m)} failed: {m['failed']}" for m in view["models"] if m.get("failed")),
        _intervals(view),
    ]


def ranked(view: View, metric: str) -> list[Model]:
    """The models that have the metric, best mean first."""
    sign = -1 if view["metrics"].get(metric, {}).get("higher_is_better", True) else 1
    known = [m for m in view["models"] if metric in m["results"]]
    return sorted(known, key=lambda m: sign * m["results"][metric]["mean"])


def named(model: Model) -> str:
    return f"“{model['label']}”"


def figure(value: float) -> str:
    """Write a cost or a speed with the digits that matter: 0.123, 3.1, 31, 5,120."""
    size = abs(value)
    return f"{value:.3f}" if size < 1 else f"{value:.1f}" if size < 10 else f"{value:,.0f}"


def with_interval(interval: Mapping[str, Any] | None, digits: int | None = None) -> str:
    """Write "mean [low, high]", with so many decimals or as `figure` does."""
    if interval is None:
        return "-"
    mean, low, high = (
        figure(interval[name]) if digits is None else f"{interval[name]:,.{digits}f}"
        for name in ("mean", "low", "high")
    )
    return mean if interval["low"] == interval["high"] else f"{mean} [{low}, {high}]"


def result(view: View, model: Model, metric: str) -> str:
    """Write a model's result for a metric, with its interval."""
    return with_interval(model["results"].get(metric), view["metrics"][metric]["digits"])


def _winner(view: View, ranking: list[Model], p_values: Mapping[tuple[str, str], float]) -> Iterator[str]:
    if not ranking:
        return
    quality = view["quality"]
    label, digits = view["metrics"][quality]["label"], view["metrics"][quality]["digits"]
    best = ranking[0]
    first = f"{named(best)} has the best {label}: {result(view, best, quality)}"
    if len(ranking) == 1:
        yield f"{first}."
        return
    second = ranking[1]
    gap = abs(best["results"][quality]["mean"] - second["results"][quality]["mean"])
    yield f"{first}; next is {named(second)} with {result(view, second, quality)}, {gap:.{digits}f} behind."
    yield _evidence(best, second, quality, p_values)


def _baseline(view: View, ranking: list[Model]) -> Iterator[str]:
    """Say what always giving the commonest answer would have, and which models are not beyond it."""
    quality = view["quality"]
    value = view["metrics"].get(quality, {}).get("baseline")
    if value is None:
        return
    metric = view["metrics"][quality]
    below = [named(m) for m in ranking if m["results"][quality]["low"] <= value]
    rest = f"; the {'interval' if len(below) == 1 else 'intervals'} of {_list(below)} reach down to it" if below else ""
    yield f"Always giving the commonest answer has {metric['label']} {value:.{metric['digits']}f}{rest}."


def _evidence(best: Model, second: Model, quality: str, p_values: Mapping[tuple[str, str], float]) -> str:
    """Say whether the first two differ beyond chance, and by what test."""
    a, b = best["results"][quality], second["results"][quality]
    seeds = len(a["per_seed"]), len(b["per_seed"])
    p_value = p_values.get((best["id"], second["id"]))
    if min(seeds) > 1:
        p_value, test = welch(a["per_seed"], b["per_seed"]), f"Welch's t-test over {seeds[0]} and {seeds[1]} seeds"
    elif p_value is not None:
        test = "paired bootstrap over the test examples; one seed each, so this says nothing about other seeds"
    else:
        if a["low"] <= b["high"] and b["low"] <= a["high"]:
            return "The intervals of these two overlap: one training each does not tell them apart."
        return "The intervals of these two do not overlap; with one seed each, this says nothing about other seeds."
    if a["mean"] == b["mean"]:
        return "These two do not differ."
    verdict = "beyond chance" if p_value < CHANCE else "within chance: do not choose between them by it"
    return f"The difference between these two is {verdict} (p {_p(p_value)}, {test})."


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"


def _cost(ranking: list[Model], counted: str, item: str) -> Iterator[str]:
    if not ranking:
        return
    best = ranking[0]
    yield (
        f"{named(best)} has {best['parameters']:,} parameters and trained for {_duration(best['cpu_seconds']['mean'])} "
        f"at {figure(best['train_tokens_per_cpu_second']['mean'])} {counted} per CPU-second."
    )
    if len(ranking) > 1:
        training, decoding = "train_tokens_per_cpu_second", "decode_sentences_per_cpu_second"
        train = max(ranking, key=lambda m: m[training]["mean"])
        said = f"Fastest to train is {named(train)} ({figure(train[training]['mean'])} {counted} per CPU-second)"
        sound = [m for m in ranking if m.get("repeating", 0.0) < REPEATING]  # what never stops is fast at nothing
        if sound and all(m[decoding] for m in ranking):
            decode = max(sound, key=lambda m: m[decoding]["mean"])
            said += (
                f", fastest to decode is {named(decode)} ({figure(decode[decoding]['mean'])} {item}s per CPU-second)"
            )
        yield f"{said}."


def _duration(seconds: float) -> str:
    return f"{figure(seconds)} CPU-seconds" if seconds < 120 else f"{seconds / 60:.1f} CPU-minutes"


def _target(view: View) -> Iterator[str]:
    if view["quality_target"] is None or len(view["models"]) < 2:
        return
    label = f"a validation {target_label(view)}"
    times = {named(m): m["cpu_seconds_to_quality"] for m in view["models"] if m["seeds"]}
    reached = {name: seconds for name, seconds in times.items() if seconds is not None}
    never = [name for name, seconds in times.items() if seconds is None]
    if reached:
        first = min(reached, key=lambda name: reached[name])
        rest = f"; {_list(never)} did not reach it with every seed" if never else ""
        yield f"First to reach {label} is {first}, after {_duration(reached[first])}{rest}."
    else:
        yield f"No model reached {label} with every seed."


def target_label(view: View) -> str:
    metric = about(view["quality"])
    return f"{metric['label']} of {view['quality_target']:.{metric['digits']}f}"


def _others(view: View) -> Iterator[str]:
    """The other questions that the study was made for: alignment, and combinations never seen in training."""
    aligned = ranked(view, "aer")
    if aligned:
        best, worst = aligned[0], aligned[-1]
        rest = f"; the worst is that of {named(worst)}, {result(view, worst, 'aer')}" if worst is not best else ""
        yield f"The attention of {named(best)} aligns words best: AER {result(view, best, 'aer')}{rest}."
    for key in (f"combinations_{view['quality']}", "combinations_exact"):
        order = ranked(view, key)
        if len(order) > 1:
            label = view["metrics"][key]["label"]
            digits = view["metrics"][key]["digits"]
            places = ", ".join(f"{named(m)} {m['results'][key]['mean']:.{digits}f}" for m in order)
            yield f"{label}: {places}."


def _read(view: View) -> Iterator[str]:
    """How much each learned from, where they were given equal time: on a slow or busy machine less than elsewhere."""
    models = [m for m in view["models"] if m.get("tokens")]
    if len(models) > 1 and ("minutes" in view["budget"] or "seconds" in view["budget"]):
        read = ", ".join(f"{named(m)} {m['tokens']['mean']:,.0f}" for m in models)
        yield f"In that time they learned from so many {view['counted']}: {read}."


def _doubts(view: View) -> Iterator[str]:
    """What speaks against taking a model's figures for the best that it can do."""
    several = len(view["models"]) > 1
    for m in view["models"]:
        seeds = m.get("undertrained", ())
        if seeds:
            which = f" (seed {', '.join(map(str, seeds))})" if len(m["seeds"]) > 1 else ""
            yield (
                f"{named(m)} is undertrained{which}: its validation loss was still falling when its budget ended"
                f"{', so a longer one may order them otherwise' if several else ''}."
            )
        if m.get("repeating", 0.0) >= REPEATING:
            yield f"{named(m)} repeats itself in {m['repeating']:.0%} of its outputs; how fast it writes says nothing."
        if "aer" in m["results"] and m["results"]["aer"]["mean"] > UNALIGNED:
            aer = result(view, m, "aer")
            yield f"The attention of {named(m)} has not formed: AER {aer}; it needs a longer training."


def _intervals(view: View) -> str:
    seeds = max(len(m["seeds"]) for m in view["models"])
    if seeds > 1:
        return (
            f"Intervals are 95% t-intervals over up to {seeds} seeds: what another training would be expected to give."
        )
    return (
        "Intervals are 95% bootstrap intervals over the test examples of one training each: they speak of another "
        "test set, not of another seed."
    )


def _list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def markdown(view: View) -> str:
    """Write the whole comparison, but for its pictures, as Markdown."""
    return "\n".join([*_header(view), *_table(view), *_translations(view)]) + "\n"


def _header(view: View) -> Iterator[str]:
    yield from (f"# {view['title']}", "", *(f"- {sentence}" for sentence in view["summary"]), "")
    facts = {
        "data": view["data"],
        "budget": view["budget"],
        "hardware": view["hardware"],
        "command": f"`{view['command']}`",
    }
    yield "; ".join(f"{name}: {value}" for name, value in facts.items() if value.strip("`"))
    yield f"clew {view['version']}, {view['created']}"
    yield ""


def _table(view: View) -> Iterator[str]:
    columns = [f"{m['label']} {'↑' if m['higher_is_better'] else '↓'}" for m in view["metrics"].values()]
    costs = {
        "train_tokens_per_cpu_second": f"{view['counted']} trained on / CPU-s",
        "decode_sentences_per_cpu_second": f"decoded {view['items']}s / CPU-s",
        "cpu_seconds": "training CPU-s",
    }
    costs = {key: label for key, label in costs.items() if any(model[key] for model in view["models"])}
    columns = ["model", "parameters", *columns, *costs.values()]
    target = view["quality_target"]
    if target is not None:
        columns.append(f"CPU-s to validation {target_label(view)}")
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    for model in view["models"]:
        seconds = model["cpu_seconds_to_quality"]
        cells = [
            _cell(model["label"]) + (" (on the frontier)" if model["on_frontier"] else ""),
            f"{model['parameters']:,}" if model["seeds"] else "failed",
            *(result(view, model, key) for key in view["metrics"]),
            *(with_interval(model[key]) for key in costs),
            *([] if target is None else ["never" if seconds is None else figure(seconds)]),
        ]
        yield f"| {' | '.join(cells)} |"
    yield ""
    yield from (f"{m['label']}: {m['about']} ({m['signature']})  " for m in view["metrics"].values())
    yield ""


def _translations(view: View) -> Iterator[str]:
    labels = {model["id"]: model["label"] for model in view["models"]}
    for sentence in view["sentences"]:
        yield from (f"## {_cell(sentence['source'])}", "", "| | |", "|---|---|")
        if sentence["reference"]:
            yield f"| reference | {_cell(sentence['reference'])} |"
        yield from (f"| {_cell(labels[id])} | {_cell(out['text'])} |" for id, out in sentence["outputs"].items())
        yield ""


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
