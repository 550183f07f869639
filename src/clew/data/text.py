"""Running text as a source: files that may be larger than memory, read by whoever needs them, never held."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import Field

from clew.config import Choice
from clew.data.cache import cache, contents, keep_entry, whole_entry
from clew.data.catalogue import find, locate
from clew.data.documents import lines
from clew.data.lines import existing, expand
from clew.data.opened import Opened, look
from clew.errors import DataError, RecipeError

SPLITS = ("train", "valid")


@dataclass(frozen=True)
class Text:
    """The files of one split; `report` says what they are, `borrowed` that they are the training text's."""

    paths: tuple[Path, ...]
    report: str
    borrowed: bool = False
    seen: tuple[str, ...] = ()  # what the files were taken for, where they are not plain text in UTF-8

    def fingerprint(self) -> str:
        """Return the SHA-256 of what the files hold, in their order, wherever they are and whatever they are called."""
        return contents(self.paths)


class RunningTextConfig(Choice):
    """Your own files of plain text, packed or not, or a known set by name; `folder` overrides where its files are.

    A folder stands for all files in it and below, a pattern ("books/*.txt") for those that it matches.
    """

    kind: str = "text"
    train: tuple[str, ...] = ()
    valid: tuple[str, ...] = ()
    name: str = ""
    folder: str | None = None
    encoding: str = ""  # cp1252, shift_jis, …; "": UTF-8, or what a mark at the beginning says
    first: int | None = Field(None, ge=1)  # only so many of the training text's lines
    held_out: float = Field(
        0.0, ge=0, lt=1
    )  # without validation text: this share of the training text's lines, its last

    @property
    def files(self) -> dict[str, tuple[str, ...]]:
        """The files of each split that has any; none for a known set."""
        return {split: files for split, files in (("train", self.train), ("valid", self.valid)) if files}


class RunningText:
    """Plain text by split."""

    Config = RunningTextConfig

    def __init__(self, config: RunningTextConfig) -> None:
        if bool(config.train) == bool(config.name):
            raise RecipeError(
                "running text is either files or a known set", where="data", fix="set data.train or data.name"
            )
        if config.held_out and config.valid:
            raise RecipeError("there is validation text already", where="data.held_out", fix="leave one of the two out")
        self.config = config
        self.entry = find(config.name) if config.name else None
        if self.entry and self.entry.format != "text":
            raise DataError(
                f'{config.name} is not running text: its format is "{self.entry.format}"',
                where="data.name", fix='`clew data` lists formats; "text" is wanted',
            )  # fmt: skip

    @property
    def about(self) -> dict[str, Any]:
        if self.entry:
            return {"what": self.entry.what, "licence": self.entry.licence, "size": self.entry.size,
                    "columns": ["text"], "url": self.entry.url}  # fmt: skip
        paths = [path for split in self.splits for path in self.split(split).paths]
        return {"what": "your own text", "licence": "yours to know", "size": sum(p.stat().st_size for p in paths),
                "columns": ["text"], "url": ", ".join(map(str, paths))}  # fmt: skip

    @property
    def splits(self) -> tuple[str, ...]:
        given = self.entry.splits if self.entry else self.config.files
        return tuple(name for name in SPLITS if name in given)

    def split(self, name: str) -> Text:
        """The files of one split; without validation text, `valid` is the training text, of which a part is measured.

        Raises DataError where a file is missing.
        """
        if self.config.held_out and "valid" not in self.splits:
            return parted(self.split_files("train"), self.config.held_out, name)
        return self.split_files(name)

    def split_files(self, name: str) -> Text:
        source, seen = (name if name in self.splits else "train"), tuple[str, ...]()
        if self.entry:
            folder = locate(self.config.name, self.config.folder)
            paths = tuple(existing(folder / file) for file in self.entry.splits[source])
        else:
            found = {path: look(path, self.config.encoding) for path in expand(self.config.files[source])}
            seen = tuple(f"{path.name}: {opened}" for path, opened in found.items() if not opened.plain)
            paths = tuple(plain(path, opened) for path, opened in found.items())
        if self.config.first and source == "train":
            paths = (beginning(paths, self.config.first),)
        size = sum(path.stat().st_size for path in paths)
        said = "" if source == name else " (a part of it: there is no validation text)"
        files = ", ".join(path.name for path in paths)
        return Text(paths, f"{files}, {size / 1e6:,.1f} MB{said}", source != name, seen)


def plain(path: Path, opened: Opened) -> Path:
    """The file itself, or, where it is in another encoding or has other line ends, a copy of its text in UTF-8."""
    if opened.plain:
        return path

    def write(place: Path) -> None:
        with opened.open() as text, place.open("wb") as copy:
            shutil.copyfileobj(text, copy)

    return made([path], [opened.encoding, opened.packed], f"{path.stem}.txt", write)


def beginning(paths: Sequence[Path], n: int) -> Path:
    """The first n lines of the files, as a file."""

    def write(place: Path) -> None:
        with place.open("w", encoding="utf-8", newline="") as copy:
            copy.writelines(islice((line for line in lines(paths) if line), n))

    return made(paths, ["first", n], f"first-{n}-lines.txt", write)


def made(paths: Sequence[Path], how: list[Any], name: str, write: Callable[[Path], None]) -> Path:
    """A file in the cache that `write` makes of others, once."""
    folder = cache() / "text" / hashlib.sha256(json.dumps([contents(paths), how, name]).encode()).hexdigest()[:32]
    if not whole_entry(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as place:
            inside = Path(place) / "made"
            inside.mkdir()
            write(inside / name)
            keep_entry(inside, folder)
    return folder / name


def parted(text: Text, share: float, name: str) -> Text:
    """All but the last `share` of a text's characters, to the end of a line, as `train`; the rest as `valid`.

    A line that would take more than half of the rest with it is parted at white space.
    """
    folder = cache() / "parted" / hashlib.sha256(f"{share} {text.fingerprint()}".encode()).hexdigest()[:32]
    if not whole_entry(folder):
        size = sum(len(line) for line in lines(text.paths) if line)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as place:
            inside = Path(place) / "parts"
            inside.mkdir()
            with (
                (inside / "train.txt").open("w", newline="") as first,
                (inside / "valid.txt").open("w", newline="") as last,
            ):
                read = 0
                border = (1 - share) * size
                for line in lines(text.paths):
                    whole = line or ""
                    over = read + len(whole) - border  # what of this line would go too far
                    cut = whole.find(" ", int(border - read)) + 1 if share * size / 2 < over < len(whole) else 0
                    first.write(whole[:cut])
                    (first if read < border and not cut else last).write(whole[cut:])
                    read += len(whole)
            keep_entry(inside, folder)
    path = folder / f"{'valid' if name == 'valid' else 'train'}.txt"
    which = "the last" if name == "valid" else "all but the last"
    return Text((path,), f"{which} {share:.0%} of {text.report}", seen=text.seen)
