"""word2vec's formats, text (fastText's .vec and, without a header, GloVe's too) and binary."""

from __future__ import annotations

import re
from collections import Counter
from typing import IO

import numpy as np

from clew.errors import DataError
from clew.hub.table_file import AGAIN, TableFile, check_words, count_lines
from clew.kernels.parse import LARGEST, binary_rows, text_rows
from clew.models.vectors import WordVectors

LONGEST = 1 << 20  # bytes of a line that are looked at to say what is wrong with it
HEADER = re.compile(rb"\s*(\d{1,12})[ \t]+(\d{1,9})[ \t]*\r?\n")
BLANK = " \\t\\r\\n"  # between words


def read_text(file: TableFile, *, headed: bool = True) -> WordVectors:
    """Read "V d", then V lines "word x_1 … x_d"; without such a first line, V and d are what the file has (GloVe).

    A word may hold spaces, as some of GloVe's do. Memory: the matrix, whose size the file's own bounds. Raises
    DataError, with the line, for anything else.
    """
    header = HEADER.match(file.data[:64]) if headed else None
    start = header.end() if header else 0
    lines = count_lines(file.bytes[start:]) + (file.bytes[-1] != 10)
    rows, dim = (int(header[1]), int(header[2])) if header else (lines, _fields(file) - 1)
    if dim < 1:
        raise file.wrong(
            "this is no text of word vectors: after a word come no numbers", "line 1",
            'give lines "word number … number"; a first line "words numbers" may stand before them',
        )  # fmt: skip
    if header and (rows > lines or rows * dim * 2 > len(file.bytes)):
        raise file.wrong(
            f"the header says {rows} words of {dim} numbers; the file has {lines} lines in {len(file.bytes)} bytes",
            "line 1", f"{AGAIN}; or correct the header",
        )  # fmt: skip
    if rows * dim * 2 > len(file.bytes):
        raise _wrong_line(file, 0, dim)
    spans, matrix = np.empty((rows, 2), dtype=np.int64), np.empty((rows, dim), dtype=np.float32)
    found, at = text_rows(file.bytes, start, spans, matrix)
    if at < len(file.bytes) and found < rows:
        raise _wrong_line(file, at, dim)
    if header and (found < rows or at < len(file.bytes)):
        raise file.wrong(
            f"the header says {rows} words, the file has {found if found < rows else 'more'}",
            f"line {file.line(min(at, len(file.bytes) - 1))}", f"{AGAIN}; or correct the header",
        )  # fmt: skip
    return file.checked(WordVectors(file.words(spans[:found]), matrix[:found]))


def read_binary(file: TableFile) -> WordVectors:
    """Read "V d" and a line end, then V times "word SPACE", d little-endian float32 and possibly a line end.

    Memory: the matrix, whose size the file's own bounds. Raises DataError, with the byte, for anything else.
    """
    header = HEADER.match(file.data[:64])
    if header is None:
        raise file.wrong(
            f"a binary word2vec file begins with its number of words and of dimensions, not {file.data[:20]!r}",
            "line 1", "check the format",
        )  # fmt: skip
    rows, dim, start = int(header[1]), int(header[2]), header.end()
    if rows * (4 * dim + 2) > len(file.bytes) - start or dim < 1:
        raise file.wrong(
            f"the header says {rows} words of {dim} numbers, which takes {rows * (4 * dim + 2)} bytes or more; "
            f"{len(file.bytes) - start} follow", "line 1",
        )  # fmt: skip
    spans, matrix = np.empty((rows, 2), dtype=np.int64), np.empty((rows, dim), dtype="<f4")
    found, at = binary_rows(file.bytes, start, spans, matrix.view(np.uint8))
    if found < rows:
        raise file.wrong(f"the header says {rows} words; word {found + 1} is incomplete", f"byte {at}")
    if file.data[at : at + 64].strip():
        raise file.wrong(
            f"after the {rows} words of {dim} numbers that the header says, the file goes on", f"byte {at}",
            "correct the header",
        )  # fmt: skip
    return file.checked(WordVectors(file.words(spans), matrix))


def write_text(vectors: WordVectors, file: IO[bytes], *, header: bool = True) -> None:
    """Write word2vec text; nine significant digits, from which the same float32 is read again."""
    check_words(vectors.words, BLANK, "word2vec's and GloVe's text")
    if header:
        file.write(f"{len(vectors)} {vectors.dim}\n".encode())
    numbers = " ".join(["%.9g"] * vectors.dim)
    for word, row in zip(vectors.words, vectors.matrix, strict=True):
        file.write(f"{word} {numbers % tuple(row.tolist())}\n".encode())


def write_binary(vectors: WordVectors, file: IO[bytes]) -> None:
    """Write word2vec binary, a line end after each row as word2vec.c does."""
    check_words(vectors.words, BLANK, "word2vec's binary format")
    file.write(f"{len(vectors)} {vectors.dim}\n".encode())
    for word, row in zip(vectors.words, vectors.matrix, strict=True):
        file.write(b"%s %s\n" % (word.encode(), row.astype("<f4", copy=False).tobytes()))


def is_text(file: TableFile) -> bool:
    """Whether numbers follow the first word: d of them take 2·d printable bytes at least; binary floats are not."""
    header = HEADER.match(file.data[:64])
    start = header.end() if header else 0
    first = file.data[start : start + 4096].lstrip(b"\r\n")
    rest = first[re.search(rb"[ \t]|$", first).start() :]  # type: ignore[union-attr]
    rest = rest[: 2 * int(header[2])] if header else rest.partition(b"\n")[0]
    return re.fullmatch(rb"[ \t]+[-+.\dnNiI][\t\n\r -~]*", rest) is not None


def _fields(file: TableFile) -> int:
    """The usual number of fields of the first lines."""
    lines = file.data[:LONGEST].splitlines()[:20]
    lines = lines[:-1] if len(lines) > 1 and len(file.data) > LONGEST else lines
    return Counter(len(line.split()) for line in lines if line.strip()).most_common(1)[0][0] if b"".join(lines) else 0


def _wrong_line(file: TableFile, at: int, dim: int) -> DataError:
    """What is wrong with the line that begins at byte `at`."""
    fields = file.data[at : at + LONGEST].partition(b"\n")[0].split()
    shown = " ".join(field.decode("utf-8", "backslashreplace") for field in fields[:3])[:60]
    where = f'line {file.line(at)}, which begins "{shown}"'
    if file.data[at : at + 1] in b" \t":
        return file.wrong("the line has no word", where)
    for field in fields[1:] if len(fields) == dim + 1 else []:
        try:
            good = abs(float(field)) <= LARGEST and b"_" not in field
        except ValueError:
            good = False
        if not good:
            return file.wrong(f'"{field[:30].decode("utf-8", "backslashreplace")}" is not a finite float32', where)
    return file.wrong(f"{len(fields) - 1} numbers follow the word, where {dim} are expected", where)
