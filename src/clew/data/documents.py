"""Documents as token ids on disk, sentence by sentence: what language models are pre-trained on."""

from __future__ import annotations

import hashlib
import json
import lzma
import os
import shutil
import tempfile
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from clew.data.readers import OPENERS
from clew.errors import DataError
from clew.text.sentences import sentences
from clew.text.tokenizer import Tokenizer

LINES_AT_ONCE = 4096
FORMAT = 1  # of what lies in the cache, and of the rules by which sentences are parted

Progress = Callable[[int, int], None]
"""Told how many bytes were read, and of how many."""


@dataclass(frozen=True)
class Documents:
    """A text as ids, memory-mapped. ids: (N,) tokens; sentences: (S + 1,) where each starts in `ids`, and N;
    documents: (D + 1,) where each starts in `sentences`, and S."""

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
        cls, paths: Iterable[Path], tokenizer: Tokenizer, *, by_line: bool = False, progress: Progress | None = None
    ) -> Documents:
        """Read files of any size into documents; done once for the same files and tokenizer, and kept in the cache.

        Documents end at blank lines, or at each line (`by_line`). Raises DataError where the files hold no text.
        """
        paths = [path.resolve() for path in paths]
        stamps = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
        known = json.dumps([FORMAT, stamps, by_line, hashlib.sha256(tokenizer.inner.to_str().encode()).hexdigest()])
        folder = cache() / "documents" / hashlib.sha256(known.encode()).hexdigest()[:32]
        if not folder.is_dir():
            folder.parent.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix="writing-"))
            try:
                write(temporary, paths, tokenizer, by_line, progress)
                os.replace(temporary, folder)
            except OSError:
                if not folder.is_dir():  # else another run has just written the same
                    raise
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        return cls.load(folder)


def cache() -> Path:
    """Where clew keeps what it can make again: $CLEW_CACHE, or `clew` in the user's cache folder."""
    given = os.environ.get("CLEW_CACHE")
    return Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "clew"


def write(folder: Path, paths: list[Path], tokenizer: Tokenizer, by_line: bool, progress: Progress | None) -> None:
    """Encode in one pass; only the places of sentences and documents are held in memory, 8 bytes each."""
    dtype = np.uint16 if len(tokenizer) <= 1 << 16 else np.int32
    starts, documents = array("q", [0]), array("q", [0])
    with (folder / "ids").open("wb") as out:
        stream = pieces(paths, by_line, progress)
        while chunk := list(islice(stream, LINES_AT_ONCE)):
            for text, ids in zip(chunk, tokenizer.encode(chunk), strict=True):
                if ids:
                    out.write(np.array(ids, dtype=dtype).tobytes())
                    starts.append(starts[-1] + len(ids))
                elif not text and documents[-1] != len(starts) - 1:  # the mark of a document's end
                    documents.append(len(starts) - 1)
    if documents[-1] != len(starts) - 1:
        documents.append(len(starts) - 1)
    if len(documents) == 1:
        raise DataError("there is no text", where=", ".join(map(str, paths)), fix="give files of plain text")
    written = np.memmap(folder / "ids", dtype=dtype, mode="r")
    mapped = np.lib.format.open_memmap(folder / "ids.npy", mode="w+", dtype=dtype, shape=written.shape)
    for start in range(0, len(written), 1 << 24):
        mapped[start : start + (1 << 24)] = written[start : start + (1 << 24)]
    mapped.flush()
    (folder / "ids").unlink()
    np.save(folder / "sentences.npy", np.array(starts, dtype=np.int64))
    np.save(folder / "documents.npy", np.array(documents, dtype=np.int64))


def whole(stream: Iterable[bytes], path: Path) -> Iterator[bytes]:
    """Its lines. Raises DataError where a compressed file is damaged."""
    try:
        yield from stream
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise DataError(f"cannot read on: {error or 'the file ends too early'}", where=str(path)) from error


def pieces(paths: Iterable[Path], by_line: bool, progress: Progress | None = None) -> Iterator[str]:
    """The sentences of the files one by one, "" where a document ends. Raises DataError for bytes that are no UTF-8."""
    paths = list(paths)
    total, before = sum(path.stat().st_size for path in paths), 0
    for path in paths:
        with path.open("rb") as raw, OPENERS.get(path.suffix, lambda file, mode: file)(raw, "rb") as stream:
            for number, line in enumerate(whole(stream, path), start=1):
                try:
                    text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                except UnicodeDecodeError as error:
                    raise DataError(
                        "this line is not UTF-8", where=f"{path}:{number}", fix="convert the file with iconv"
                    ) from error
                yield from sentences(text)
                if by_line or not text:
                    yield ""
                if progress and number % LINES_AT_ONCE == 0:
                    progress(before + raw.tell(), total)
        before += path.stat().st_size
        yield ""
    if progress:
        progress(total, total)
