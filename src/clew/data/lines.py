"""Files line by line, plain or compressed, and what a reader makes of a line."""

from __future__ import annotations

import bz2
import difflib
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from clew.errors import DataError

OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
UTF16 = (b"\xff\xfe", b"\xfe\xff")


class Record(NamedTuple):
    """The wanted values of one row in the order of the columns, or the reason why it has none; `place` is its line."""

    place: str
    values: Sequence[str | None]
    fault: str = ""


def existing(path: str | Path) -> Path:
    """The path, if it is a file; DataError with the nearest name in that folder otherwise."""
    path = Path(path)
    if path.is_file():
        return path
    if path.is_dir():
        raise DataError("this is a folder, not a file", where=str(path), fix="name the files in it")
    names = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    raise DataError("there is no such file", where=str(path), fix=did_you_mean(path.name, names))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f'did you mean "{near[0]}"?' if near else ""


class Line(NamedTuple):
    number: int
    text: str  # without its end; bytes that are not UTF-8 become surrogates
    whole: bool  # False where the line was longer than the limit: text is its beginning


def lines(path: Path, limit: int) -> Iterator[Line]:
    r"""The lines of a file, in memory bounded by `limit` bytes; they end at \n or \r\n only; a BOM is dropped."""
    number = 0
    try:
        with OPENERS.get(path.suffix, open)(path, "rb") as file:
            while raw := file.readline(limit):
                number += 1
                rest = raw
                while len(rest) == limit and not rest.endswith(b"\n"):  # read past the rest of an over-long line
                    rest = file.readline(limit)
                whole = rest is raw
                if number == 1:
                    if raw.startswith(UTF16):
                        raise DataError(
                            "this file is UTF-16", where=str(path), fix="convert it: iconv -f UTF-16 -t UTF-8"
                        )
                    raw = raw.removeprefix(b"\xef\xbb\xbf")
                yield Line(number, raw.removesuffix(b"\n").removesuffix(b"\r").decode(errors="surrogateescape"), whole)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise DataError(
            f"cannot read on: {error or 'the file ends too early'}", where=f"{path}:{number + 1}"
        ) from error
