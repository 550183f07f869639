"""fastText's .bin: its arguments, dictionary and both tables, read in place and written as fastText 0.9 does."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any, NamedTuple

import numpy as np

from clew.hub.table_file import TableFile, check_words
from clew.kernels.parse import dictionary_entries
from clew.models.vectors import Subwords, WordVectors

MAGIC, VERSION = 793712314, 12
ARGUMENTS = struct.Struct("<12id")
SUPERVISED = 3
LONGEST = 64  # characters of an n-gram: a header that says more is damaged


class Arguments(NamedTuple):
    """fastText's arguments, in the order of the file. loss: 1 hierarchical softmax, 2 negative sampling, 3 softmax;
    model: 1 CBOW, 2 skip-gram, 3 supervised; t: the subsampling threshold."""

    dim: int
    ws: int = 5
    epoch: int = 5
    min_count: int = 5
    neg: int = 5
    word_ngrams: int = 1
    loss: int = 2
    model: int = 2
    bucket: int = 0
    minn: int = 0
    maxn: int = 0
    lr_update_rate: int = 100
    t: float = 1e-4


@dataclass(frozen=True)
class FastText:
    """What a .bin holds.

    counts: (V,), int64; tokens: words read in training. input: (V + bucket, d), float32, as `Subwords` has it.
    output: (V, d), the context vectors or the tree's; of a classifier (labels, d), a row for each of its `labels`.
    """

    arguments: Arguments
    words: Sequence[str]
    counts: np.ndarray
    tokens: int
    input: np.ndarray
    output: np.ndarray
    labels: Sequence[str] = ()

    def vectors(self) -> WordVectors:
        """The words' vectors, composed of their n-grams; the table behind them stays where it is."""
        args = self.arguments
        if args.maxn < 1 or args.bucket < 1:
            table = np.array(self.input[: len(self.words)])
            return WordVectors(self.words, table, self.counts, zeros=args.model == SUPERVISED)
        subwords = Subwords(args.minn, args.maxn, args.bucket, self.input)
        return WordVectors(self.words, subwords.compose(self.words), self.counts, subwords)


def read(file: TableFile) -> FastText:
    """Read a .bin, its tables mapped.

    Classifiers of version 11 say a length of n-grams that they never used, as fastText knows: it is read as 0. Raises
    DataError for a file that is cut short or contradicts itself (with the byte), and for a quantised model.
    """
    magic, version = unpack(file, "<2i", 0, "the file's mark")
    if magic != MAGIC or version not in (11, VERSION):
        raise file.wrong(f"this is no fastText model of version 11 or 12 ({magic}, {version})", "byte 0", "check it")
    arguments = Arguments(*unpack(file, ARGUMENTS.format, 8, "the arguments"))
    if arguments.bucket < 0 or not 0 <= arguments.maxn <= LONGEST:
        raise file.wrong(f"n-grams of up to {arguments.maxn} characters in {arguments.bucket} buckets", "byte 40")
    if version == 11 and arguments.model == SUPERVISED:
        arguments = arguments._replace(maxn=0)
    at = 8 + ARGUMENTS.size
    size, n_words, n_labels, tokens, pruned = unpack(file, "<3i2q", at, "the dictionary")
    at += struct.calcsize("<3i2q")
    if not (0 <= n_words <= size == n_words + n_labels and size * 10 <= len(file.bytes) - at):
        raise file.wrong(
            f"the dictionary says {size} entries, {n_words} words and {n_labels} labels; "
            f"{len(file.bytes) - at} bytes follow", f"byte {at}",
        )  # fmt: skip
    spans, counts, kinds = np.empty((size, 2), np.int64), np.empty(size, np.int64), np.empty(size, np.int8)
    found, at = dictionary_entries(file.bytes, at, spans, counts, kinds)
    if found < size:
        raise file.wrong(f"the dictionary says {size} entries; entry {found + 1} is cut short", f"byte {at}")
    if (kinds[:n_words] != 0).any() or (counts < 0).any():
        raise file.wrong("the dictionary does not hold its words first, or a count is negative", f"byte {at}")
    quantised = unpack(file, "<b", at, "the input table")[0]
    if pruned >= 0 or quantised:
        raise file.wrong(
            "the model is quantised or pruned (.ftz): it has no table of vectors", f"byte {at}",
            "take the .bin that it was made from",
        )  # fmt: skip
    table, at = matrix(file, at + 1, arguments.dim, "input")
    if len(table) != n_words + arguments.bucket:
        raise file.wrong(
            f"the input table has {len(table)} rows for {n_words} words and {arguments.bucket} buckets", f"byte {at}"
        )
    if unpack(file, "<b", at, "the output table")[0]:
        raise file.wrong("the output table is quantised (.ftz)", f"byte {at}", "take the .bin that it was made from")
    output, _ = matrix(file, at + 1, arguments.dim, "output")
    names = file.words(spans)
    return FastText(arguments, names[:n_words], counts[:n_words], tokens, table, output, names[n_words:])


def write(model: FastText, file: IO[bytes]) -> None:
    """Write a .bin that fastText and, of vectors, gensim load. Raises RecipeError for words that it cannot hold."""
    args, names = model.arguments, [*model.words, *model.labels]
    check_words(names, "\\0 \\t\\r\\n", "fastText's .bin")
    file.write(struct.pack("<2i", MAGIC, VERSION) + ARGUMENTS.pack(*args))
    file.write(struct.pack("<3i2q", len(names), len(model.words), len(model.labels), model.tokens, -1))
    counts = [*model.counts.tolist(), *[1] * len(model.labels)]
    for number, (word, count) in enumerate(zip(names, counts, strict=True)):
        file.write(word.encode() + b"\0" + struct.pack("<qb", count, number >= len(model.words)))
    for table in (model.input, model.output):
        file.write(struct.pack("<b2q", 0, *table.shape))
        for start in range(0, len(table), 4096):
            file.write(table[start : start + 4096].astype("<f4", copy=False).tobytes())


def of_vectors(vectors: WordVectors) -> FastText:
    """Word vectors as a fastText model: their n-gram table where they have one, else a model without n-grams.

    The output table is zeros, as before training; counts that are not known are 1.
    """
    counts = np.ones(len(vectors), np.int64) if vectors.counts is None else vectors.counts
    output = np.broadcast_to(np.float32(0), vectors.matrix.shape)
    table, arguments = vectors.matrix, Arguments(vectors.dim)
    if vectors.subwords:
        sub = vectors.subwords
        table = sub.matrix
        arguments = arguments._replace(bucket=sub.bucket, minn=sub.minn, maxn=sub.maxn)
    return FastText(arguments, vectors.words, counts, int(counts.sum()), table, output)


def matrix(file: TableFile, at: int, dim: int, name: str) -> tuple[np.ndarray, int]:
    """The float32 table at byte `at`, mapped, and the byte after it."""
    rows, columns = unpack(file, "<2q", at, f"the {name} table")
    at += 16
    if columns != dim or dim < 1 or rows < 0 or rows * columns * 4 > len(file.bytes) - at:
        raise file.wrong(
            f"the {name} table says {rows} × {columns} numbers in a model of {dim} dimensions; "
            f"{len(file.bytes) - at} bytes follow", f"byte {at}",
        )  # fmt: skip
    table = np.frombuffer(file.data, dtype="<f4", count=rows * columns, offset=at).reshape(rows, columns)
    return table, at + table.nbytes


def unpack(file: TableFile, form: str, at: int, name: str) -> tuple[Any, ...]:
    """Little-endian numbers at byte `at`. Raises DataError where the file ends before them."""
    if at + struct.calcsize(form) > len(file.bytes):
        raise file.wrong(f"the file ends before {name}", f"byte {len(file.bytes)}")
    return struct.unpack_from(form, file.data, at)
