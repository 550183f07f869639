"""What every source of rows has in common: splits, read once, and validation rows held out where it has none."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from clew.config import Choice
from clew.data.rows import Keeping, ReadReport, Rows, as_key
from clew.errors import DataError

SPLITS = ("train", "valid", "test")
HOLD_OUT = 0.05, 1000  # validation rows where none are given: this share of the training rows, at most so many
FEW = 0.2, 200  # of labelled rows, where that would be fewer than so many: up to this share


class SourceConfig(Choice):
    """What can be said about any source."""

    on_bad: Literal["few", "skip", "stop"] = "few"  # unsound rows: leave them out, but stop where more than a handful
    # cannot be read as what the file was taken for; leave out any number of them; or stop at the first
    max_characters: int = Field(10_000, ge=1)  # a longer text is unsound
    # Left out: 5%, at most 1,000; where `stratify` names labels and that is fewer than 200, up to a fifth.
    hold_out: float | None = Field(None, ge=0)  # rows (≥ 1) or share (< 1) for valid; left out: 5%, or more of few
    stratify: str | None = None  # the column that held-out rows are a fair sample of; left out: the task's labels
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
                config = self.config
                parts = hold_out(self._first("train"), config.hold_out, config.seed, config.stratify or "")
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


def hold_out(rows: Rows, amount: float | None, seed: int, by: str = "") -> tuple[Rows, Rows]:
    """Part `rows` into training and validation rows, each in the order read.

    `amount` is a number of rows (≥ 1) or a share (< 1); None is 5%, at most 1,000. Rows that agree in their first
    column go to the same part: no validation source is trained on. by: a column of labels, each of which has the same
    share of both parts (that of one text alone is trained on); of few rows more are held out then, see `FEW`, and the
    first column is the first other one. DataError where none would be left to train on, or there is no such column.
    """
    if by and by not in rows.columns:
        known = ", ".join(rows.columns)
        raise DataError(
            f'no column "{by}" in {rows.report.source}', where="data.stratify", fix=f"columns there: {known}"
        )
    n, wanted = len(rows), _wanted(len(rows), amount, bool(by))
    first = next((values for name, values in rows.columns.items() if name != by), rows.columns.get(by, []))
    numbers: dict[Any, int] = {}
    group = np.array([numbers.setdefault(as_key(value), len(numbers)) for value in first], dtype=np.int64)
    order = np.random.default_rng(seed).permutation(len(numbers))
    sizes = np.bincount(group, minlength=len(numbers))
    held = np.zeros(len(numbers), dtype=bool)
    if by:
        label = _classes([str(value) for value in rows[by]])
        of_group = label[np.unique(group, return_index=True)[1]]  # of the first row of each
        over = 0.0  # what labels before had too little, the next has more
        for each in range(int(of_group.max(initial=-1)) + 1):
            some = order[of_group[order] == each]
            share_of = over + wanted * sizes[some].sum() / n
            most = len(some) - 1 if wanted < n else len(some)  # one is left to train on
            taken = some[: min(most, max(1, _nearest(np.cumsum(sizes[some]), share_of)))]
            held[taken], over = True, share_of - sizes[taken].sum()
    else:
        held[order[: np.searchsorted(np.cumsum(sizes[order]), wanted) + 1]] = True
    out = held[group]
    if out.all() or not out.any():
        raise DataError(
            f"holding out {wanted:,} of {n:,} rows for validation leaves none to train on"
            if out.all()
            else f"no label of {by} has two texts, of which one could be held out",
            where=rows.report.source,
            fix="give more rows, a valid file, or a smaller data.hold_out (0: no validation split)",
        )
    how = f", a fair sample by {by}" if by else ""
    return _part(rows, ~out, "not held out"), _part(rows, out, f"held out{how}")


def _classes(values: Sequence[str]) -> np.ndarray:
    """The class of each label; numbers that hardly repeat are parted into fifths by size."""
    names, label = np.unique(values, return_inverse=True)
    if 2 * len(names) > len(values):
        try:
            numbers = np.array(values, dtype=np.float64)
            return np.searchsorted(np.quantile(numbers, [0.2, 0.4, 0.6, 0.8]), numbers)
        except ValueError:
            pass
    return label


def _wanted(n: int, amount: float | None, labelled: bool) -> int:
    """How many of n rows are held out."""
    share, most = HOLD_OUT
    if amount is not None:
        return max(1, round(amount * n if amount < 1 else amount))
    of_few = min(FEW[0] * n, FEW[1]) if labelled else 0.0
    return max(1, round(min(max(share * n, of_few), most)))


def _nearest(sums: np.ndarray, wanted: float) -> int:
    """How many of a rising row of sums come nearest to what is wanted."""
    return int(np.abs(np.concatenate([[0], sums]) - wanted).argmin())


def _part(rows: Rows, chosen: np.ndarray, how: str) -> Rows:
    index = np.flatnonzero(chosen).tolist()
    report = rows.report
    part = ReadReport(
        f"{report.source} ({len(index):,} rows {how})", report.read, report.kept, report.skipped, report.examples,
        list(report.notes),
        *((report.understood, report.first) if how == "not held out" else ()),
    )  # fmt: skip
    return Rows({name: [values[i] for i in index] for name, values in rows.columns.items()}, part)
