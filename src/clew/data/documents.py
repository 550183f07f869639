"""Documents as token ids on disk: sentence by sentence for encoders, as they stand for models that write."""

from __future__ import annotations

import hashlib
import json
import lzma
import shutil
import tempfile
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Literal

import numpy as np

from clew.data.cache import cache, contents, keep_entry, whole_entry
from clew.data.opened import advice
from clew.errors import DataError
from clew.text.sentences import sentences
from clew.text.tokenizer import Tokenizer
from clew.text.words import OPENERS

LINES_AT_ONCE = 4096
TEXTS_AT_ONCE = 256  # of up to STRETCH lines each
STRETCH = 256
LONG = 1 << 16  # characters, roughly, of a line that is read in parts, and of a stretch
CHARACTERS_AT_ONCE = 1 << 21
FORMAT = 2  # of what lies in the cache, and of the rules by which sentences are parted

Ends = Literal["paragraphs", "line", "file"]
"""Where documents end: at blank lines, at each line, with the file."""

Progress = Callable[[int, int], None]
"""Told how many bytes were read, and of how many."""


@dataclass(frozen=True)
class Documents:
    """A text as ids, memory-mapped. ids: (N,) tokens; sentences: (S + 1,) where each starts in `ids`, and N;
    documents: (D + 1,) where each starts in `sentences`, and S. Running text has stretches of many lines for sentences.
    """

    ids: np.ndarray
    sentences: np.ndarray
    documents: np.ndarray

    def __len__(self) -> int:
        return len(self.documents) - 1

    @classmethod
    def load(cls, folder: Path) -> Documents:
        """What `encode` left in a folder."""
        return cls(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in cls.__dataclass_fields__))

    @classmethod
    def encode(
        cls, paths: Iterable[Path], tokenizer: Tokenizer, *, ends: Ends = "paragraphs", running: bool = False,
        progress: Progress | None = None,
    ) -> Documents:  # fmt: skip
        """Read files of any size into documents; done once for the same files and tokenizer, and kept in the cache.

        Documents end at blank lines, at each line, or with the file. `running` text is kept as it stands, and </s>
        follows each document. Raises DataError where the files hold no text.
        """
        paths = [path.resolve() for path in paths]
        known = json.dumps(
            [
                FORMAT,
                contents(paths),
                ends,
                running,
                hashlib.sha256(tokenizer.inner.to_str().encode()).hexdigest(),
                tokenizer.split_specials,
            ]
        )
        folder = cache() / "documents" / hashlib.sha256(known.encode()).hexdigest()[:32]
        if not whole_entry(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix="writing-"))
            try:
                stream = (stretches if running else pieces)(paths, ends, progress)
                write(temporary, tokenizer, stream, running)
                if not np.load(temporary / "documents.npy").any():
                    raise DataError(
                        "there is no text", where=", ".join(map(str, paths)), fix="give files of plain text"
                    )
                keep_entry(temporary, folder)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        return cls.load(folder)


def write(folder: Path, tokenizer: Tokenizer, stream: Iterator[str], running: bool) -> None:
    """Encode in one pass; only the places of sentences and documents are held in memory, 8 bytes each."""
    dtype = np.uint16 if len(tokenizer) <= 1 << 16 else np.int32
    starts, documents = array("q", [0]), array("q", [0])
    with (folder / "ids").open("wb") as out:
        while chunk := some(stream, TEXTS_AT_ONCE if running else LINES_AT_ONCE):
            for text, ids in zip(chunk, tokenizer.encode(chunk), strict=True):
                if ids and running and documents[-1] == len(starts) - 1:
                    ids = [*tokenizer.opening, *ids]
                if ids:
                    out.write(np.array(ids, dtype=dtype).tobytes())
                    starts.append(starts[-1] + len(ids))
                elif not text and documents[-1] != len(starts) - 1:  # the mark of a document's end
                    documents.append(len(starts) - 1)
                    if running:
                        out.write(np.array([tokenizer.eos_id], dtype=dtype).tobytes())
                        starts[-1] += 1
    if documents[-1] != len(starts) - 1:
        documents.append(len(starts) - 1)
    size = (folder / "ids").stat().st_size // np.dtype(dtype).itemsize
    written = np.memmap(folder / "ids", dtype=dtype, mode="r") if size else np.empty(0, dtype)
    mapped = np.lib.format.open_memmap(folder / "ids.npy", mode="w+", dtype=dtype, shape=written.shape)
    for start in range(0, len(written), 1 << 24):
        mapped[start : start + (1 << 24)] = written[start : start + (1 << 24)]
    mapped.flush()
    (folder / "ids").unlink()
    np.save(folder / "sentences.npy", np.array(starts, dtype=np.int64))
    np.save(folder / "documents.npy", np.array(documents, dtype=np.int64))


def some(stream: Iterator[str], most: int) -> list[str]:
    """Return the next texts, at most so many, and some CHARACTERS_AT_ONCE in all."""
    found: list[str] = []
    size = 0
    for text in islice(stream, most):
        found.append(text)
        size += len(text)
        if size > CHARACTERS_AT_ONCE:
            break
    return found


def parts(stream: IO[bytes], path: Path) -> Iterator[bytes]:
    """Its lines; one of more than LONG bytes in parts, which end behind white space where there is any.

    Raises DataError where a compressed file is damaged.
    """
    begun = b""
    try:
        while line := stream.readline(LONG):
            begun += line
            if len(line) == LONG and not line.endswith(b"\n"):
                end = max(begun.rfind(space) for space in (b" ", b"\t")) + 1 or last_letter(begun)
                yield begun[:end]
                begun = begun[end:]
            else:
                yield begun
                begun = b""
        if begun:
            yield begun
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise DataError(f"cannot read on: {error or 'the file ends too early'}", where=str(path)) from error


def last_letter(text: bytes) -> int:
    """Return where the last letter of UTF-8 begins, which may be cut."""
    end = len(text) - 1
    while end > 1 and text[end] & 0xC0 == 0x80:
        end -= 1
    return end


def lines(paths: Iterable[Path], progress: Progress | None = None) -> Iterator[str | None]:
    """The lines of the files with their ends, None where a file ends; long ones in `parts`, which have no ends.

    Raises DataError for bytes that are no UTF-8, or that no text has.
    """
    paths = list(paths)
    total, before = sum(path.stat().st_size for path in paths), 0
    for path in paths:
        unpack = OPENERS.get(path.suffix)
        with path.open("rb") as raw, unpack(raw, "rb") if unpack else raw as stream:
            number = 1
            for count, line in enumerate(parts(stream, path), start=1):
                if b"\0" in line:
                    raise DataError(
                        "this is no text: it holds the byte 0", where=f"{path}:{number}",
                        fix='where it is UTF-16, say so: data.encoding="utf-16"',
                    )  # fmt: skip
                try:
                    yield line.decode("utf-8-sig" if count == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    raise DataError("this line is not UTF-8", where=f"{path}:{number}", fix=advice(line)) from error
                number += line.endswith(b"\n")
                if progress and count % LINES_AT_ONCE == 0:
                    progress(before + raw.tell(), total)
        before += path.stat().st_size
        yield None
    if progress:
        progress(total, total)


def pieces(paths: Iterable[Path], ends: Ends, progress: Progress | None = None) -> Iterator[str]:
    """The sentences of the files one by one, "" where a document ends."""
    for line in lines(paths, progress):
        text = (line or "").strip()
        yield from sentences(text)
        if line is None or (line.endswith("\n") and (ends == "line" or (ends == "paragraphs" and not text))):
            yield ""


def stretches(paths: Iterable[Path], ends: Ends, progress: Progress | None = None) -> Iterator[str]:
    """The text of the files as it stands, up to STRETCH lines or LONG characters at once, "" where a document ends.

    The end of a document's last line is left out, as is a blank line that ends it.
    """
    held: list[str] = []
    size = 0
    for line in lines(paths, progress):
        ended = line is not None and line.endswith("\n")
        over = line is None or (ended and (ends == "line" or (ends == "paragraphs" and not line.strip())))
        if line is not None and (line.strip() or ends == "file"):
            held.append(line)
            size += len(line)
        if held and (over or (len(held) > 1 and (len(held) > STRETCH or size > LONG) and not held[-1][0].isspace())):
            # A line that begins with a letter begins a token: there a text may be parted.
            yield "".join(held).removesuffix("\n") if over else "".join(held[:-1])
            held = [] if over else held[-1:]
            size = sum(map(len, held))
        if over:
            yield ""
