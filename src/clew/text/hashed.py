"""Texts as bags of words and of n-grams that share rows by their hash, as fastText's classifier reads them.

Row w of the table belongs to word w of the vocabulary; behind it come `buckets` rows. The n-gram of words i … i + n − 1
has the row |V| + h mod buckets, where h is the hash of its first word, and with each further word h ← 116049371 h +
hash(word) in 64 bits (Joulin et al. 2017; the numbers are their program's). A text ends with the word </s>.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import Field, model_validator
from scipy import sparse

from clew.config import Choice
from clew.errors import DataError, RunError
from clew.inputs import Bag
from clew.text.ngrams import END_OF_SENTENCE, hash_ngram, ngram_buckets, ngrams
from clew.text.tfidf import TOKEN

FILE = "words.json"
PLAIN = re.compile("[^ \\n\\r\\t\\v\\f\\0]+")  # a word as that program parts them
MULTIPLIER, WIDE = 116049371, (1 << 64) - 1


class HashedConfig(Choice):
    """Which words and n-grams a text is taken apart into."""

    kind: str = "fasttext"
    words: int = Field(2, ge=1)  # n-grams of up to so many words
    min_n: int = Field(0, ge=0)  # characters of the shortest and the longest n-gram of <word>; 0: none
    max_n: int = Field(0, ge=0)
    buckets: int = Field(200_000, ge=1)  # rows that n-grams share
    min_count: int = Field(1, ge=1)  # of a word in the training texts
    lowercase: bool = True
    marks: bool = True  # marks are words by themselves; false: only white space parts words, as in fastText's program

    @model_validator(mode="after")
    def lengths_fit(self) -> HashedConfig:
        if bool(self.min_n) != bool(self.max_n) or self.min_n > self.max_n:
            raise ValueError(f"n-grams of {self.min_n} to {self.max_n} characters: set both, min_n at most max_n")
        return self

    @property
    def plain(self) -> bool:
        """Whether words are what fastText's program takes for words."""
        return not (self.lowercase or self.marks)

    @property
    def n_buckets(self) -> int:
        """Rows behind those of the words."""
        return self.buckets if self.words > 1 or self.max_n else 0


class HashedNgrams:
    """What turns texts into bags of rows, each with its share; made by `learn`, or of what `save` wrote."""

    pad_id = 0  # nothing is padded

    def __init__(self, config: HashedConfig, words: Sequence[str], counts: Sequence[int]) -> None:
        self.config, self.words, self.counts = config, list(words), np.array(counts, np.int64)
        self.known: dict[str, tuple[int, list[tuple[int, str]]]] = {}  # word → hash, and its own features

    @classmethod
    def learn(cls, texts: Sequence[str], config: HashedConfig) -> Self:
        """Count the words of training texts, the most frequent first. Raises DataError where there are none."""
        made = cls(config, [], [])
        counts = Counter(word for text in texts for word in made.split(text))
        kept = [(word, n) for word, n in counts.most_common() if n >= config.min_count]
        if len(kept) < 2:  # </s>, and what else?
            raise DataError(
                f"no word stands {config.min_count} times in the training texts",
                where="model.min_count",
                fix="lower it",
            )
        return cls(config, [word for word, _ in kept], [n for _, n in kept])

    @cached_property
    def index(self) -> dict[str, int]:
        return {word: row for row, word in enumerate(self.words)}

    @property
    def spec(self) -> Bag:
        return Bag(len(self.words) + self.config.n_buckets)

    def split(self, text: str) -> list[str]:
        """Return the words of a text, and the one that ends it."""
        text = text.lower() if self.config.lowercase else text
        return [*(TOKEN if self.config.marks else PLAIN).findall(text), END_OF_SENTENCE]

    def of_word(self, word: str) -> tuple[int, list[tuple[int, str]]]:
        """Return the hash of a word, and its row, where it has one, with those of its n-grams."""
        if word not in self.known:
            config, first = self.config, len(self.words)
            found = [(self.index[word], word)] if word in self.index else []
            if config.max_n:
                rows, _ = ngram_buckets([word], config.min_n, config.max_n, config.buckets)
                names = (f"‹{each}›" for each in ngrams(word, config.min_n, config.max_n))
                found += zip((first + rows).tolist(), names, strict=True)
            self.known[word] = signed(hash_ngram(word.encode())), found
        return self.known[word]

    def pieces(self, text: str) -> Iterator[tuple[int, str]]:
        """Yield the row of each feature of a text, and what it is: words, their n-grams of characters, and of words."""
        words, config, first = self.split(text), self.config, len(self.words)
        for word in words:
            yield from self.of_word(word)[1]
        if config.words > 1:
            hashes = [self.of_word(word)[0] for word in words]
            for i, h in enumerate(hashes):
                for j in range(i + 1, min(len(words), i + config.words)):
                    h = (h * MULTIPLIER + hashes[j]) & WIDE
                    yield first + h % config.buckets, " ".join(words[i : j + 1])

    def names_of(self, features: Sequence[int], *texts: str) -> list[str]:
        """Return what features of texts are; several n-grams may share a row."""
        names: dict[int, dict[str, None]] = {}
        for text in texts:
            for row, piece in self.pieces(text):
                names.setdefault(row, {})[piece] = None
        return [" or ".join(names[row]) for row in features]

    def rows(self, text: str) -> np.ndarray:
        """Return the rows of `pieces`, words first, all n-grams of one length at a time."""
        words = [self.of_word(word) for word in self.split(text)]
        found = [np.array([row for _, own in words for row, _ in own], np.int64)]
        each = grown = np.array([h for h, _ in words], np.uint64)
        for n in range(1, self.config.words):
            grown = grown[:-1] * np.uint64(MULTIPLIER) + each[n:]
            found.append(len(self.words) + (grown % np.uint64(self.config.buckets)).astype(np.int64))
        return np.concatenate(found)

    def bags(self, first: Sequence[str], second: Sequence[str] | None = None) -> sparse.csr_array:
        """Return the share of each row among the features of each text, (texts, features); of pairs, of both texts."""
        columns, shares, bounds = list[np.ndarray](), list[np.ndarray](), [0]
        for texts in zip(first, second, strict=True) if second else zip(first, strict=True):
            rows, counts = np.unique(np.concatenate([self.rows(text) for text in texts]), return_counts=True)
            columns.append(rows)
            shares.append(counts / max(1, counts.sum()))
            bounds.append(bounds[-1] + len(rows))
        data = (
            np.concatenate([np.empty(0), *shares]),
            np.concatenate([np.empty(0, np.int64), *columns]),
            np.array(bounds),
        )
        return sparse.csr_array(data, shape=(len(bounds) - 1, self.spec.n_features))

    def __str__(self) -> str:
        rows = f" and {self.config.n_buckets:,} rows of n-grams" if self.config.n_buckets else ""
        return f"{len(self.words):,} words{rows}"

    def save(self, folder: Path) -> None:
        """Write `words.json`, whole or not at all."""
        settings = self.config.model_dump(mode="json", include={*HashedConfig.model_fields})
        document = {"settings": settings, "words": self.words, "counts": self.counts.tolist()}
        temporary = folder / f".{FILE}.{os.getpid()}"
        temporary.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
        os.replace(temporary, folder / FILE)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return what `save` wrote. Raises RunError where it is missing or damaged."""
        file = folder / FILE
        try:
            document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            made = cls(HashedConfig(**document["settings"]), document["words"], document["counts"])
            if len(made.words) != len(made.counts):
                raise ValueError(f"{len(made.words)} words, {len(made.counts)} counts")
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise RunError(f"the words cannot be read: {error}", where=str(file), fix="train it again") from error
        return made


def signed(h: int) -> int:
    """Return 32 bits as the program keeps a word's hash, with a sign, widened to 64 bits."""
    return (h - (1 << 32) if h >> 31 else h) & WIDE
