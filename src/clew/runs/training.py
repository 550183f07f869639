"""Train what a recipe describes into a run folder: log, validate, save, stop, resume."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from clew.config import Recipe, build
from clew.contracts import Context, Loader, Model, Objective, Task
from clew.errors import CheckpointError, RecipeError, RunError
from clew.metrics.shown import about
from clew.nn.work import Work, n_parameters
from clew.runs import manifest
from clew.runs.card import write_card
from clew.runs.events import Events
from clew.runs.folder import Run, open_run, writing
from clew.runs.lock import Lock
from clew.runs.machine import asked_to_stop, built, device_of, hardware
from clew.runs.start import Start, check_same, complete
from clew.train import checkpoint
from clew.train.average import Average
from clew.train.budget import Progress
from clew.train.fit import Fitted, Length, applied, as_begun, doubts, fit_batch, fit_sizes, fit_steps, length
from clew.train.loop import Step, fit
from clew.train.optim import Rate
from clew.train.stopping import EarlyStopping, ending

LOG_EVERY = 10  # optimizer steps

Watch = Callable[[str, int, int], None]
"""Told what is being read, how far it has come, and how far it has to go."""


@dataclass
class Event:
    """One step of a run, and the validation that followed it, where one did."""

    step: Step
    progress: Progress
    validation: dict[str, Any] | None = None


def train(recipe: Recipe, folder: str | Path, *, resume: bool = False) -> Iterator[Event]:
    """Train `recipe` into `folder`, which is a finished run at the end; yield after every step. See `open_training`."""
    training = open_training(recipe, folder, resume=resume)
    if training is not None:
        yield from training.go()
        training.finish()


def open_training(
    recipe: Recipe, folder: str | Path, *, resume: bool = False, watch: Watch | None = None, changed_data: bool = False
) -> Training | None:
    """Make a run of `recipe` in `folder` ready to go; None where it has finished already.

    With `resume`, it will go on from the newest checkpoint there (or start, where there is none yet); a finished run
    goes on where the recipe's budget or patience is another. On SIGTERM or SIGINT the state is saved before
    KeyboardInterrupt is raised. `watch` is told of long reading before the first step. changed_data: go on although the
    data is no longer what it was. Raise RunError where the folder holds a run and `resume` is off, another process
    trains it, or it cannot be written; CheckpointError where its recipe or its data is another.
    """
    run = Run(folder)
    if run.started and not resume:
        raise RunError(
            "this folder already holds a run", where=str(folder),
            fix="add --resume to go on with it, or choose another --out",
        )  # fmt: skip
    with writing(run.path):
        lock = Lock(run.path)
    try:
        recipe = complete(recipe, run)
        if run.started:
            manifest.check_opened(run.path)
            recipe = as_begun(recipe, run.recipe)
            check_same(run.recipe, recipe, folder)
            if run.finished and run.recipe == recipe and run.has_model:
                lock.release()
                return None
        elif checkpoint.latest(run.checkpoints) is not None:
            raise RunError(
                "checkpoints of another training lie there", where=str(run.checkpoints),
                fix="delete them, or choose another --out",
            )  # fmt: skip
        return Training(recipe, run, lock, watch, changed_data)
    except BaseException:
        lock.release()
        raise


class Training:
    """The parts of one run, put together, and the `for` over `fit`."""

    def __init__(
        self, recipe: Recipe, run: Run, lock: Lock, watch: Watch | None = None, changed_data: bool = False
    ) -> None:
        self.run, self.lock, self.fitted = run, lock, [*run.fitted]
        # Where patience ended it, another budget or patience lets it wait anew.
        self.goes_on = run.started and run.recipe.train != recipe.train
        if recipe.train.threads:
            torch.set_num_threads(recipe.train.threads)
        torch.manual_seed(recipe.seed)
        self.task: Task = build("task", recipe.task)
        device = device_of(recipe.train.device)
        context = Context(recipe, open_run, watch, self.task, device=device)
        self.task.bind(context)
        self.task.check_recipe(recipe)
        self.data = context.data = build("data", recipe.data)
        rows, others = self.checked()
        self.valid = others["valid"]
        compared = self.task.compare(rows, others)
        self.fingerprints = {name: each.fingerprint() for name, each in {"train": rows, **others}.items()}
        self.changed = self.changes(changed_data)
        if recipe.fit:
            recipe = self.fit(recipe, fit_sizes(recipe, self.task.n_words(rows)))
        start = Start(recipe)
        self.preprocessor: Any = run.preprocessor() if run.started else start.preprocessor(self.task, rows)
        for rows_of in (rows, *others.values()):
            self.task.check_length(rows_of, self.preprocessor)
        self.seen = [*rows.seen, *self.valid.seen]  # told, and not kept: it quotes a row
        self.report = [str(rows.report), str(self.valid.report), *compared, *self.task.remarks(rows, self.valid)]
        self.model: Model = built(self.task, recipe.model, self.preprocessor)
        context.resumed = checkpoint.latest(run.checkpoints) is not None
        if not context.resumed:  # what goes on has its weights from there
            self.report += start.fill(self.model, self.task, self.preprocessor)
        if recipe.train.budget.flops and not Work(self.model).forward():
            raise RecipeError(
                f"the work of a {recipe.model.kind} is not counted in flops", where="train.budget.flops",
                fix="set a budget of time, epochs or steps",
            )  # fmt: skip
        self.model.to(device)
        self.parameters = {"parameters": n_parameters(self.model)}
        self.tuning = build("tuning", recipe.train.tuning, self.model)
        self.parameters["trained_parameters"] = n_parameters(self.model, learning=True)
        context.model, context.preprocessor = self.model, self.preprocessor
        self.objective: Objective = build("objective", recipe.objective)
        self.objective.bind(context)
        batches = self.task.batches(rows, self.preprocessor, recipe.train, recipe.seed)
        if smaller := fit_batch(recipe, self.length(recipe, batches)):
            recipe = self.fit(recipe, smaller)
            batches = self.task.batches(rows, self.preprocessor, recipe.train, recipe.seed)
        recipe = self.fit(recipe, fit_steps(recipe, self.length(recipe, batches)))
        self.recipe = recipe = recipe.model_copy(update={"fit": ()})
        settings = recipe.train
        if not context.resumed:
            build("initialiser", recipe.initialiser)(self.model, batches)
        self.batches: Loader = self.objective.loader(batches, settings)
        self.schedule = build("schedule", settings.schedule)
        examples = self.task.n_examples(self.valid)
        self.doubts = doubts(recipe, self.length(recipe, batches), self.schedule, examples)
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
            run.start(recipe, self.preprocessor, self.model, {"fitted": self.fitted, "data": self.fingerprints})

    def changes(self, accepted: bool) -> list[str]:
        """Return what to say of data that has changed since the run began, where that is accepted.

        Raise CheckpointError where it is not.
        """
        before = self.run.about.get("data", {})
        changed = [name for name, now in self.fingerprints.items() if before.get(name, now) != now]
        if changed and not accepted:
            raise CheckpointError(
                f"the data is not what this run was trained on: {', '.join(changed)} changed", where=str(self.run.path),
                fix="restore it, start anew with another --out, or go on nevertheless: --resume --changed-data",
            )  # fmt: skip
        at = checkpoint.latest(self.run.checkpoints)
        return [f"the data changed after {at.name if at else 'the start'}: {', '.join(changed)}"] if changed else []

    def checked(self) -> tuple[Any, dict[str, Any]]:
        """Return the training rows and all others by split: what cannot be measured is told before training."""
        names = dict.fromkeys(["valid", *(name for name in self.data.splits if name != "train")])
        rows, others = self.data.split("train"), {name: self.data.split(name) for name in names}
        for each in (rows, *others.values()):
            self.task.check(each)
        return rows, others

    def fit(self, recipe: Recipe, found: list[Fitted]) -> Recipe:
        """Return the recipe with what was fitted, which is remembered."""
        self.fitted += [asdict(each) for each in found]
        return applied(recipe, found)

    def length(self, recipe: Recipe, batches: Loader) -> Length:
        """How many steps there will be, of how many in an epoch."""
        if self.objective.finds_minimum:
            return Length(1, None)
        settings, flops, tokens = recipe.train, None, None
        n = len(batches.planned)
        if settings.batch.tokens:
            tokens = float(settings.batch.tokens * settings.accumulate)
            flops = None if self.objective.moves_weights else tokens * Work(self.model).training()
        return length(settings.budget, n, settings.accumulate, tokens, flops)

    @property
    def notes(self) -> list[str]:
        """What was fitted, and what stands against this run, for people to read before its first step."""
        return [*(str(Fitted(**each)) for each in self.fitted), *(f"warning: {each}" for each in self.doubts)]

    def go(self) -> Iterator[Event]:
        """Train to the end of the budget, yielding after every step. A run that had finished is unfinished again."""
        try:
            yield from self.steps()
        except BaseException:  # whoever stops here lets others go on
            self.lock.release()
            raise

    def steps(self) -> Iterator[Event]:
        settings = self.recipe.train
        newest = checkpoint.latest(self.run.checkpoints)
        if newest is not None:
            saved = checkpoint.load(newest, **self.state())
            self.standing = EarlyStopping(**saved.get("standing", saved))  # older checkpoints have nothing else
            self.report = saved.get("report", self.report)  # what a new model began with is told there alone
            self.report += self.changed
            if self.goes_on and self.stopped_early:
                self.standing.since_best = 0
            if self.standing.best_step and not self.run.has_model:
                self.restore(newest)
        with writing(self.run.path):
            self.run.unfinish()
            self.run.forget_after(self.progress.step)
        model: Any = torch.compile(self.model, dynamic=True) if settings.compile else self.model
        self.objective.prepare(self.model, self.optimizer)
        steps = fit(
            model, self.objective, self.batches, self.optimizer,
            self.schedule, settings.budget, progress=self.progress, average=self.average,
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

    def restore(self, newest: Path) -> None:
        """Write the best weights again, which the run has lost, from the checkpoint of their step.

        Raise RunError where that is not kept.
        """
        best = newest.with_name(f"step-{self.standing.best_step:08d}")
        if not best.is_dir():
            raise RunError(
                f"the weights of step {self.standing.best_step:,}, the best, are lost, and no checkpoint has them",
                where=str(self.run.path), fix="train it again, into another --out",
            )  # fmt: skip
        checkpoint.load(best, **self.state())
        with self.average.in_place() if self.average else nullcontext(), writing(self.run.path):
            self.run.save_model(self.model)
        checkpoint.load(newest, **self.state())

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
            self.judge(figures)
        return figures

    def judge(self, figures: dict[str, Any]) -> None:
        """Keep the weights where they are the best so far. Raise RecipeError where the judge was not measured."""
        name = self.task.judge
        if name not in figures:
            known = ", ".join(key for key in figures if key != "samples")
            raise RecipeError(f'"{name}" is not measured', where="task.quality", fix=f"there are {known}")
        sign = 1 if about(name)["higher_is_better"] else -1
        rate = self.optimizer.param_groups[0]["lr"]
        if self.standing.see(self.progress.step, rate, sign * figures[name], figures.get("loss"), self.floor):
            self.run.save_model(self.model)

    @cached_property
    def floor(self) -> float:
        """What the judge must rise above to say anything; nothing where less of it is better."""
        return self.task.floor(self.valid) if about(self.task.judge)["higher_is_better"] else -math.inf

    @property
    def account(self) -> dict[str, str]:
        """What ended the training, the same in words, and which weights were kept and why."""
        settings = self.recipe.train
        by, why = ending(settings.budget, self.progress, settings.patience, self.standing)
        kept = self.standing.kept(about(self.task.judge)["label"], self.floor)
        return {"judge": self.task.judge, "ended_by": by, "ended": why, "kept": kept}

    def log(self, step: Step, validation: dict[str, Any] | None, events: Events) -> None:
        where = asdict(self.progress)
        if validation:
            figures = {name: value for name, value in validation.items() if name != "samples"}
            self.run.log({**where, "valid": figures})
            self.run.save_samples(step.number, validation["samples"])
            events.add("valid", figures, step.number)
        if validation or step.number % LOG_EVERY == 0 or step.number == 1:
            figures = {
                "loss": step.loss,
                **step.parts,
                "lr": step.lr,
                "grad_norm": step.grad_norm,
                "tokens_per_cpu_second": step.count / step.cpu_seconds,
                "tokens_read_per_cpu_second": step.tokens / step.cpu_seconds,
            }
            self.run.log({**where, **figures})
            events.add("train", figures, step.number)

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds beside `EarlyStopping` and the report."""
        return {
            "model": self.model, "objective": self.objective, "optimizer": self.optimizer, "batches": self.batches,
            "progress": self.progress, "average": self.average,
        }  # fmt: skip

    def save(self) -> None:
        extra = {"standing": asdict(self.standing), "report": self.report, "data": self.fingerprints}
        checkpoint.save(self.run.checkpoints, **self.state(), extra=extra, keep=self.recipe.train.keep)

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
            **self.account,
            "undertrained": self.standing.falling and self.account["ended_by"] != "patience",
            "fitted": self.fitted,
            "doubts": self.doubts,
            **self.parameters,
            **asdict(progress),
            "train_tokens_per_cpu_second": progress.tokens / progress.cpu_seconds,
            "train_tokens_read_per_cpu_second": progress.read / progress.cpu_seconds,
            "data": self.report,
            "hardware": hardware(),
            "torch": torch.__version__,
        }  # fmt: skip
        with writing(self.run.path):
            for name, figures in measured.items():
                self.run.save_outputs(name, figures["outputs"])
            write_card(self.run, results)
            self.run.finish(results)
        self.lock.release()
