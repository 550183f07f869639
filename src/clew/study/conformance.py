"""Is a class of one's own sound? What every model, objective and task of clew passes, asked of what a recipe names.

    from clew.recipe_file import load_recipe
    from clew.study.conformance import conformance

    def test_my_model(tmp_path):
        recipe, _ = load_recipe("mine.toml")
        assert not [check for check in conformance(recipe, tmp_path) if check.problem]

Small data and a small model are enough: the checks look at a batch, and train for some steps.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clew.batches import Batch, Block, PairBatch
from clew.config import BudgetConfig, Recipe
from clew.contracts import Loss
from clew.nn.low_rank import merged_state
from clew.runs import Run
from clew.runs.training import Training, open_training

ROWS = 8  # of a batch, at most
STEPS = 4  # of the short training
HEART = 150  # steps in which a batch is learned by heart, at one of these rates
RATES = (5e-3, 2e-2)


@dataclass(frozen=True)
class Check:
    """What was asked; problem: what was found wrong, "" where it holds; skipped: why it could not be asked."""

    name: str
    problem: str = ""
    skipped: str = ""


class Unsound(Exception):
    """What was found wrong."""


class NotAsked(Exception):
    """Why a check does not fit."""


class Parts:
    """A training before its first step, and a batch of it. Weights are moved from where zeros would hide a mistake."""

    def __init__(self, training: Training) -> None:
        self.task, self.objective, self.loader = training.task, training.objective, training.batches
        self.entry: Any = self.loader.planned[0]
        self.rowwise = self.loader.by_rows and not self.task.hides_tokens  # what is hidden is drawn a batch at a time
        if self.rowwise:
            self.entry = self.of_all_lengths()
        torch.manual_seed(0)
        self.batch = self.collate(self.entry)
        self.beginning, self.model = training.model, copy.deepcopy(training.model)
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.1)

    def of_all_lengths(self) -> Any:
        """Return some rows of the first epoch, the shortest and the longest among them, so that there is padding."""
        rows = np.concatenate(self.loader.planned)[: 16 * ROWS]
        read = [self.collate(rows[n : n + 1]).n_read for n in range(len(rows))]
        spread = np.linspace(0, len(rows) - 1, min(ROWS, len(rows))).astype(int)
        return rows[np.argsort(read, kind="stable")[spread]]

    def collate(self, entry: Any) -> Any:
        return self.loader.collate(entry, np.random.default_rng(0))

    def loss(self, batch: Any = None) -> Loss:
        """Return the loss in evaluation mode; of the batch, where no other is given."""
        if self.objective.moves_weights:
            raise NotAsked("its engine takes the steps, without a graph")
        return self.objective(self.model.eval(), self.batch if batch is None else batch)

    def value(self) -> float:
        return float(self.loss().total.detach())


def conformance(recipe: Recipe, folder: str | Path) -> Iterator[Check]:
    """Check the parts that a recipe names, on its own data; `folder` takes two short runs.

    Raise what opening the training raises: RecipeError, DataError.
    """
    settings = {"budget": BudgetConfig(steps=STEPS), "save_every": 2, "keep": STEPS, "evaluate_every": STEPS,
                "evaluate_examples": 4, "patience": None, "average": None}  # fmt: skip
    short = recipe.model_copy(update={"train": recipe.train.model_copy(update=settings)})
    training = open_training(short, Path(folder) / "run")
    assert training is not None
    parts = Parts(training)
    for check in (deterministic, summed, blind_to_the_future, connected, differentiated, in_blocks, by_heart):
        yield asked(check, copy.copy(parts))
    yield from (asked(check, training) for check in (saved, resumed))


def asked(check: Callable[[Any], None], of: Any) -> Check:
    """Return what a check found; its name is the first line of what it says of itself."""
    name = (check.__doc__ or check.__name__).partition("\n")[0].rstrip(".")
    try:
        check(of)
    except Unsound as error:
        return Check(name, problem=str(error))
    except NotAsked as error:
        return Check(name, skipped=str(error))
    return Check(name)


# Each raises Unsound, or NotAsked.


def deterministic(parts: Parts) -> None:
    """In evaluation mode a batch has one loss."""
    first, second = parts.value(), parts.value()
    if first != second:
        raise Unsound(f"{first:.6g}, then {second:.6g}: is dropout left on, or something drawn?")


@torch.no_grad()
def summed(parts: Parts) -> None:
    """The loss of a batch is the sum of its rows', each by itself.

    So neither padding nor company changes what is learned of an example, and accumulation is exact.
    """
    if not parts.rowwise:
        raise NotAsked("its batches are not made of rows one by one")
    whole = parts.loss()
    alone = [parts.loss(parts.collate(parts.entry[n : n + 1])) for n in range(len(parts.entry))]
    total, count = sum(float(one.total) for one in alone), sum(one.count for one in alone)
    if count != whole.count:
        raise Unsound(f"a batch counts {whole.count}, its rows {count} together")
    if not np.isclose(total, float(whole.total), rtol=1e-4, atol=1e-5):
        raise Unsound(
            f"a batch has a loss of {float(whole.total):.6g}, its rows {total:.6g} together: does the model read"
            " padding or other rows, or is the loss a mean?"
        )


def later_text(batch: Any) -> Any:
    """Return the batch with another last token in each row."""
    text = batch.text.clone()
    text[:, -1] = batch.text[:, 0]
    return replace(batch, text=text)


def later_target(batch: Any) -> Any:
    """Return the batch with another last target token in each row."""
    target = batch.target_in.clone()
    target[:, -1] = batch.target_out[:, 0]
    return replace(batch, target_in=target)


STATES: dict[type[Batch], tuple[Callable[[Any], Any], Callable[[Any, Any], Tensor]]] = {
    Block: (later_text, lambda model, batch: model(batch.text, batch.position).hidden),
    PairBatch: (later_target, lambda model, batch: model(batch).hidden),
}
"""Of batches for models that write: how their end is changed, and what must not change before it."""


@torch.no_grad()
def blind_to_the_future(parts: Parts) -> None:
    """No state depends on a token that comes after it."""
    if type(parts.batch) not in STATES:
        raise NotAsked("it does not learn to write one token after the other")
    change, states = STATES[type(parts.batch)]
    model = parts.model.eval()
    before, after = states(model, parts.batch), states(model, change(parts.batch))
    apart = float((before - after)[:, :-1].abs().max())
    if apart > 1e-4 * max(1.0, float(before.abs().max())):
        raise Unsound(f"another last token moves earlier states by {apart:.3g}: a mask is missing")


def connected(parts: Parts) -> None:
    """Every weight has a part in the loss."""
    backward(parts)
    if unused := [name for name, p in parts.model.named_parameters() if p.requires_grad and p.grad is None]:
        raise Unsound(f"no gradient reaches {', '.join(unused[:5])}{' and others' if len(unused) > 5 else ''}")


def differentiated(parts: Parts) -> None:
    """Gradients are those of the loss.

    At the place of each parameter that has the largest, by central differences of one of three widths: a wide one may
    cross a kink, and a narrow one is lost in the rounding of what is computed in float32 whatever it is given.
    """
    parts.model, parts.objective = copy.deepcopy(parts.model).double(), copy.deepcopy(parts.objective)
    for own in parts.objective.parameters().values():
        own.data = own.data.double()
    backward(parts)
    noise = 2e-7 * max(1.0, abs(parts.value()))
    for name, parameter in parts.model.named_parameters():
        if parameter.grad is None:
            continue
        place = np.unravel_index(int(parameter.grad.abs().argmax()), parameter.shape)
        told, seen = float(parameter.grad[place]), list[float]()
        for step in (1e-3, 1e-4, 1e-5):
            seen.append(difference(parts, parameter, place, step))
            if abs(told - seen[-1]) < 1e-2 * abs(told) + noise / step:
                break
        else:
            raise Unsound(f"the gradient of {name} is {told:.6g}, but the loss changes by {seen[0]:.6g}")


@torch.no_grad()
def difference(parts: Parts, parameter: Tensor, place: Any, step: float) -> float:
    """Return how the loss changes with one number, by central differences."""
    losses = []
    for move in (step, -2 * step):
        parameter[place] += move
        losses.append(parts.value())
    parameter[place] += step
    return (losses[0] - losses[1]) / (2 * step)


def backward(parts: Parts) -> None:
    parts.model.zero_grad()
    parts.loss().total.backward()


def in_blocks(parts: Parts) -> None:
    """Blocks are parts of the model."""
    own = {id(p) for p in parts.model.parameters()}
    for number, block in enumerate(parts.model.blocks()):
        if not {id(p) for p in block.parameters()} <= own:
            raise Unsound(f"block {number} has weights that the model does not have")


def by_heart(parts: Parts) -> None:
    """A batch can be learned by heart: its loss falls by half."""
    reached = []
    for rate in RATES:
        model = parts.model = copy.deepcopy(parts.beginning)
        parts.objective = copy.deepcopy(parts.objective)
        learning = [*model.parameters(), *parts.objective.parameters().values()]
        optimizer, before = torch.optim.Adam([p for p in learning if p.requires_grad], rate), parts.value()
        for step in range(HEART):
            optimizer.zero_grad()
            loss = parts.objective(model.train(), parts.batch)
            (loss.total / loss.count).backward()
            optimizer.step()
            if step % 10 == 9 and parts.value() < before / 2:
                return
        reached.append(parts.value())
    raise Unsound(f"after {HEART} steps on one batch its loss went from {before:.6g} to {min(reached):.6g}")


def saved(training: Training) -> None:
    """What is saved is what was trained."""
    for _ in training.go():
        pass
    kept = training.run.model(step=STEPS)
    compare(merged_state(training.model), merged_state(kept), "a checkpoint")
    training.finish()
    if training.objective.moves_weights:
        return
    with torch.no_grad():
        batch = training.batches.collate(training.batches.planned[0], np.random.default_rng(0))
        losses = [float(training.objective(model.eval(), batch).total) for model in (training.model, kept)]
    if losses[0] != losses[1]:
        raise Unsound(
            f"read again, its loss is {losses[1]:.6g} and not {losses[0]:.6g}: is something that it needs neither a"
            " parameter, nor a buffer, nor a setting?"
        )


def resumed(training: Training) -> None:
    """A training that was interrupted ends as one that was not."""
    folder = Path(shutil.copytree(training.run.path, training.run.path.with_name("resumed")))
    (folder / "results.json").unlink()
    shutil.rmtree(folder / "checkpoints" / f"step-{STEPS:08}")
    again = open_training(training.recipe, folder, resume=True)
    assert again is not None
    for _ in again.go():
        pass
    ends = [merged_state(Run(each).model(step=STEPS)) for each in (training.run.path, folder)]
    compare(ends[0], ends[1], "a resumed training")


def compare(left: dict[str, Tensor], right: dict[str, Tensor], what: str) -> None:
    """Raise Unsound naming the first tensor that differs."""
    for name in left.keys() | right.keys():
        if name not in left or name not in right or not torch.equal(left[name], right[name]):
            raise Unsound(f"{what} has another {name}")
