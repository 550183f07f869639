"""Taps: named intermediates that anyone may listen to, at no cost while nobody does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import TypeVar

import torch
from torch import Tensor, nn

from clew.errors import ClewError

Kind = TypeVar("Kind", bound=nn.Module)


class Tap(nn.Module):
    """The identity, under a name: a module passes an intermediate through it so that others can hook it.

    A model holds no debugging fields: `capture(model, "*.attention.weights")` hooks the taps whose qualified names
    match. `heard` is True while at least one listener is attached; attention asks it to choose between the equation
    path (which has the weights) and the fused path (which does not).
    """

    def forward(self, value: Tensor) -> Tensor:
        return value

    @property
    def heard(self) -> bool:
        return bool(self._forward_hooks)


def parts_of_kind(model: nn.Module, kind: type[Kind]) -> dict[str, Kind]:
    """Return the modules of a class, or of one derived from it, within a model by their names, in order."""
    return {name: module for name, module in model.named_modules() if isinstance(module, kind)}


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Have the model evaluate, without gradients, while the block runs."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


@contextmanager
def capture(model: nn.Module, *patterns: str) -> Iterator[dict[str, list[Tensor]]]:
    """Collect the outputs of every module whose qualified name matches a pattern, while the block runs.

    Yields a dict that fills as the model runs: name → outputs, one per call, detached. Any module may be named;
    the taps (`*.attention.weights`) are the ones that make attention take its equation path.
    Raises ClewError where a pattern matches nothing.
    """
    seen: dict[str, list[Tensor]] = {}
    handles = []
    names = [name for name, _ in model.named_modules() if name]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ClewError(
                f'no module matches "{pattern}"', where=type(model).__name__,
                fix=f"taps: {', '.join(parts_of_kind(model, Tap))}",
            )  # fmt: skip
    for name, module in model.named_modules():
        if name and any(fnmatchcase(name, pattern) for pattern in patterns):

            def listen(_module: nn.Module, _inputs: object, output: Tensor, name: str = name) -> None:
                value = output[0] if isinstance(output, tuple) else output
                seen.setdefault(name, []).append(value.detach())

            handles.append(module.register_forward_hook(listen))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
