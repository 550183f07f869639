"""Listen to named intermediates of a model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase

from torch import Tensor, nn

from clew.errors import ClewError


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
            taps = [name for name, module in model.named_modules() if type(module).__name__ == "Tap"]
            raise ClewError(
                f'no module matches "{pattern}"', where=type(model).__name__, fix=f"taps: {', '.join(taps)}"
            )
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
