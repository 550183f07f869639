"""What models read, in words that all rooms share: the shape of an input, and what makes one of a user's rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
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
    joint: bool = True


@dataclass(frozen=True, eq=False)
class Words:
    """Running text as words, by falling count: words (V,) and how often each occurs, counts (V,)."""

    words: Sequence[str]
    counts: Any

    @property
    def vocab_size(self) -> int:
        return len(self.words)


@dataclass(frozen=True)
class Pixels:
    """An image of one size, with values from 0 to 1 before they are normalised."""

    channels: int
    height: int
    width: int


InputSpec = Tokens | TokenPair | Words | Pixels
"""What a model is built for, beside its own settings: `Model(config, spec)`."""


class Preprocessor(ABC):
    """What turns a user's rows into what a model reads: a tokenizer, a pair of them, a word vocabulary, images."""

    labels: Sequence[str] = ()
    """The names of the classes, in order; none where nothing is chosen from."""

    @property
    @abstractmethod
    def spec(self) -> InputSpec:
        """What a model must be built for to read these inputs."""

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

    def parse(self, line: str, base: Path) -> Any:
        """Return the input that a line of `clew predict` stands for: a text is its own; `base` is where paths begin."""
        return line
