"""What all tasks have in common in which a model reads a text or an image and is to say something of it."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from time import process_time
from typing import Any

import torch

from clew.config import DecodeConfig, TokenizerConfig, TrainConfig
from clew.contracts import Example, Loader, Prediction, Task
from clew.data.batches import Examples
from clew.data.rows import Rows, as_key, joined
from clew.decode.encoder import reader
from clew.errors import DataError
from clew.inputs import Preprocessor
from clew.metrics.classification import accuracy
from clew.tasks.agreement import shared
from clew.tasks.examples import SHOWN, by_length
from clew.text.labelled_tokenizer import LabelledTokenizer
from clew.text.tokenizer import Tokenizer

Model = Any
"""An encoder under a head of `clew.models.heads`, or a model that is its own head: Python has no type for all."""

HANDFUL = 30  # validation examples, of which fewer say little
CHUNK = 64  # batches of texts in memory at a time
SPACES = str.maketrans("\t\r\n", "   ")  # as many characters: places in a text stay


class SupervisedTask(Task):
    """Which examples, how to predict, which metrics: a task says what its rows, outputs and figures are."""

    preprocessor_class: type[Preprocessor] = LabelledTokenizer

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.n_read = 0  # lines of the chunks before the one that is being predicted

    @property
    def longest(self) -> int | None:
        return int(self.config.max_length)

    # What a task says.

    @property
    def fields(self) -> tuple[str, ...]:
        """What stands on a line, with tabs in between: the names of its columns."""
        return (self.config.text,)

    @abstractmethod
    def inputs(self, rows: Rows) -> list[Any]:
        """Return the examples as `clew predict` takes them: a line each, as a rule."""

    @abstractmethod
    def references(self, rows: Rows) -> list[str]:
        """The right answers, as `Prediction.text` gives them."""

    @abstractmethod
    def labels(self, rows: Rows) -> list[str]:
        """What there is to choose from, in the order of classes."""

    @abstractmethod
    def encode(self, lines: Sequence[Any], preprocessor: Any) -> Examples:
        """Lines as a model reads them, without labels."""

    def labelled(self, rows: Rows, preprocessor: Any) -> Examples:
        """Return rows as a model reads them, with their labels: the class of each row's answer."""
        encoded = self.encode(self.inputs(rows), preprocessor)
        encoded.label = [preprocessor.index[label] for label in self.references(rows)]
        return encoded

    @abstractmethod
    def predictions(
        self, lines: Sequence[Any], encoded: Any, outputs: Sequence[Any], preprocessor: Any
    ) -> list[Prediction]:
        """Answers to the lines from what the model made of each example."""

    @abstractmethod
    def figures(self, predictions: Sequence[Prediction], rows: Rows) -> dict[str, Any]:
        """Metric → Score of these answers to the rows."""

    def outputs(self, out: Any, encoded: Any, rows: Sequence[int]) -> Sequence[Any]:
        """What the model says of each example of a batch."""
        return list(out.logits.float().cpu())

    def check(self, rows: Rows) -> None:
        """Raise DataError where rows lack a column, or hold answers that are none."""
        self.inputs(rows)
        self.references(rows)

    def compare(self, rows: Rows, others: Mapping[str, Rows]) -> list[str]:
        """Return a line on each split whose inputs are training inputs too."""
        inputs = {name: map(as_key, self.inputs(other)) for name, other in others.items()}
        return shared(
            map(as_key, self.inputs(rows)), {name: [*each] for name, each in inputs.items()}, self.example_name
        )

    def remarks(self, train: Rows, valid: Rows) -> list[str]:
        """Say so where validation has a handful of rows."""
        n = len(valid)
        if n >= HANDFUL:
            return []
        return [
            f"validation has {n} {self.example_name}{'s' if n > 1 else ''}: a share of right ones is known to within "
            f"±{98 / n**0.5:.0f} points at best; give more (data.valid), or hold more out (data.hold_out=0.2)"
        ]

    def baselines(self, rows: Rows) -> dict[str, float]:
        """Return what a figure of these rows is without a model, where something can be said without one."""
        return {}

    # Vocabularies.

    def column(self, rows: Rows, key: str) -> list[Any]:
        """Return the column that `task.key` names. Raise DataError where the data has none of that name."""
        return named(rows, self.config.model_dump()[key], f"task.{key}")

    def text_column(self, rows: Rows, key: str) -> list[str]:
        """Return a column of texts. Raise DataError where there is none, or a row holds something else."""
        return texts_of(rows, self.config.model_dump()[key], f"task.{key}")

    def label_column(self, rows: Rows, key: str) -> list[str]:
        """Return a column of labels by name, which of a number is its digits. Raise DataError for anything else."""
        name = self.config.model_dump()[key]
        return [text_of(value, rows, name, i) for i, value in enumerate(self.column(rows, key))]

    def preprocessor(self, rows: Rows, config: TokenizerConfig, given: Tokenizer | None = None) -> Preprocessor:
        """A tokenizer trained on the texts, or the one given, and the labels."""
        texts = (text for given in self.inputs(rows)[: config.max_examples] for text in self.line(given).split("\t"))
        return LabelledTokenizer(given or Tokenizer.train(texts, config), self.labels(rows))

    def words(self, preprocessor: Any) -> dict[str, list[str]]:
        """What the rows of a model's embedding stand for."""
        return {"embedding": preprocessor.tokenizer.words}

    # Which examples.

    def batches(self, rows: Rows, preprocessor: Preprocessor, train: TrainConfig, seed: int) -> Loader:
        """Training batches; what is longer than `task.max_length` tokens was cut, and how many is told."""
        encoded = self.labelled(rows, preprocessor)
        loader = encoded.loader(train.batch, seed, **preprocessor.ids)
        if encoded.cut:
            n = len({*encoded.part_of}) or len(encoded)
            loader.notes = [f"{encoded.cut:,} of {n:,} training {self.example_name}s were {self.shortened}"]
        return loader

    @property
    def shortened(self) -> str:
        """What becomes of a long example."""
        return f"cut to {self.config.max_length} tokens"

    # How to predict.

    def predict(
        self,
        model: Model,
        preprocessor: Preprocessor,
        texts: Iterable[Any],
        decode: DecodeConfig,
        *,
        attention: bool = False,
        listener: Any = None,
    ) -> Iterator[Prediction]:
        """The answer to each line with its probability, in order; other answers by falling probability besides.

        Any number of lines, 64 batches in memory at a time; how many were shortened is counted. Raises RecipeError for
        a precision in which this model does not read (`reader`).
        """
        model = reader(model, decode.precision)
        stream, self.n_shortened, self.n_read = iter(texts), 0, 0
        while chunk := list(islice(stream, CHUNK * decode.batch_size)):
            encoded = self.encode(chunk, preprocessor)
            self.n_shortened += encoded.cut
            outputs = self.read(model, encoded, preprocessor, decode.batch_size)
            yield from self.predictions(chunk, encoded, outputs, preprocessor)
            self.n_read += len(chunk)

    def halves(self, lines: Sequence[str], what: str) -> tuple[list[str], list[str]]:
        """What stands before and behind the first tab of each line. Raises DataError for a line without one."""
        parts = [line.partition("\t") for line in lines]
        for n, (_, tab, _) in enumerate(parts):
            if not tab:
                raise DataError(f"{what} were expected", where=self.at_line(n, lines), fix="put a tab between them")
        return [a for a, _, _ in parts], [b for _, _, b in parts]

    def at_line(self, n: int, lines: Sequence[str]) -> str:
        """Where a line of this chunk stands."""
        return f"line {self.n_read + n + 1}: {lines[n][:80]}"

    @torch.no_grad()
    def read(self, model: Model, encoded: Examples, preprocessor: Preprocessor, batch_size: int) -> list[Any]:
        """What the model says of each example, in their order; those of like length are read together."""
        model.eval()
        device = next(model.parameters()).device
        found: list[Any] = [None] * len(encoded)
        for batch in encoded.batches(batch_size, **preprocessor.ids):
            rows = batch.row_numbers()
            for row, said in zip(rows, self.outputs(model(batch.to(device)), encoded, rows), strict=True):
                found[row] = said
        return found

    def examples(self, data: Any, splits: Sequence[str]) -> list[Example]:
        """Texts of varied lengths from the splits that runs measured, with their answers."""
        found = []
        for split in splits:
            rows = data.split(split)
            inputs, references = [*map(self.line, self.inputs(rows))], self.references(rows)
            found += [Example(inputs[i], references[i]) for i in by_length(inputs, SHOWN)]
        return found

    def texts(self, data: Any, split: str, most: int) -> list[str]:
        return [text for text in map(self.line, self.inputs(data.split(split))[:most]) if text.strip()]

    # Which metrics.

    def paired(self, one: Sequence[str], other: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
        return {"accuracy of whole answers": (accuracy(one, references), accuracy(other, references))}

    def guessed(self, rows: Rows) -> float:
        """Return the upper end of what the commonest answer alone would have for its quality: there chance ends."""
        references = self.references(rows)
        ((commonest, _),) = Counter(references).most_common(1)
        found = self.figures([Prediction(commonest, 1.0)] * len(references), rows)[self.judge]
        return float(found.value if found.high is None else found.high)

    def loss(self, predictions: Sequence[Prediction], rows: Rows) -> dict[str, float]:
        """A mean loss by which curves are drawn, where the task has one."""
        return {}

    def validate(
        self, model: Model, preprocessor: Preprocessor, rows: Rows, decode: DecodeConfig, n_examples: int
    ) -> dict[str, Any]:
        """Every figure on all rows; samples."""
        inputs, references = self.inputs(rows), self.references(rows)
        predictions = list(self.predict(model, preprocessor, inputs, decode))
        shown = list(zip(inputs, references, predictions, strict=True))[:8]
        return {
            **self.loss(predictions, rows),
            **{name: score.value for name, score in self.figures(predictions, rows).items()},
            "samples": [
                {"source": self.line(t), "reference": y, "output": f"{p.shown or p.text} ({p.score:.2f})"}
                for t, y, p in shown
            ],
        }

    def evaluate(
        self,
        model: Model,
        preprocessor: Preprocessor,
        rows: Rows,
        decode: DecodeConfig,
        *,
        choose_on: Rows | None = None,
    ) -> dict[str, Any]:
        """Every figure on all rows, with 95% bootstrap intervals, and speed."""
        begin = process_time()
        predictions = list(self.predict(model, preprocessor, self.inputs(rows), decode))
        seconds = process_time() - begin
        measured = {name: score.as_dict() for name, score in self.figures(predictions, rows).items()}
        for name, value in self.baselines(rows).items():
            measured[name]["baseline"] = value
        return {
            "sentences": len(rows),
            "shortened": self.n_shortened,
            **measured,
            **self.loss(predictions, rows),
            "decode_sentences_per_cpu_second": len(rows) / seconds,
            "outputs": [prediction.text for prediction in predictions],
        }


def tabbed(*columns: Sequence[str]) -> list[str]:
    """The texts of each row on one line with tabs in between; tabs and line ends within a text become spaces."""
    return ["\t".join(text.translate(SPACES) for text in texts) for texts in zip(*columns, strict=True)]


def texts_of(rows: Rows, name: str, where: str) -> list[str]:
    """Return a column of texts; a list of words is one, with spaces in between.

    Raise DataError where there is none of that name, or a row holds something else.
    """
    found = [*map(joined, named(rows, name, where))]
    for number, value in enumerate(found):
        if not isinstance(value, str):
            raise no_text(value, rows, name, number)
    return found


def text_of(value: Any, rows: Rows, name: str, number: int) -> str:
    """Return a label, which may be a number, by its name. Raise DataError for anything else."""
    if not isinstance(value, str | int | float):
        raise no_text(value, rows, name, number)
    return str(value)


def no_text(value: Any, rows: Rows, name: str, number: int) -> DataError:
    return DataError(
        f"a text was expected, and this is {type(value).__name__}: {str(value)[:60]}",
        where=f"{rows.report.source}, column {name}, row {number + 1}", fix="name a column of texts, or mend that row",
    )  # fmt: skip


def named(rows: Rows, name: str, where: str) -> list[Any]:
    """Return a column. Raise DataError where there is none of that name."""
    if name not in rows.columns:
        raise DataError(
            f'no column "{name}" in {rows.report.source}', where=where, fix=f"columns there: {', '.join(rows.columns)}"
        )
    return rows[name]
