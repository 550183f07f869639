"""Words by their counts, and text as word ids: streamed from files larger than memory.

A word is a run of bytes between white space (space, tab, line ends), as for word2vec and gensim's LineSentence; with
`letters` punctuation parts words like white space and is dropped (`marks.py`), so that "cat" and "cat," are one word. A
line is a sentence, cut into sentences of SENTENCE words where it is longer (only windows across the cut are lost).

Text is read twice: once to count, once to encode, for only the counts tell which words are kept and in what order. Ids
then go to a flat file, so that every epoch after that reads ids and no text. Both passes are one compiled loop over
blocks of bytes with a hash table of the words seen.
"""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from clew.errors import DataError, RecipeError, RunError, VocabularyError
from clew.inputs import Preprocessor, Words
from clew.text.marks import without_marks
from clew.text.scan import LONGEST, WordTable

BLOCK = 1 << 18  # bytes read at once
SENTENCE = 10_000  # words: a longer line is cut here
OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}

Progress = Callable[[int, int], None]  # bytes read, bytes in all (as they lie on disk)


@dataclass(frozen=True)
class CountReport:
    """What counting saw: words are occurrences, distinct words are types."""

    read: int = 0  # words in the text
    distinct: int = 0
    kept: int = 0  # words in the text that the vocabulary covers
    not_utf8: int = 0  # occurrences of frequent words that are not UTF-8, left out
    too_long: int = 0  # left out: more than LONGEST bytes
    pruned: int = 0  # 0, or: to save memory, words counted at most so often were forgotten on the way

    def __str__(self) -> str:
        lines = [f"{self.read:,} words, {self.distinct:,} distinct; the vocabulary covers {self.kept:,}"]
        if self.not_utf8:
            lines.append(f"{self.not_utf8:,} left out: not UTF-8")
        if self.too_long:
            lines.append(f"{self.too_long:,} left out: longer than {LONGEST:,} bytes")
        if self.pruned:
            lines.append(
                f"too many distinct words for memory: those counted up to {self.pruned:,} times were forgotten"
            )
        return "\n".join(lines)


@dataclass(frozen=True, eq=False, repr=False)
class WordVocabulary(Preprocessor):
    """Words by falling count (ties: first seen first): a word's id is its place."""

    words: list[str]
    counts: np.ndarray  # (V,) int64
    lowercase: bool = False  # text is lower-cased before it is looked up
    letters: bool = False  # punctuation parts words and is dropped
    report: CountReport = CountReport()

    def __post_init__(self) -> None:
        if len(self.words) != len(self.counts):
            raise VocabularyError(f"{len(self.words):,} words but {len(self.counts):,} counts")

    @property
    def spec(self) -> Words:
        return Words(self.words, self.counts, self.lowercase)

    @property
    def source(self) -> Any:
        """Raise RecipeError: there is no tokenizer of texts."""
        raise RecipeError("word vectors read no text", fix="choose a run that reads texts")

    target = source

    def describe(self) -> dict[str, int]:
        return {"vocab_size": len(self)}

    def __len__(self) -> int:
        return len(self.words)

    def __repr__(self) -> str:
        return f"{len(self):,} words in the vocabulary"

    @cached_property
    def index(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.words)}

    @classmethod
    def count(
        cls,
        paths: Sequence[str | Path],
        *,
        min_count: int = 5,
        max_size: int | None = None,
        lowercase: bool = False,
        letters: bool = False,
        most_distinct: int = 10_000_000,
        progress: Progress | None = None,
    ) -> WordVocabulary:
        """Count words of plain, .gz, .bz2 or .xz files; keep those that occur `min_count` times, at most `max_size`.

        Memory stays bounded: past `most_distinct` distinct words (about 50 bytes each) the rarest are forgotten, as
        `report.pruned` then says; their counts would start again from 0. DataError where a file cannot be read or
        holds NUL bytes, and where fewer than two words are left.
        """
        table, read, pruned = WordTable(), 0, 0
        for text in _texts(paths, lowercase, letters, progress):
            read += len(table.scan(text, SENTENCE)[0])
            while len(table) > most_distinct:
                pruned += 1
                table.prune(pruned)
        counts = table.counts
        order = np.argsort(-counts, kind="stable")
        order = order[counts[order] >= min_count]
        words = table.words(order).decode("utf-8", "surrogateescape").split("\n") if len(order) else []
        sound = np.array([word.isascii() or _is_utf8(word) for word in words], bool)
        chosen = np.flatnonzero(sound)[:max_size]
        if len(chosen) < 2:
            raise DataError(
                f"{len(chosen)} words occur {min_count} times or more, of {len(table):,} in a text of {read:,}",
                where=", ".join(map(str, paths)),
                fix="give more text, or a smaller min_count; at least two words are needed",
            )
        kept = counts[order[chosen]]
        report = CountReport(
            read, len(table), int(kept.sum()), int(counts[order[~sound]].sum()), table.too_long, pruned
        )
        return cls([words[i] for i in chosen], kept, lowercase, letters, report)

    def widened(self, words: Sequence[str], counts: np.ndarray | None = None) -> WordVocabulary:
        """The words of this vocabulary and of another, counts added up; without counts the others add nothing."""
        added = np.zeros(len(words), np.int64) if counts is None else counts
        total = dict(zip(self.words, self.counts.tolist(), strict=True))
        for word, count in zip(words, added.tolist(), strict=True):
            total[word] = total.get(word, 0) + count
        both = np.array(list(total.values()), np.int64)
        order, names = np.argsort(-both, kind="stable"), list(total)
        return replace(self, words=[names[i] for i in order], counts=both[order])

    def with_words(self, words: Sequence[str], counts: np.ndarray | None, recipe: Any) -> WordVocabulary:
        """Return it with all of the words, where `model.keep_words` says so."""
        return self.widened(words, counts) if recipe.model.keep_words else self

    def save(self, path: str | Path) -> None:
        """Write words and counts as JSON: whole, or not at all."""
        data = {
            "kind": "words", "lowercase": self.lowercase, "letters": self.letters,
            "counts": self.counts.tolist(), "words": self.words,
        }  # fmt: skip
        path = Path(path)
        path = path / "tokenizer.json" if path.is_dir() else path
        temporary = path.with_name(path.name + ".tmp")
        temporary.write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")
        os.replace(temporary, path)

    @classmethod
    def load(cls, path: str | Path) -> WordVocabulary:
        """Read what `save` wrote; RunError where the file is missing or damaged."""
        path = Path(path)
        path = path / "tokenizer.json" if path.is_dir() else path
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if data["kind"] != "words":
                raise ValueError(f"its kind is {data['kind']!r}")
            counts = np.array(data["counts"], np.int64)
            return cls(data["words"], counts, bool(data["lowercase"]), bool(data["letters"]))
        except FileNotFoundError as error:
            raise RunError("there is no word vocabulary here", where=str(path)) from error
        except (ValueError, KeyError, TypeError, RecursionError, VocabularyError) as error:
            raise RunError(f"this is not a word vocabulary: {error}", where=str(path)) from error


class EncodedText(NamedTuple):
    """A corpus as ids: sentence s is ids[ends[s − 1] : ends[s]], the first starts at 0; words not kept are gone."""

    ids: np.ndarray  # (tokens,) int32
    ends: np.ndarray  # (sentences,) int64


def encode(
    paths: Sequence[str | Path], vocabulary: WordVocabulary, progress: Progress | None = None
) -> Iterator[EncodedText]:
    """The text by blocks; `ends` count from the beginning of the corpus, and a sentence may go on in the next block.

    DataError as for `count`, VocabularyError where a word of the vocabulary holds white space.
    """
    table = WordTable.of("\n".join(vocabulary.words).encode("utf-8"))
    if len(table) != len(vocabulary):
        raise VocabularyError(
            "a word of the vocabulary holds white space or occurs twice: text cannot be encoded with it"
        )
    for text in _texts(paths, vocabulary.lowercase, vocabulary.letters, progress):
        yield EncodedText(*table.scan(text, SENTENCE, grow=False))


def encode_to(
    folder: str | Path, paths: Sequence[str | Path], vocabulary: WordVocabulary, progress: Progress | None = None
) -> EncodedText:
    """Encode into `folder`/ids.int32 and ends.int64 (flat, in the machine's byte order) and map them into memory.

    DataError where no word of the text is in the vocabulary; nothing is left in the folder after an error.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    parts = [folder / "ids.int32.tmp", folder / "ends.int64.tmp"]
    try:
        with open(parts[0], "wb") as ids, open(parts[1], "wb") as ends:
            for block in encode(paths, vocabulary, progress):
                block.ids.tofile(ids)
                block.ends.tofile(ends)
        if not parts[0].stat().st_size:
            raise DataError("no word of the text is in the vocabulary", where=", ".join(map(str, paths)))
        for part in parts:
            os.replace(part, part.with_suffix(""))
    finally:
        for part in parts:
            part.unlink(missing_ok=True)
    return encoded(folder)


def encoded(folder: str | Path) -> EncodedText:
    """What `encode_to` wrote, mapped into memory; RunError where it is missing or cut short."""
    folder = Path(folder)
    try:
        ids = np.memmap(folder / "ids.int32", np.int32, "r")
        ends = np.memmap(folder / "ends.int64", np.int64, "r")
    except (OSError, ValueError) as error:
        raise RunError(f"no encoded text here: {error}", where=str(folder)) from error
    if ends[-1] != len(ids):
        raise RunError(f"encoded text is cut short: {len(ids):,} of {ends[-1]:,} words", where=str(folder))
    return EncodedText(ids, ends)


def _is_utf8(word: str) -> bool:
    """Whether a word decoded with surrogateescape was UTF-8."""
    return not any("\udc80" <= character <= "\udcff" for character in word)


def _texts(paths: Iterable[str | Path], lowercase: bool, letters: bool, progress: Progress | None) -> Iterator[bytes]:
    """Whole words of the files, some BLOCK bytes at a time; a file's end is a line's end."""
    files = [Path(path) for path in paths]
    missing = [str(path) for path in files if not path.is_file()]
    if missing or not files:
        raise DataError("no such file" if missing else "no file is given", where=", ".join(missing))
    total, before = sum(path.stat().st_size for path in files), 0
    for path in files:
        for text, position in _words_of(path):
            if letters:
                text = without_marks(text)
            if lowercase:
                text = text.lower() if text.isascii() else _lower(text)
            yield text
            if progress is not None:
                progress(before + position, total)
        before += path.stat().st_size
        yield b"\n"


def _lower(text: bytes) -> bytes:
    return text.decode("utf-8", "surrogateescape").lower().encode("utf-8", "surrogateescape")


def _words_of(path: Path) -> Iterator[tuple[bytes, int]]:
    """A file in pieces that end after a word; with each, the position in the file on disk."""
    rest, at = b"", 0
    try:
        with open(path, "rb") as raw, OPENERS.get(path.suffix, _plain)(raw, "rb") as file:
            while read := file.read(BLOCK):
                if b"\0" in read:
                    raise DataError(
                        "NUL bytes: this is not text, or text in UTF-16",
                        where=f"{path}, byte {at + read.index(0):,} of its contents",
                        fix="give text in UTF-8",
                    )
                text = rest + (read.removeprefix(b"\xef\xbb\xbf") if at == 0 else read)
                at += len(read)
                end = 1 + max(text.rfind(space) for space in (b" ", b"\n", b"\t", b"\r"))
                rest = text[end : end + LONGEST + 1]  # of a word too long, enough for it to stay too long
                yield text[:end], raw.tell()
            yield rest, raw.tell()
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise DataError(f"cannot be read: {error}", where=str(path)) from error


def _plain(raw: Any, mode: str) -> Any:
    return raw
