"""Data sets of the Hugging Face hub, or a folder that holds one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field

from clew.data.json_rows import class_names, lookup, named, require
from clew.data.lines import Record
from clew.data.readers import collect
from clew.data.rows import ReadReport, Rows
from clew.data.source import Source, SourceConfig
from clew.errors import DataError, MissingExtra

NAMES = {"train": ("train",), "valid": ("validation", "valid", "dev", "val"), "test": ("test",)}  # ours → theirs
PART = re.compile(r"[^\[]+\[(-?\d+%?)?:(-?\d+%?)?\]")


class HubConfig(SourceConfig):
    """`name` as `datasets.load_dataset` takes it; `columns` maps our names to theirs, as in {de = "translation.de"}.

    `splits` does so for splits, as in {valid = "validation_matched"} or {train = "train[:1000]", valid =
    "train[90%:]"}; without it, those with usual names are taken.
    """

    kind: str = "hub"
    name: str
    subset: str | None = None
    revision: str | None = None
    columns: dict[str, str] = Field(min_length=1)
    splits: dict[str, str] = Field(default_factory=dict)


class Hub(Source):
    """Rows from a hub data set; needs the extra "data". A local folder as `name` needs no network.

    Numbered labels become their names. A split whose labels are secret (-1, as in GLUE's test splits) is not there.
    """

    Config = HubConfig

    @cached_property
    def _set(self) -> Any:
        """The `datasets.DatasetDict`; DataError with the cause where it cannot be had."""
        try:
            import datasets
        except ImportError as error:
            raise MissingExtra(
                "hub data sets need the library `datasets`", where="data", fix='pip install "clew[data]"'
            ) from error
        config, folder = self.config, Path(self.config.name)
        try:
            if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():  # save_to_disk wrote it
                found = datasets.load_from_disk(str(folder))
            else:
                found = datasets.load_dataset(config.name, config.subset, revision=config.revision)
        except Exception as error:  # the library raises many kinds: network, name, subset, revision, access
            raise DataError(
                f"cannot load this data set: {error}",
                where=f'data.name = "{config.name}"',
                fix="check its name, subset and revision, and that the hub can be reached; a local folder works too",
            ) from error
        return found if isinstance(found, dict) else {"train": found}

    @cached_property
    def _theirs(self) -> dict[str, str]:
        """Our split name → theirs, for the splits that the set has. Raises DataError where `splits` names another."""
        if absent := [theirs for theirs in self.config.splits.values() if theirs.partition("[")[0] not in self._set]:
            raise DataError(
                f"there is no split {', '.join(absent)}", where=f'data.splits of "{self.config.name}"',
                fix=f"there are: {', '.join(self._set)}",
            )  # fmt: skip
        usual = {ours: next((n for n in known if n in self._set), "") for ours, known in NAMES.items()}
        chosen = self.config.splits or {ours: theirs for ours, theirs in usual.items() if theirs}
        return {ours: theirs for ours, theirs in chosen.items() if not self._secret(theirs)}

    def _table(self, theirs: str) -> Any:
        """The rows of a split, or of a part of one, "train[:1000]". Raise DataError for one that is not written so."""
        name, bracket, _ = theirs.partition("[")
        table = self._set[name]
        if not bracket:
            return table
        part = PART.fullmatch(theirs)
        if part is None:
            raise DataError(
                f'cannot read the split "{theirs}"', where="data.splits", fix='write "train[:1000]" or "train[10%:20%]"'
            )
        begin, end = (place(text, len(table)) for text in part.groups())
        return table.select(range(*slice(begin, end).indices(len(table))))

    def _labels(self, theirs: str) -> dict[str, list[str]]:
        """Return the columns of numbered labels, alone or in lists, among those wanted, and the names of the labels."""
        found = class_names(self._set[theirs.partition("[")[0]].features.to_dict())
        return {column: names for column, names in found.items() if column in self.config.columns.values()}

    def _secret(self, theirs: str) -> bool:
        table = self._table(theirs)
        return bool(len(table)) and any(table[0][column] == -1 for column in self._labels(theirs))

    def _given(self) -> tuple[str, ...]:
        if not self._theirs:
            raise DataError(
                f"none of its splits is a known one: {', '.join(self._set)}",
                where=f'data.name = "{self.config.name}"',
                fix=f"known: {', '.join(n for names in NAMES.values() for n in names)}",
            )
        return tuple(self._theirs)

    @property
    def about(self) -> dict[str, Any]:
        info = next(iter(self._set.values())).info
        return {
            "what": info.description or self.config.name,
            "licence": info.license or "see the data set's page",
            "size": info.download_size or 0,
            "columns": list(self.config.columns),
            "url": info.homepage or f"https://huggingface.co/datasets/{self.config.name}",
        }

    def _read(self, name: str) -> Rows:
        config, theirs = self.config, self._theirs[name]
        table = self._table(theirs)
        where = f"{config.name}/{theirs}"
        if len(table):
            require(table[0], config.columns.values(), where)
        labels = self._labels(theirs)
        tops = {c if c in table.column_names else c.split(".")[0] for c in config.columns.values()}

        def records() -> Iterator[Record]:
            for i, row in enumerate(table.select_columns(sorted(tops))):
                for column, names in labels.items():
                    row[column] = named(row[column], names)
                yield Record(f"{where} row {i + 1}", [lookup(row, column) for column in config.columns.values()])

        return collect(records(), list(config.columns), ReadReport(where), config.keeping(name))


def place(text: str | None, n: int) -> int | None:
    """A border of a part of n rows: a number, or a share in percent."""
    if not text:
        return None
    return int(text) if text[-1] != "%" else round(int(text[:-1]) * n / 100)
