"""Rows: what every reader returns, with an account of what was read and what was left out."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Value = str | list[str]
"""What a reader finds in a column: a text, or a list of words; numbers, objects and lists of these as JSON text."""

SHOWN = 40  # characters of a value in a report


@dataclass(frozen=True)
class Keeping:
    """Which rows of a split are kept, and what becomes of their values: what `SourceConfig` says of it.

    on_bad: "few" leaves out a handful of misread rows and stops at more. leave_out: column → values whose rows are left
    out. labels: column → what its numbers stand for, from 0. first: so many rows at most.
    """

    on_bad: Literal["few", "skip", "stop"] = "skip"
    max_characters: int = 10_000
    leave_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    first: int | None = None


@dataclass
class ReadReport:
    """How many rows a reader saw, kept and skipped, and why (reason → count, with an example place for each).

    understood: what each file was taken for. first: column → value of the first row that was kept, shortened.
    """

    source: str
    read: int = 0
    kept: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)  # reason → "file:line" of its first case
    notes: list[str] = field(default_factory=list)  # what was changed in rows that were kept
    understood: list[str] = field(default_factory=list)
    first: dict[str, str] = field(default_factory=dict)

    def skip(self, reason: str, place: str) -> None:
        self.skipped[reason] += 1
        self.examples.setdefault(reason, place)

    def begins(self, row: Mapping[str, Any]) -> None:
        """Note the first row that was kept."""
        for name, value in row.items():
            text = " | ".join(value) if isinstance(value, list) else str(value)
            self.first[name] = text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"

    def __str__(self) -> str:
        text = f"{self.source}: {self.kept:,} of {self.read:,} rows kept"
        if self.skipped:
            parts = (f"{count:,} {reason} (first: {self.examples[reason]})" for reason, count in self.skipped.items())
            text += "; skipped " + ", ".join(parts)
        return "; ".join([text, *self.notes])


@dataclass
class Rows:
    """A table in memory: `columns[name][i]` is row i's value; all columns are equally long.

    A value is a text, a number, a list of words, or whatever the task that uses it makes sense of. What comes from
    text files is text: the task parses it (an alignment is written "0-0 1-2 …", source word index first, words split
    at spaces).
    """

    columns: dict[str, list[Any]]
    report: ReadReport

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), []))

    @property
    def seen(self) -> list[str]:
        """What the files were taken for, and the first row: for who trains, not for a card that is published."""
        report = self.report
        first = ", ".join(f"{name} = {value!r}" for name, value in report.first.items())
        return [*report.understood, f"first row: {first}"] if report.understood and first else [*report.understood]

    def __getitem__(self, column: str) -> list[Any]:
        return self.columns[column]

    def fingerprint(self) -> str:
        """Return the SHA-256 of what the rows hold, wherever that came from; a value that JSON lacks has `digest()`."""
        found = hashlib.sha256()
        for name, values in self.columns.items():
            found.update(json.dumps([name, len(values)]).encode())
            for value in values:
                found.update(json.dumps(value, default=lambda other: other.digest()).encode() + b"\n")
        return found.hexdigest()


def joined(value: Any) -> Any:
    """A list of words as a text, with spaces in between; anything else as it is."""
    return " ".join(map(str, value)) if isinstance(value, list) else value


def as_key(value: Any) -> Hashable:
    """A value as something to look up."""
    return tuple(value) if isinstance(value, list) else value
