"""Backpropagation through time in a trained model: the gradient of a recurrent layer as the sum of its paths.

The state is s_t = h_t, or (h_t, c_t) of an LSTM. G_t is what comes back to h_t from above (the layers over it,
attention, the next words' inputs), at the last step to (h, c) from whoever goes on from it: the engine's own numbers.
From there on local derivatives say everything. With g = ∂L_t/∂h_k and e = ∂L_t/∂c_k, for a path from G_t, t ≥ k:

    RNN    δ_k = (1 - h_k²)∘g                                   back: W_hᵀ δ_k
    LSTM   e ← e + g∘o∘(1 - tanh²c_k)                           back: W_hᵀ δ_k, and f∘e to the cell
           δ_k = [e∘g̃∘i(1-i); e∘c_{k-1}∘f(1-f); e∘i∘(1-g̃²); g∘tanh(c_k)∘o(1-o)]
    GRU    n̄ = g∘(1-z)∘(1-n²)                                   back: W_hᵀ δ'_k + g∘z
           δ_k = [n̄∘a_n∘r(1-r); g∘(h_{k-1}-n)∘z(1-z); n̄]       δ'_k: the same, but n̄∘r in the end

where a_n = W_hn h_{k-1} + b_hn. Then ∂L/∂W_i = Σ_t Σ_{k≤t} δ_k x_kᵀ and ∂L/∂W_h = Σ_t Σ_{k≤t} δ'_k h_{k-1}ᵀ, n(n+1)/2
paths each, and the biases' likewise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from clew.errors import DataError, RecipeError
from clew.inspect.bptt import LONGEST, Edge, Gradient, Node, Path, Unrolled
from clew.inspect.reading import reading
from clew.inspect.walk import Call, NamedTensor, gap, named, precise, tracing
from clew.inspect.walks.backward import loss_of
from clew.inspect.walks.recurrent import TITLES, recurrent
from clew.nn.recurrent import UNITS, WEIGHTS, Recurrent

SHOWN = 8  # rows and columns of a path that are carried
NAMES = dict(zip(WEIGHTS, ("W_i", "W_h", "b_i", "b_h"), strict=True))
Grads = tuple[Tensor, ...]  # of (h,) or (h, c)
Parts = Mapping[str, Tensor]


@dataclass(frozen=True)
class Local:
    """What a step hands back. to_x, to_h: by the sums of the input's and of the state's map; back: to (h, c) before."""

    to_x: Tensor
    to_h: Tensor
    back: Grads


def of_rnn(now: Parts, before: Parts, W_hh: Tensor, _b_hh: Tensor, given: Grads) -> Local:
    delta = (1 - now["h"] ** 2) * given[0]
    return Local(delta, delta, (W_hh.T @ delta,))


def of_lstm(now: Parts, before: Parts, W_hh: Tensor, _b_hh: Tensor, given: Grads) -> Local:
    i, f, g, o, tanh = now["i"], now["f"], now["g"], now["o"], torch.tanh(now["c"])
    e = given[1] + given[0] * o * (1 - tanh**2)
    delta = torch.cat([
        e * g * i * (1 - i), e * before["c"] * f * (1 - f), e * i * (1 - g**2), given[0] * tanh * o * (1 - o),
    ])  # fmt: skip
    return Local(delta, delta, (W_hh.T @ delta, f * e))


def of_gru(now: Parts, before: Parts, W_hh: Tensor, b_hh: Tensor, given: Grads) -> Local:
    r, z, n = now["r"], now["z"], now["n"]
    a_n = (W_hh @ before["h"] + b_hh).chunk(3)[2]
    new = given[0] * (1 - z) * (1 - n**2)
    reset, update = new * a_n * r * (1 - r), given[0] * (before["h"] - n) * z * (1 - z)
    to_h = torch.cat([reset, update, new * r])
    return Local(torch.cat([reset, update, new]), to_h, (W_hh.T @ to_h + given[0] * z,))


LOCAL: dict[str, Callable[..., Local]] = {"rnn": of_rnn, "lstm": of_lstm, "gru": of_gru}
FORMULAS = {
    "rnn": [r"\delta_k = (1 - h_k^2) \circ g", r"g \leftarrow W_h^\top \delta_k"],
    "lstm": [
        r"e \leftarrow e + g \circ o_k \circ (1 - \tanh^2 c_k)",
        r"\delta_k = \big[\, e \circ \tilde g \circ i(1-i);\; e \circ c_{k-1} \circ f(1-f);\;"
        r" e \circ i \circ (1 - \tilde g^2);\; g \circ \tanh c_k \circ o(1-o) \,\big]",
        r"g \leftarrow W_h^\top \delta_k, \qquad e \leftarrow f_k \circ e",
    ],
    "gru": [
        r"\bar n = g \circ (1 - z) \circ (1 - n^2)",
        r"\delta_k = \big[\, \bar n \circ a_n \circ r(1-r);\; g \circ (h_{k-1} - n) \circ z(1-z);\; \bar n \,\big],"
        r"\qquad \delta'_k = [\dots;\; \bar n \circ r]",
        r"g \leftarrow W_h^\top \delta'_k + g \circ z",
    ],
}


@dataclass(frozen=True)
class Trace:
    """One layer in one direction on one text, its steps in the order in which it reads them.

    x: n of (d_input,); states: n + 1 of what the taps heard, the first before the first step; given: n of what comes
    from above, to h, and to c where a cell is handed on; weights: the layer's; engine: autograd's gradients of them.
    """

    kind: str
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
    about = f"{TITLES[seen.kind]}, layer {name.split('_')[0][1:]} of {place}, reading {way}"
    return Unrolled(
        read_as, ["" for _ in tokens], seen.loss, nodes(seen), edges(seen.kind, n), gradients, flow, through,
        [seen.formula, *FORMULAS[seen.kind]], about,
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
    module = exact.get_submodule(place)
    assert isinstance(module, Recurrent)
    kind = next(kind for kind, unit in UNITS.items() if unit.equation is module.unit.equation)
    weights = {part: getattr(module.fused, f"{part}_{name}") for part in WEIGHTS}
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
    return Trace(kind, x, states, given, weights, engine, float(loss.value.detach()), loss.formula)


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
            local = LOCAL[seen.kind](now, before, seen.weights["weight_hh"], seen.weights["bias_hh"], grads)
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
                t + 1, k + 1, along(seen.kind, name, t + 1, k + 1), chain(name, t + 1, k + 1),
                product(seen.kind, weight, t + 1, k + 1), corner(f"∂L_{t + 1}/∂{name} by step {k + 1}", value),
                float(value.norm()),
            ))  # fmt: skip
    delta = r"\delta_k" if weight.endswith("ih") or seen.kind != "gru" else r"\delta'_k"
    last = {"weight_ih": r"\,x_k^\top", "weight_hh": r"\,h_{k-1}^\top"}.get(weight, "")
    formula = rf"\frac{{\partial L}}{{\partial {name}}} = \sum_t \sum_{{k \le t}} {delta}{last}"
    return Gradient(name, formula, written, corner(f"∂L/∂{name}", total), float(total.norm()),
                    gap(total, seen.engine[weight]))  # fmt: skip


def corner(name: str, value: Tensor) -> NamedTensor:
    """The first rows and columns of a tensor, of which there are many."""
    few = named(name, value[:SHOWN] if value.ndim == 1 else value[:SHOWN, :SHOWN])
    return NamedTensor(name, [*value.shape], [], [], few.data)


def along(kind: str, name: str, t: int, k: int) -> list[str]:
    """The nodes of a path, from what came from above; an LSTM's go by h and by c, which add up."""
    cell = kind == "lstm"
    back = [
        node for j in range(t, k - 1, -1) for node in (f"h_{j}", f"c_{j}", f"a_{j}") if cell or not node.startswith("c")
    ]
    return [f"G_{t}", *back, name]


def chain(name: str, t: int, k: int) -> str:
    """The derivatives along a path."""

    def d(top: str, bottom: str) -> str:
        return rf"\frac{{\partial {top}}}{{\partial {bottom}}}"

    between = [d(f"s_{{{j}}}", f"s_{{{j - 1}}}") for j in range(t, k, -1)]
    return "".join([d("L", f"h_{{{t}}}"), *between, d(f"s_{{{k}}}", f"a_{{{k}}}"), d(f"a_{{{k}}}", name)])


def product(kind: str, weight: str, t: int, k: int) -> str:
    """The same, as a product of matrices."""
    last = {"weight_ih": rf"\,x_{{{k}}}^\top", "weight_hh": rf"\,h_{{{k - 1}}}^\top"}.get(weight, "")
    if kind == "rnn":
        back = r"\,W_h^\top ".join(rf"\mathrm{{diag}}(1 - h_{{{j}}}^2)" for j in range(k, t + 1))
        return rf"{back}\,G_{{{t}}}{last}"
    steps = "".join(rf"J_{{{j}}}^\top " for j in range(k + 1, t + 1))
    return (
        rf"\Big(\frac{{\partial s_{{{k}}}}}{{\partial a_{{{k}}}}}\Big)^\top {steps}G_{{{t}}}{last},"
        r"\quad J_j = \frac{\partial s_j}{\partial s_{j-1}}"
    )


SYMBOLS = {"rnn": "", "lstm": "ifgo", "gru": "rzn"}
NODE = {
    "x": ("input", "x_{%d}"), "a": ("a", r"a_{%d} = W_i x_{%d} + b_i + W_h h_{%d} + b_h"), "c": ("c", "c_{%d}"),
    "h": ("h", "h_{%d}"), "G": ("G", r"G_{%d} = \frac{\partial L}{\partial h_{%d}}\ \text{from above}"),
}  # fmt: skip


def nodes(seen: Trace) -> list[Node]:
    """Every quantity, with its numbers."""
    found = [Node(NAMES[part], "parameter", 0, NAMES[part], corner(NAMES[part], w)) for part, w in seen.weights.items()]
    found += [Node(f"{part}_0", "state", 0, f"{part}_0", named(f"{part}_0", seen.states[0][part])) for part in "hc"
              if part in seen.states[0]]  # fmt: skip
    symbols = SYMBOLS[seen.kind]
    for k in range(1, len(seen.x) + 1):
        now = seen.states[k]
        values = {"x": seen.x[k - 1], "a": gates(seen, k), "h": now["h"], "G": seen.given[k - 1][0]}
        if "c" in now:
            values["c"] = now["c"]
        for name, value in values.items():
            kind, formula = NODE[name]
            formula = formula % ((k, k, k - 1)[: formula.count("%d")])
            rows = [*symbols] if name == "a" and symbols else ()
            found.append(Node(f"{name}_{k}", kind, k, formula, named(f"{name}_{k}", value, rows)))
    return found


def gates(seen: Trace, k: int) -> Tensor:
    """The sums of step k, before they are bent: (d_hidden,), or (gates, d_hidden)."""
    W_ih, W_hh, b_ih, b_hh = (seen.weights[part] for part in WEIGHTS)
    from_x, from_h = W_ih @ seen.x[k - 1] + b_ih, W_hh @ seen.states[k - 1]["h"] + b_hh
    n = max(1, len(SYMBOLS[seen.kind]))
    if seen.kind == "gru":
        (r_x, z_x, n_x), (r_h, z_h, n_h) = from_x.chunk(3), from_h.chunk(3)
        return torch.stack([r_x + r_h, z_x + z_h, n_x + seen.states[k]["r"] * n_h])
    return from_x + from_h if n == 1 else (from_x + from_h).unflatten(0, (n, -1))


def edges(kind: str, n: int) -> list[Edge]:
    """What goes into what, with the local derivative."""
    found = []
    for k in range(1, n + 1):
        found += [Edge(name, f"a_{k}", "", False) for name in NAMES.values()]
        found += [
            Edge(f"x_{k}", f"a_{k}", "W_i", False), Edge(f"h_{k - 1}", f"a_{k}", "W_h", True),
            Edge(f"a_{k}", f"h_{k}", "", False), Edge(f"h_{k}", f"G_{k}", "", False),
        ]  # fmt: skip
        if kind == "lstm":
            found += [
                Edge(f"a_{k}", f"c_{k}", "", False), Edge(f"c_{k}", f"h_{k}", "", False),
                Edge(f"c_{k - 1}", f"c_{k}", "f", True),
            ]  # fmt: skip
        if kind == "gru":
            found.append(Edge(f"h_{k - 1}", f"h_{k}", "z", True))
    return found
