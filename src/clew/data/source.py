"""What every source of rows has in common: splits, read once, and validation rows held out where it has none."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal

import numpy as np
from pydantic import Field

from clew.config import Choice
from clew.data.rows import Keeping, ReadReport, Rows, as_key
from clew.errors import DataError

SPLITS = ("train", "valid", "test")
HOLD_OUT = 0.05, 1000  # validation rows where none are given: this share of the training rows, at most so many


class SourceConfig(Choice):
    """What can be said about any source."""

    on_bad: Literal["few", "skip", "stop"] = "few"  # unsound rows: leave them out, but stop where more than a handful
    # cannot be read as what the file was taken for; leave out any number of them; or stop at the first
    max_characters: int = Field(10_000, ge=1)  # a longer text is unsound
    hold_out: float | None = Field(None, ge=0)  # rows (≥ 1) or share (< 1) for valid; None: 5%, at most 1,000
    seed: int = 1  # chooses the rows held out
    first: int | None = Field(None, ge=1)  # only so many of the training rows, the first ones (held-out rows included)
    leave_out: dict[str, tuple[str, ...]] = Field(default_factory=dict)  # column → values whose rows are left out
    labels: dict[str, tuple[str, ...]] = Field(default_factory=dict)  # column → what its numbers stand for, from 0

    def keeping(self, split: str, max_characters: int = 0) -> Keeping:
        """Return what is kept of a split."""
        return Keeping(
            self.on_bad, max(self.max_characters, max_characters), self.leave_out, self.labels,
            self.first if split == "train" else None,
        )  # fmt: skip


class Source(ABC):
    """Rows by split; where there are training rows and no validation rows, some are held out (`hold_out = 0`: none)."""

    Config: type[SourceConfig]

    def __init__(self, config: Any) -> None:
        self.config = config
        self._rows: dict[str, Rows] = {}

    @property
    @abstractmethod
    def about(self) -> dict[str, Any]:
        """what, licence, size (bytes), columns, url."""

    @abstractmethod
    def _given(self) -> tuple[str, ...]:
        """The splits that the source has of its own."""

    @abstractmethod
    def _read(self, name: str) -> Rows:
        """The rows of a split that the source has of its own."""

    @property
    def _holds_out(self) -> bool:
        given = self._given()
        return "train" in given and "valid" not in given and self.config.hold_out != 0

    @property
    def splits(self) -> tuple[str, ...]:
        given = self._given()
        usual = [name for name in SPLITS if name in given or (name == "valid" and self._holds_out)]
        return (*usual, *(name for name in given if name not in SPLITS))

    def split(self, name: str) -> Rows:
        """The rows of one split, read once; DataError where the data is wrong or there is no such split."""
        if name not in self.splits:
            raise DataError(
                f'there is no "{name}" split', where="data", fix=f"there are: {', '.join(self.splits) or 'none'}"
            )
        if name not in self._rows:
            if self._holds_out and name in ("train", "valid"):
                parts = hold_out(self._first("train"), self.config.hold_out, self.config.seed)
                self._rows["train"], self._rows["valid"] = parts
            else:
                self._rows[name] = self._first(name)
        return self._rows[name]

    def _first(self, name: str) -> Rows:
        """The rows of a split; of the training rows so many as are wanted."""
        rows, n = self._read(name), self.config.first
        if name != "train" or n is None:
            return rows
        rows.report.notes.append(f"the first {min(n, len(rows)):,} are taken: data.first")
        return Rows({column: values[:n] for column, values in rows.columns.items()}, rows.report)


def hold_out(rows: Rows, amount: float | None, seed: int) -> tuple[Rows, Rows]:
    """Part `rows` into training and validation rows, each in the order read.

    `amount` is a number of rows (≥ 1) or a share (< 1); None is 5%, at most 1,000. Rows that agree in their first
    column go to the same part: no validation source is trained on. DataError where none would be left to train on.
    """
    share, most = HOLD_OUT
    wanted = min(share * len(rows), most) if amount is None else amount * len(rows) if amount < 1 else amount
    wanted = max(1, round(wanted))
    first = next(iter(rows.columns.values()))
    numbers: dict[Any, int] = {}
    group = np.array([numbers.setdefault(as_key(value), len(numbers)) for value in first], dtype=np.int64)
    order = np.random.default_rng(seed).permutation(len(numbers))
    sizes = np.bincount(group, minlength=len(numbers))[order]
    held = np.zeros(len(numbers), dtype=bool)
    held[order[: np.searchsorted(np.cumsum(sizes), wanted) + 1]] = True
    out = held[group]
    if out.all():
        raise DataError(
            f"holding out {wanted:,} of {len(rows):,} rows for validation leaves none to train on",
            where=rows.report.source,
            fix="give more rows, a valid file, or a smaller data.hold_out (0: no validation split)",
        )
    return _part(rows, ~out, "not held out"), _part(rows, out, "held out")


def _part(rows: Rows, chosen: np.ndarray, how: str) -> Rows:
    index = np.flatnonzero(chosen).tolist()
    report = rows.report
    part = ReadReport(
        f"{report.source} ({len(index):,} rows {how})", report.read, report.kept, report.skipped, report.examples,
        list(report.notes),
        *((report.understood, report.first) if how == "not held out" else ()),
    )  # fmt: skip
    return Rows({name: [values[i] for i in index] for name, values in rows.columns.items()}, part)
