"""What training promises: a loss that adds up, a loader that knows its place, an objective that owns what it needs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn
from torch.optim import Optimizer

from clew.batches import Batch
from clew.config import Choice, Recipe, TrainConfig
from clew.contracts.model import Model
from clew.errors import ClewError, DataError, RecipeError
from clew.inputs import Preprocessor

if TYPE_CHECKING:
    from clew.contracts.task import Task


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
    """Another run: its task, its model (which does not learn), and what makes inputs for it.

    about: what a report says of it, its folder and the figures that it reached.
    """

    task: Task
    model: Model
    preprocessor: Preprocessor
    about: str = ""


@dataclass
class Context:
    """What a task and an objective may use beside their settings.

    recipe: the run's. open_run: another run by its folder (a teacher, a reference, a reward). progress: told of long
    reading: what, how far, of how much. data (a `Source`), preprocessor, model, device: of a training, from when they
    are there. resumed: whether it goes on from a checkpoint, whose state the objective is given after it was bound.
    """

    recipe: Recipe
    open_run: Callable[[str], Opened]
    progress: Callable[[str, int, int], None] | None = None
    task: Task | None = None
    data: Any = None
    preprocessor: Any = None
    model: Any = None
    device: str = "cpu"
    resumed: bool = False

    @cached_property
    def reference(self) -> Opened:
        """The run that the model starts from, as it is."""
        return self.opened(str(self.recipe.model.model_dump().get("start", "")), "model.start")

    def opened(self, path: str, where: str) -> Opened:
        """Return another run, its model on the device of this one; where: the setting that names it.

        Raise RecipeError, with that setting, where it is no run or cannot be opened.
        """
        try:
            found = self.open_run(path)
        except ClewError as error:
            raise RecipeError(error.what, where=f"{where}, {error.where or path}", fix=error.fix) from error
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

    by_rows = False  # True: what a plan has for a batch is an array of row numbers, of which any make a batch
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

    def labels(self) -> Sequence[Any]:
        """Return the class of each training example, or a list of classes. Raise RecipeError where there are none."""
        raise RecipeError(
            "what is learned here has no classes to balance", where="objective.class_weights", fix="leave it out"
        )

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
