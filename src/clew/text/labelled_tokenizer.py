"""The tokenizer and the labels of a task that labels texts."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clew.errors import DataError, RunError
from clew.inputs import Preprocessor, Tokens
from clew.text.tokenizer import Tokenizer
from clew.text.widen import widened


@dataclass
class LabelledTokenizer(Preprocessor):
    """A tokenizer, and labels in the order of their classes."""

    tokenizer: Tokenizer
    labels: list[str]

    @staticmethod
    def classes(values: Iterable[str], where: str) -> list[str]:
        """The labels that occur, sorted. Raises DataError where there is nothing to choose between."""
        labels = sorted(set(values))
        if len(labels) < 2:
            raise DataError(
                f"every example has the label {labels}: there is nothing to learn", where=where,
                fix="give examples of two labels or more",
            )  # fmt: skip
        return labels

    @property
    def spec(self) -> Tokens:
        return self.tokenizer.spec

    @property
    def source(self) -> Tokenizer:
        return self.tokenizer

    @property
    def target(self) -> Tokenizer:
        return self.tokenizer

    def describe(self) -> dict[str, Any]:
        """Return the size of the vocabulary, the id of padding, and the labels."""
        return {
            "vocab_size": len(self.tokenizer),
            "pad_id": self.tokenizer.pad_id,
            "id2label": dict(enumerate(self.labels)),
        }

    @property
    def ids(self) -> dict[str, int]:
        """The id of padding, as a keyword argument of batches."""
        return {"pad_id": self.tokenizer.pad_id}

    def with_words(self, words: Sequence[str], counts: Any, recipe: Any) -> LabelledTokenizer:
        """Return it with as many words as `tokenizer.vocab_size` leaves room for: see `clew.text.widen`."""
        return LabelledTokenizer(widened(self.tokenizer, words, recipe.tokenizer.vocab_size), self.labels)

    def __str__(self) -> str:
        return f"{len(self.tokenizer):,} tokens in the vocabulary, {len(self.labels)} labels"

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json` and `labels.json`."""
        self.tokenizer.save(folder / "tokenizer.json")
        save_labels(self.labels, folder)

    @classmethod
    def load(cls, folder: Path) -> LabelledTokenizer:
        """What `save` wrote. Raises RunError where it is missing or damaged."""
        labels = load_labels(folder)
        return cls(Tokenizer.load(folder / "tokenizer.json"), labels)


def save_labels(labels: Sequence[str], folder: Path) -> None:
    """Write `labels.json`, whole or not at all."""
    temporary = folder / f".labels.json.{os.getpid()}"
    temporary.write_text(json.dumps([*labels], ensure_ascii=False), encoding="utf-8")
    os.replace(temporary, folder / "labels.json")


def load_labels(folder: Path) -> list[str]:
    """Return what `save_labels` wrote. Raise RunError where it is missing or damaged."""
    file = folder / "labels.json"
    try:
        labels: list[str] = json.loads(file.read_text(encoding="utf-8"))
        if not all(isinstance(label, str) for label in labels):
            raise ValueError("a label is no text")
    except (OSError, TypeError, ValueError, RecursionError) as error:
        raise RunError(f"the labels cannot be read: {error}", where=str(file), fix="train it again") from error
    return labels
