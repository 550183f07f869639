"""A walk through a model's equations on a text: steps with their formula, their numbers, and how near the engine is."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from clew.nn.taps import Tap, parts_of_kind

WIDE = 64  # rows and columns of a tensor that a walk carries


@dataclass(frozen=True)
class NamedTensor:
    """The numbers of one tensor, of two dimensions at most, as they are (whoever shows them rounds).

    shape: of the whole tensor. data: nested lists of its first 64 rows and columns at most, None for -∞.
    row_labels, column_labels: what they stand for; empty where they are dimensions, which have numbers alone.
    """

    name: str
    shape: list[int]
    row_labels: list[str]
    column_labels: list[str]
    data: Any


@dataclass(frozen=True)
class Step:
    """One equation. formula: LaTeX; note: a plain sentence; inputs: names of tensors of earlier steps that go in.

    check: the largest difference between the numbers here and the engine's, over whole tensors; None where the numbers
    are the engine's own (nothing of earlier steps goes in), or the engine has none to compare with, for it takes this
    step and the next at once.
    """

    name: str
    formula: str
    note: str
    inputs: list[str]
    values: list[NamedTensor]
    check: float | None


@dataclass(frozen=True)
class Walk:
    """The steps of one computation, in order. `dataclasses.asdict` makes JSON of it."""

    title: str
    tokens: list[str]
    steps: list[Step]


def named(name: str, value: Tensor, rows: Sequence[str] = (), columns: Sequence[str] = ()) -> NamedTensor:
    """A tensor of at most two dimensions under its name, its first rows and columns with their labels."""
    shown = value[tuple(slice(WIDE) for _ in value.shape)].detach().double().cpu()
    data = shown.numpy().astype(object)
    data[shown.isneginf().numpy()] = None  # JSON has no -∞
    return NamedTensor(name, [*value.shape], [*rows[:WIDE]], [*columns[:WIDE]], data.tolist())


def gap(ours: Tensor, engine: Tensor) -> float:
    """max |ours - engine|, 0 where both are -∞."""
    ours, engine = ours.detach(), engine.detach()
    same = ours == engine
    return float((ours - engine).abs().masked_fill(same, 0.0).max()) if ours.numel() else 0.0


def precise(model: nn.Module) -> Any:
    """A copy of a model that computes in double precision, so that what differs is the equation and not its rounding.

    It evaluates, and lies on the CPU.
    """
    return copy.deepcopy(model).cpu().double().eval()


@dataclass(frozen=True)
class Call:
    """What went into a module and what came out."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    output: Any


@contextmanager
def tracing(model: nn.Module, *prefixes: str, taps: bool = False) -> Iterator[dict[str, list[Call]]]:
    """Record the calls of every module whose name begins with a prefix.

    taps: of taps too; without them nobody listens, and the engine is the fused one. Yields a dict that fills as the
    model runs: name → calls. Tensors keep their graph.
    """
    seen: dict[str, list[Call]] = {}
    handles = []
    silent = {} if taps else parts_of_kind(model, Tap)
    for name, module in model.named_modules():
        if not name.startswith(prefixes) or name in silent:
            continue

        def record(_module: nn.Module, args: Any, kwargs: Any, output: Any, name: str = name) -> None:
            seen.setdefault(name, []).append(Call(args, kwargs, output))

        handles.append(module.register_forward_hook(record, with_kwargs=True))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
