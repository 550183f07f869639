"""The other half of a layer: norm, two linear maps with a bend between them, and the residual."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from clew.batches import PairBatch, TextBatch
from clew.inspect.walk import Step, Walk, gap, named, precise, tracing
from clew.inspect.walks.attention import apply, with_bias
from clew.inspect.walks.norms import normalise, normed
from clew.inspect.walks.places import flat, place_of, read
from clew.nn.activation import ACTIVATIONS


def relu(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0.0)


def gelu(x: Tensor) -> Tensor:
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


def gelu_tanh(x: Tensor) -> Tensor:
    return x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2


def silu(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-x))


BENDS: dict[Callable[[Tensor], Tensor], tuple[Callable[[Tensor], Tensor], str]] = {
    ACTIVATIONS["relu"]: (relu, r"f(a) = \max(0, a)"),
    ACTIVATIONS["gelu"]: (gelu, r"f(a) = \tfrac{a}{2}\big(1 + \mathrm{erf}(a / \sqrt2)\big)"),
    ACTIVATIONS["gelu_tanh"]: (
        gelu_tanh, r"f(a) = \tfrac{a}{2}\big(1 + \tanh(\sqrt{2/\pi}\,(a + 0.044715\,a^3))\big)"
    ),
    ACTIVATIONS["silu"]: (silu, r"f(a) = \frac{a}{1 + e^{-a}}"),
}  # fmt: skip


def feedforward_walk(
    model: nn.Module, batch: PairBatch | TextBatch, rows: Sequence[str], *, place: str, layer: int
) -> Walk:
    """The feed-forward half of one layer of the encoder or decoder, on a batch of one text, in double precision.

    Raises RecipeError for a place or layer that is not there.
    """
    where = place_of(model, place, layer, 0)
    exact, name = precise(model), f"{where.layers}.{layer}"
    with torch.no_grad():
        with tracing(exact, name) as seen:
            read(exact, batch)
        layer_module: Any = exact.get_submodule(name)
        part, pre = layer_module.feedforward_part, layer_module.pre
        norm, network = layer_module.get_submodule(part.norm), layer_module.get_submodule(part.module)
        called, before = seen[f"{name}.{part.module}"][0], seen[f"{name}.{part.norm}"][0]
        inner = flat(seen[f"{name}.{part.module}.inner"][0].output)
        x = flat(before.args[0] if pre else called.args[0])
        y = normalise(norm, x) if pre else x
        steps = [Step(
            "what comes in", r"x", "What attention left: the engine's own numbers.", [], [named("x", x, rows)], None
        )]  # fmt: skip
        if pre:
            steps.append(normed(norm, "norm before", "y", "x", x, flat(before.output), rows))
        out = wide(network, "y" if pre else "x", y, inner, flat(called.output), rows, steps)
        total = x + out
        result = flat(seen[name][0].output)
        steps.append(Step(
            "residual", r"x' = x + o", "What comes in goes on; the layer adds to it.", ["x", "o"],
            [named("x'", total, rows)], gap(total, result) if pre else None,
        ))  # fmt: skip
        if not pre:
            steps.append(normed(norm, "norm", "z", "x'", total, result, rows))
    title = f"Feed-forward of the {place}, layer {layer + 1} of {where.n_layers}"
    return Walk(title, [*rows], steps)


def wide(
    module: Any, of: str, y: Tensor, inner: Tensor, engine: Tensor, rows: Sequence[str], steps: list[Step]
) -> Tensor:
    """Through the wide layer and back; adds its steps. inner: the engine's (T, d_ff); engine: its output (T, d)."""
    bend, formula = BENDS.get(module.activation, (module.activation, "f"))  # another is taken as it is
    a = apply(module.inner, y)  # (T, d_ff)
    b = with_bias(module.inner)
    shown = [named("a", a, rows)]
    if module.gate is None:
        up, after = rf"a = {of}W_1^\top{b('1')}", bend(a)
        bent, note = rf"m = f(a),\quad {formula}", "What is below zero is let through little or not at all."
    else:
        g = apply(module.gate, y)
        shown.append(named("g", g, rows))
        up, after = rf"a = {of}W_1^\top{b('1')},\quad g = {of}W_g^\top{b('g')}", bend(g) * a
        bent = rf"m = f(g) \circ a,\quad {formula}"
        note = "A second map, bent, says how much of each number is let through."
    out = apply(module.outer, after)
    b = with_bias(module.outer)
    steps += [
        Step("widen", up, f"Every token alone: {y.shape[1]} numbers become {a.shape[1]}.", [of], shown, gap(a, inner)),
        Step("bend", bent, f"{note} Here {float((after.abs() < 1e-3).double().mean()):.0%} are next to nothing.",
             [value.name for value in shown], [named("m", after, rows)], None),
        Step("narrow", rf"o = mW_2^\top{b('2')}", "What was found is written back.", ["m"], [named("o", out, rows)],
             gap(out, engine)),
    ]  # fmt: skip
    return out
