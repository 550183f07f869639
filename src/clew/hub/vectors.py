"""Word vectors from and to every tool's files: word2vec, GloVe, fastText, gensim, and our own safetensors."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import IO, TypeVar

import numpy as np
from safetensors import SafetensorError, safe_open

from clew import tensor_file
from clew.errors import ClewError, DataError, RecipeError, told
from clew.hub import fasttext_bin, word2vec_format
from clew.hub.table_file import AGAIN, TableFile, check_words, mapped, replacing
from clew.models.vectors import Subwords, WordVectors

Handler = TypeVar("Handler")
KIND = "clew.word-vectors"  # in a safetensors file's metadata
PICKLES = "convert it where it was made: KeyedVectors.load(path).save_word2vec_format('vectors.bin', binary=True)"


def load_vectors(path: Path | str, *, format: str | None = None, errors: str = "strict") -> WordVectors:
    """Load word vectors; the format is recognised from the file's content unless `format` says it.

    format: "text" (word2vec text, fastText .vec), "glove" (the same without a first line), "binary" (word2vec),
    "fasttext" (.bin) or "safetensors" (ours, mapped: opening takes no time and no memory). .gz and .xz are unpacked.
    errors: what bytes.decode does with words that are not UTF-8; "backslashreplace" keeps them apart. Unless it is
    "strict", the first vector of a word that occurs twice is kept; `WordVectors.notes` says what was done.
    gensim's own .kv and .model are pickles, which run what they say when read, and are refused: convert them with
    `KeyedVectors.load(path).save_word2vec_format(…)`. Raises DataError with the file, the line or byte and the remedy.
    """
    path = Path(path)
    with mapped(path, errors) as file:
        return _one_of(READERS, format or recognise(file))(file)


def save_vectors(vectors: WordVectors, path: Path | str, *, format: str | None = None) -> None:
    """Write word vectors, `format` as in `load_vectors`; without it, .safetensors, .txt, .vec and .glove say it.

    gensim loads "text" and "binary" by `KeyedVectors.load_word2vec_format(path, binary=…)` and "fasttext" by
    `load_facebook_vectors(path)`; its own .kv is a pickle and is not written. "fasttext" holds the n-grams' table and
    zeros for the output table; "text", "glove" and "binary" hold neither n-grams nor counts. A .bin may be word2vec's
    or fastText's, so it needs `format`. The file appears whole or not at all. Raises RecipeError for what cannot be
    written.
    """
    path = Path(path)
    if path.suffix in (".kv", ".model") and format is None:
        raise RecipeError(
            "gensim's own file is a pickle, which clew neither reads nor writes", where=str(path),
            fix='write format="binary", and load it by KeyedVectors.load_word2vec_format(path, binary=True)',
        )  # fmt: skip
    suffixes = {".safetensors": "safetensors", ".txt": "text", ".vec": "text", ".glove": "glove"}
    write = _one_of(WRITERS, format or suffixes.get(path.suffix, path.suffix))
    with replacing(path) as file:
        write(vectors, file)


def recognise(file: TableFile) -> str:
    """The format of a file by its first bytes. Raises DataError for a pickle and for what is none of them."""
    head = file.data[:16]
    if head[:1] == b"\x80" and head[1:2] <= b"\x05":
        raise file.wrong("this is a pickle (gensim's own format?), which could run any program", "byte 0", PICKLES)
    if len(head) >= 8 and struct.unpack_from("<i", head)[0] == fasttext_bin.MAGIC:
        return "fasttext"
    if head[8:9] == b"{":
        return "safetensors"
    if head[:2] == b"PK":
        raise file.wrong("this is a zip archive", "byte 0", "unpack it first")
    if word2vec_format.is_text(file):
        return "text"
    if word2vec_format.HEADER.match(file.data[:64]):
        return "binary"
    raise file.wrong(f"this is no file of word vectors that clew knows: {head!r}", "byte 0", "check it, or set format=")


def read_safetensors(file: TableFile) -> WordVectors:
    """Open our own file: `matrix` mapped, `words` one UTF-8 text of lines, `counts` and `subwords` where there are any.

    Raises DataError for another's safetensors or a damaged one. Repeated words and NaN are found when first asked for.
    """
    path = file.path
    try:
        with safe_open(path, framework="np") as checked:  # the library checks sizes and bounds; its tensors are copies
            kind = checked.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise DataError(f"the safetensors file is damaged: {error}", where=str(path), fix=AGAIN) from error
    end = 8 + int.from_bytes(file.data[:8], "little")
    kept = {name: entry for name, entry in json.loads(file.data[8:end]).items() if name != "__metadata__"}
    tensors = {}
    for name in {"matrix", "words", "counts", "subwords"} & kept.keys() if kind.get("kind") == KIND else ():
        start, stop = kept[name]["data_offsets"]
        dtype = np.dtype({"F32": "<f4", "I64": "<i8", "U8": "u1"}.get(kept[name]["dtype"], "V1"))
        part = np.frombuffer(file.data, dtype, (stop - start) // dtype.itemsize, end + start)
        tensors[name] = part.reshape(kept[name]["shape"])
    if kind.get("kind") != KIND or not {"matrix", "words"} <= kept.keys():
        raise DataError(
            "the safetensors file does not hold clew's word vectors", where=f"{path}: {', '.join(sorted(kept))[:200]}",
            fix="load a run's model through its run folder, or another tool's file in its own format",
        )  # fmt: skip
    try:
        words = tensors["words"].tobytes().decode("utf-8").split("\n")
        words = words if tensors["words"].size else []
        subwords = None
        if "subwords" in tensors:
            minn, maxn, bucket = json.loads(kind["subwords"])
            subwords = Subwords(minn, maxn, bucket, tensors["subwords"])
            if tensors["subwords"].shape != (len(words) + bucket, tensors["matrix"].shape[1]):
                raise ValueError(f"a table of {tensors['subwords'].shape} for {len(words)} words, {bucket} buckets")
        return WordVectors(words, tensors["matrix"], tensors.get("counts"), subwords)
    except (ValueError, KeyError, ClewError) as error:
        raise DataError(f"the file contradicts itself: {told(error)}", where=str(path), fix=AGAIN) from error


def write_safetensors(vectors: WordVectors, file: IO[bytes]) -> None:
    """Write our own file, the tables straight from where they lie."""
    check_words(vectors.words, "\\n", "a safetensors file of word vectors")
    words = np.frombuffer("\n".join(vectors.words).encode(), dtype=np.uint8)
    tensors, metadata = {"matrix": vectors.matrix, "words": words}, {"kind": KIND}
    if vectors.counts is not None:
        tensors["counts"] = np.asarray(vectors.counts, dtype=np.int64)
    if vectors.subwords:
        sub = vectors.subwords
        tensors["subwords"] = sub.matrix
        metadata["subwords"] = json.dumps([sub.minn, sub.maxn, sub.bucket])
    tensor_file.write(file, tensors, metadata)


def _one_of(table: dict[str, Handler], name: str) -> Handler:
    if name not in table:
        raise RecipeError(
            f'"{name}" is no format of word vectors', where="format", fix=f"set it to one of {', '.join(table)}"
        )
    return table[name]


READERS: dict[str, Callable[[TableFile], WordVectors]] = {
    "text": word2vec_format.read_text,
    "glove": lambda file: word2vec_format.read_text(file, headed=False),
    "binary": word2vec_format.read_binary,
    "fasttext": lambda file: file.checked(fasttext_bin.read(file).vectors()),
    "safetensors": read_safetensors,
}
WRITERS: dict[str, Callable[[WordVectors, IO[bytes]], None]] = {
    "text": word2vec_format.write_text,
    "glove": lambda vectors, file: word2vec_format.write_text(vectors, file, header=False),
    "binary": word2vec_format.write_binary,
    "fasttext": lambda vectors, file: fasttext_bin.write(fasttext_bin.of_vectors(vectors), file),
    "safetensors": write_safetensors,
}
