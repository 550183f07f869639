"""The norms of layers by their equations, and the step that shows one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch

from torch import Tensor, nn

from clew.inspect.walk import Step, named


@singledispatch
def normalise(norm: nn.Module, x: Tensor) -> Tensor:
    """Apply a norm over the last dimension by its equation; one that is not known here, as it is."""
    out: Tensor = norm(x)
    return out


@normalise.register
def _(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    """γ (x - μ) / √(σ² + ε) + β."""
    centred = x - x.mean(dim=-1, keepdim=True)
    out = norm.weight * centred / (centred.square().mean(dim=-1, keepdim=True) + norm.eps).sqrt()
    return out if norm.bias is None else out + norm.bias


@normalise.register
def _(norm: nn.RMSNorm, x: Tensor) -> Tensor:
    """g x / √(mean x² + ε)."""
    assert norm.eps is not None
    return norm.weight * x / (x.square().mean(dim=-1, keepdim=True) + norm.eps).sqrt()


@singledispatch
def said_of(norm: nn.Module, of: str) -> tuple[str, str]:
    """Return what a norm makes of a symbol, as a formula and in words."""
    return rf"\mathrm{{norm}}({of})", "Each token's numbers are normed."


@said_of.register
def _(norm: nn.LayerNorm, of: str) -> tuple[str, str]:
    return (
        rf"\gamma\,\frac{{{of} - \mu}}{{\sqrt{{\sigma^2 + \epsilon}}}} + \beta",
        "Each token's numbers get mean 0 and variance 1, then a learned scale and shift.",
    )


@said_of.register
def _(norm: nn.RMSNorm, of: str) -> tuple[str, str]:
    return (
        rf"g\,\frac{{{of}}}{{\sqrt{{\overline{{{of}^2}} + \epsilon}}}}",
        "Each token's numbers get a mean square of 1, then a learned scale.",
    )


def normed(norm: nn.Module, name: str, symbol: str, of: str, value: Tensor, check: float, rows: Sequence[str]) -> Step:
    """The step from `of` to `symbol`, whose numbers are `value`."""
    formula, note = said_of(norm, of)
    return Step(name, f"{symbol} = {formula}", note, [of], [named(symbol, value, rows)], check)
