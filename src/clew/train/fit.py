"""Settings that a preset leaves open, fitted to the data and the budget; and what is said of a run before step 1.

Pure functions of a recipe and a few counts. What a recipe or the command line wrote is not in `Recipe.fit`, and is
never changed: where it cannot work, `doubts` says so. Time is estimated from the operations of a step, not measured, so
that a run is fitted alike on every machine and with every seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any

from pydantic import BaseModel

from clew.config import BudgetConfig, Recipe

FLOPS_PER_CPU_SECOND = 2e10  # of one thread: what a laptop's core gives, within a factor of three
STEPS = 1000  # that a run should take: fewer do not get past the plateau that a translator begins on
LEAST = {"tokens": 256, "examples": 8}  # in a batch: below this the gradient is mostly noise
WARMUP_SHARE = 0.1  # of a run, at most
PATIENCE_STEPS = 300  # that patience should cover
VALIDATION_STEPS = 25  # between two validations, at least
WORDS_PER_TOKEN = 50  # running words for each token of the vocabulary, so that each is seen often enough to be learned
LEAST_VOCABULARY = 500
NARROW, NARROW_WORDS = 128, 100_000  # width of a model of fewer running words
FEW_STEPS = 5
FEW_EXAMPLES = 50  # in a validation split


@dataclass(frozen=True)
class Fitted:
    """A setting that was fitted: its key, its value, what the preset has, and why it was changed."""

    key: str
    value: Any
    preset: Any
    why: str

    def __str__(self) -> str:
        return f"fitted to the data: {self.key} = {self.value} (the preset has {self.preset}), for {self.why}"


@dataclass(frozen=True)
class Length:
    """How long a run is: optimizer steps in one epoch and in all (None: not known before it has run)."""

    epoch: float
    steps: float | None
    about: bool = False  # True: estimated from the speed of an ordinary core

    def __str__(self) -> str:
        return f"{'about ' if self.about else ''}{self.steps or 0:,.0f} steps"


def length(
    budget: BudgetConfig, batches: int, accumulate: int = 1, tokens: float | None = None, flops: float | None = None
) -> Length:
    """Return how many optimizer steps the tightest limit of a budget leaves.

    batches: in an epoch; tokens, flops: of one step, None where they are not known.
    """
    epoch = max(batches / accumulate, 1e-9)
    seconds = flops and flops / FLOPS_PER_CPU_SECOND
    minutes = [limit for limit in (budget.cpu_minutes, budget.wall_minutes) if limit]
    limits: list[tuple[float, bool]] = []
    if budget.steps:
        limits.append((budget.steps, False))
    if budget.epochs:
        limits.append((math.ceil(budget.epochs * epoch), False))
    if budget.tokens and tokens:
        limits.append((math.ceil(budget.tokens / tokens), True))
    if budget.flops and flops:
        limits.append((math.ceil(budget.flops / flops), True))
    if minutes and seconds:
        limits.append((max(1, math.ceil(60 * min(minutes) / seconds)), True))
    steps, about = min(limits, default=(None, False))
    return Length(epoch, steps, about)


def get(recipe: BaseModel, key: str) -> Any:
    """Return the value of a dotted key; None where the recipe has no such key."""
    found: Any = recipe
    for name in key.split("."):
        found = dict(found or {}).get(name)
    return found


def put(recipe: Any, key: str, value: Any) -> Any:
    """Return the recipe with another value of a dotted key, which must be there."""
    name, _, rest = key.partition(".")
    inner = put(getattr(recipe, name), rest, value) if rest else value
    return recipe.model_copy(update={name: inner})


def applied(recipe: Recipe, fitted: list[Fitted]) -> Recipe:
    """Return the recipe with the fitted values."""
    return reduce(lambda made, each: put(made, each.key, each.value), fitted, recipe)


def as_begun(recipe: Recipe, begun: Recipe) -> Recipe:
    """Return the recipe with what it leaves open as a run that has begun has it."""
    for key in recipe.fit:
        if get(recipe, key) is not None or get(begun, key) is not None:
            recipe = put(recipe, key, get(begun, key))
    return recipe.model_copy(update={"fit": begun.fit})


def fit_sizes(recipe: Recipe, words: int) -> list[Fitted]:
    """Fit vocabulary and width to the running words of the training texts; 0 words: they are not counted."""
    return [*_sizes(recipe, words)] if words else []


def _sizes(recipe: Recipe, words: int) -> Iterator[Fitted]:
    vocabulary = recipe.tokenizer.vocab_size
    fair = max(LEAST_VOCABULARY, round(words / WORDS_PER_TOKEN, -2))
    if "tokenizer.vocab_size" in recipe.fit and not recipe.tokenizer.start and fair < vocabulary:
        why = f"{words:,} running words, {WORDS_PER_TOKEN} for each token"
        yield Fitted("tokenizer.vocab_size", int(fair), vocabulary, why)
    width = get(recipe, "model.d_model")
    begins = recipe.model.starts or get(recipe, "model.start")  # with vectors or weights, which have their own width
    if "model.d_model" in recipe.fit and not begins and words < NARROW_WORDS and width and width > NARROW:
        why = f"{words:,} running words, which a wider model learns by heart"
        yield Fitted("model.d_model", NARROW, width, why)
        if "model.d_ff" in recipe.fit and (inner := get(recipe, "model.d_ff")):
            yield Fitted("model.d_ff", inner * NARROW // width, inner, "the same ratio to d_model")


def fit_batch(recipe: Recipe, run: Length) -> list[Fitted]:
    """Fit the size of a batch, so that the run takes enough steps."""
    if "train.batch" not in recipe.fit or not run.steps or run.steps >= STEPS:
        return []
    unit = "tokens" if recipe.train.batch.tokens else "examples"
    size = recipe.train.batch.tokens or recipe.train.batch.examples or 0
    halved = int(max(min(LEAST[unit], size), size // 2 ** math.ceil(math.log2(STEPS / run.steps))))
    why = f"more than {run}, which are too few to learn in"
    return [Fitted(f"train.batch.{unit}", halved, size, why)] if halved < size else []


def fit_steps(recipe: Recipe, run: Length) -> list[Fitted]:
    """Fit what counts in steps or validations: warm-up, validations, patience."""
    return [*_steps(recipe, run)] if run.steps else []


def _steps(recipe: Recipe, run: Length) -> Iterator[Fitted]:
    train, total = recipe.train, run.steps or 0
    warmup, longest = get(train, "schedule.warmup") or 0, max(1, int(total * WARMUP_SHARE))
    if "train.schedule.warmup" in recipe.fit and warmup > longest:
        yield Fitted("train.schedule.warmup", longest, warmup, f"a tenth of {run}")
    every = train.evaluate_every
    if "train.evaluate_every" in recipe.fit and every is None and run.epoch < VALIDATION_STEPS < total:
        every = VALIDATION_STEPS
        yield Fitted("train.evaluate_every", every, "once an epoch", f"epochs of {run.epoch:.0f} steps")
    needed = math.ceil(PATIENCE_STEPS / (every or run.epoch))
    if "train.patience" in recipe.fit and train.patience and train.patience < needed:
        why = f"{every or run.epoch:.0f} steps between validations"
        yield Fitted("train.patience", needed, train.patience, why)


def doubts(
    recipe: Recipe, run: Length, schedule: Callable[[int, float], float], examples: int | None = None
) -> list[str]:
    """Return what stands against a run before its first step, each with its remedy.

    schedule(step, share of the budget used): its share of the rate; examples: in the validation split.
    """
    found = []
    if run.steps:
        total = max(1, round(run.steps))
        rates = [schedule(max(1, round(share * total)), share) for share in (i / 50 for i in range(50))]
        warmup = get(recipe, "train.schedule.warmup") or 0
        if warmup >= total > 1:
            than = "longer than" if warmup > total else "as long as"
            found.append(
                f"the warm-up of {warmup:,} steps is {than} the run of {run}, "
                f"which never gets to its rate: set train.schedule.warmup={max(1, total // 10)}, a smaller train.batch "
                "or a larger train.budget"
            )
        elif total < FEW_STEPS:
            found.append(f"a run of {run} learns next to nothing: set a larger train.budget or a smaller train.batch")
        elif rates[25] < 0.05 * max(rates):
            found.append(
                f"half-way through its {run} the rate has fallen to {rates[25] / max(rates):.1%} of its highest, and "
                f"little more is learned: set train.schedule.warmup={max(1, total // 10)}, or another train.schedule"
            )
        if total < math.floor(run.epoch):
            found.append(
                f"the run of {run} ends before the training data was read once ({run.epoch:,.0f} steps): set a larger "
                "train.budget, or train on fewer rows"
            )
    if examples is not None and examples < FEW_EXAMPLES:
        found.append(
            f"the validation split has {examples:,} examples, too few to choose by: its figures are mostly chance; "
            "give more of them (data.valid)"
        )
    return found
