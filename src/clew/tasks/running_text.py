"""What the tasks on running text share: being watched while they read, and a vocabulary kept in one file."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from clew.text.tokenizer import Tokenizer


class RunningTextTask:
    """A task that reads text as it stands; `watch` is told of long reading (see `runs.training.Watch`)."""

    watch: Callable[[str, int, int], None] | None = None

    def watched(self, what: str) -> Callable[[int, int], None] | None:
        return partial(self.watch, what) if self.watch else None

    def save_preprocessor(self, preprocessor: Any, folder: Path) -> None:
        preprocessor.save(folder / "tokenizer.json")

    def load_preprocessor(self, folder: Path) -> Any:
        """The vocabulary that a run folder holds."""
        return Tokenizer.from_folder(folder)

    def words(self, preprocessor: Any) -> dict[str, list[str]]:
        """No table begins with vectors of words: such a model starts from another one (`model.start`)."""
        return {}
