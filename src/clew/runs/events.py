"""TensorBoard events, where the package `tensorboard` is installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import TracebackType


class Events:
    """Scalars for TensorBoard, from the step after `step` on: what a killed run wrote beyond it is taken back.

    `written` says whether there are any: the package is an extra, `clew[tensorboard]`.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self.written = importlib.util.find_spec("tensorboard") is not None
        if self.written:
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(str(folder), purge_step=step + 1)

    def add(self, group: str, figures: dict[str, float], step: int) -> None:
        if self.written:
            for name, value in figures.items():
                self.writer.add_scalar(f"{group}/{name}", value, step)

    def flush(self) -> None:
        """Write what is still in memory: done before each checkpoint, so that a killed run misses none before it."""
        if self.written:
            self.writer.flush()

    def __enter__(self) -> Events:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.written:
            self.writer.close()
