"""Readers: text files, TSV, CSV, JSONL, Parquet, CoNLL and SQuAD's JSON, plain or compressed, into Rows.

A reader yields one `Record` per line (or row) and holds one of them at a time; `read` keeps the sound ones and counts
the others by reason. What concerns whole files (missing, unequal lengths, no such column, nothing kept) is a DataError.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

from clew.data.lines import OPENERS, Record, did_you_mean, existing, lines
from clew.data.rows import ReadReport, Rows
from clew.data.structured import conll, conllu, is_squad, squad
from clew.errors import DataError, MissingExtra


def read(
    paths: Sequence[str | Path],
    columns: Sequence[str],
    *,
    names: Sequence[str] | None = None,
    on_bad: Literal["skip", "stop"] = "skip",
    max_characters: int = 10_000,
) -> Rows:
    """Read files into rows of the given columns.

    Several text files with several columns are parallel: line k of each is row k. Otherwise each file is a table with
    the columns and the tables follow one another. `names` are a table's own columns where its first line does not say.
    Raises DataError; with `on_bad="stop"` also at the first unsound row.
    """
    files = [existing(path) for path in paths]
    report = ReadReport(", ".join(map(str, files)))
    limit = 4 * max_characters * max(len(columns), 1) + (1 << 20)  # bytes of a line that are looked at
    if len(files) > 1 and len(columns) > 1 and all(kind_of(path) == "text" for path in files):
        if len(files) != len(columns):
            raise DataError(
                f"{len(files)} parallel files for {len(columns)} columns ({', '.join(columns)})", where=report.source
            )
        return collect(parallel(files, limit), columns, report, on_bad=on_bad, max_characters=max_characters)

    def records() -> Iterator[Record]:
        for path in files:
            kind = kind_of(path)
            if kind == "text" and len(columns) == 1:
                yield from parallel([path], limit)
            else:
                yield from TABLES["tsv" if kind == "text" else kind](path, columns, names, limit)

    return collect(records(), columns, report, on_bad=on_bad, max_characters=max_characters)


def collect(
    records: Iterable[Record],
    columns: Sequence[str],
    report: ReadReport,
    *,
    on_bad: Literal["skip", "stop"] = "skip",
    max_characters: int = 10_000,
) -> Rows:
    """Keep the sound records, count the others; DataError where nothing is kept."""
    table: list[list[str]] = [[] for _ in columns]
    for place, values, fault in records:
        report.read += 1
        fault = fault or next(filter(None, map(_fault, values, columns, [max_characters] * len(columns))), "")
        if not fault:
            report.kept += 1
            for column, value in zip(table, values, strict=True):
                column.append((value or "").strip())  # never None here: that is a fault
        elif on_bad == "stop":
            raise DataError(
                f"unusable row: {fault}", where=place, fix='mend it, or set on_bad = "skip" to leave such rows out'
            )
        else:
            report.skip(fault, place)
    if not report.kept:
        raise DataError(f"no rows kept: {report}" if report.read else "there is no row in it", where=report.source)
    return Rows(dict(zip(columns, table, strict=True)), report)


def _fault(value: str | None, column: str, max_characters: int) -> str:
    if value is None or not value or value.isspace():
        return f"with empty {column}"
    if len(value) > max_characters:
        return f"longer than {max_characters:,} characters"
    if "\0" in value:
        return "with a NUL character"
    try:
        value.encode()  # a surrogate stands for a byte that could not be decoded
    except UnicodeEncodeError:
        return "not valid UTF-8"
    return ""


SUFFIXES = {".tab": "tsv", ".ndjson": "jsonl"}


def kind_of(path: Path) -> str:
    """tsv, csv, jsonl, json, parquet, conll or conllu by suffix, compression aside; anything else is text."""
    suffix = (Path(path.stem).suffix if path.suffix in OPENERS else path.suffix).lower()
    kind = SUFFIXES.get(suffix, suffix.removeprefix("."))
    return kind if kind in TABLES else "text"


def parallel(paths: Sequence[Path], limit: int) -> Iterator[Record]:
    """Line k of every file is one record; DataError where the files have different numbers of lines."""
    counts = [0] * len(paths)
    for row in zip_longest(*(lines(path, limit) for path in paths)):
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


def _positions(
    first: Sequence[str], columns: Sequence[str], names: Sequence[str] | None, path: Path
) -> tuple[list[int], bool]:
    """Where the wanted columns stand in a row, and whether the first line is a header.

    It is one if it holds any wanted name (letter case aside). Otherwise the fields are `names`, or, where those are not
    known either, the wanted columns themselves in their order.
    """
    lowered = [field.strip().lower() for field in first]
    header = any(column.lower() in lowered for column in columns)
    known = [field.strip() for field in first] if header else list(names or columns)
    for column in columns:
        if column not in known:
            fix = did_you_mean(column, known) or next(
                (f'did you mean "{k}"?' for k in known if k.lower() == column.lower()), ""
            )
            raise DataError(f'there is no column "{column}" (columns: {", ".join(known)})', where=f"{path}:1", fix=fix)
    if len(first) < len(known):
        raise DataError(
            f"{len(first)} fields in the first line for {len(known)} columns ({', '.join(known)})",
            where=f"{path}:1",
            fix="separate the fields of a table by tabs (.csv: commas), or give one text file per column",
        )
    return [known.index(column) for column in columns], header


def _table(
    rows: Iterable[tuple[int, list[str], str]], path: Path, columns: Sequence[str], names: Sequence[str] | None
) -> Iterator[Record]:
    """Pick the wanted fields out of (line number, fields, fault); every row has as many fields as the first."""
    positions: list[int] = []
    width = 0
    for number, fields, fault in rows:
        if not positions and not fault:
            width = len(fields)
            positions, header = _positions(fields, columns, names, path)
            if header:
                continue
        if not fault and len(fields) != width:
            fault = f"with a number of fields other than {width}"
        yield Record(f"{path}:{number}", () if fault else [fields[i] for i in positions], fault)


def tsv(path: Path, columns: Sequence[str], names: Sequence[str] | None, limit: int) -> Iterator[Record]:
    """Tab-separated, unquoted, one row per line."""
    rows = ((n, text.split("\t"), "" if whole else "over-long") for n, text, whole in lines(path, limit))
    return _table(rows, path, columns, names)


def comma(path: Path, columns: Sequence[str], names: Sequence[str] | None, limit: int) -> Iterator[Record]:
    """Comma-separated, quoted as spreadsheets do: a quoted field may hold commas and line ends."""
    csv.field_size_limit(max(csv.field_size_limit(), limit // 4))  # no sound field is longer
    last_cut = 0

    def feed() -> Iterator[str]:
        nonlocal last_cut
        for number, text, whole in lines(path, limit):
            last_cut = last_cut if whole else number
            yield text + "\n"

    def rows() -> Iterator[tuple[int, list[str], str]]:
        reader, start = csv.reader(feed(), strict=True), 0
        while True:
            try:
                yield start + 1, next(reader), "over-long" if last_cut > start else ""
            except StopIteration:
                return
            except csv.Error as error:  # an open quote swallows the lines after it: each of them is counted
                for number in range(start + 1, reader.line_num + 1):
                    yield number, [], "over-long" if last_cut > start else f"not CSV ({error})"
            start = reader.line_num

    return _table(rows(), path, columns, names)


def jsonl(path: Path, columns: Sequence[str], names: Sequence[str] | None, limit: int) -> Iterator[Record]:
    """One JSON object per line; "a.b" is the field b of object a; numbers, lists and objects become their JSON text."""
    first = True
    for number, text, whole in lines(path, limit):
        place = f"{path}:{number}"
        try:
            row = json.loads(text) if whole else None
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            yield Record(place, (), "not a JSON object" if whole else "over-long")
            continue
        if first:
            require(row, columns, place)
            first = False
        yield Record(place, [lookup(row, column) for column in columns])


def require(row: dict[str, Any], columns: Iterable[str], place: str) -> None:
    """DataError where an example row lacks a column."""
    for column in columns:
        inside = row
        for i, part in enumerate(parts := column.split(".")):
            if column in row:
                break
            if not isinstance(inside, dict) or part not in inside:
                prefix = "".join(f"{p}." for p in parts[:i])
                known = [prefix + name for name in inside] if isinstance(inside, dict) else []
                raise DataError(
                    f'there is no column "{column}" (columns: {", ".join(known)})',
                    where=place,
                    fix=did_you_mean(column, known),
                )
            inside = inside[part]


def lookup(row: dict[str, Any], column: str) -> str | None:
    """The value of a column as text; None where it is absent or null."""
    value: Any = row
    for part in [column] if column in row else column.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def parquet(path: Path, columns: Sequence[str], names: Sequence[str] | None, limit: int) -> Iterator[Record]:
    """Apache Parquet, a batch of rows at a time; nested fields as in jsonl. Needs pyarrow (extra "data")."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra("reading Parquet needs pyarrow", where=str(path), fix='pip install "clew[data]"') from error
    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            tops = file.schema_arrow.names
            for column in columns:
                if column not in tops and column.split(".")[0] not in tops:
                    raise DataError(
                        f'there is no column "{column}" (columns: {", ".join(tops)})',
                        where=str(path),
                        fix=did_you_mean(column, tops),
                    )
            wanted = [c if c in tops else c.split(".")[0] for c in columns]
            for batch in file.iter_batches(batch_size=1024, columns=list(dict.fromkeys(wanted))):
                for row in batch.to_pylist():
                    number += 1
                    yield Record(f"{path} row {number}", [lookup(row, column) for column in columns])
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"cannot read this as Parquet: {error}", where=str(path)) from error


def json_file(path: Path, columns: Sequence[str], names: Sequence[str] | None, limit: int) -> Iterator[Record]:
    """SQuAD's form where the file begins so, otherwise one JSON object per line."""
    return (squad if is_squad(path) else jsonl)(path, columns, names, limit)


TABLES: dict[str, Callable[[Path, Sequence[str], Sequence[str] | None, int], Iterator[Record]]] = {
    "tsv": tsv,
    "csv": comma,
    "jsonl": jsonl,
    "json": json_file,
    "parquet": parquet,
    "conll": conll,
    "conllu": conllu,
}
