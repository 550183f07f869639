"""The norms of layers by their equations, and the step that shows one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch

from torch import Tensor, nn

from clew.inspect.walk import Step, gap, named

Explained = tuple[Tensor, str, str]


@singledispatch
def explained(norm: nn.Module, x: Tensor, of: str) -> Explained:
    """Norm x over the last dimension by the equation; return that, and how it is written of a symbol and said.

    A norm that is not known here is taken as it is.
    """
    return norm(x), rf"\mathrm{{norm}}({of})", "Each token's numbers are normed."


@explained.register
def _(norm: nn.LayerNorm, x: Tensor, of: str) -> Explained:
    centred = x - x.mean(dim=-1, keepdim=True)
    out = norm.weight * centred / (centred.square().mean(dim=-1, keepdim=True) + norm.eps).sqrt()
    return (
        out if norm.bias is None else out + norm.bias,
        rf"\gamma\,\frac{{{of} - \mu}}{{\sqrt{{\sigma^2 + \epsilon}}}} + \beta",
        "Each token's numbers get mean 0 and variance 1, then a learned scale and shift.",
    )


@explained.register
def _(norm: nn.RMSNorm, x: Tensor, of: str) -> Explained:
    assert norm.eps is not None
    return (
        norm.weight * x / (x.square().mean(dim=-1, keepdim=True) + norm.eps).sqrt(),
        rf"g\,\frac{{{of}}}{{\sqrt{{\overline{{{of}^2}} + \epsilon}}}}",
        "Each token's numbers get a mean square of 1, then a learned scale.",
    )


def normalise(norm: nn.Module, x: Tensor) -> Tensor:
    return explained(norm, x, "x")[0]


def normed(norm: nn.Module, name: str, symbol: str, of: str, x: Tensor, engine: Tensor, rows: Sequence[str]) -> Step:
    """The step from x, called `of`, to `symbol`, beside the engine's."""
    value, formula, note = explained(norm, x, of)
    return Step(name, f"{symbol} = {formula}", note, [of], [named(symbol, value, rows)], gap(value, engine))
