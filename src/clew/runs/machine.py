"""The machine that a training runs on, and what it says to it: which it is, and that it shall stop."""

from __future__ import annotations

import math
import os
import platform
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from clew.contracts import Model, Task
from clew.errors import RecipeError


def hardware() -> str:
    """One line about this machine."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    names = [line.partition(":")[2].strip() for line in cpu_info() if line.startswith("model name")]
    return f"{names[0] if names else platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"


def is_here(name: str) -> bool:
    """Return whether tensors can lie on a device."""
    try:
        return torch.empty(0, device=name).device.type != "meta"
    except (RuntimeError, AssertionError, NotImplementedError):  # torch has one for each kind of absence
        return False


def device_of(name: str) -> str:
    """Return a device that is here; "auto" is the accelerator where there is one. Raise RecipeError for another."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not is_here(name):
        known = ["auto", "cpu", *(each for each in ("cuda", "mps", "xpu") if is_here(each))]
        raise RecipeError(f'there is no device "{name}" here', where="train.device", fix=f"known: {', '.join(known)}")
    return name


def built(task: Task, config: Any, preprocessor: Any) -> Model:
    """Return the model of a task, once it is known that its weights fit into memory.

    Raise RecipeError where they do not: torch would fail half-way, or the system end the process.
    """
    with torch.random.fork_rng(devices=[]), torch.device("meta"), suppress(RuntimeError, NotImplementedError):
        numbers = sum(weights.numel() for weights in task.model(config, preprocessor).parameters())
        if (wanted := 4 * numbers) > (there := memory()):
            raise RecipeError(
                f"this model has {numbers:,} parameters: {wanted / 1e9:,.1f} GB, and the memory of this machine is "
                f"{there / 1e9:,.1f} GB", where="model", fix="choose smaller sizes",
            )  # fmt: skip
    model: Model = task.model(config, preprocessor)
    return model


def memory() -> float:
    """Return the bytes of memory of this machine; infinite where it does not say."""
    if sys.platform == "win32":
        return math.inf
    return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


def cpu_info() -> list[str]:
    file = Path("/proc/cpuinfo")
    return file.read_text().splitlines() if file.exists() else []


@contextmanager
def asked_to_stop() -> Iterator[list[int]]:
    """A list that is empty until SIGTERM or SIGINT arrives; a second signal ends the process at once."""
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def note(number: int, _frame: Any) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
