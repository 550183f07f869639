"""The runs of a folder as the page lists them: found by walking, told by name, read again when they change."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import Any

from clew.errors import ClewError, RunError, told
from clew.metrics.shown import about
from clew.runs import Run, received, results

AGE = 0.5
DEPTH = 4  # folders below the one that is looked at
LOST = 120.0  # seconds without a line after which a run that has not finished is called stopped
SPARK = 60  # points of the small curve
NOT_FIGURES = {"step", "tokens", "read", "epoch", "cpu_seconds", "wall_seconds", "flops"}

Summary = dict[str, Any]


class Runs:
    """Every run under `root`, or the run that `root` is.

    A run is asked for by the name it has in the list, never by a path: a name that was not found by walking the folder,
    links that lead out of it left aside, is no run.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.known: dict[str, tuple[tuple[float, ...], Summary]] = {}
        self.lock = Lock()
        self.told: tuple[float, list[Summary]] = (-math.inf, [])

    def paths(self) -> dict[str, Path]:
        """Name → folder, in the order of names."""
        if (self.root / "recipe.toml").is_file():
            return {self.root.name: self.root}
        return {path.relative_to(self.root).as_posix(): path for path in sorted(self.walk(self.root, DEPTH))}

    def walk(self, folder: Path, depth: int) -> Iterator[Path]:
        try:
            inside = [Path(entry.path) for entry in os.scandir(folder) if entry.is_dir() and entry.name[0] != "."]
        except OSError:  # deleted while it was read, or not ours to read
            return
        for path in inside:
            if not path.resolve().is_relative_to(self.root):
                continue
            if (path / "recipe.toml").is_file():
                yield path
            elif depth > 1:
                yield from self.walk(path, depth - 1)

    def open(self, name: str) -> Run:
        """The run of that name. Raises RunError where there is none (any more)."""
        path = self.paths().get(name)
        if path is None:
            raise RunError("there is no such run here", where=name[:200], fix="it may have been moved or deleted")
        received.check(path)
        return Run(path)

    def summaries(self) -> list[Summary]:
        """What the list shows of every run, at most AGE seconds old: any number may ask."""
        with self.lock:
            if time.monotonic() - self.told[0] > AGE:
                self.told = (time.monotonic(), self.look())
            return self.told[1]

    def look(self) -> list[Summary]:
        """Only those are read again whose files have changed."""
        paths = self.paths()
        found = {}
        for name, path in paths.items():
            seen = stamp(path)
            old = self.known.get(name)
            found[name] = old if old and old[0] == seen else (seen, summary(name, Run(path)))
        self.known = found
        return [{**each, "state": state(Run(paths[name]))} for name, (_, each) in found.items()]


def stamp(path: Path) -> tuple[float, ...]:
    """When, and how large, what a summary is read from was last written."""
    out = []
    for name in ("recipe.toml", "metrics.jsonl", "results.json"):
        try:
            found = (path / name).stat()
            out += [found.st_mtime_ns, found.st_size]
        except OSError:
            out.append(0)
    return tuple(out)


def state(run: Run) -> str:
    """finished, failed, running, stopped: a run that has not finished runs while it writes."""
    if run.finished:
        return "finished"
    if failure(run):
        return "failed"
    try:
        written = max((run.path / name).stat().st_mtime for name in ("recipe.toml", "metrics.jsonl")
                      if (run.path / name).exists())  # fmt: skip
    except (OSError, ValueError):
        return "stopped"
    return "running" if time.time() - written < LOST else "stopped"


def failure(run: Run) -> str:
    """What `clew compare` noted of a training that failed: the last line of it."""
    file = run.path.with_name(f"{run.path.name}.failed.txt")
    try:
        if file.is_symlink() or not file.is_file() or file.stat().st_size > received.MB:
            return ""
        lines = file.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1][:300] if lines else ""


def rows(run: Run) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl that are whole: the last one may be being written."""
    try:
        text = (run.path / "metrics.jsonl").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return results.whole_rows(text)


def summary(name: str, run: Run) -> Summary:
    """One line of the list, whatever the folder holds: what cannot be read is told in `problem`."""
    try:
        received.check(run.path)
        return read_summary(name, run)
    except Exception as error:  # one folder, which anybody may have made, must not take the list from the others
        return {"name": name, "problem": told(error), "command": command(run), "steps": [], **progress([])}


def read_summary(name: str, run: Run) -> Summary:
    """One line of the list. What cannot be read is told in `problem`, and the rest is there."""
    out: Summary = {"name": name, "problem": "", "command": command(run)}
    logged = rows(run)
    out |= progress(logged) | {"steps": run.steps()}
    try:
        recipe = run.recipe
        out |= {
            "title": recipe.name, "about": recipe.about, "family": recipe.model.kind, "task": recipe.task.kind,
            "seed": recipe.seed, "data": fingerprint(recipe.data.model_dump(mode="json")),
            "data_kind": recipe.data.kind,
        }  # fmt: skip
        task = run.task
        quality = task.compared
        shown = about(quality)
        out |= {"quality": quality, "quality_label": shown["label"], "counted": task.unit}
        values = [(row["step"], results.numbers(row["valid"]).get(quality)) for row in logged if "valid" in row]
        known = [(value, step) for step, value in values if value is not None]
        best = max if shown["higher_is_better"] else min
        out["best"], out["best_step"] = best(known, default=(None, None))
        out["last"] = known[-1][0] if known else None
        out["spark"] = [value for value, _ in thin(known, SPARK)]
    except (ClewError, OSError, ValueError, KeyError) as error:
        out["problem"] = told(error)
    try:
        found = run.results() if run.finished else {}
        out["parameters"] = found.get("parameters")
        out["splits"] = {split: results.metrics(figures) for split, figures in found.get("splits", {}).items()}
    except (ClewError, OSError, ValueError, AttributeError) as error:
        out["problem"] = f"results.json cannot be read: {error}"
    if failed := failure(run):
        out["problem"] = failed
    return out


def progress(logged: list[dict[str, Any]]) -> Summary:
    """How far the training has come and what it has cost."""
    last = logged[-1] if logged else {}
    return {key: last.get(key) for key in ("step", "tokens", "epoch", "cpu_seconds", "wall_seconds")}


def command(run: Run) -> str:
    """What trains this run again, as it stands."""
    recipe = shlex.quote(str(run.path / "recipe.toml"))
    return f"clew train {recipe} --out {shlex.quote(str(run.path) + '-again')}"


def fingerprint(settings: Any) -> str:
    """Eight digits that are the same where the data settings are."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]


def thin(items: list[Any], most: int) -> list[Any]:
    """At most so many, spread evenly, the last among them."""
    every = max(1, math.ceil(len(items) / most))
    return items[::-1][::every][::-1]


def series(run: Run) -> dict[str, Any]:
    """Everything a run has logged, by column: what was logged while training, and at each validation.

    A column holds None where a row had no such figure, or one that is not finite.
    """
    logged = rows(run)
    parts = {"train": [r for r in logged if "valid" not in r], "valid": [r for r in logged if "valid" in r]}
    out: dict[str, Any] = {}
    for part, some in parts.items():
        flat = [results.numbers({**row, **row.get("valid", {})} if part == "valid" else row) for row in some]
        names = dict.fromkeys(name for row in flat for name in row)
        out[part] = {name: [row.get(name) for row in flat] for name in names}
    return out


def samples(run: Run, first: int, last: int, most: int = 6) -> list[dict[str, Any]]:
    """The sample outputs written between two steps, at most so many, spread evenly."""
    found = []
    for file in sorted((run.path / "samples").glob("step-*.txt")):
        digits = file.stem.removeprefix("step-")
        if digits.isdigit() and first <= int(digits) <= last:
            found.append((int(digits), file))
    out = []
    for step, file in thin(found, most):
        try:
            text = file.read_text(encoding="utf-8", errors="replace")[:20_000]
        except OSError:
            continue
        out.append({"step": step, "text": text})
    return out
