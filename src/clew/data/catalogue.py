"""Known data sets by name; the files come from a folder on this machine."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any

from clew.data.entry import CONVERSIONS, Entry, entries
from clew.data.readers import read
from clew.data.rows import Rows
from clew.data.source import SPLITS, Source, SourceConfig
from clew.errors import DataError


class CatalogueConfig(SourceConfig):
    """A known data set; `columns` chooses among those it has (none: all), `folder` overrides where its files are."""

    kind: str = "catalogue"
    name: str
    columns: tuple[str, ...] = ()
    folder: str | None = None


class Catalogue(Source):
    """Rows of a known data set."""

    Config = CatalogueConfig

    def __init__(self, config: CatalogueConfig) -> None:
        super().__init__(config)
        self.entry = find(config.name)
        if not self.entry.columns:
            raise DataError(
                f'no reader gives {config.name} as rows of text: its format is "{self.entry.format}"',
                where="data.name",
                fix=f"its files: {self.entry.url}",
            )
        for column in config.columns:
            if column not in self.entry.columns:
                near = difflib.get_close_matches(column, self.entry.columns, n=1)
                raise DataError(
                    f'{config.name} has no column "{column}" (columns: {", ".join(self.entry.columns)})',
                    where="data.columns",
                    fix=f'did you mean "{near[0]}"?' if near else "",
                )

    @property
    def columns(self) -> list[str]:
        return list(self.config.columns or self.entry.columns)

    @property
    def about(self) -> dict[str, Any]:
        entry = self.entry
        return {
            "what": entry.what,
            "licence": entry.licence,
            "size": entry.size,
            "columns": list(entry.columns),
            "url": entry.url,
        }

    def _given(self) -> tuple[str, ...]:
        return tuple(name for name in SPLITS if name in self.entry.splits)

    def _read(self, name: str) -> Rows:
        entry, config = self.entry, self.config
        folder = locate(config.name, config.folder)
        lacking = entry.lacking.get(name, ())
        columns = [column for column in self.columns if column not in lacking]
        if not columns:
            raise DataError(
                f'the "{name}" split of {config.name} has no {", ".join(self.columns)}', where="data.columns"
            )
        patterns = entry.splits[name]
        files = [folder / p.format(column) for p in patterns for column in (columns if "{}" in p else columns[:1])]
        theirs = [entry.rename.get(column, column) for column in columns]
        rows = read(
            files,
            theirs,
            names=entry.names or None,
            keeping=config.keeping(name, entry.max_characters),
            known=True,
        )
        renamed = dict(zip(columns, rows.columns.values(), strict=True))
        for column in entry.convert.keys() & renamed.keys():
            renamed[column] = list(map(CONVERSIONS[entry.convert[column]], renamed[column]))
        return Rows(renamed, rows.report)


def find(name: str) -> Entry:
    """Return the entry of a known data set. Raise DataError with the nearest name otherwise."""
    known = entries()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        raise DataError(
            f'there is no data set "{name}" in the catalogue',
            where="data.name",
            fix=(f'did you mean "{near[0]}"? ' if near else "") + "`clew data` lists them",
        )
    return known[name]


def places(name: str, folder: str | None = None) -> list[Path]:
    """Where the files of a data set are looked for, in this order."""
    if folder is not None:
        return [Path(folder)]
    there = entries()[name].folder or name
    root = os.environ.get("CLEW_DATA")
    own = [Path(root) / there] if root else []
    return [*own, Path("../shared/data") / there, Path.home() / ".cache/clew/data" / there]


def locate(name: str, folder: str | None = None) -> Path:
    """The folder that holds a data set; DataError with the places looked in, the licence and how to get it."""
    entry = find(name)
    looked = places(name, folder)
    for place in looked:
        if place.is_dir():
            return place
    hub = f', or use kind = "hub" with name = "{entry.hub}"' if entry.hub else ""
    raise DataError(
        f"the files of {name} are not on this machine (licence: {entry.licence})",
        where="looked in " + ", ".join(map(str, looked)),
        fix=f"get them from {entry.url} and set data.folder, or $CLEW_DATA to the folder above theirs{hub}",
    )
