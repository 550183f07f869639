"""TensorBoard events, where the package `tensorboard` is installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import TracebackType


class Events:
    """Scalars for TensorBoard; `written` says whether they are: its package is an extra, `clew[tensorboard]`."""

    def __init__(self, folder: Path) -> None:
        self.written = importlib.util.find_spec("tensorboard") is not None
        if self.written:
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(str(folder))

    def add(self, group: str, figures: dict[str, float], step: int) -> None:
        if self.written:
            for name, value in figures.items():
                self.writer.add_scalar(f"{group}/{name}", value, step)

    def __enter__(self) -> Events:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.written:
            self.writer.close()
