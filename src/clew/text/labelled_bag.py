"""What makes bags of features of texts, and the labels of a task that labels texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

from clew.inputs import Bag, Preprocessor
from clew.text.hashed import HashedNgrams
from clew.text.labelled_tokenizer import load_labels, save_labels
from clew.text.tfidf import Tfidf


@dataclass
class LabelledTfidf(Preprocessor):
    """Weighted n-grams, and labels in the order of their classes."""

    Features: ClassVar[Any] = Tfidf
    tokenizer: Any
    labels: list[str]

    @classmethod
    def learn(cls, texts: Sequence[str], labels: list[str], config: Any) -> Self:
        """Return what is learned of training texts; config: the model's settings."""
        return cls(cls.Features.learn(texts, config), labels)

    @property
    def spec(self) -> Bag:
        spec: Bag = self.tokenizer.spec
        return spec

    def describe(self) -> dict[str, Any]:
        """Return the number of features, and the labels."""
        return {"n_features": self.spec.n_features, "id2label": dict(enumerate(self.labels))}

    @cached_property
    def index(self) -> dict[str, int]:
        """The class of each label."""
        return {label: i for i, label in enumerate(self.labels)}

    def __str__(self) -> str:
        return f"{self.tokenizer}, {len(self.labels)} labels"

    def save(self, folder: Path) -> None:
        """Write the features and `labels.json`."""
        self.tokenizer.save(folder)
        save_labels(self.labels, folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return what `save` wrote. Raises RunError where it is missing or damaged."""
        return cls(cls.Features.load(folder), load_labels(folder))


class LabelledHashed(LabelledTfidf):
    """Words and hashed n-grams, and labels in the order of their classes."""

    Features = HashedNgrams
