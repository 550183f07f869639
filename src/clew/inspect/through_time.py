"""Backpropagation through time in a trained model: the gradient of a recurrent layer as the sum of its paths.

The state is s_t = h_t, or (h_t, c_t) of an LSTM. G_t is what comes back to h_t from above (the layers over it,
attention, the next words' inputs), at the last step to (h, c) from whoever goes on from it: the engine's own numbers.
From there on the local derivatives of `cells.py` say everything: with δ_k, what G_t comes to at the sums of step k ≤ t,
∂L/∂W_i = Σ_t Σ_{k≤t} δ_k x_kᵀ and ∂L/∂W_h = Σ_t Σ_{k≤t} δ'_k h_{k-1}ᵀ, n(n+1)/2 paths each, and the biases' likewise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from clew.errors import DataError, RecipeError
from clew.inspect.bptt import LONGEST, Edge, Gradient, Node, Path, Unrolled
from clew.inspect.cells import Cell, Grads, Local, Parts, cell_of
from clew.inspect.reading import reading
from clew.inspect.walk import Call, NamedTensor, gap, named, precise, tracing
from clew.inspect.walks.backward import loss_of
from clew.inspect.walks.recurrent import recurrent
from clew.nn.recurrent import WEIGHTS, Recurrent
from clew.nn.taps import parts_of_kind

SHOWN = 8  # rows and columns of a path that are carried
NAMES = dict(zip(WEIGHTS, ("W_i", "W_h", "b_i", "b_h"), strict=True))


@dataclass(frozen=True)
class Trace:
    """One layer in one direction on one text, its steps in the order in which it reads them.

    x: n of (d_input,); states: n + 1 of what the taps heard, the first before the first step; given: n of what comes
    from above, to h, and to c where a cell is handed on; weights: the layer's; engine: autograd's gradients of them.
    """

    cell: Cell
    x: Tensor
    states: Sequence[Parts]
    given: list[Grads]
    weights: dict[str, Tensor]
    engine: dict[str, Tensor]
    loss: float
    formula: str


def unroll(model: nn.Module, batch: Any, tokens: Sequence[str], *, place: str, layer: int = 0) -> Unrolled:
    """The graph of one layer in one direction on a batch of one text, and its gradients by the paths through it.

    place, layer: as in `recurrent_walk`; the loss: `loss_of`. All is in double precision, and each sum of paths beside
    autograd's gradient through the whole fused model. Raises RecipeError for a layer that is not there, DataError for
    more than 16 tokens.
    """
    found = recurrent(model)
    if place not in found or not 0 <= layer < len(found[place]):
        known = ", ".join(f"{name} (0 to {len(names) - 1})" for name, names in found.items())
        raise RecipeError(f'no recurrent layer {layer} named "{place}"', fix=f"there is: {known or 'none'}")
    n = len(tokens)
    if not 0 < n <= LONGEST:
        raise DataError(f"{n} steps cannot be written out", fix=f"give a text of 1 to {LONGEST} tokens")
    name = found[place][layer]
    seen = trace(model, batch, place, name)
    order = [*range(n)][::-1] if name.endswith("_reverse") else [*range(n)]
    read_as = [tokens[k] for k in order]
    paths = follow(seen)
    gradients = [gradient(weight, seen, paths) for weight in WEIGHTS]
    flow = [[norm(paths[t][k][1]) if k <= t else None for k in range(n)] for t in range(n)]
    through = [
        norm(tuple(torch.stack(each).sum(dim=0) for each in zip(*(paths[t][k][1] for t in range(k, n)), strict=True)))
        for k in range(n)
    ]
    way = "backward" if name.endswith("_reverse") else "forward"
    about = f"{seen.cell.title}, layer {name.split('_')[0][1:]} of {place}, reading {way}"
    return Unrolled(
        read_as, ["" for _ in tokens], seen.loss, nodes(seen), edges(seen.cell, n), gradients, flow, through,
        [seen.formula, *seen.cell.back], about,
    )  # fmt: skip


def norm(grads: Grads) -> float:
    return float(torch.cat([*grads]).norm())


def of_text(
    model: Any, tokenizers: Any, text: str, *, place: str, layer: int = 0, target: str | None = None
) -> Unrolled:
    """`unroll` on a user's text, read as the model reads it; a translator writes its own target where none is given."""
    seen = reading(model, tokenizers, text, target)
    tokens = seen.target_in if place == "decoder" and seen.target_in else seen.source
    return unroll(model, seen.batch, tokens, place=place, layer=layer)


def trace(model: nn.Module, batch: Any, place: str, name: str) -> Trace:
    """Let the model read twice: fused, for autograd's gradients, and by the equations, for the states and what comes
    back to them."""
    exact = precise(model).requires_grad_()
    module = parts_of_kind(exact, Recurrent)[place]
    weights = dict(zip(WEIGHTS, module.weights(name), strict=True))
    loss = loss_of(exact, batch)
    engine = dict(zip(WEIGHTS, torch.autograd.grad(loss.value, [*weights.values()]), strict=True))
    with tracing(exact, place, taps=True) as seen:
        again = loss_of(exact, batch).value
    calls = seen[place]
    heard = {part: [call.output for call in seen[f"{place}.taps.{name}.{part}"]] for part in module.unit.taps}
    index = [*module.taps].index(name)
    ends = calls[-1].output[1]  # h, or h and c, of (layers and directions, 1, d_hidden)
    above = torch.autograd.grad(again, [*heard["h"], *ends], allow_unused=True)
    G = torch.cat([zeros_if_none(g, h)[0] for g, h in zip(above, heard["h"], strict=False)])
    handed = [zeros_if_none(g, end)[index, 0] for g, end in zip(above[len(heard["h"]) :], ends, strict=True)]
    back = name.endswith("_reverse")
    parts = {part: torch.cat(each, dim=1)[0].detach() for part, each in heard.items()}
    x = inputs(module, calls, seen, place, name).detach()
    if back:
        G, x, parts = G.flip(0), x.flip(0), {part: each.flip(0) for part, each in parts.items()}
    n, state = len(x), module.unit.state
    given = [(G[t], *(torch.zeros_like(G[t]) for _ in state[1:])) for t in range(n)]
    given[-1] = tuple(g + more for g, more in zip(given[-1], handed, strict=True))
    before = {part: first[index, 0].detach() for part, first in zip(state, first_state(calls, ends), strict=True)}
    states = [before, *({part: each[k] for part, each in parts.items()} for k in range(n))]
    weights = {part: weight.detach() for part, weight in weights.items()}
    return Trace(cell_of(module), x, states, given, weights, engine, float(loss.value.detach()), loss.formula)


def zeros_if_none(gradient: Tensor | None, like: Tensor) -> Tensor:
    return torch.zeros_like(like) if gradient is None else gradient


def first_state(calls: Sequence[Call], ends: Sequence[Tensor]) -> Sequence[Tensor]:
    """What the layer began with: what it was given, or zeros."""
    given = calls[0].kwargs.get("state") or (calls[0].args[2] if len(calls[0].args) > 2 else None)
    return [torch.zeros_like(end) for end in ends] if given is None else given


def inputs(module: Recurrent, calls: Sequence[Call], seen: Mapping[str, list[Call]], place: str, name: str) -> Tensor:
    """What the layer reads, (n, d_input): the model's vectors, or the states of the layer below."""
    below = f"l{int(name.split('_')[0][1:]) - 1}"
    lower = [each for each in module.taps if each.split("_")[0] == below]
    if not lower:
        return torch.cat([call.args[0] for call in calls], dim=1)[0]
    parts = [torch.cat([call.output for call in seen[f"{place}.taps.{each}.h"]], dim=1)[0] for each in lower]
    return torch.cat(parts, dim=-1)


Paths = list[list[tuple[Local, Grads]]]


def follow(seen: Trace) -> Paths:
    """[t][k], from 0: what step k hands back of G_t, and ∂L_t/∂s_k as it came there."""
    found: Paths = []
    for t, grads in enumerate(seen.given):
        row = []
        for k in range(t, -1, -1):
            before, now = seen.states[k], seen.states[k + 1]
            local = seen.cell.local(now, before, seen.weights["weight_hh"], seen.weights["bias_hh"], grads)
            row.append((local, grads))
            grads = local.back
        found.append(row[::-1])
    return found


def gradient(weight: str, seen: Trace, paths: Paths) -> Gradient:
    """The sum of the paths of one weight, beside autograd's."""
    name, total, written = NAMES[weight], torch.zeros_like(seen.weights[weight]), []
    for t, row in enumerate(paths):
        for k, (local, _) in enumerate(row):
            given = local.to_x if weight.endswith("ih") else local.to_h
            used = {"weight_ih": seen.x[k], "weight_hh": seen.states[k]["h"]}.get(weight)
            value = given if used is None else torch.outer(given, used)
            total = total + value
            written.append(Path(
                t + 1, k + 1, along(seen.cell, name, t + 1, k + 1), chain(name, t + 1, k + 1),
                seen.cell.product(t + 1, k + 1, factor(weight, str(k + 1), str(k))),
                corner(f"∂L_{t + 1}/∂{name} by step {k + 1}", value), float(value.norm()),
            ))  # fmt: skip
    delta = r"\delta_k" if weight.endswith("ih") else seen.cell.delta_h
    formula = rf"\frac{{\partial L}}{{\partial {name}}} = \sum_t \sum_{{k \le t}} {delta}{factor(weight, 'k', 'k-1')}"
    return Gradient(name, formula, written, corner(f"∂L/∂{name}", total), float(total.norm()),
                    gap(total, seen.engine[weight]))  # fmt: skip


def factor(weight: str, now: str, before: str) -> str:
    """What a gradient of sums is multiplied with to be that of a weight; that of a bias with nothing."""
    return {"weight_ih": rf"\,x_{{{now}}}^\top", "weight_hh": rf"\,h_{{{before}}}^\top"}.get(weight, "")


def corner(name: str, value: Tensor) -> NamedTensor:
    """The first rows and columns of a tensor, of which there are many."""
    few = named(name, value[:SHOWN] if value.ndim == 1 else value[:SHOWN, :SHOWN])
    return NamedTensor(name, [*value.shape], [], [], few.data)


def along(cell: Cell, name: str, t: int, k: int) -> list[str]:
    """The nodes of a path, from what came from above; an LSTM's go by h and by c, which add up."""
    return [f"G_{t}", *(f"{node}_{j}" for j in range(t, k - 1, -1) for node in cell.nodes), name]


def chain(name: str, t: int, k: int) -> str:
    """The derivatives along a path."""

    def d(top: str, bottom: str) -> str:
        return rf"\frac{{\partial {top}}}{{\partial {bottom}}}"

    between = [d(f"s_{{{j}}}", f"s_{{{j - 1}}}") for j in range(t, k, -1)]
    return "".join([d("L", f"h_{{{t}}}"), *between, d(f"s_{{{k}}}", f"a_{{{k}}}"), d(f"a_{{{k}}}", name)])


NODE = {
    "x": ("input", "x_{%d}"), "a": ("a", r"a_{%d} = W_i x_{%d} + b_i + W_h h_{%d} + b_h"), "c": ("c", "c_{%d}"),
    "h": ("h", "h_{%d}"), "G": ("G", r"G_{%d} = \frac{\partial L}{\partial h_{%d}}\ \text{from above}"),
}  # fmt: skip


def nodes(seen: Trace) -> list[Node]:
    """Every quantity, with its numbers."""
    found = [Node(NAMES[part], "parameter", 0, NAMES[part], corner(NAMES[part], w)) for part, w in seen.weights.items()]
    found += [Node(f"{part}_0", "state", 0, f"{part}_0", named(f"{part}_0", seen.states[0][part])) for part in "hc"
              if part in seen.states[0]]  # fmt: skip
    symbols, weights = seen.cell.symbols, [*seen.weights.values()]
    for k in range(1, len(seen.x) + 1):
        x, before, now = seen.x[k - 1], seen.states[k - 1], seen.states[k]
        values = {"x": x, "a": seen.cell.sums(x, before["h"], weights), "h": now["h"], "G": seen.given[k - 1][0]}
        if "c" in now:
            values["c"] = now["c"]
        for name, value in values.items():
            kind, formula = NODE[name]
            formula = formula % ((k, k, k - 1)[: formula.count("%d")])
            rows = [*symbols] if name == "a" and symbols else ()
            found.append(Node(f"{name}_{k}", kind, k, formula, named(f"{name}_{k}", value, rows)))
    return found


def edges(cell: Cell, n: int) -> list[Edge]:
    """What goes into what, with the local derivative."""
    found = []
    for k in range(1, n + 1):
        found += [Edge(name, f"a_{k}", "", False) for name in NAMES.values()]
        found += [
            Edge(f"x_{k}", f"a_{k}", "W_i", False), Edge(f"h_{k - 1}", f"a_{k}", "W_h", True),
            Edge(f"a_{k}", f"h_{k}", "", False), Edge(f"h_{k}", f"G_{k}", "", False),
        ]  # fmt: skip
        found += cell.edges(k)
    return found
