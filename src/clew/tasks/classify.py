"""Classification: one label for a text, for a pair of texts, or for an image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator

from clew.config import TaskConfig, TokenizerConfig, load_class, resolve
from clew.contracts import Prediction
from clew.data.bags import encoded
from clew.data.batches import Examples
from clew.data.images import ImagePreprocessor, pictures
from clew.data.rows import Rows
from clew.errors import RecipeError
from clew.inputs import Preprocessor
from clew.metrics.bootstrap import Score
from clew.metrics.classification import accuracy, binary_f1, macro_f1
from clew.metrics.correlation import matthews
from clew.tasks.agreement import labels_agree, listed
from clew.tasks.supervised import SupervisedTask, tabbed
from clew.text.labelled_tokenizer import LabelledTokenizer
from clew.text.tokenizer import Tokenizer

METRICS: dict[str, Callable[..., Score]] = {"accuracy": accuracy, "macro_f1": macro_f1, "matthews": matthews}


class PairConfig(TaskConfig):
    """Which columns are the text and, where texts come in pairs, the other one; or which is the image."""

    text: str = ""
    pair: str = ""
    image: str = ""  # instead of the text
    max_length: int = Field(256, ge=4)  # tokens; the longer text of what has more loses its end; bags keep all

    @model_validator(mode="after")
    def one(self) -> Self:
        if bool(self.text) == bool(self.image) or (self.image and self.pair):
            raise ValueError("name the column of texts (text, and pair for the other one) or that of images (image)")
        return self


class ClassifyConfig(PairConfig):
    """Also which column is the label, and the figures; the first of them is what early stopping looks at."""

    kind: str = "classify"
    label: str
    metrics: tuple[Literal["accuracy", "macro_f1", "f1", "matthews"], ...] = Field(
        ("accuracy", "macro_f1"), min_length=1
    )
    positive: str = "1"  # the label whose F1 `f1` is

    @property
    def stratum(self) -> str:
        return self.label


class PairTask(SupervisedTask):
    """A task whose examples are texts, pairs of them with a tab in between, or images."""

    head = "classify"
    example_name = "text"
    unit = "texts"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        if config.image:
            self.example_name, self.unit, self.preprocessor_class = "image", "images", ImagePreprocessor

    @property
    def quality(self) -> str:
        return str(self.config.metrics[0])

    @property
    def hint(self) -> str:
        return "The path of an image." if self.config.image else "Two texts." if self.config.pair else "A text."

    @property
    def asking(self) -> str:
        return "photo.png" if self.config.image else super().asking

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(filter(None, (self.config.text, self.config.pair, self.config.image)))

    @property
    def longest(self) -> int | None:
        return None if self.config.image else super().longest

    def preprocessor(self, rows: Rows, config: TokenizerConfig, given: Tokenizer | None = None) -> Preprocessor:
        if self.config.image:
            return ImagePreprocessor.of(self.inputs(rows), self.labels(rows))
        if (own := self.own_preprocessor) is not None and self.context is not None:
            made: Preprocessor = own.learn(self.inputs(rows), self.labels(rows), self.context.recipe.model)
            return made
        return super().preprocessor(rows, config, given)

    def inputs(self, rows: Rows) -> list[Any]:
        if self.config.image:
            return pictures(self.column(rows, "image"), f"{rows.report.source}, column {self.config.image}")
        texts = self.text_column(rows, "text")
        if not self.config.pair:
            return texts
        return tabbed(texts, self.text_column(rows, "pair"))

    @property
    def own_preprocessor(self) -> Any:
        """The class of what makes inputs of texts for the recipe's model; None where the recipe's tokenizer does."""
        model = None if self.context is None else self.context.recipe.model
        name = "" if model is None else resolve("model", model.kind).own_preprocessor
        return load_class(name) if name else None

    def load_preprocessor(self, folder: Path) -> Any:
        return (self.own_preprocessor or self.preprocessor_class).load(folder)

    def encode(self, lines: Sequence[Any], preprocessor: Any) -> Examples:
        """Each text, pair or image as the model reads it. Raise DataError for a line without its second text."""
        if self.config.image:
            images: Examples = preprocessor.encode(lines)
            return images
        first, second = list(lines), None
        if self.config.pair:
            first, second = self.halves(lines, "two texts")
        return encoded(preprocessor.tokenizer, first, second, self.config.max_length)

    def unanswered(self, inputs: Sequence[Any], preprocessor: Preprocessor, batch_size: int) -> Iterator[Any]:
        return self.encode(inputs, preprocessor).batches(batch_size, **preprocessor.ids)


class Classify(PairTask):
    """Read column `text` (and `pair`) or `image`, choose among the labels that column `label` has in the training
    rows."""

    Config = ClassifyConfig

    def references(self, rows: Rows) -> list[str]:
        return self.label_column(rows, "label")

    def labels(self, rows: Rows) -> list[str]:
        return LabelledTokenizer.classes(self.references(rows), rows.report.source)

    def floor(self, rows: Rows) -> float:
        return self.guessed(rows)

    def classes(self, preprocessor: LabelledTokenizer) -> list[str]:
        return preprocessor.labels

    def compare(self, rows: Rows, others: Mapping[str, Rows]) -> list[str]:
        """Also the labels of each side. Raise RecipeError where no row has the label whose F1 is asked."""
        train, config = self.references(rows), self.config
        if "f1" in config.metrics and config.positive not in train:
            raise RecipeError(
                f'no training row has the label "{config.positive}", whose F1 is asked: {listed(Counter(train))}',
                where="task.positive", fix="set task.positive to one of them, or leave f1 out of task.metrics",
            )  # fmt: skip
        labels = {name: self.references(other) for name, other in others.items()}
        return labels_agree(train, labels, config.label) + super().compare(rows, others)

    def groups(self, data: Any, split: str, most: int) -> list[str]:
        rows = data.split(split)
        pairs = zip(map(self.line, self.inputs(rows)[:most]), self.references(rows), strict=False)
        return [label for text, label in pairs if text.strip()]

    def predictions(
        self, lines: Sequence[Any], encoded: Any, outputs: Sequence[Any], preprocessor: Any
    ) -> list[Prediction]:
        return [choice(preprocessor.labels, logits.softmax(dim=0)) for logits in outputs]

    def figures(self, predictions: Sequence[Prediction], rows: Rows) -> dict[str, Score]:
        said, true = [prediction.text for prediction in predictions], self.references(rows)
        metrics = METRICS | {"f1": partial(binary_f1, positive=self.config.positive)}
        return {name: metrics[name](said, true) for name in self.config.metrics}

    def remarks(self, train: Rows, valid: Rows) -> list[str]:
        said, known = super().remarks(train, valid), {*self.references(train)}
        return said + about_labels(self.references(valid), known)

    def baselines(self, rows: Rows) -> dict[str, float]:
        """Of always giving the commonest label of these rows."""
        right = self.references(rows)
        always = [Prediction(commonest(right)[0], 1.0)] * len(right)
        return {name: score.value for name, score in self.figures(always, rows).items()}

    def loss(self, predictions: Sequence[Prediction], rows: Rows) -> dict[str, float]:
        """The mean of -log P(label), in nats; a label that no training text had has no probability, and is left out."""
        return {"loss": negative_log_likelihood(predictions, self.references(rows))}


def commonest(labels: Sequence[str]) -> tuple[str, int]:
    """The label that occurs most, the first in the alphabet of several, and how often."""
    return min(Counter(labels).items(), key=lambda item: (-item[1], item[0]))


def about_labels(valid: Sequence[str], known: set[str]) -> list[str]:
    """What validation labels allow to say: how many are right without any model, and which are not there."""
    label, n = commonest(valid)
    if n == len(valid):
        return [
            f'every validation text has the label "{label}": no figure can say whether a model tells labels apart; '
            "give validation texts of every label (data.valid), or shuffle the rows"
        ]
    missing = sorted(known - {*valid})
    lacks = f"; it has none of {', '.join(missing[:5])}{' …' if len(missing) > 5 else ''}" if missing else ""
    return [f'validation: always answering "{label}" is right for {100 * n / len(valid):.1f}% of the texts{lacks}']


def choice(names: Sequence[str], probabilities: torch.Tensor) -> Prediction:
    """The likeliest of the names; the others by falling probability."""
    ranked = [(names[i], float(probabilities[i])) for i in probabilities.argsort(descending=True, stable=True)]
    return Prediction(*ranked[0], alternatives=ranked[1:])


def negative_log_likelihood(predictions: Sequence[Prediction], right: Sequence[str]) -> float:
    """The mean of -log P(right answer), in nats."""
    given = [dict([(p.text, p.score), *p.alternatives]) for p in predictions]
    likelihood = torch.tensor([each[y] for each, y in zip(given, right, strict=True) if y in each])
    return -likelihood.clamp(min=1e-30).log().mean().item()
