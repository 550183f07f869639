"""What a model is asked about: the texts of a file, a line each, or the rows of a table by its columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from clew.data.lines import lines
from clew.data.opened import advice, readable
from clew.data.readers import READERS
from clew.data.rows import joined
from clew.data.understood import Understood, suffix_of, understand
from clew.errors import DataError

LIMIT = 1 << 28  # bytes of a line
SPACES = str.maketrans("\t\r\n", "   ")
EMPTY = ("blank", "with empty")  # faults of a row in which nothing is asked


def understood(path: Path, fields: Sequence[str], columns: Sequence[str] = (), encoding: str = "") -> Understood:
    """Find out what a file is that a model is asked about; columns: those to read, else `fields`.

    A file that is no table by its name, and whose first line names none of the columns, has a text a line. Raises
    DataError where a table lacks a column, or its columns would be guessed.
    """
    path = readable(path)
    if columns and len(columns) != len(fields):
        raise DataError(
            f"{len(columns)} columns for {len(fields)} texts ({', '.join(fields)})", where="--column",
            fix="name one for each, with commas in between",
        )  # fmt: skip
    try:
        return understand(path, columns or fields, encoding=encoding, alone=bool(columns))
    except DataError as error:
        if not suffix_of(path):
            raise
        fix = "name its columns: --column " + ",".join(f"NAME_OF_{name.upper()}" for name in fields)
        raise DataError(error.what, where=error.where, fix=fix) from error


def texts(file: Understood, fields: Sequence[str], columns: Sequence[str] = ()) -> Iterator[str]:
    """Yield what is asked, in the order of the file: tabs between the fields of a row; "" for a row without a text.

    Raises DataError for a row that cannot be read, and names its line.
    """
    if file.format == "lines":
        for number, text, _ in lines(file.path, LIMIT, file.encoding):
            yield utf8(text, f"{file.path}:{number}")
        return
    for place, values, fault in READERS[file.format](file, columns or fields, LIMIT):
        if fault.startswith(EMPTY):
            yield ""
            continue
        if fault:
            raise DataError(f"unusable row: {fault}", where=place, fix="mend it, or leave it out")
        row = [joined(value) or "" for value in values]
        yield "\t".join(utf8(text, place).translate(SPACES) for text in row) if any(map(str.strip, row)) else ""


def utf8(text: str, place: str) -> str:
    """The text itself. Raises DataError where a byte of it could not be decoded."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raw = text.encode("utf-8", "surrogateescape")
        raise DataError(
            "this line is not UTF-8", where=place, fix=advice(raw).replace("data.encoding=", "--encoding ")
        ) from error
    return text


def of_stream(stream: Iterable[bytes], name: str) -> Iterator[str]:
    """Yield the lines of what comes in byte by byte, such as standard input."""
    for number, line in enumerate(stream, start=1):
        text = line.removeprefix(b"\xef\xbb\xbf" if number == 1 else b"").decode(errors="surrogateescape")
        yield utf8(text.rstrip("\r\n"), f"{name}:{number}")
