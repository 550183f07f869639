"""Rows of JSON and of Parquet: an object per line, a list of objects, SQuAD's articles; names of class labels."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from clew.data.lines import Record, did_you_mean, lines
from clew.data.opened import DAMAGED, look
from clew.data.rows import Value
from clew.data.structured import SQUAD, questions
from clew.data.understood import ARRAY, DATA, Understood
from clew.data.understood import parquet as parquet_file
from clew.errors import DataError, MissingExtra

BETWEEN = re.compile(r"[\s,]*")


def jsonl(file: Understood, columns: Sequence[str], limit: int) -> Iterator[Record]:
    """One JSON object per line; "a.b" is the field b of object a."""
    first = True
    for number, text, whole in lines(file.path, limit, file.encoding):
        place = f"{file.path}:{number}"
        if not text.strip():
            yield Record(place, (), "blank")
            continue
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


def json_file(file: Understood, columns: Sequence[str], limit: int) -> Iterator[Record]:
    """A list of rows, by itself or as "data" of an object, or SQuAD's articles there.

    The file is read as a whole, its rows (or articles) are decoded one by one.
    """
    try:
        with look(file.path, file.encoding).open() as stream:
            text = stream.read().decode("utf-8-sig", errors="surrogateescape")
    except DAMAGED as error:
        raise DataError(f"cannot read on: {error or 'the file ends too early'}", where=str(file.path)) from error
    begin = DATA.match(text) or ARRAY.match(text)
    at, number, decoder = begin.end() if begin else 0, 0, json.JSONDecoder()
    while not text.startswith("]", at):
        number += 1
        place = f"{file.path} row {number}"
        try:
            found, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            yield Record(place, (), "not a JSON object from here to the end of the file")
            return
        if isinstance(found, dict) and "paragraphs" in found:
            if number == 1:
                require(dict.fromkeys(SQUAD), columns, str(file.path))
            for where, row, fault in questions(found, f"{file.path} article {number}"):
                yield Record(where, () if fault else [row[column] for column in columns], fault)
        elif not isinstance(found, dict):
            yield Record(place, (), "not a JSON object")
        else:
            if number == 1:
                require(found, columns, place)
            yield Record(place, [lookup(found, column) for column in columns])
        between = BETWEEN.match(text, end)
        at = between.end() if between else end


def names_of(path: Path) -> list[str]:
    """The columns of a file of JSON or of Parquet: those of its first row."""
    if parquet_file(path):
        import pyarrow.parquet

        return list(pyarrow.parquet.read_schema(path).names)
    text = look(path).head.decode("utf-8", "replace")
    begin = DATA.match(text) or ARRAY.match(text)
    try:
        row, _ = json.JSONDecoder().raw_decode(text, begin.end() if begin else len(text) - len(text.lstrip()))
    except (ValueError, RecursionError):
        return []
    return list(row) if isinstance(row, dict) else []


def require(row: Mapping[str, Any], columns: Iterable[str], place: str) -> None:
    """DataError where an example row lacks a column, or holds whole columns instead of values."""
    if row and all(
        isinstance(value, dict) and len(value) > 1 and all(map(str.isdigit, value)) for value in row.values()
    ):
        raise DataError(
            "this is one object of whole columns, as pandas' to_json writes them", where=place,
            fix='write a row a line: to_json(path, orient="records", lines=True)',
        )  # fmt: skip
    for column in columns:
        inside: Any = row
        for i, part in enumerate(parts := column.split(".")):
            if column in row:
                break
            if not isinstance(inside, Mapping) or part not in inside:
                prefix = "".join(f"{p}." for p in parts[:i])
                known = [prefix + name for name in inside] if isinstance(inside, Mapping) else []
                raise DataError(
                    f'there is no column "{column}" (columns: {", ".join(known)})',
                    where=place,
                    fix=did_you_mean(column, known) or "name columns that are there: data.columns, and the task's own",
                )
            inside = inside[part]


def lookup(row: Mapping[str, Any], column: str) -> Value | None:
    """The value of a column as text, or as a list of words; None where it is absent or null.

    Numbers and truth values become their JSON text, alone or in a list, and so do objects and lists that hold others.
    """
    value: Any = row
    for part in [column] if column in row else column.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if isinstance(value, list) and not any(isinstance(each, list | dict) or each is None for each in value):
        return [written(each) for each in value]
    return None if value is None else written(value)


def written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def parquet(file: Understood, columns: Sequence[str], limit: int) -> Iterator[Record]:
    """Apache Parquet, a batch of rows at a time; nested fields as in jsonl. Needs pyarrow (extra "data").

    Numbers become the names of their classes where the file has these, as those of the Hugging Face hub do.
    """
    path = file.path
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra("reading Parquet needs pyarrow", where=str(path), fix='pip install "clew[data]"') from error
    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as opened:
            tops = opened.schema_arrow.names
            require(dict.fromkeys(tops), [c if c in tops else c.split(".")[0] for c in columns], str(path))
            classes = class_names(features_of(opened.schema_arrow.metadata or {}))
            wanted = [c if c in tops else c.split(".")[0] for c in columns]
            for batch in opened.iter_batches(batch_size=1024, columns=list(dict.fromkeys(wanted))):
                for row in batch.to_pylist():
                    number += 1
                    row |= {c: named(row[c], names) for c, names in classes.items() if c in row}
                    yield Record(f"{path} row {number}", [lookup(row, column) for column in columns])
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"cannot read this as Parquet: {error}", where=str(path)) from error


def features_of(metadata: Mapping[bytes, bytes]) -> Any:
    """What `datasets` writes into a Parquet file of its columns; nothing where it wrote none."""
    try:
        return json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}


def class_names(features: Mapping[str, Any]) -> dict[str, list[str]]:
    """Column → the names of its numbered classes, alone or in lists; features: as `datasets` writes them."""
    found = {}
    for column, feature in features.items():
        while isinstance(feature, list) or (isinstance(feature, dict) and "names" not in feature):
            feature = feature[0] if isinstance(feature, list) and feature else dict(feature or {}).get("feature")
        if isinstance(feature, dict) and isinstance(feature["names"], list):
            found[column] = feature["names"]
    return found


def named(value: Any, names: Sequence[str]) -> Any:
    """A class by its name, or each of a list; None for what has none (-1: it is secret, or undecided)."""
    if isinstance(value, list):
        return [named(each, names) for each in value]
    return None if value is None or value == -1 else names[value]
