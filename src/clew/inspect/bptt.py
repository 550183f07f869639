"""Backpropagation through time, written out: an RNN unrolled, and every gradient as the sum of its paths.

The unit: a_t = U x_t + W h_{t-1} + b, h_t = tanh(a_t), o_t = V h_t + c, ŷ_t = softmax(o_t), L_t = -log ŷ_t[y_t], and
L = Σ_t L_t. A parameter that is used at every step k reaches the loss of every step t ≥ k: one path for each pair,
along h_k → h_{k+1} → … → h_t. With e_t = ŷ_t - y_t and D_j = diag(1 - h_j²), for tanh' = 1 - tanh²:

    ∂L_t/∂a_k = D_k Wᵀ D_{k+1} Wᵀ … D_t Vᵀ e_t
    ∂L/∂U = Σ_t Σ_{k≤t} ∂L_t/∂a_k x_kᵀ    ∂L/∂W = Σ_t Σ_{k≤t} ∂L_t/∂a_k h_{k-1}ᵀ    ∂L/∂b = Σ_t Σ_{k≤t} ∂L_t/∂a_k
    ∂L/∂V = Σ_t e_t h_tᵀ                  ∂L/∂c = Σ_t e_t
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from clew.errors import DataError
from clew.inspect.walk import NamedTensor, gap, named

LONGEST = 16  # steps: the paths are n(n + 1)/2


@dataclass(frozen=True)
class Node:
    """One quantity of the unrolled graph. kind: input, state (h_0), parameter, or what it is: a, h, o, p, L, total;
    t: its step, 0 where it has none."""

    id: str
    kind: str
    t: int
    formula: str
    value: NamedTensor


@dataclass(frozen=True)
class Edge:
    """`source` goes into `target`; derivative: the local one, LaTeX; through_time: from one step to the next."""

    source: str
    target: str
    derivative: str
    through_time: bool


@dataclass(frozen=True)
class Path:
    """The part of a gradient that comes from the loss of step t by the parameter's use at step k.

    nodes: from L_t back to the parameter; chain: the derivatives along it, product: the same written out, in LaTeX.
    """

    t: int
    k: int
    nodes: list[str]
    chain: str
    product: str
    value: NamedTensor
    norm: float


@dataclass(frozen=True)
class Gradient:
    """∂L/∂parameter: a formula, its paths, their sum, and how far it is from autograd's."""

    parameter: str
    formula: str
    paths: list[Path]
    total: NamedTensor
    norm: float
    check: float


@dataclass(frozen=True)
class Unrolled:
    """The graph and all gradients. flow[t-1][k-1] = ‖∂L_t/∂h_k‖, None for k > t; through[k-1] = ‖∂L/∂h_k‖.

    formulas, about: what is to be known besides, of a trained layer (`through_time`).
    """

    tokens: list[str]
    targets: list[str]
    loss: float
    nodes: list[Node]
    edges: list[Edge]
    gradients: list[Gradient]
    flow: list[list[float | None]]
    through: list[float]
    formulas: list[str] = field(default_factory=list)
    about: str = ""


@dataclass(frozen=True)
class RNN:
    """The parameters. U: (d, d_x), W: (d, d), b: (d,), V: (classes, d), c: (classes,)."""

    U: Tensor
    W: Tensor
    V: Tensor
    b: Tensor
    c: Tensor

    @classmethod
    def drawn(cls, d_input: int, d: int, classes: int, seed: int = 0) -> RNN:
        """Small enough to look at, drawn from N(0, 1/d) and N(0, 0.01)."""
        generator = torch.Generator().manual_seed(seed)

        def normal(*size: int, std: float) -> Tensor:
            return torch.randn(*size, generator=generator, dtype=torch.float64) * std

        return cls(normal(d, d_input, std=1.0), normal(d, d, std=d**-0.5), normal(classes, d, std=1.0),
                   normal(d, std=0.1), normal(classes, std=0.1))  # fmt: skip

    def named(self) -> dict[str, Tensor]:
        return {"U": self.U, "W": self.W, "V": self.V, "b": self.b, "c": self.c}


@dataclass(frozen=True)
class States:
    """What the unit computes. h: n + 1 of (d,), h[0] before the first step; a, o, p: n each, p = ŷ; losses: (n,)."""

    a: list[Tensor]
    h: list[Tensor]
    o: list[Tensor]
    p: list[Tensor]
    losses: Tensor


def forward(rnn: RNN, x: Tensor, y: Tensor, h_0: Tensor) -> States:
    """The unit over inputs x (n, d_x) with targets y (n,)."""
    a, h, o = [], [h_0], []
    for x_t in x:
        a.append(rnn.U @ x_t + rnn.W @ h[-1] + rnn.b)
        h.append(torch.tanh(a[-1]))
        o.append(rnn.V @ h[-1] + rnn.c)
    p = [o_t.softmax(dim=0) for o_t in o]
    return States(a, h, o, p, -torch.stack([p_t[y_t].log() for p_t, y_t in zip(p, y, strict=True)]))


def of_sentence(sentence: str, *, d: int = 2, seed: int = 0) -> Unrolled:
    """A drawn RNN of d units that reads a sentence, each word as one of its own words, and guesses the next.

    Four words are the textbook's case. Raises DataError for an empty sentence, or one of more than 16 words.
    """
    words = sentence.split()
    vocabulary = [*dict.fromkeys(words), "</s>"]
    place = {word: i for i, word in enumerate(vocabulary)}
    ids = torch.tensor([place[word] for word in words], dtype=torch.long)
    y = torch.tensor([*ids[1:].tolist(), place["</s>"]])
    x = torch.eye(len(vocabulary), dtype=torch.float64)[ids]
    return unroll(RNN.drawn(len(vocabulary), d, len(vocabulary), seed), x, y, tokens=words, classes=vocabulary)


def unroll(
    rnn: RNN, x: Tensor, y: Tensor, *, h_0: Tensor | None = None, tokens: Sequence[str], classes: Sequence[str] = ()
) -> Unrolled:
    """The graph of n steps over inputs x (n, d_x) with targets y (n,), and all gradients, in double precision.

    tokens: what the inputs are; classes: what the outputs stand for. Raises DataError for no step, or more than 16.
    """
    n = len(x)
    if not 0 < n <= LONGEST:
        raise DataError(f"{n} steps cannot be written out", fix=f"give 1 to {LONGEST} tokens")
    rnn = RNN(*(part.double() for part in (rnn.U, rnn.W, rnn.V, rnn.b, rnn.c)))
    x, h_0 = x.double(), (torch.zeros(len(rnn.b)) if h_0 is None else h_0).double()
    states = forward(rnn, x, y, h_0)
    errors, flow, deltas = backward(rnn, states, y)
    engine = by_autograd(rnn, x, y, h_0)
    gradients = [
        gradient(name, engine[name], paths_of(name, x, states, errors, deltas), classes, tokens)
        for name in ("U", "W", "V", "b", "c")
    ]
    through = [torch.stack([flow[t][k] for t in range(k, n)]).sum(dim=0) for k in range(n)]
    norms = [[float(flow[t][k].norm()) if k <= t else None for k in range(n)] for t in range(n)]
    return Unrolled(
        [*tokens], [classes[i] if len(classes) else str(i) for i in y.tolist()], float(states.losses.sum()),
        nodes(rnn, x, states, classes), edges(n), gradients, norms, [float(each.norm()) for each in through],
    )  # fmt: skip


def backward(rnn: RNN, states: States, y: Tensor) -> tuple[list[Tensor], list[list[Tensor]], list[list[Tensor]]]:
    """By local derivatives: e_t of each step, and ∂L_t/∂h_k and ∂L_t/∂a_k at [t][k] for every k ≤ t, from 0."""
    errors, to_h, to_a = [], [], []
    for t, p in enumerate(states.p):
        e = p.clone()
        e[y[t]] -= 1.0  # ∂L_t/∂o_t = ŷ_t - y_t
        g, row_h, row_a = rnn.V.T @ e, [], []
        for k in range(t, -1, -1):
            delta = (1 - states.h[k + 1] ** 2) * g  # through tanh
            row_h.append(g)
            row_a.append(delta)
            g = rnn.W.T @ delta  # one step back in time
        errors.append(e)
        to_h.append(row_h[::-1])
        to_a.append(row_a[::-1])
    return errors, to_h, to_a


def by_autograd(rnn: RNN, x: Tensor, y: Tensor, h_0: Tensor) -> dict[str, Tensor]:
    """What torch says of the same loss."""
    leaves = {name: part.detach().clone().requires_grad_() for name, part in rnn.named().items()}
    loss = forward(RNN(**leaves), x, y, h_0).losses.sum()
    return dict(zip(leaves, torch.autograd.grad(loss, [*leaves.values()]), strict=True))


def paths_of(
    name: str, x: Tensor, states: States, errors: list[Tensor], deltas: list[list[Tensor]]
) -> list[tuple[int, int, Tensor]]:
    """(t, k, value) of every path of one parameter, steps counted from 0."""
    steps = range(len(errors))
    if name == "V":
        return [(t, t, torch.outer(errors[t], states.h[t + 1])) for t in steps]
    if name == "c":
        return [(t, t, errors[t]) for t in steps]
    into = {"U": lambda k, d: torch.outer(d, x[k]), "W": lambda k, d: torch.outer(d, states.h[k]), "b": lambda k, d: d}
    return [(t, k, into[name](k, deltas[t][k])) for t in steps for k in range(t + 1)]


FORMULAS = {
    "U": r"\sum_{t}\sum_{k \le t} \frac{\partial L_t}{\partial a_k}\,x_k^\top",
    "W": r"\sum_{t}\sum_{k \le t} \frac{\partial L_t}{\partial a_k}\,h_{k-1}^\top",
    "b": r"\sum_{t}\sum_{k \le t} \frac{\partial L_t}{\partial a_k}",
    "V": r"\sum_t (\hat y_t - y_t)\,h_t^\top",
    "c": r"\sum_t (\hat y_t - y_t)",
}


def gradient(
    name: str, engine: Tensor, paths: list[tuple[int, int, Tensor]], classes: Sequence[str], tokens: Sequence[str]
) -> Gradient:
    """The sum of the paths, beside autograd's."""
    total = torch.stack([value for _, _, value in paths]).sum(dim=0)
    rows = classes if name in "Vc" else ()
    columns = classes if name == "U" and total.shape[1] == len(classes) else ()
    written = [
        Path(t + 1, k + 1, along(name, t + 1, k + 1), chain(name, t + 1, k + 1), product(name, t + 1, k + 1),
             named(f"∂L_{t + 1}/∂{name} by step {k + 1}", value, rows, columns), float(value.norm()))
        for t, k, value in paths
    ]  # fmt: skip
    whole = named(f"∂L/∂{name}", total, rows, columns)
    formula = rf"\frac{{\partial L}}{{\partial {name}}} = {FORMULAS[name]}"
    return Gradient(name, formula, written, whole, float(total.norm()), gap(total, engine))


def along(name: str, t: int, k: int) -> list[str]:
    """The nodes of a path, from the loss back."""
    if name in "Vc":
        return [f"L_{t}", f"o_{t}", name]
    back = [node for j in range(t, k - 1, -1) for node in (f"h_{j}", f"a_{j}")]
    return [f"L_{t}", f"o_{t}", *back, name]


def chain(name: str, t: int, k: int) -> str:
    """The derivatives along a path, from the loss back."""

    def d(top: str, bottom: str) -> str:
        return rf"\frac{{\partial {top}}}{{\partial {bottom}}}"

    if name in "Vc":
        return d(f"L_{{{t}}}", f"o_{{{t}}}") + d(f"o_{{{t}}}", name)
    states = [f"h_{{{j}}}" for j in range(t, k - 1, -1)]
    between = [d(later, earlier) for later, earlier in pairwise(states)]
    return "".join([
        d(f"L_{{{t}}}", f"o_{{{t}}}"), d(f"o_{{{t}}}", states[0]), *between, d(states[-1], f"a_{{{k}}}"),
        d(f"a_{{{k}}}", name),
    ])  # fmt: skip


def product(name: str, t: int, k: int) -> str:
    """Return in LaTeX the product of matrices by which state k adds to the gradient of `name` at step t."""
    error = rf"(\hat y_{{{t}}} - y_{{{t}}})"
    if name in "Vc":
        return error + (rf"\,h_{{{t}}}^\top" if name == "V" else "")
    back = r"\,W^\top ".join(rf"\mathrm{{diag}}(1 - h_{{{j}}}^2)" for j in range(k, t + 1))
    last = {"U": rf"\,x_{{{k}}}^\top", "W": rf"\,h_{{{k - 1}}}^\top", "b": ""}[name]
    return rf"{back}\,V^\top {error}{last}"


def nodes(rnn: RNN, x: Tensor, states: States, classes: Sequence[str]) -> list[Node]:
    """Every quantity, with its numbers."""
    found = [Node(name, "parameter", 0, name, named(name, part)) for name, part in rnn.named().items()]
    found.append(Node("h_0", "state", 0, "h_0", named("h_0", states.h[0])))
    for t in range(1, len(x) + 1):
        quantities = {
            "x": ("input", rf"x_{{{t}}}", x[t - 1]),
            "a": ("a", rf"a_{{{t}}} = U x_{{{t}}} + W h_{{{t - 1}}} + b", states.a[t - 1]),
            "h": ("h", rf"h_{{{t}}} = \tanh(a_{{{t}}})", states.h[t]),
            "o": ("o", rf"o_{{{t}}} = V h_{{{t}}} + c", states.o[t - 1]),
            "p": ("p", rf"\hat y_{{{t}}} = \mathrm{{softmax}}(o_{{{t}}})", states.p[t - 1]),
            "L": ("L", rf"L_{{{t}}} = -\log \hat y_{{{t}}}[y_{{{t}}}]", states.losses[t - 1]),
        }
        for name, (kind, formula, value) in quantities.items():
            labels = classes if name in "op" else ()
            found.append(Node(f"{name}_{t}", kind, t, formula, named(f"{name}_{t}", value, labels)))
    total = states.losses.sum()
    return [*found, Node("L", "total", 0, r"L = \sum_t L_t", named("L", total))]


def edges(n: int) -> list[Edge]:
    """What goes into what, with the local derivative; that of o_t → L_t takes softmax and logarithm at once."""
    found = []
    for t in range(1, n + 1):
        tanh = rf"\mathrm{{diag}}(1 - h_{{{t}}}^2)"
        found += [
            Edge(f"x_{t}", f"a_{t}", "U", False), Edge(f"h_{t - 1}", f"a_{t}", "W", True),
            Edge("U", f"a_{t}", rf"x_{{{t}}}", False), Edge("W", f"a_{t}", rf"h_{{{t - 1}}}", False),
            Edge("b", f"a_{t}", "I", False), Edge(f"a_{t}", f"h_{t}", tanh, False),
            Edge(f"h_{t}", f"o_{t}", "V", False), Edge("V", f"o_{t}", rf"h_{{{t}}}", False),
            Edge("c", f"o_{t}", "I", False),
            Edge(f"o_{t}", f"p_{t}", rf"\mathrm{{diag}}(\hat y_{{{t}}}) - \hat y_{{{t}}} \hat y_{{{t}}}^\top", False),
            Edge(f"o_{t}", f"L_{t}", rf"\hat y_{{{t}}} - y_{{{t}}}", False), Edge(f"L_{t}", "L", "1", False),
        ]  # fmt: skip
    return found
