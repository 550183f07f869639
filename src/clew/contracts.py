"""What the rooms of the house promise one another: abstract classes whose defaults say "no", so that nobody asks.

An upper floor uses what stands here and nothing else; where it would have to ask what it holds, a method is missing
here. Batches are in `batches.py`, what models are built for in `inputs.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from torch import Tensor, nn
from torch.optim import Optimizer

from clew.batches import Batch
from clew.config import Choice, DecodeConfig, Recipe, TokenizerConfig, TrainConfig, load_class
from clew.errors import DataError, RecipeError
from clew.inputs import InputSpec, Preprocessor

Head = Literal[
    "words", "translate", "language_model", "masked_lm", "classify", "tag", "choose", "answer"
]  # fmt: skip
"""What a task asks of a model: one output a text, one a token, the next token, …"""

HEADS: dict[str, str] = {
    "masked_lm": "clew.models.heads:MaskedLM",
    "classify": "clew.models.heads:SequenceClassification",
    "tag": "clew.models.heads:TokenClassification",
    "choose": "clew.models.heads:MultipleChoice",
    "answer": "clew.models.heads:SpanAnswering",
}
"""The heads that stand on an `Encoder`: `Class(encoder, spec, n_outputs)`."""


class Model(nn.Module):
    """Every model: built as `Model(config, spec)` from its own `Config` and what it is to read.

    Subclasses inherit all of it, a user's class too.
    """

    Config: ClassVar[type[Choice]]
    config: Any
    heads: ClassVar[frozenset[str]] = frozenset()  # which of `Head` the model is by itself
    adapter: str = ""  # "module:Class" of the `Adapter` of its family; "": kept in clew's own format
    layout: ClassVar[Any] = None  # what that adapter reads the names of tensors and settings from

    @classmethod
    def with_head(cls, head: Head, config: Any, spec: InputSpec, n_outputs: int) -> Model:
        """Return a new model that gives what `head` says; n_outputs: classes, where there are any.

        Raise RecipeError where this kind of model cannot.
        """
        if head not in cls.heads:
            raise RecipeError(
                f"a {config.kind} cannot be used to {head}", where="model.kind", fix="choose another kind of model"
            )
        return cls(config, spec)

    @property
    def max_length(self) -> int | None:
        """The longest input that it reads, in tokens; None: any."""
        return None

    @property
    def body(self) -> Model:
        """The model below a task's head; itself where there is none."""
        return self

    def blocks(self) -> Sequence[nn.Module]:
        """Return the parts of the body from the input upwards, for tuning by depth; none where it has no such parts.

        What learns and is in none of them is the head.
        """
        return ()

    def lookup_tables(self) -> Sequence[nn.Parameter]:
        """Return tables whose rows are looked up and never multiplied: they cost no work and do not decay."""
        return ()

    def output_table(self) -> tuple[Tensor, Tensor] | None:
        """Return weight (V, d) and bias (V,) of the projection onto the vocabulary, where there is one."""
        return None

    def vectors(self) -> Any:
        """Return its `WordVectors`. Raise RecipeError where it has none."""
        raise RecipeError(f"a {type(self).__name__} has no word vectors", where="model.kind")


class EncoderOutput(Protocol):
    """What an encoder makes of a batch. A model of images has `pooled` alone."""

    @property
    def pooled(self) -> Tensor:
        """(batch, width): one vector an input."""
        ...

    def places(self, at: Tensor) -> Tensor:
        """Return the states at places (n,) among the batch · time ones: (n, width)."""
        ...

    def sequence(self) -> Tensor:
        """Return the states of every place, 0 at padding: (batch, time, width)."""
        ...


class Encoder(Model):
    """A model whose states a head reads."""

    @property
    @abstractmethod
    def width(self) -> int:
        """Numbers in a state."""

    @abstractmethod
    def forward(self, batch: Any, at: Tensor | None = None) -> Any:
        """Return an `EncoderOutput`; at: (n,) the only places whose states will be asked for."""

    @classmethod
    def with_head(cls, head: Head, config: Any, spec: InputSpec, n_outputs: int) -> Model:
        if head not in HEADS:
            return super().with_head(head, config, spec, n_outputs)
        made: Model = load_class(HEADS[head])(cls(config, spec), spec, n_outputs)
        return made


@dataclass
class Loss:
    """A loss summed over `count` items (tokens, pairs, …), so that accumulation and data parallelism are exact.

    total: scalar tensor, the sum that is minimised; parts: named sums for the log (detached), over the same count.
    tokens: what the model read, for speed and FLOPs: real tokens of both sides, images, words.
    """

    total: Tensor
    count: int
    tokens: int
    parts: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class Opened:
    """A finished run: its task, its model (which does not learn), and what makes inputs for it."""

    task: Task
    model: Model
    preprocessor: Preprocessor


@dataclass
class Context:
    """What a task and an objective may use beside their settings.

    recipe: the run's. open_run: another run by its folder (a teacher, a reference, a reward). progress: told of long
    reading: what, how far, of how much. The rest is there while a model trains: the model, what it learns from, the
    task and the preprocessor.
    """

    recipe: Recipe
    open_run: Callable[[str], Opened]
    progress: Callable[[str, int, int], None] | None = None
    task: Task | None = None
    model: Model | None = None
    preprocessor: Preprocessor | None = None
    loader: Loader | None = None

    def told(self, what: str) -> Callable[[int, int], None] | None:
        """Return what to call with how far reading has come and of how much; None where nobody watches."""
        progress = self.progress
        return None if progress is None else lambda done, total: progress(what, done, total)


class Loader(ABC):
    """An endless stream of batches, whose order depends on (seed, epoch) alone.

    An epoch is a plan: a list of what goes into each batch. `state_dict()` is the place after the last batch that was
    handed out, so that a resumed run goes on with the next. Of `world` processes each takes every `world`-th batch.
    """

    n_left_out = 0  # rows that are too long

    def __init__(self, seed: int) -> None:
        self.seed, self.epoch, self.position = seed, 0, 0
        self.rank, self.world = 0, 1
        self.notes: list[str] = []  # for the report
        self._planned: tuple[int, Sequence[Any]] | None = None

    @abstractmethod
    def plan(self, epoch: int) -> Sequence[Any]:
        """Return what each batch of an epoch is made of, in order: row numbers, as a rule."""

    @abstractmethod
    def collate(self, rows: Any, rng: np.random.Generator) -> Batch:
        """Return one entry of a plan as a batch; rng: of this batch alone, for masks, noise and crops."""

    def cost(self, rows: Any) -> int:
        """Return what one entry of a plan counts against `train.batch`: padded tokens, or examples."""
        return len(rows)

    def shard(self, rank: int, world: int) -> None:
        """Hand out the batches of one of several processes."""
        self.rank, self.world = rank, world

    @property
    def planned(self) -> Sequence[Any]:
        """The plan of the epoch in hand."""
        if self._planned is None or self._planned[0] != self.epoch:
            self._planned = self.epoch, self.plan(self.epoch)
        return self._planned[1]

    @property
    def epochs_done(self) -> float:
        return self.epoch + self.position / max(1, len(self.planned))

    def __iter__(self) -> Iterator[Batch]:
        while self.planned:
            if self.position + self.world > len(self.planned):
                self.epoch, self.position = self.epoch + 1, 0
                if self.world > len(self.planned):
                    raise DataError(f"{len(self.planned)} batches cannot be shared out to {self.world} processes")
            number = self.position + self.rank
            self.position += self.world
            yield self.collate(self.planned[number], np.random.default_rng([self.seed, self.epoch, number]))

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.epoch, self.position = state["epoch"], state["position"]


class Objective(ABC):
    """A loss, and whatever it needs beside the model: a teacher, a reference, a reward, parameters of its own."""

    Config: ClassVar[type[Choice]]
    moves_weights = False  # True: its engine takes the steps, at the optimizer's rate, and its total has no graph

    def __init__(self, config: Any) -> None:
        self.config = config

    def bind(self, context: Context) -> None:
        """Take what it needs of the run; called before the optimizer is made, and before anything is measured."""

    def loader(self, loader: Loader, train: TrainConfig) -> Loader:
        """Return what is learned from: the task's loader, or something made of it."""
        return loader

    def parameters(self) -> Mapping[str, nn.Parameter]:
        """Return what learns beside the model."""
        return {}

    def prepare(self, model: Model, optimizer: Optimizer) -> None:
        """Get ready outside of any budget: compile an engine, take the optimizer whose rate it heeds."""

    @abstractmethod
    def __call__(self, model: Any, batch: Any) -> Loss:
        """Return the loss of a batch."""

    def extra_flops(self) -> float:
        """Return the work since it was last asked that `Loss.tokens` does not count: roll-outs, a teacher."""
        return 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return its state, for a checkpoint: tensors and what JSON can hold, nested in dicts."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""


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

    Config: ClassVar[type[Choice]]
    example_name = "text"  # what an example is called in reports
    unit = "texts"  # what losses and a budget in tokens count
    quality: str  # the figure that early stopping looks at; higher is better
    open_ended = False  # many answers would be right
    fields: Sequence[str] = ("text",)  # what a line of `predict` has in it, with tabs in between
    n_fields = 0  # how many of them must be there; 0: all
    hint = "A text."  # what to type, in a line
    n_shortened = 0  # of the examples that were last predicted

    def __init__(self, config: Any) -> None:
        self.config = config
        self.context: Context | None = None

    def bind(self, context: Context) -> None:
        """Take what it needs of the run."""
        self.context = context

    @property
    def compared(self) -> str:
        """The figure that trainings are compared by."""
        return self.quality

    # Before training.

    def check_recipe(self, recipe: Recipe) -> None:
        """Raise RecipeError where settings contradict one another, which would be found out after training."""

    def check(self, rows: Any) -> None:
        """Raise DataError where rows lack a column, or hold answers that are none."""

    @abstractmethod
    def preprocessor(self, rows: Any, config: TokenizerConfig, given: Preprocessor | None = None) -> Preprocessor:
        """Return what makes inputs of rows, trained on them; given: that of the run or folder which is started from."""

    @abstractmethod
    def load_preprocessor(self, folder: Path) -> Preprocessor:
        """Return the one that a run folder holds."""

    @abstractmethod
    def batches(self, rows: Any, preprocessor: Any, train: TrainConfig, seed: int) -> Loader:
        """Return the training batches."""

    @abstractmethod
    def model(self, config: Any, preprocessor: Any) -> Model:
        """Return a new model. Raise RecipeError where it does not fit the task."""

    def words(self, preprocessor: Any) -> dict[str, list[str]]:
        """Return what the rows of each of the model's embeddings stand for, where these can begin with word vectors."""
        return {}

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

    def references(self, rows: Any) -> list[str]:
        """Return the right answers. Raise DataError for a task that has none."""
        raise DataError("this task has no right answers to compare with")


class Adapter(ABC):
    """How other programs keep the models of a family: config and tensors, both ways, by one invertible table."""

    @abstractmethod
    def config_to_hf(self, model: Any, preprocessor: Any) -> dict[str, Any]:
        """Return the `config.json` of a model."""

    @abstractmethod
    def config_from_hf(self, settings: Mapping[str, Any], where: str) -> Any:
        """Return the model's settings. Raise RunError naming what is missing or has no counterpart here."""

    @abstractmethod
    def to_hf(self, model: Any, where: str) -> dict[str, Tensor]:
        """Return the tensors of a model under their names there."""

    @abstractmethod
    def from_hf(self, model: Any, tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
        """Return tensors under the model's names. Raise RunError for what is missing, left over or of another size."""
