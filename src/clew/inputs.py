"""What models read, in words that all rooms share: the shape of an input, and what makes one of a user's rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True)
class Tokens:
    """A text as token ids."""

    vocab_size: int
    pad_id: int = 0


@dataclass(frozen=True)
class TokenPair:
    """A source and a target text; equal sizes where the vocabulary is joint."""

    source: Tokens
    target: Tokens
    joint: bool = True  # one vocabulary for both

    @classmethod
    def of(cls, source: int, target: int, pad_id: int = 0) -> TokenPair:
        """Return the pair of two vocabularies by their sizes; equal sizes are taken for one vocabulary."""
        return cls(Tokens(source, pad_id), Tokens(target, pad_id), source == target)


@dataclass(frozen=True, eq=False)
class Words:
    """Running text as words, by falling count: words (V,) and how often each occurs, counts (V,) of numpy.

    lowercase: whether text is lower-cased before a word is looked up.
    """

    words: Sequence[str]
    counts: Any
    lowercase: bool = False

    @cached_property
    def index(self) -> dict[str, int]:
        """The number of each word."""
        return {word: i for i, word in enumerate(self.words)}

    def __len__(self) -> int:
        return len(self.words)


@dataclass(frozen=True)
class Pixels:
    """An image of one size, with values from 0 to 1 before they are normalised."""

    channels: int
    height: int
    width: int


@dataclass(frozen=True)
class Bag:
    """A text as a bag of features: which of so many it has, and how much each counts."""

    n_features: int


InputSpec = Tokens | TokenPair | Words | Pixels | Bag
"""What a model is built for, beside its own settings: `Model(config, spec)`."""


class Preprocessor(ABC):
    """What turns a user's rows into what a model reads: a tokenizer, a pair of them, a word vocabulary, images."""

    labels: Sequence[str] = ()
    """The names of the classes, in order; none where nothing is chosen from."""
    writes = False
    """Whether there is a target that the model writes, beside the source that it reads."""
    files = False
    """Whether an input is a file, which is named by its path: see `parse`."""
    source: Any
    """The tokenizer of what is read, and with `target` that of what is written: one and the same, as a rule."""
    target: Any

    @property
    @abstractmethod
    def spec(self) -> InputSpec:
        """What a model must be built for to read these inputs."""

    @property
    def ids(self) -> Mapping[str, int]:
        """The special ids, as keyword arguments of batches; none where nothing is padded."""
        return {}

    @cached_property
    def index(self) -> dict[str, int]:
        """The class of each label."""
        return {label: i for i, label in enumerate(self.labels)}

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write into a run folder all that `load` needs."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> Self:
        """Return what `save` wrote. Raise RunError where it is missing or damaged."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Return what `config.json` says of it: sizes, special ids, labels."""

    def with_words(self, words: Sequence[str], counts: Any, recipe: Any) -> Self:
        """Return it with words that the training text lacks, of which vectors are known; itself where it keeps to its
        own: what writes text can only learn to write what it has seen."""
        return self

    def parse(self, line: str, base: Path) -> Any:
        """Return the input that a line of `clew predict` stands for: a text is its own; `base` is where paths begin."""
        return line
