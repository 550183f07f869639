"""What the rooms of the house promise one another: abstract classes whose defaults say "no", so that nobody asks.

An upper floor uses what stands here and nothing else; where it would have to ask what it holds, a method is missing
here. Batches are in `batches.py`, what models are built for in `inputs.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from torch import Tensor, nn
from torch.optim import Optimizer

from clew.batches import Batch
from clew.config import Choice, DecodeConfig, Recipe, TokenizerConfig, TrainConfig, load_class, resolve
from clew.errors import DataError, RecipeError
from clew.inputs import Preprocessor

Head = Literal[
    "words", "translate", "language_model", "masked_lm", "classify", "tag", "choose", "answer"
]  # fmt: skip
"""What a task asks of a model: one output a text, one a token, the next token, …"""

HEADS: dict[str, str] = {
    "masked_lm": "clew.models.heads:Pretraining",
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

    Config: type[Choice]
    config: Any
    heads: ClassVar[frozenset[str]] = frozenset()  # which of `Head` the model is by itself
    adapter: ClassVar[str] = ""  # "module:Class" of the `Adapter` of its family; "": kept in clew's own format
    bears_heads = False  # True: the heads of all tasks can stand on it
    n_outputs = 0  # of the head, where it has so many
    share_read = 1.0  # of its weights, that each token is multiplied by
    own_preprocessor: ClassVar[str] = ""  # "module:Class" of what makes its inputs of texts; "": the recipe's tokenizer
    # These two are of the very class that names them, since a subclass may compute otherwise: see `own`.
    exports: ClassVar[frozenset[str]] = frozenset()  # the programs that a run of it can be written for
    engine: ClassVar[Literal["", "reads", "writes", "translates"]] = (
        ""  # which of those in `decode/` computes as it does
    )
    layout: ClassVar[Any] = None  # the names of tensors and settings that the adapter goes by

    @classmethod
    def with_head(cls, head: Head, config: Any, spec: Any, n_outputs: int) -> Model:
        """Return a new model that gives what `head` says; n_outputs: classes, where there are any.

        Raise RecipeError where this kind of model cannot.
        """
        if head not in cls.heads:
            raise RecipeError(
                f"a {config.kind} {REFUSED[head]}", where="model.kind", fix="choose another kind of model"
            )
        return cls(config, spec)

    @classmethod
    def own(cls, name: Literal["exports", "engine"]) -> Any:
        """Return what the class itself, not one that it derives from, says of `exports` or `engine`."""
        return vars(cls).get(name, vars(Model)[name])

    @property
    def max_length(self) -> int | None:
        """The longest input that it reads, in tokens; None: any."""
        return None

    @property
    def backbone(self) -> Model:
        """The model below a task's head; itself where there is none."""
        return self

    def blocks(self) -> Sequence[nn.Module]:
        """Return the parts of the backbone from the input upwards, for tuning by depth; none where it has none.

        What learns and is in none of them is the head.
        """
        return ()

    def token_table(self) -> Tensor:
        """Return the vectors of the tokens that it reads, (V, d). Raise RecipeError where it reads no tokens."""
        raise RecipeError(f"a {type(self).__name__} has no table of tokens", where="model.kind")

    def output_table(self) -> tuple[Tensor, ...]:
        """Return weight (V, d) and bias (V,) of the projection onto the vocabulary; nothing where it has none."""
        return ()

    def vectors(self) -> Any:
        """Return its `WordVectors`. Raise RecipeError where it has none."""
        raise RecipeError(
            f"a {type(self).__name__} has no word vectors", where="model.kind",
            fix="take a run of word vectors (clew train TEXT)",
        )  # fmt: skip


REFUSED: dict[Head, str] = {
    "words": "gives no word vectors", "translate": "does not translate", "language_model": "does not write",
    "masked_lm": "does not fill masks", "classify": "does not classify", "tag": "does not tag words",
    "choose": "does not choose among several texts", "answer": "does not find answers in a text",
}  # fmt: skip


class Encoder(Model):
    """A model whose states a head reads. `forward(batch, at=None)` gives an `EncoderOutput`.

    at: (n,) places among the batch · time ones, the only ones whose states will be asked for.
    """

    bears_heads = True
    width: int  # numbers in a state
    head_dropout = 0.0  # of the states that a head reads

    @classmethod
    def with_head(cls, head: Head, config: Any, spec: Any, n_outputs: int) -> Model:
        if head not in HEADS:
            return super().with_head(head, config, spec, n_outputs)
        made: Model = load_class(HEADS[head])(cls(config, spec), spec, n_outputs)
        return made

    def pooled(self, batch: Any) -> Tensor:
        """Return one vector an input, (batch, width), without work for anything else."""
        found: Tensor = self(batch).pooled
        return found

    def pooler(self) -> nn.Module:
        """Return a new module that `pooled` goes through before a head's linear layer."""
        return nn.Identity()


class EncoderOutput(Protocol):
    """What an encoder makes of a batch. A model of images has `pooled` alone."""

    @property
    def pooled(self) -> Tensor:
        """(batch, width): one vector an input."""
        ...

    @property
    def hidden(self) -> Tensor:
        """(n, width): the states of the places that were asked for, of all real tokens where none were named."""
        ...

    def sequence(self) -> Tensor:
        """Return the states of every place, 0 at padding: (batch, time, width)."""
        ...


@dataclass
class Loss:
    """A loss summed over `count` items (tokens, pairs, …), so that accumulation and data parallelism are exact.

    total: scalar tensor, the sum that is minimised; parts: named sums for the log (detached), over the same count.
    tokens: what the model read (`Batch.n_read`), for speed and FLOPs.
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
    reading: what, how far, of how much. model, device: of a training, from when they are there.
    """

    recipe: Recipe
    open_run: Callable[[str], Opened]
    progress: Callable[[str, int, int], None] | None = None
    task: Task | None = None
    preprocessor: Any = None
    model: Any = None
    device: str = "cpu"

    @cached_property
    def reference(self) -> Opened:
        """The run that the model starts from, as it is."""
        return self.opened(str(self.recipe.model.model_dump().get("start", "")))

    def opened(self, path: str) -> Opened:
        """Return another run, its model on the device of this one."""
        found = self.open_run(path)
        found.model.to(self.device)
        return found

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

    def __iter__(self) -> Iterator[Any]:
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

    Config: type[Choice]
    moves_weights = False  # True: its engine takes the steps, at the optimizer's rate, and its total has no graph
    finds_minimum = False  # True: that engine needs no rate either: it looks for the minimum, and says when it is there
    finished = False  # True: it is at the minimum, and training ends whatever the budget

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

    Config: type[Choice]
    preprocessor_class: ClassVar[type[Preprocessor]]
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
        """The figure that early stopping looks at; higher is better."""

    @property
    def compared(self) -> str:
        """The figure that trainings are compared by."""
        return self.quality

    @property
    def hint(self) -> str:
        """What to type for `predict`, in a line."""
        return "A text."

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

    def remarks(self, train: Any, valid: Any) -> list[str]:
        """Return what is to be said of the rows before the first step: what their figures will be worth."""
        return []

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

    def model(self, config: Any, preprocessor: Any) -> Any:
        """Return a new model under the task's head. Raise RecipeError where it cannot, or has too few positions."""
        kind = resolve("model", config.kind)
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


class Adapter(ABC):
    """How a family's models are kept: settings and tensors, both ways, by one invertible table."""

    @abstractmethod
    def describe(self, folder: Path, model: Model, preprocessor: Any, about: Mapping[str, Any]) -> dict[str, Any]:
        """Return `config.json` with what clew says `about` a run; what goes with it is written to `folder`."""

    @abstractmethod
    def to_hf(self, model: Model) -> dict[str, Tensor]:
        """Return the weights of a model under the names by which they are kept."""

    @abstractmethod
    def fill(self, model: Model, tensors: Mapping[str, Tensor], where: str) -> None:
        """Load every tensor of a model. Raise RunError naming what is missing, left over or of another size."""
