"""Texts as bags of word and character n-grams with TF-IDF weights, for linear models.

    x_f = (1 + ln tf_f) · idf_f, then x ← x / |x|        idf_f = 1 + ln((1 + n) / (1 + n_f))

with tf_f how often the text has n-gram f, n the training texts and n_f those that have it (Salton and Buckley 1988, in
scikit-learn's smoothed form). Words and characters are weighed and brought to length 1 apart, then stand side by side.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import Field, model_validator
from scipy import sparse

from clew.config import Choice
from clew.errors import DataError, RunError
from clew.inputs import Bag

TOKEN = re.compile(r"\w+|[^\w\s]")  # a word, or a mark by itself
FILE = "ngrams.json"
BLANK = {"words": " ", "characters": "␣"}  # how a space is shown


class NgramsConfig(Choice):
    """Which n-grams a text is taken apart into, and how they are weighed."""

    kind: str = "linear"
    words: tuple[int, int] = (1, 2)  # of how many words, from and to; marks count as words; [0, 0]: none
    characters: tuple[int, int] = (2, 5)  # within a word and the spaces at its ends; [0, 0]: none
    lowercase: bool = True
    sublinear: bool = True  # 1 + ln tf; false: tf itself
    min_documents: int = Field(1, ge=1)  # training texts that an n-gram must stand in

    @model_validator(mode="after")
    def some(self) -> NgramsConfig:
        for low, high in (self.words, self.characters):
            if (low, high) != (0, 0) and not 1 <= low <= high:
                raise ValueError(f"n-grams of {low} to {high}: give the shortest and the longest, or [0, 0] for none")
        if self.words == self.characters == (0, 0):
            raise ValueError("there is nothing to read: set words or characters")
        return self


def of_words(text: str, sizes: tuple[int, int]) -> list[str]:
    """Return the word n-grams of a text, each as its words with a space in between."""
    tokens = TOKEN.findall(text)
    return [" ".join(tokens[i : i + n]) for n in range(sizes[0], sizes[1] + 1) for i in range(len(tokens) - n + 1)]


def of_characters(word: str, sizes: tuple[int, int]) -> list[str]:
    """Return the character n-grams of a word with a space at either end; one that is shorter counts once, whole."""
    padded, found = f" {word} ", list[str]()
    for n in range(sizes[0], sizes[1] + 1):
        found += [padded[i : i + n] for i in range(max(1, len(padded) - n + 1))]
        if n >= len(padded):
            break
    return found


def counted(units: Iterable[Iterable[str]], columns: dict[str, int], grow: bool) -> sparse.csr_array:
    """Return how often each text has each unit (texts, columns); what is in no column gets one, or is left out."""
    rows, bounds, counts = list[int](), [0], list[int]()
    for text in units:
        for unit, count in Counter(text).items():
            column = columns.setdefault(unit, len(columns)) if grow else columns.get(unit, -1)
            if column >= 0:
                rows.append(column)
                counts.append(count)
        bounds.append(len(rows))
    shape = len(bounds) - 1, max(1, len(columns))
    data = np.array(counts, np.float64), np.array(rows, np.int64), np.array(bounds, np.int64)
    return sparse.csr_array(data, shape=shape)


class Part:
    """The n-grams of one sort: names → columns in alphabetical order, and how many training texts have each."""

    def __init__(self, count: Callable[..., sparse.csr_array], names: Sequence[str], documents: np.ndarray) -> None:
        self.count, self.names, self.documents = count, list(names), documents
        self.columns = {name: column for column, name in enumerate(self.names)}

    @classmethod
    def learn(cls, count: Callable[..., sparse.csr_array], texts: Sequence[str], min_documents: int) -> Self:
        """Return the n-grams that at least so many of the texts have."""
        columns: dict[str, int] = {}
        documents = np.bincount(count(texts, columns, True).indices, minlength=len(columns))
        kept = sorted((name, column) for name, column in columns.items() if documents[column] >= min_documents)
        return cls(count, [name for name, _ in kept], documents[[column for _, column in kept]])


class Tfidf:
    """What turns texts into bags of weighted n-grams; made by `learn`, or of what `save` wrote."""

    pad_id = 0  # nothing is padded

    def __init__(self, config: NgramsConfig, n_texts: int, parts: Mapping[str, Part]) -> None:
        self.config, self.n_texts, self.parts = config, n_texts, dict(parts)

    @classmethod
    def learn(cls, texts: Sequence[str], config: NgramsConfig) -> Self:
        """Count the n-grams of training texts. Raises DataError where there are none."""
        made = cls(config, len(texts), {})
        texts = [made.normalise(text) for text in texts]
        made.parts = {name: Part.learn(count, texts, config.min_documents) for name, count in made.counters().items()}
        if not made.spec.n_features:
            raise DataError(
                f"no n-gram stands in {config.min_documents} of the {len(texts)} training texts",
                where="model.min_documents", fix="set it lower",
            )  # fmt: skip
        return made

    def counters(self) -> dict[str, Callable[..., sparse.csr_array]]:
        """How each sort of n-gram is counted: (texts, columns, grow) -> (texts, columns)."""

        def words(texts: Sequence[str], columns: dict[str, int], grow: bool = False) -> sparse.csr_array:
            return counted((of_words(text, self.config.words) for text in texts), columns, grow)

        def characters(texts: Sequence[str], columns: dict[str, int], grow: bool = False) -> sparse.csr_array:
            # A text's n-grams are those of its words: (texts, words) · (words, n-grams), so that each word is cut once.
            known: dict[str, int] = {}
            of_texts = counted((text.split() for text in texts), known, True)
            pieces = counted((of_characters(word, self.config.characters) for word in known), columns, grow)
            return (of_texts @ pieces) if known else sparse.csr_array((len(texts), max(1, len(columns))))

        of = {"words": words, "characters": characters}
        return {name: count for name, count in of.items() if vars(self.config)[name] != (0, 0)}

    @property
    def spec(self) -> Bag:
        return Bag(sum(len(part.names) for part in self.parts.values()))

    def names_of(self, features: Sequence[int], *texts: str) -> list[str]:
        """Return what features of texts are."""
        names = self.names
        return [names[feature] for feature in features]

    @property
    def names(self) -> list[str]:
        """The n-grams in the order of features; one of characters is in ‹ ›, with ␣ for the end of a word."""
        shown = {"words": "{}", "characters": "‹{}›"}
        return [shown[s].format(name.replace(" ", BLANK[s])) for s, part in self.parts.items() for name in part.names]

    @property
    def idf(self) -> np.ndarray:
        """(features,) 1 + ln((1 + n) / (1 + n_f))."""
        documents = np.concatenate([part.documents for part in self.parts.values()])
        return 1.0 + np.log((1.0 + self.n_texts) / (1.0 + documents))

    def normalise(self, text: str) -> str:
        return text.lower() if self.config.lowercase else text

    def counts(self, first: Sequence[str], second: Sequence[str] | None = None) -> list[sparse.csr_array]:
        """Return how often each text has each n-gram, a table (texts, n-grams) for each sort."""
        found = []
        for part in self.parts.values():
            tables = [part.count([*map(self.normalise, some)], part.columns) for some in (first, second) if some]
            found.append(sum(tables[1:], tables[0]) if tables else sparse.csr_array((0, len(part.names))))
        return found

    def bags(self, first: Sequence[str], second: Sequence[str] | None = None) -> sparse.csr_array:
        """Return the weighted n-grams of texts, (texts, features); of pairs, those of both texts together."""
        idf, start, found = self.idf, 0, []
        for part, x in zip(self.parts.values(), self.counts(first, second), strict=True):
            if self.config.sublinear:
                x.data = 1.0 + np.log(x.data)
            x = (x @ sparse.diags_array(idf[start : start + len(part.names)])).tocsr()
            length = np.sqrt(x.multiply(x).sum(axis=1))
            found.append(sparse.diags_array(1.0 / np.where(length > 0, length, 1.0)) @ x)
            start += len(part.names)
        made: sparse.csr_array = sparse.hstack(found, format="csr")
        made.sort_indices()
        return made

    def __str__(self) -> str:
        sorts = (f"{len(part.names):,} of {name}" for name, part in self.parts.items())
        return f"{self.spec.n_features:,} n-grams ({', '.join(sorts)})"

    def save(self, folder: Path) -> None:
        """Write `ngrams.json`, whole or not at all."""
        kept = {name: {"ngrams": part.names, "documents": part.documents.tolist()} for name, part in self.parts.items()}
        document = {"settings": self.config.model_dump(mode="json"), "texts": self.n_texts, "parts": kept}
        temporary = folder / f".{FILE}.{os.getpid()}"
        temporary.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
        os.replace(temporary, folder / FILE)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return what `save` wrote. Raises RunError where it is missing or damaged."""
        file = folder / FILE
        try:
            document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            made = cls(NgramsConfig(**document["settings"]), document["texts"], {})
            counters = made.counters()
            for name, part in document["parts"].items():
                if len(part["ngrams"]) != len(part["documents"]):
                    raise ValueError(f"{len(part['ngrams'])} n-grams of {name}, {len(part['documents'])} counts")
                made.parts[name] = Part(counters[name], part["ngrams"], np.array(part["documents"], np.int64))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise RunError(f"the n-grams cannot be read: {error}", where=str(file), fix="train it again") from error
        return made
