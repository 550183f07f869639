"""Train what a recipe describes into a run folder: log, validate, save, stop, resume."""

from __future__ import annotations

import math
import platform
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from clew.config import Recipe, build
from clew.contracts import Context, Loader, Model, Objective, Task
from clew.errors import CheckpointError, RecipeError, RunError
from clew.runs.card import write_card
from clew.runs.events import Events
from clew.runs.folder import Run, device_of, open_run, writing
from clew.runs.results import differences
from clew.runs.start import Start, complete
from clew.train import checkpoint
from clew.train.average import Average
from clew.train.budget import Progress
from clew.train.loop import Step, fit
from clew.train.optim import Rate

LOG_EVERY = 10  # optimizer steps

Watch = Callable[[str, int, int], None]
"""Told what is being read, how far it has come, and how far it has to go."""


@dataclass
class Event:
    """One step of a run, and the validation that followed it, where one did."""

    step: Step
    progress: Progress
    validation: dict[str, Any] | None = None


@dataclass
class EarlyStopping:
    """What early stopping remembers; saved with every checkpoint."""

    best: float = -math.inf
    best_step: int = 0
    since_best: int = 0  # validations


def train(recipe: Recipe, folder: str | Path, *, resume: bool = False) -> Iterator[Event]:
    """Train `recipe` into `folder`, yielding after every step; the folder is a finished run when the iterator ends.

    See `open_training`; a finished run yields nothing.
    """
    training = open_training(recipe, folder, resume=resume)
    if training is not None:
        yield from training.go()
        training.finish()


def open_training(
    recipe: Recipe, folder: str | Path, *, resume: bool = False, watch: Watch | None = None
) -> Training | None:
    """Make a run of `recipe` in `folder` ready to go; None where it has finished already.

    With `resume`, it will go on from the newest checkpoint there (or start, where there is none yet); a finished run
    goes on where the recipe's budget is another. On SIGTERM or SIGINT the state is saved before KeyboardInterrupt is
    raised. `watch` is told of long reading before the first step. Raises RunError where the folder holds a run and
    `resume` is off, or cannot be written, CheckpointError where its recipe is another.
    """
    run = Run(folder)
    recipe = complete(recipe, run)
    if run.started:
        if not resume:
            raise RunError(
                "this folder already holds a run", where=str(folder),
                fix="add --resume to go on with it, or choose another --out",
            )  # fmt: skip
        old = run.recipe
        check_same(old, recipe, folder)
        if run.finished and old == recipe:
            return None
    return Training(recipe, run, watch)


def check_same(old: Recipe, new: Recipe, folder: str | Path) -> None:
    """A run may be resumed with another budget, and nothing else."""
    left, right = old.model_dump(mode="json"), new.model_dump(mode="json")
    left["train"].pop("budget"), right["train"].pop("budget")
    if differing := [key for key, _, _ in differences(left, right)]:
        raise CheckpointError(
            f"this run was started from another recipe, with another {', '.join(differing)}",
            where=str(folder), fix=f"go on with its own (clew train {folder} --resume), or choose another --out",
        )  # fmt: skip


class Training:
    """The parts of one run, put together, and the `for` over `fit`."""

    def __init__(self, recipe: Recipe, run: Run, watch: Watch | None = None) -> None:
        self.recipe, self.run = recipe, run
        settings = recipe.train
        if settings.threads:
            torch.set_num_threads(settings.threads)
        torch.manual_seed(recipe.seed)
        self.task: Task = build("task", recipe.task)
        device = device_of(settings.device)
        context = Context(recipe, open_run, watch, self.task, device=device)
        self.task.bind(context)
        self.task.check_recipe(recipe)
        self.data = build("data", recipe.data)
        rows = self.data.split("train")
        self.valid = self.data.split("valid")
        for rows_of in (rows, self.valid):
            self.task.check(rows_of)  # what cannot be measured is told before training, not after it
        start = Start(recipe)
        self.preprocessor: Any = run.preprocessor() if run.started else start.preprocessor(self.task, rows)
        self.report = [str(rows.report), str(self.valid.report), *self.task.remarks(rows, self.valid)]
        self.model: Model = self.task.model(recipe.model, self.preprocessor)
        fresh = checkpoint.latest(run.checkpoints) is None
        if fresh:  # what goes on has its weights from there
            self.report += start.fill(self.model, self.task, self.preprocessor)
        if settings.budget.flops and "words" in self.model.heads:
            raise RecipeError(
                f"the work of a {recipe.model.kind} is not counted in flops", where="train.budget.flops",
                fix="set a budget of time, epochs or steps",
            )  # fmt: skip
        self.model.to(device)
        self.parameters = {"parameters": count(self.model)}
        self.tuning = build("tuning", settings.tuning, self.model)
        self.parameters["trained_parameters"] = count(self.model, learning=True)
        context.model, context.preprocessor = self.model, self.preprocessor
        self.objective: Objective = build("objective", recipe.objective)
        self.objective.bind(context)
        batches = self.task.batches(rows, self.preprocessor, settings, recipe.seed)
        if fresh:
            build("initialiser", recipe.initialiser)(self.model, batches)
        self.batches: Loader = self.objective.loader(batches, settings)
        self.optimizer: Any
        optimizer = build("optimizer", settings.optimizer)
        averaged = settings.average
        if self.objective.finds_minimum:
            self.optimizer, averaged = Rate(self.model, 0.0), None
            self.report.append(f"{recipe.objective.kind} finds its minimum itself: optimizer and schedule are not used")
        elif self.objective.moves_weights:  # a compiled engine takes the steps, at the rate
            self.optimizer = optimizer.rate(self.model)
        else:
            self.optimizer = optimizer(self.model, self.tuning.factor, self.objective.parameters())
        self.average = Average(self.model, averaged) if averaged else None
        self.progress, self.standing = Progress(), EarlyStopping()
        if n := self.batches.n_left_out:
            name = self.task.example_name
            self.report.append(f"{n:,} training {name}s over {settings.max_length} tokens were left out")
        self.report += self.batches.notes
        with writing(run.path):  # last: a recipe that cannot be trained leaves no run behind
            run.start(recipe, self.preprocessor, self.model)

    def go(self) -> Iterator[Event]:
        """Train to the end of the budget, yielding after every step. A run that had finished is unfinished again."""
        settings = self.recipe.train
        newest = checkpoint.latest(self.run.checkpoints)
        if newest is not None:
            self.standing = EarlyStopping(**checkpoint.load(newest, **self.state()))
        with writing(self.run.path):
            self.run.unfinish()
            self.run.forget_after(self.progress.step)
        model: Any = torch.compile(self.model, dynamic=True) if settings.compile else self.model
        self.objective.prepare(self.model, self.optimizer)
        steps = fit(
            model, self.objective, self.batches, self.optimizer,
            build("schedule", settings.schedule), settings.budget, progress=self.progress, average=self.average,
            accumulate=settings.accumulate, clip_norm=settings.clip_norm, precision=settings.precision,
            before_step=self.tuning.before_step,
        )  # fmt: skip
        folder, save_every = self.run.path, settings.save_every
        with writing(folder), Events(folder / "events", self.progress.step) as events, asked_to_stop() as asked:
            while not asked and not self.stopped_early:
                epoch = self.progress.epoch
                step = next(steps, None)
                if step is None:
                    break
                validation = self.validate() if self.due(step, epoch) else None
                self.log(step, validation, events)
                if validation or asked or (save_every and step.number % save_every == 0):
                    events.flush()
                    self.save()
                yield Event(step, self.progress, validation)
            if asked:
                self.save()
                raise KeyboardInterrupt

    def describe(self) -> str:
        """One line: the model, its size, how much of it learns, what it reads with."""
        n, learn = self.parameters.values()
        learning = "" if learn == n else f" ({self.recipe.train.tuning.kind} tuning: {learn:,} learn)"
        return f"{self.recipe.model.kind}: {n:,} parameters{learning}, {self.preprocessor}"

    @property
    def stopped_early(self) -> bool:
        patience = self.recipe.train.patience
        return patience is not None and self.standing.since_best >= patience

    def due(self, step: Step, epoch_before: float) -> bool:
        """Validate every so many steps, or at the end of each epoch; and at the very end."""
        every = self.recipe.train.evaluate_every
        by_count = step.number % every == 0 if every else int(self.progress.epoch) > int(epoch_before)
        return by_count or step.done >= 1

    def validate(self) -> dict[str, Any]:
        """Measure the (averaged) weights on the validation split, and keep them where they are the best so far."""
        with self.average.in_place() if self.average else nullcontext():
            figures = self.task.validate(
                self.model, self.preprocessor, self.valid, self.recipe.decode, self.recipe.train.evaluate_examples
            )
            quality = figures[self.task.quality]
            waited = 0 if quality > self.standing.best else self.standing.since_best + 1
            if quality >= self.standing.best:  # while nothing is right yet (0 and 0), the newer weights
                self.standing = EarlyStopping(quality, self.progress.step)
                self.run.save_model(self.model)
            self.standing.since_best = waited
        return figures

    def log(self, step: Step, validation: dict[str, Any] | None, events: Events) -> None:
        names = ("step", "tokens", "epoch", "cpu_seconds", "wall_seconds")
        where = {name: vars(self.progress)[name] for name in names}
        if validation:
            figures = {name: value for name, value in validation.items() if name != "samples"}
            self.run.log({**where, "valid": figures})
            self.run.save_samples(step.number, validation["samples"])
            events.add("valid", figures, step.number)
        if validation or step.number % LOG_EVERY == 0 or step.number == 1:
            speed = step.count / step.cpu_seconds
            figures = {
                "loss": step.loss,
                **step.parts,
                "lr": step.lr,
                "grad_norm": step.grad_norm,
                "tokens_per_cpu_second": speed,
            }
            self.run.log({**where, **figures})
            events.add("train", figures, step.number)

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds beside `EarlyStopping`."""
        return {
            "model": self.model, "objective": self.objective, "optimizer": self.optimizer, "batches": self.batches,
            "progress": self.progress, "average": self.average,
        }  # fmt: skip

    def save(self) -> None:
        checkpoint.save(self.run.checkpoints, **self.state(), extra=asdict(self.standing), keep=self.recipe.train.keep)

    def finish(self) -> None:
        """Measure the best weights on every split that is neither trained on nor chosen by, and write the results."""
        if self.average or self.standing.best_step != self.progress.step:  # else the best weights are those in hand
            del self.model, self.tuning, self.optimizer, self.objective, self.average  # room for the best
            self.model = self.run.model(device_of(self.recipe.train.device))
        model = self.model.eval()
        splits = [name for name in self.data.splits if name not in ("train", "valid")] or ["valid"]
        measured = {}
        for name in splits:
            rows = self.data.split(name)
            measured[name] = self.task.evaluate(
                model, self.preprocessor, rows, self.recipe.decode, choose_on=self.valid
            )
        progress = self.progress
        results = {
            "splits": {name: {key: figure for key, figure in figures.items() if key != "outputs"}
                       for name, figures in measured.items()},
            "best": asdict(self.standing),
            **self.parameters,
            **asdict(progress),
            "train_tokens_per_cpu_second": progress.tokens / progress.cpu_seconds,
            "data": self.report,
            "hardware": hardware(),
            "torch": torch.__version__,
        }  # fmt: skip
        with writing(self.run.path):
            for name, figures in measured.items():
                self.run.save_outputs(name, figures["outputs"])
            write_card(self.run, results)
            self.run.finish(results)


def count(model: nn.Module, *, learning: bool = False) -> int:
    """Numbers in all parameters, or in those that learn."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not learning)


def hardware() -> str:
    """One line about this machine."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    names = [line.partition(":")[2].strip() for line in cpu_info() if line.startswith("model name")]
    return f"{names[0] if names else platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"


def cpu_info() -> list[str]:
    file = Path("/proc/cpuinfo")
    return file.read_text().splitlines() if file.exists() else []


@contextmanager
def asked_to_stop() -> Iterator[list[int]]:
    """A list that is empty until SIGTERM or SIGINT arrives; a second signal ends the process at once."""
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def note(number: int, _frame: Any) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
