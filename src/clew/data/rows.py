"""Rows: what every reader returns, with an account of what was read and what was left out."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass
class ReadReport:
    """How many rows a reader saw, kept and skipped, and why (reason → count, with an example place for each)."""

    source: str
    read: int = 0
    kept: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)  # reason → "file:line" of its first case
    notes: list[str] = field(default_factory=list)  # what was changed in rows that were kept

    def skip(self, reason: str, place: str) -> None:
        self.skipped[reason] += 1
        self.examples.setdefault(reason, place)

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
