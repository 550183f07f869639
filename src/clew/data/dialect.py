"""How the rows of a table are written: what parts its fields, and what quotes mean in it; found out from its rows."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from clew.errors import DataError

Quotes = Literal["doubled", "backslash", "none"]
CALLED = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
SEP = re.compile(r'"?sep=(.)"?\s*$')  # Excel's own first line
NAME = re.compile(r"[^\W\d]\w*(?:[-./:_ ]\w+)?", re.UNICODE)  # one word, or two
QUOTED = re.compile(r'"(?:[^"]|"")*"')
ROWS = 1000  # of the beginning are looked at


@dataclass(frozen=True)
class Dialect:
    """delimiter: parts fields; quotes: how a quote stands within quotes, "none" where quotes are letters; skip: lines
    before the first row."""

    delimiter: str
    quotes: Quotes = "doubled"
    skip: int = 0

    @property
    def options(self) -> dict[str, Any]:
        """What csv.reader takes."""
        if self.quotes == "none":
            return {"delimiter": self.delimiter, "quoting": csv.QUOTE_NONE}
        escape = {"doublequote": False, "escapechar": "\\"} if self.quotes == "backslash" else {}
        return {"delimiter": self.delimiter, "strict": True, **escape}

    def split(self, line: str) -> list[str]:
        """The fields of the first line of a text."""
        try:
            return next(csv.reader([line.partition("\n")[0].rstrip("\r")], **self.options), [])
        except csv.Error:
            return []

    def __str__(self) -> str:
        quoted = {"doubled": "quoted where needed", "backslash": 'quoted, \\" for a quote', "none": "unquoted"}
        return f"fields parted by {CALLED.get(self.delimiter, repr(self.delimiter))} and {quoted[self.quotes]}"


TAB, COMMA = Dialect("\t", "none"), Dialect(",")


def dialect_of(text: str, path: Path, columns: Sequence[str], delimiter: str = "") -> tuple[Dialect, list[list[str]]]:
    """The dialect in which a text is most of all a table, and its first rows, the header among them.

    One in which the first row names a wanted column comes first; then those whose rows are as wide as the first; then
    what the suffix has it. Raises DataError where two are as good, and read different columns.
    """
    lines = text.split("\n")
    lines = [line.removesuffix("\r") for line in (lines[:-1] if lines[-1] == "" else lines)][:ROWS]
    skip = 0
    if lines and (said := SEP.match(lines[0])):
        delimiter, skip = delimiter or said[1], 1
    own = "\t" if ".tsv" in path.suffixes or ".tab" in path.suffixes else ","
    found = []
    for mark in [delimiter] if delimiter else list(dict.fromkeys([own, ",", "\t", ";", "|"])):
        best = max(
            (judged(lines[skip:], Dialect(mark, quotes, skip), columns) for quotes in order(mark, lines)), key=rank
        )
        found.append(best)
    chosen = max(found, key=rank)
    others = [each for each in found if each is not chosen and rank(each) == rank(chosen) and len(each.rows[0]) > 1]
    if others and len(chosen.rows[0]) > 1 and chosen.dialect.delimiter != own:
        marks = [repr(each.dialect.delimiter) for each in (chosen, *others)]
        raise DataError(
            f"its fields may be parted by {' or by '.join(marks)}", where=str(path), fix="set data.delimiter"
        )
    return chosen.dialect, chosen.rows


@dataclass(frozen=True)
class Judged:
    dialect: Dialect
    rows: list[list[str]]
    named: bool  # a wanted column is in the first row
    sound: float  # the share of rows as wide as the first, 0 where that is one field


def rank(judged: Judged) -> tuple[bool, float]:
    return judged.named and len(judged.rows[0]) > 1, round(judged.sound, 2)


def order(mark: str, lines: Sequence[str]) -> tuple[Quotes, ...]:
    """Of several that read a text as well, the first counts: quotes in TSV are letters, unless some stand doubled, or
    around all fields of a column."""
    if mark != "\t":
        return "doubled", "backslash", "none"
    rows = [line.split(mark) for line in lines]
    begun = [field for row in rows for field in row if field.startswith('"')]
    below = zip(*rows[1:], strict=False)  # the columns, as far as all rows have them
    all_of_one = len(rows) > 2 and any(all(field.startswith('"') for field in column) for column in below)
    doubled = all(map(QUOTED.fullmatch, begun)) and (all_of_one or any('""' in field[1:-1] for field in begun))
    return ("doubled", "none") if doubled else ("none", "doubled", "backslash")


def judged(lines: Sequence[str], dialect: Dialect, columns: Sequence[str]) -> Judged:
    rows, broken = [], 0
    for fields in parsed(lines, dialect):
        broken += fields is None
        if fields:
            rows.append(fields)
    if not rows:
        return Judged(dialect, [[]], False, 0.0)
    width = len(rows[0])
    sound = sum(len(row) == width or len(row) == width + 1 == len(rows[-1]) for row in rows) / (len(rows) + broken)
    named = {name.strip().lower() for name in rows[0]} & {column.lower() for column in columns}
    return Judged(dialect, rows, bool(named), sound if width > 1 else 0.0)


def parsed(lines: Sequence[str], dialect: Dialect) -> Iterator[list[str] | None]:
    """The rows of some lines; None for one that is none in this dialect. A quote open at the end is left open."""
    reader = csv.reader((line + "\n" for line in lines), **dialect.options)
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "end of data" not in str(error):
                yield None


def might_be_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row looks like names: a word or two in each field, none of which its column holds again."""
    first = [name.strip() for name in rows[0]]
    if len(set(first)) < len(first) or not all(NAME.fullmatch(name) and len(name) <= 40 for name in first if name):
        return False
    below: Iterable[Sequence[str]] = (row for row in rows[1:] if len(row) == len(first))
    return not any(value.strip() == name for row in below for name, value in zip(first, row, strict=True) if name)
