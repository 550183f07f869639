"""Readers: text files, tables, JSON, Parquet and CoNLL, plain or compressed, into Rows.

What a file is, `understood.py` finds out. A reader yields one `Record` per line (or row) and holds one of them at a
time; `read` keeps the sound ones and counts the others by reason. What concerns whole files (missing, unequal lengths,
no such column, nothing kept) is a DataError.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Literal

from clew.data.json_rows import json_file, jsonl, parquet
from clew.data.lines import Record, expand, lines
from clew.data.opened import advice
from clew.data.rows import Keeping, ReadReport, Rows, Value
from clew.data.structured import conll, conllu
from clew.data.understood import Understood, suffix_of, understand
from clew.errors import DataError

NOT_UTF8 = "not valid UTF-8"
MISREAD = (NOT_UTF8, "not CSV", "not a JSON object", "with a number of", "over-long")  # the file is not what it was
# taken for, where there are many of these
HANDFUL = 5, 0.001  # misread rows: more than so many, and than this share, are no accident


def read(
    paths: Sequence[str | Path],
    columns: Sequence[str],
    *,
    names: Sequence[str] | None = None,
    on_bad: Literal["few", "skip", "stop"] = "skip",
    max_characters: int = 10_000,
    keeping: Keeping | None = None,
    encoding: str = "",
    delimiter: str = "",
    known: bool = False,
) -> Rows:
    """Read files, folders and patterns into rows of the given columns.

    Several text files with several columns are parallel: line k of each is row k. Otherwise each file is a table with
    the columns and the tables follow one another. `names` are a table's own columns where its first line does not say;
    `encoding` and `delimiter` are found out where they are not given. known: see `understand`. keeping: instead of
    on_bad and max_characters. Raises DataError; with `on_bad="stop"` also at the first unsound row.
    """
    files, keeping = expand(paths), keeping or Keeping(on_bad, max_characters)
    report = ReadReport(", ".join(map(str, files)))
    limit = 4 * keeping.max_characters * max(len(columns), 1) + (1 << 20)  # bytes of a line that are looked at
    several = len(files) > 1 and len(columns) > 1 and not any(map(suffix_of, files))
    said = {"encoding": encoding, "delimiter": delimiter, "names": names or (), "known": known}
    if several and known:
        return collect(parallel(files, limit, ""), columns, report, keeping)
    found = [understand(path, columns, alone=not several, **said) for path in files]  # type: ignore[arg-type]
    report.understood = [] if known else list(map(str, found))
    if several and all(each.format == "lines" for each in found):
        if len(files) != len(columns):
            raise DataError(
                f"{len(files)} parallel files for {len(columns)} columns ({', '.join(columns)})", where=report.source
            )
        return collect(parallel(files, limit, encoding), columns, report, keeping)
    records = (record for each in found for record in READERS[each.format](each, columns, limit))
    return collect(records, columns, report, keeping)


def collect(
    records: Iterable[Record], columns: Sequence[str], report: ReadReport, keeping: Keeping | None = None
) -> Rows:
    """Keep the sound records, count the others; DataError where nothing is kept, or too many were misread."""
    keeping, misread = keeping or Keeping(), Misread()
    table: list[list[Value]] = [[] for _ in columns]
    for place, values, fault in records:
        report.read += 1
        named = [label(v, keeping.labels[c], c) if c in keeping.labels else v
                 for v, c in zip(values, columns, strict=True)] if not fault else []  # fmt: skip
        fault = fault or next(filter(None, map(_fault, named, columns, [keeping.max_characters] * len(columns))), "")
        if not fault and (unwanted := left_out(named, columns, keeping.leave_out)):
            report.skip(unwanted, place)
        elif not fault:
            row = [v if isinstance(v, list) else (v or "").strip() for v in named]  # never None here: that is a fault
            if not report.kept:
                report.begins(dict(zip(columns, row, strict=True)))
            report.kept += 1
            for column, value in zip(table, row, strict=True):
                column.append(value)
            if report.kept == keeping.first:
                break
        elif keeping.on_bad == "stop":
            raise DataError(
                f"unusable row: {fault}", where=place, fix='mend it, or set on_bad = "skip" to leave such rows out'
            )
        else:
            report.skip(fault, place)
            misread.note(fault, place, values)
    if keeping.on_bad == "few" or not report.kept:
        misread.judge(report)
    if not report.kept:
        raise DataError(f"no rows kept: {report}" if report.read else "there is no row in it", where=report.source)
    return Rows(dict(zip(columns, table, strict=True)), report)


class Misread:
    """Rows that were not what the file was taken for."""

    def __init__(self) -> None:
        self.first: tuple[str, str, bytes] | None = None  # why, where, the bytes that are not UTF-8

    def note(self, fault: str, place: str, values: Sequence[Value | None]) -> None:
        if fault.startswith(MISREAD) and (self.first is None or (fault == NOT_UTF8 and not self.first[2])):
            self.first = fault, place, bytes_of(values) if fault == NOT_UTF8 else b""

    def judge(self, report: ReadReport) -> None:
        """Raise DataError where there are more than a handful of them."""
        counts = {fault: n for fault, n in report.skipped.items() if fault.startswith(MISREAD)}
        n, (few, share) = sum(counts.values()), HANDFUL
        if self.first is None or n <= few or n <= share * report.read:
            return
        said = ", ".join(f"{count:,} {fault} (first: {report.examples[fault]})" for fault, count in counts.items())
        leave = 'set data.on_bad="skip" to leave such rows out'
        fix = f"{advice(self.first[2])}, or {leave}" if self.first[2] else f"mend the file, or {leave}"
        if not self.first[2] and any("fields" in fault for fault in counts):
            fix = f"quote fields that hold the delimiter, or set data.delimiter, or {leave}"
        raise DataError(f"{n:,} of {report.read:,} rows cannot be read: {said}", where=report.source, fix=fix)


def bytes_of(values: Sequence[Value | None]) -> bytes:
    """The bytes of a row's texts as they stand in the file; none where JSON wrote half of a character."""
    try:
        return " ".join(v for v in values if isinstance(v, str)).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return b""


def left_out(values: Sequence[Value | None], columns: Sequence[str], leave_out: Mapping[str, Sequence[str]]) -> str:
    """Why a row is not wanted, "" where it is."""
    for value, column in zip(values, columns, strict=True):
        if column in leave_out and value in leave_out[column]:
            return f'whose {column} is "{value}"'
    return ""


def label(value: Value | None, names: Sequence[str], column: str) -> Value | None:
    """What a number, or each of a list, stands for. Raises DataError for one that has no name."""
    if value is None:
        return None
    if isinstance(value, list):
        return [str(label(each, names, column)) for each in value]
    if not value.isdigit() or int(value) >= len(names):
        raise DataError(
            f'"{value}" is none of the numbers 0 to {len(names) - 1} that have names', where=f"data.labels.{column}",
            fix="give a name for each, in their order",
        )  # fmt: skip
    return names[int(value)]


def _fault(value: Value | None, column: str, max_characters: int) -> str:
    if isinstance(value, list):
        return next((fault for fault in (_fault(each, column, max_characters) for each in value if each) if fault), "")
    if value is None or not value or value.isspace():
        return f"with empty {column}"
    if len(value) > max_characters:
        return f"longer than {max_characters:,} characters"
    if "\0" in value:
        return "with a NUL character"
    try:
        value.encode()  # a surrogate stands for a byte that could not be decoded
    except UnicodeEncodeError:
        return NOT_UTF8
    return ""


def parallel(paths: Sequence[Path], limit: int, encoding: str) -> Iterator[Record]:
    """Line k of every file is one record; DataError where the files have different numbers of lines."""
    counts = [0] * len(paths)
    for row in zip_longest(*(lines(path, limit, encoding) for path in paths)):
        counts = [count + (line is not None) for count, line in zip(counts, row, strict=True)]
        if None in row:
            continue  # count on to the end, for the message
        cut = "" if all(line.whole for line in row) else "over-long"
        yield Record(f"{paths[0]}:{row[0].number}", [line.text for line in row], cut)
    if len(set(counts)) > 1:
        said = ", ".join(f"{path} has {count:,}" for path, count in zip(paths, counts, strict=True))
        raise DataError(
            f"parallel files with different numbers of lines: {said}", fix="line k of each file must be row k"
        )


def a_line(file: Understood, columns: Sequence[str], limit: int) -> Iterator[Record]:
    """A text a line."""
    for number, text, whole in lines(file.path, limit, file.encoding):
        yield Record(f"{file.path}:{number}", [text], "" if whole else "over-long")


def table(file: Understood, columns: Sequence[str], limit: int) -> Iterator[Record]:
    """Pick the wanted fields of a table's rows; every row has as many as there are columns."""
    positions = [file.columns.index(column) for column in columns]
    rows, width = fields(file, limit), len(file.columns)
    begun = not file.header
    for number, row, fault in rows:
        if not begun and not fault:
            begun = True
            continue
        if not fault and width > 1 and row in ([], [""]):
            fault = "blank"
        elif not fault and len(row) != width:
            fault = f"with a number of fields other than {width}"
        yield Record(f"{file.path}:{number}", () if fault else [row[i] for i in positions], fault)


def fields(file: Understood, limit: int) -> Iterator[tuple[int, list[str], str]]:
    """(line number, fields, fault) of each row; a quoted field may hold delimiters and line ends."""
    dialect, last_cut = file.dialect, 0
    if dialect.quotes == "none":
        for number, text, whole in lines(file.path, limit, file.encoding):
            if number > dialect.skip:
                yield number, text.split(dialect.delimiter), "" if whole else "over-long"
        return
    csv.field_size_limit(max(csv.field_size_limit(), limit // 4))  # no sound field is longer

    def feed() -> Iterator[str]:
        nonlocal last_cut
        for number, text, whole in lines(file.path, limit, file.encoding):
            last_cut = last_cut if whole else number
            if number > dialect.skip:
                yield text + "\n"

    reader, start = csv.reader(feed(), **dialect.options), 0
    while True:
        try:
            row = next(reader)
            yield start + 1 + dialect.skip, row, "over-long" if last_cut > start else ""
        except StopIteration:
            return
        except csv.Error as error:  # an open quote swallows the lines after it: each of them is counted
            for number in range(start + 1, reader.line_num + 1):
                yield number + dialect.skip, [], "over-long" if last_cut > start else f"not CSV ({error})"
        start = reader.line_num


READERS: dict[str, Callable[[Understood, Sequence[str], int], Iterator[Record]]] = {
    "lines": a_line,
    "table": table,
    "jsonl": jsonl,
    "json": json_file,
    "parquet": parquet,
    "conll": conll,
    "conllu": conllu,
}
