"""Files line by line, plain or compressed, and what a reader makes of a line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from glob import glob
from pathlib import Path
from typing import NamedTuple

from clew.data.opened import DAMAGED, look, readable
from clew.data.rows import Value
from clew.errors import DataError


class Record(NamedTuple):
    """The wanted values of one row in the order of the columns, or the reason why it has none; `place` is its line."""

    place: str
    values: Sequence[Value | None]
    fault: str = ""


def existing(path: str | Path) -> Path:
    """The path, if it is a file (a pipe is read into one); DataError with the nearest name in that folder otherwise."""
    path = readable(path)
    if path.is_file():
        return path
    if path.is_dir():
        raise DataError("this is a folder, not a file", where=str(path), fix="name the files in it")
    names = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    raise DataError("there is no such file", where=str(path), fix=did_you_mean(path.name, names))


def expand(paths: Iterable[str | Path]) -> list[Path]:
    """Every file that is meant: of a folder all in it and below, of a pattern ("books/*.txt") what it matches, sorted.

    Hidden files of a folder are left out. Raises DataError where there is none.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = [p for p in sorted(path.rglob("*")) if p.is_file() and not hidden(p.relative_to(path))]
        elif not path.exists() and any(mark in str(path) for mark in "*?["):
            inside = [p for p in map(Path, sorted(glob(str(path), recursive=True))) if p.is_file()]
        else:
            inside = [existing(path)]
        if not inside:
            raise DataError("there is no file in it", where=str(path), fix="name files, a folder or a pattern")
        found += inside
    return found


def hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f'did you mean "{near[0]}"?' if near else ""


class Line(NamedTuple):
    number: int
    text: str  # without its end; bytes that are not UTF-8 become surrogates
    whole: bool  # False where the line was longer than the limit: text is its beginning


def lines(path: Path, limit: int, encoding: str = "") -> Iterator[Line]:
    r"""The lines of a file, in memory bounded by `limit` bytes; they end at \n or \r\n, or, without any \n, at \r.

    A BOM is dropped. `encoding`: where it is not UTF-8, nor has a mark that says so.
    """
    number = 0
    try:
        with look(path, encoding).open() as file:
            while raw := file.readline(limit):
                number += 1
                rest = raw
                while len(rest) == limit and not rest.endswith(b"\n"):  # read past the rest of an over-long line
                    rest = file.readline(limit)
                whole = rest is raw
                if number == 1:
                    raw = raw.removeprefix(b"\xef\xbb\xbf")
                yield Line(number, raw.removesuffix(b"\n").removesuffix(b"\r").decode(errors="surrogateescape"), whole)
    except DAMAGED as error:
        raise DataError(
            f"cannot read on: {error or 'the file ends too early'}", where=f"{path}:{number + 1}"
        ) from error
