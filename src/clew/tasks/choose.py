"""Multiple choice: the best of several continuations or answers of a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from clew.config import TaskConfig
from clew.contracts import Prediction
from clew.data.batches import Texts
from clew.data.rows import Rows
from clew.errors import DataError
from clew.metrics.bootstrap import Score
from clew.metrics.classification import accuracy
from clew.tasks.classify import choice, commonest, negative_log_likelihood
from clew.tasks.supervised import SupervisedTask, tabbed, texts_of
from clew.text.labelled_tokenizer import LabelledTokenizer
from clew.text.template import encode_pairs


class ChooseConfig(TaskConfig):
    """Which columns are the text, its choices, and the right one: by its column's name or its number from 0."""

    kind: str = "choose"
    text: str
    choices: tuple[str, ...] = Field(min_length=2)
    label: str
    max_length: int = Field(128, ge=4)  # tokens of the text with one choice; the longer of them loses its end


class Choose(SupervisedTask):
    """Read column `text` with each of the choices, as pairs, and choose one (Devlin et al. 2019, §4.4)."""

    Config = ChooseConfig
    hint = "What is asked, and what there is to choose from."
    head = "choose"
    example_name = "question"
    unit = "questions"
    quality = "accuracy"

    @property
    def fields(self) -> tuple[str, ...]:
        return (self.config.text, *self.config.choices)

    @property
    def field_names(self) -> tuple[str, ...]:
        return (self.config.text, *(f"choice {name}" for name in self.config.choices))

    def looked_at(self, text: str, answer: str, labels: Sequence[str]) -> str:
        """Return what is asked with the choice that was made."""
        first, *others = text.split("\t")
        return f"{first}\t{others[labels.index(answer)]}"

    def inputs(self, rows: Rows) -> list[str]:
        choices = [texts_of(rows, name, "task.choices") for name in self.config.choices]
        return tabbed(self.text_column(rows, "text"), *choices)

    def floor(self, rows: Rows) -> float:
        return self.guessed(rows)

    def references(self, rows: Rows) -> list[str]:
        """The names of the right choices. Raises DataError where a label is none of them."""
        names = {name: name for name in self.config.choices}
        names |= {str(i): name for i, name in enumerate(self.config.choices) if str(i) not in names}
        labels = self.label_column(rows, "label")
        if wrong := [label for label in labels if label not in names]:
            raise DataError(
                f'the label "{wrong[0]}" is no choice', where=f"{rows.report.source}, column {self.config.label}",
                fix=f"labels are the columns' names ({', '.join(self.config.choices)}) or numbers from 0",
            )  # fmt: skip
        return [names[label] for label in labels]

    def own_labels(self) -> list[str]:
        return [*self.config.choices]

    def labels(self, rows: Rows) -> list[str]:
        return self.own_labels()

    def encode(self, lines: Sequence[str], preprocessor: LabelledTokenizer) -> Texts:
        """A pair for each choice. Raises DataError for a line with fewer or more choices."""
        n = len(self.config.choices)
        first, second = [], []
        for number, line in enumerate(lines):
            text, *choices = line.split("\t")
            if len(choices) != n:
                raise DataError(
                    f"{len(choices)} choices instead of {n}", where=self.at_line(number, lines),
                    fix="write the text and its choices on a line, tabs in between",
                )  # fmt: skip
            first += [text] * n
            second += choices
        found = encode_pairs(preprocessor.tokenizer, first, second, self.config.max_length)
        return Texts(found.ids, [0] * len(lines), found.first, choices=n, cut=len({i // n for i in found.cut}))

    def predictions(
        self, lines: Sequence[str], texts: Texts, outputs: Sequence[Any], preprocessor: LabelledTokenizer
    ) -> list[Prediction]:
        """The name of the best choice; shown: its text."""
        found = []
        for line, logits in zip(lines, outputs, strict=True):
            best = choice(preprocessor.labels, logits.softmax(dim=0))
            text = line.split("\t")[1 + preprocessor.index[best.text]]
            best.shown = f"{best.text}: {text}"
            found.append(best)
        return found

    def figures(self, predictions: Sequence[Prediction], rows: Rows) -> dict[str, Score]:
        return {"accuracy": accuracy([prediction.text for prediction in predictions], self.references(rows))}

    def baselines(self, rows: Rows) -> dict[str, float]:
        """Of always taking the choice that is right most often."""
        right = self.references(rows)
        return {"accuracy": accuracy([commonest(right)[0]] * len(right), right).value}

    def loss(self, predictions: Sequence[Prediction], rows: Rows) -> dict[str, float]:
        """The mean of -log P(right choice), in nats."""
        return {"loss": negative_log_likelihood(predictions, self.references(rows))}
