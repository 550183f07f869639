"""What a task promises: which examples, which model, how to predict, which figures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from clew.config import Choice, DecodeConfig, Recipe, TokenizerConfig, TrainConfig, resolve
from clew.contracts.model import Head
from clew.contracts.training import Context
from clew.errors import DataError, RecipeError
from clew.inputs import Preprocessor


@dataclass(frozen=True)
class Example:
    """An input for all models; `reference` and `gold` ([source word, target word] links) where they exist."""

    source: str
    reference: str = ""
    gold: list[list[int]] | None = None


@dataclass
class Prediction:
    """What a model makes of one text: the best answer, the others found, and, where asked for, what it looked at.

    score: a log-probability of a translation, the probability of a label. attention: (name, weights (target tokens,
    source tokens)) of every map; the first is the one to show. The token lists end in </s>. salient: for each target
    token the source token that it looks at most. places: where the answer and each of the alternatives stand in the
    text that was read, [first, end) in characters, None for no answer. tagged: (word, tag, probability) of each word.
    """

    text: str
    score: float
    alternatives: list[tuple[str, float]] = field(default_factory=list)
    source_tokens: list[str] = field(default_factory=list)
    target_tokens: list[str] = field(default_factory=list)
    attention: list[tuple[str, Tensor]] = field(default_factory=list)
    salient: list[int] = field(default_factory=list)
    shown: str = ""  # the answer as people read it, where that is more than its text
    places: list[tuple[int, int] | None] = field(default_factory=list)
    tagged: list[tuple[str, str, float]] = field(default_factory=list)


class Task(ABC):
    """Which examples, which model, how to predict, which metrics. `rows` are a source's rows of one split."""

    Config: type[Choice]
    preprocessor_class: type[Preprocessor]
    head: ClassVar[Head]  # what its models must give
    example_name = "text"  # what an example is called in reports
    unit = "texts"  # what losses and a budget in tokens count
    open_ended = False  # many answers would be right
    writes_on = False  # it goes on with a text, token by token: see `stream`
    asks = False  # it trains nothing and measures a model that writes on
    hides_tokens = False  # its batches have masks in place of some tokens
    n_shortened = 0  # of the examples that were last predicted

    def __init__(self, config: Any) -> None:
        self.config = config
        self.context: Context | None = None

    def bind(self, context: Context) -> None:
        """Take what it needs of the run."""
        self.context = context

    def progress(self, what: str) -> Callable[[int, int], None] | None:
        """Return what to tell how far long reading has come, and of how much; None where nobody watches."""
        return None if self.context is None else self.context.told(what)

    @property
    @abstractmethod
    def quality(self) -> str:
        """The figure that weights are chosen by, and early stopping looks at."""

    @property
    def judge(self) -> str:
        """The figure to choose weights by: the one that `task.quality` names, else `quality`."""
        return str(self.config.model_dump().get("quality") or self.quality)

    def floor(self, rows: Any) -> float:
        """Return what the judge must rise above to say anything of a model on these rows: chance, with its noise.

        Until then weights are chosen by the loss, where the task has one.
        """
        return 0.0

    @property
    def compared(self) -> str:
        """The figure that trainings are compared by."""
        return self.judge

    def compared_by(self, measured: Sequence[Mapping[str, Any]], by: str = "") -> tuple[str, str]:
        """Return the figure that finished trainings are compared by, and why where it is not the usual one.

        measured: the figures of each on its main split; by: the figure that is asked for, where one is.
        """
        return by or self.compared, ""

    @property
    def hint(self) -> str:
        """What to type for `predict`, in a line."""
        return "A text."

    @property
    def asking(self) -> str:
        """What may stand behind `clew predict RUN`, as a shell takes it."""
        return f'"a {self.example_name}"'

    @property
    def shortened(self) -> str:
        """What becomes of an example that is too long."""
        return "cut"

    @property
    def fields(self) -> Sequence[str]:
        """What a line of `predict` has in it, with tabs in between."""
        return ("text",)

    @property
    def field_names(self) -> Sequence[str]:
        """What people call the fields."""
        return self.fields

    @property
    def n_fields(self) -> int:
        """How many of these must be there."""
        return len(self.fields)

    @property
    def longest(self) -> int | None:
        """The longest input in tokens; None: as long as the model takes."""
        return None

    # Before training.

    def check_recipe(self, recipe: Recipe) -> None:
        """Raise RecipeError where settings contradict one another, which would be found out after training."""

    def check(self, rows: Any) -> None:
        """Raise DataError where rows lack a column, or hold answers that are none."""

    def compare(self, rows: Any, others: Mapping[str, Any]) -> list[str]:
        """Return what to know of the training rows and of those that are measured, by split, a line each.

        Raise DataError or RecipeError where nothing that is learned from the former can be right on the latter.
        """
        return []

    def check_length(self, rows: Any, preprocessor: Any) -> None:
        """Raise DataError where rows are too few to be measured, as the preprocessor reads them."""

    def remarks(self, train: Any, valid: Any) -> list[str]:
        """Return what is to be said of the rows before the first step: what their figures will be worth."""
        return []

    def n_words(self, rows: Any) -> int:
        """Return the running words of the training texts, by which a preset is fitted; 0: not counted."""
        return 0

    def n_examples(self, rows: Any) -> int | None:
        """Return how many examples rows are; None where they are no examples."""
        return None

    @abstractmethod
    def preprocessor(self, rows: Any, config: TokenizerConfig, given: Any = None) -> Preprocessor:
        """Return what makes inputs of rows, trained on them; given: the tokenizer of what the model starts from."""

    def load_preprocessor(self, folder: Path) -> Any:
        """Return the one that a run folder holds."""
        return self.preprocessor_class.load(folder)

    def roll_out(
        self, model: Any, preprocessor: Any, prompts: np.ndarray, steps: int, seed: int
    ) -> tuple[Tensor, Tensor]:
        """Return texts written after prompts (n, length), (n, length + steps) ids, and which next tokens are written.

        Raise RecipeError for a task that does not write.
        """
        raise RecipeError("this task does not write", where="task.kind")

    def words(self, preprocessor: Any) -> dict[str, list[str]]:
        """Return what the rows of each of the model's embeddings stand for, where these can begin with word vectors."""
        return {}

    @abstractmethod
    def batches(self, rows: Any, preprocessor: Any, train: TrainConfig, seed: int) -> Any:
        """Return the training batches."""

    def own_labels(self) -> list[str]:
        """Return the names of the outputs, where the task and not the data names them."""
        return []

    def n_outputs(self, preprocessor: Any) -> int:
        """Return how many outputs the head has: the classes, as a rule."""
        return len(preprocessor.labels)

    def classes(self, preprocessor: Any) -> Sequence[str]:
        """Return what its models choose from for each input, in the order of `logits`; nothing where they do not."""
        return ()

    def model(self, config: Any, preprocessor: Any) -> Any:
        """Return a new model under the task's head. Raise RecipeError where it cannot, or has too few positions."""
        kind = resolve("model", config.kind)
        if not isinstance(preprocessor.spec, kind.reads):
            raise RecipeError(
                f"a {config.kind} is not built for {self.unit}", where="model.kind", fix="choose another kind of model"
            )
        made = kind.with_head(self.head, config, preprocessor.spec, self.n_outputs(preprocessor))
        if self.longest is not None and made.max_length is not None and self.longest > made.max_length:
            raise RecipeError(
                f"texts of {self.longest} tokens do not fit a model of {made.max_length} positions",
                where="task.max_length", fix=f"set it to {made.max_length} or less",
            )  # fmt: skip
        return made

    # Predicting.

    @abstractmethod
    def predict(
        self, model: Any, preprocessor: Any, texts: Iterable[Any], decode: DecodeConfig, *, attention: bool = False,
        listener: Any = None,
    ) -> Iterator[Prediction]:  # fmt: skip
        """Yield an answer to each input, in order; listener: told of every beam search."""

    def searches(self, model: Any, decode: DecodeConfig) -> bool:
        """Return whether a beam finds the answer."""
        return False

    def stream(
        self, model: Any, preprocessor: Any, text: str, decode: DecodeConfig, draft: Any = None
    ) -> Iterator[str]:
        """Yield what is written after a text, as it is written. Raise RecipeError for a task that does not go on."""
        raise RecipeError("this run does not go on with texts", where="task.kind", fix="ask it for a prediction")

    @abstractmethod
    def examples(self, data: Any, splits: Sequence[str]) -> list[Example]:
        """Return what every model of a comparison is shown alike."""

    # Measuring.

    @abstractmethod
    def validate(
        self, model: Any, preprocessor: Any, rows: Any, decode: DecodeConfig, n_examples: int
    ) -> dict[str, Any]:
        """Return figures by name, `quality` among them, and `samples`: quick, while training."""

    @abstractmethod
    def evaluate(
        self, model: Any, preprocessor: Any, rows: Any, decode: DecodeConfig, *, choose_on: Any = None
    ) -> dict[str, Any]:
        """Return every figure with its interval, and `outputs`."""

    def inputs(self, rows: Any) -> list[Any]:
        """Return the examples as `predict` takes them. Raise DataError for a task whose rows are no examples."""
        raise DataError("this task has no examples row by row")

    def line(self, given: Any) -> str:
        """Return one of `inputs` as people read it."""
        return str(given)

    def unanswered(self, inputs: Sequence[Any], preprocessor: Any, batch_size: int) -> Iterator[Any]:
        """Yield inputs as batches for its models, those of like length together; `index` says which of them they are.

        Raise RecipeError for a task whose inputs are not read one by one.
        """
        raise RecipeError("this task does not read its inputs one by one", where="task.kind")

    def references(self, rows: Any) -> list[str]:
        """Return the right answers. Raise DataError for a task that has none."""
        raise DataError("this task has no right answers to compare with")

    def texts(self, data: Any, split: str, most: int) -> list[str]:
        """Return texts of a split that the model reads, at most so many: its examples, as a rule."""
        return [each.source for each in self.examples(data, [split])][:most]

    def groups(self, data: Any, split: str, most: int) -> list[str]:
        """Return the label of each of these texts, where the task gives a text one."""
        return []

    def looked_at(self, text: str, answer: str, labels: Sequence[str]) -> str:
        """Return what of a text a model reads at a time, of which its attention is shown."""
        return text

    def both_sides(self, preprocessor: Any, text: str, output: str) -> tuple[list[int], list[int] | None]:
        """Return the ids of a source, and of what is to have been written; None where the model's own is wanted."""
        return preprocessor.source.encode([text])[0], preprocessor.target.encode([output])[0] if output else None

    def asked(self, text: str) -> str:
        """Return a text as the model can be asked about it."""
        return text

    def paired(self, one: Sequence[str], other: Sequence[str], references: Sequence[str]) -> dict[str, tuple[Any, Any]]:
        """Return by name the scores of two sets of outputs, with those of each example, for a paired test."""
        return {}

    def each_score(self, outputs: Sequence[str], references: Sequence[str]) -> np.ndarray:
        """Return a score of each output, from 0 to 100: whether it is right, as a rule."""
        return np.array([100.0 * (a == b) for a, b in zip(outputs, references, strict=True)])
