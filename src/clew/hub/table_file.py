"""What all files of word vectors have in common: the file mapped into memory, its words, and what is wrong with it."""

from __future__ import annotations

import gzip
import lzma
import mmap
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from clew.errors import DataError, RecipeError
from clew.models.vectors import WordVectors

PACKED: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"\xfd7": lzma.open}
AGAIN = "get the file again: it may have been cut short"


@dataclass(frozen=True)
class TableFile:
    """A file in hand: `data` maps it, `bytes` is the same as a numpy array; `errors` as bytes.decode has them.

    notes: what was read otherwise than it stands there, where `errors` allows that.
    """

    path: Path
    data: mmap.mmap
    bytes: np.ndarray
    errors: str
    notes: list[str] = field(default_factory=list)

    def wrong(self, what: str, at: str, fix: str = AGAIN) -> DataError:
        return DataError(what, where=f"{self.path}, {at}", fix=fix)

    def line(self, at: int) -> int:
        """The number, from 1, of the line that holds byte `at`."""
        return 1 + count_lines(self.bytes[:at])

    def words(self, spans: np.ndarray) -> list[str]:
        """Decode the words that lie at spans (n, 2). Raises DataError for what is not UTF-8, if errors are strict."""
        data, words, replaced = self.data, [], []
        for start, end in spans.tolist():
            try:
                words.append(data[start:end].decode("utf-8"))
            except UnicodeDecodeError as error:
                if self.errors == "strict":
                    raise self.wrong(
                        f"the word {error.object[:60]!r} is not UTF-8", f"word {len(words) + 1}, byte {start}",
                        'convert the file to UTF-8, or read it with errors="backslashreplace"',
                    ) from error  # fmt: skip
                words.append(data[start:end].decode("utf-8", self.errors))
                replaced.append(words[-1])
        if replaced:
            self.notes.append(
                f"{len(replaced):,} of {len(words):,} words are not UTF-8 (cut inside a letter, or of another encoding)"
                f"; what is no letter is written as in {shortened(replaced[0])}"
            )
        return words

    def checked(self, vectors: WordVectors) -> WordVectors:
        """The vectors, when no word occurs twice and all numbers are finite. Raises DataError otherwise.

        Where errors are not strict, the first vector of a word that occurs twice is kept.
        """
        first = dict(zip(reversed(vectors.words), range(len(vectors) - 1, -1, -1), strict=True))
        if self.errors != "strict" and len(first) < len(vectors) and vectors.subwords is None:
            rows = sorted(first.values())
            seen = set(rows)
            twice = next(word for row, word in enumerate(vectors.words) if row not in seen)
            self.notes.append(
                f"{len(vectors) - len(rows):,} words have another vector further on; the first of each is kept "
                f"({shortened(twice)})"
            )
            counts = None if vectors.counts is None else vectors.counts[rows]
            vectors = WordVectors([vectors.words[i] for i in rows], vectors.matrix[rows], counts, zeros=vectors.zeros)
        vectors.notes += self.notes
        try:
            _ = vectors.index, vectors.scale
        except DataError as error:
            raise self.wrong(error.what, error.where, error.fix) from error
        return vectors


@contextmanager
def mapped(path: Path, errors: str = "strict") -> Iterator[TableFile]:
    """Map a file into memory, unpacked into a temporary one where it is .gz or .xz. The map outlives the block.

    Raises DataError for a missing, empty or damaged file.
    """
    if not path.is_file():
        raise DataError(f"there is no file {path.name}", where=str(path), fix="check the path")
    with path.open("rb") as file:
        unpack = PACKED.get(file.read(2))
        if unpack is None:
            yield _map(path, file, errors)
            return
    with tempfile.TemporaryFile() as plain:
        try:
            with unpack(path, "rb") as packed:
                shutil.copyfileobj(packed, plain, 1 << 20)
        except (EOFError, OSError, lzma.LZMAError) as error:
            raise DataError(f"the file does not unpack: {error}", where=str(path), fix=AGAIN) from error
        yield _map(path, plain, errors)


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write, which appears under its name whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            yield file
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _map(path: Path, file: IO[bytes], errors: str) -> TableFile:
    file.flush()
    if file.seek(0, 2) == 0:
        raise DataError("the file is empty", where=str(path), fix=AGAIN)
    data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return TableFile(path, data, np.frombuffer(data, dtype=np.uint8), errors)


def shortened(word: str) -> str:
    return f'"{word}"' if len(word) <= 40 else f'"{word[:18]}…{word[-18:]}"'


def count_lines(text: np.ndarray) -> int:
    """The line ends in text, uint8, a part at a time that the cache holds."""
    return sum(int(np.count_nonzero(text[i : i + (1 << 18)] == 10)) for i in range(0, len(text), 1 << 18))


def check_words(words: Sequence[str], without: str, form: str) -> None:
    """Raise RecipeError for a word that a format cannot hold: an empty one, or one with a character of `without`."""
    bad = re.compile(f"[{without}]").search
    for word in words:
        if not word or bad(word):
            raise RecipeError(
                f"{form} cannot hold the word {word[:60]!r}", fix="rename it, or write safetensors, which holds spaces"
            )
