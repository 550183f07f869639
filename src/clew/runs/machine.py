"""The machine that a training runs on, and what it says to it: which it is, and that it shall stop."""

from __future__ import annotations

import platform
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch


def hardware() -> str:
    """One line about this machine."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    names = [line.partition(":")[2].strip() for line in cpu_info() if line.startswith("model name")]
    return f"{names[0] if names else platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"


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
