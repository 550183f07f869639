"""Run a study: one training after another or side by side; it can be killed and started again at any moment."""

from __future__ import annotations

import ctypes
import json
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from clew.config import trusted
from clew.errors import ClewError
from clew.study.plan import Plan, Planned
from clew.train.budget import Progress

Train = Callable[..., Iterator[Any]]
"""`train(recipe, folder, resume=True)`: yields an Event per optimizer step; goes on, or ends at once if finished."""

POLL_SECONDS = 0.5
COMMAND = [sys.executable, "-m", "clew", "train"]


@dataclass(frozen=True)
class Event:
    """Where a study stands: which training of how many, and what happened to it.

    done: the share of its budget that a running training has used; error: why a failed one failed.
    """

    run: Planned
    number: int
    total: int
    state: Literal["running", "finished", "failed"]
    step: int | None = None
    loss: float | None = None
    done: float | None = None
    error: str | None = None


def compare(plan: Plan, *, jobs: int = 1, train: Train | None = None) -> Iterator[Event]:
    """Train every variant with every seed, yielding what happens; call again after an interruption to go on.

    jobs = 1 trains in this process, more side by side in as many processes. A training that fails is recorded in the
    study's folder, reported, tried again by the next call, and does not stop the others. Ctrl-C stops the study.
    """
    plan.save()
    if jobs > 1:
        yield from _side_by_side(plan.runs, jobs)
        return
    for number, run in enumerate(plan.runs, 1):
        yield from _here(run, number, len(plan.runs), train or _training())


def _training() -> Train:
    from clew.runs.training import train

    return train


def _here(run: Planned, number: int, total: int, train: Train) -> Iterator[Event]:
    run.failure.unlink(missing_ok=True)
    try:
        for moment in train(run.recipe, run.folder, resume=True):
            step = moment.step
            yield Event(run, number, total, "running", step.number, step.loss, step.done)
    except ClewError as error:
        yield _failed(run, number, total, str(error))
    except Exception:  # whatever it was, it is reported, and the other variants still count
        yield _failed(run, number, total, traceback.format_exc())
    else:
        yield Event(run, number, total, "finished", done=1.0)


def _failed(run: Planned, number: int, total: int, error: str) -> Event:
    run.failure.write_text(error, encoding="utf-8")
    return Event(run, number, total, "failed", error=error)


def _side_by_side(runs: Sequence[Planned], jobs: int) -> Iterator[Event]:
    """Keep `jobs` processes of `clew train` busy; what they print goes into a log beside their run folder."""
    waiting = list(enumerate(runs, 1))
    active: dict[int, tuple[Planned, subprocess.Popen[bytes]]] = {}
    try:
        while waiting or active:
            while waiting and len(active) < jobs:
                number, run = waiting.pop(0)
                run.failure.unlink(missing_ok=True)
                active[number] = (run, _start(run))
            time.sleep(POLL_SECONDS)
            for number, (run, process) in list(active.items()):
                if process.poll() is None:
                    yield Event(run, number, len(runs), "running", **_standing(run))
                    continue
                del active[number]
                if process.returncode == 0:
                    yield Event(run, number, len(runs), "finished", done=1.0)
                else:
                    yield _failed(run, number, len(runs), _tail(run.log, process.returncode))
    finally:
        for _, process in active.values():
            process.terminate()  # each saves before it ends
        for _, process in active.values():
            process.wait()


def _start(run: Planned) -> subprocess.Popen[bytes]:
    command = [
        *COMMAND,
        str(run.recipe_file),
        "--out",
        str(run.folder),
        "--resume",
        *(["--trust"] if trusted() else []),
    ]
    with run.log.open("wb") as log:
        return subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C reaches the study alone, which then ends each training once
            preexec_fn=_end_with_parent,
        )


def _end_with_parent() -> None:
    """Where the system can (Linux), have a training saved and ended when the study itself is killed."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def _tail(log: Path, code: int) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return "\n".join([*lines[-20:], f"(exit code {code}; all of it in {log.name})"])


def reason(failure: str) -> str:
    """The one line of a recorded failure that says what it was."""
    lines = [line.strip() for line in failure.strip().splitlines() if not line.startswith("(exit code")]
    said = [line.removeprefix("error:").strip() for line in lines if line.startswith("error:")]
    return said[-1] if said else lines[-1] if "Traceback" in failure or len(lines) > 5 else lines[0]


def _standing(run: Planned) -> dict[str, Any]:
    """Step, loss and share of the budget used, from the last whole line of the run's metrics that has a loss."""
    metrics = run.folder / "metrics.jsonl"
    try:
        with metrics.open("rb") as file:
            file.seek(max(0, metrics.stat().st_size - 4096))
            lines = file.read().splitlines()
    except FileNotFoundError:
        return {}
    for line in reversed(lines):
        try:
            row = json.loads(line)
            used = Progress(**{name: row[name] for name in vars(Progress()) if name in row})
            return {"step": row["step"], "loss": row["loss"], "done": used.share(run.recipe.train.budget)}
        except (ValueError, KeyError, TypeError):  # a line cut short, or a validation
            continue
    return {}
