"""An RNN, an LSTM and a GRU as walks show them: the equations of a step, forward and backward, and their symbols.

Backward the state is s_t = h_t, or (h_t, c_t) of an LSTM, g = ∂L_t/∂h_k, e = ∂L_t/∂c_k and a_n = W_hn h_{k-1} + b_hn.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from clew.inspect.bptt import Edge
from clew.inspect.walk import Step, gap, named
from clew.nn.recurrent import Recurrent, gru_unit, lstm_unit, rnn_unit

Parts = Mapping[str, Tensor]
Grads = tuple[Tensor, ...]  # of (h,) or (h, c)


@dataclass(frozen=True)
class Event:
    """One step of one layer in one direction. x: (d_input,); h and c, as they were before, (d_hidden,).

    heard: what the taps heard of this step by name; fused: h of the fused kernel, where it shows it (the last layer).
    """

    x: Tensor
    h: Tensor
    c: Tensor | None
    weights: list[Tensor]
    heard: Parts
    fused: Tensor | None


@dataclass(frozen=True)
class Local:
    """What a step hands back. to_x, to_h: by the sums of the input's and of the state's map; back: to (h, c) before."""

    to_x: Tensor
    to_h: Tensor
    back: Grads


class Cell(ABC):
    """A recurrent unit: its name, the symbols of its gates, and what a path through a step goes by."""

    title: str
    symbols = ""
    nodes: tuple[str, ...] = ("h", "a")
    delta_h = r"\delta_k"  # what the state's map is given
    back: tuple[str, ...]  # the backward equations

    @abstractmethod
    def sums(self, x: Tensor, h: Tensor, weights: Sequence[Tensor]) -> Tensor:
        """Return the sums before they are bent: (d_hidden,), or (gates, d_hidden)."""

    @abstractmethod
    def steps(self, now: Event) -> list[Step]:
        """Return the steps from what comes in to what is kept."""

    @abstractmethod
    def state(self, now: Event) -> tuple[Tensor, str, str]:
        """Return the new h, its formula, and a sentence."""

    @abstractmethod
    def local(self, now: Parts, before: Parts, W_hh: Tensor, b_hh: Tensor, given: Grads) -> Local:
        """Return what a step hands back of ∂L/∂s_k."""

    def product(self, t: int, k: int, last: str) -> str:
        """Return a path from G_t to step k as a product of matrices; last: what the weight is multiplied with."""
        steps = "".join(rf"J_{{{j}}}^\top " for j in range(k + 1, t + 1))
        return (
            rf"\Big(\frac{{\partial s_{{{k}}}}}{{\partial a_{{{k}}}}}\Big)^\top {steps}G_{{{t}}}{last},"
            r"\quad J_j = \frac{\partial s_j}{\partial s_{j-1}}"
        )

    def edges(self, k: int) -> list[Edge]:
        """Return what goes into what at step k, beside x, h and a."""
        return []


def linear(x: Tensor, h: Tensor, weights: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """W_i x + b_i and W_h h + b_h."""
    W_ih, W_hh, b_ih, b_hh = weights
    return W_ih @ x + b_ih, W_hh @ h + b_hh


def gated(cell: Cell, now: Event, sums: str, bend: Callable[[Tensor], Tensor], formula: str, note: str) -> list[Step]:
    """The sums of all gates, and the gates."""
    a = cell.sums(now.x, now.h, now.weights)
    values = bend(a)
    check = max(gap(value, now.heard[symbol]) for symbol, value in zip(cell.symbols, values, strict=True))
    return [
        Step("sums", sums, "One linear map of the token and one of the state, for every gate.", ["x", "h"],
             [named("a", a, [*cell.symbols])], None),
        Step("gates", formula, note, ["a"], [named("gates", values, [*cell.symbols])], check),
    ]  # fmt: skip


class RNNCell(Cell):
    """h_t = tanh(U x_t + b + W h_{t-1} + b')."""

    title = "An RNN"
    back = (r"\delta_k = (1 - h_k^2) \circ g", r"g \leftarrow W_h^\top \delta_k")

    def sums(self, x: Tensor, h: Tensor, weights: Sequence[Tensor]) -> Tensor:
        from_x, from_h = linear(x, h, weights)
        return from_x + from_h

    def steps(self, now: Event) -> list[Step]:
        return [Step(
            "sum", r"a_t = U x_t + b + W h_{t-1} + b'", "What is read and what is remembered are added.", ["x", "h"],
            [named("a", self.sums(now.x, now.h, now.weights))], None,
        )]  # fmt: skip

    def state(self, now: Event) -> tuple[Tensor, str, str]:
        h = torch.tanh(self.sums(now.x, now.h, now.weights))
        return h, r"h_t = \tanh(a_t)", "The new state is all that the next step knows."

    def local(self, now: Parts, before: Parts, W_hh: Tensor, b_hh: Tensor, given: Grads) -> Local:
        delta = (1 - now["h"] ** 2) * given[0]
        return Local(delta, delta, (W_hh.T @ delta,))

    def product(self, t: int, k: int, last: str) -> str:
        back = r"\,W_h^\top ".join(rf"\mathrm{{diag}}(1 - h_{{{j}}}^2)" for j in range(k, t + 1))
        return rf"{back}\,G_{{{t}}}{last}"


class LSTMCell(Cell):
    """c_t = f∘c_{t-1} + i∘g; h_t = o∘tanh(c_t)."""

    title, symbols, nodes = "An LSTM", "ifgo", ("h", "c", "a")
    back = (
        r"e \leftarrow e + g \circ o_k \circ (1 - \tanh^2 c_k)",
        r"\delta_k = \big[\, e \circ \tilde g \circ i(1-i);\; e \circ c_{k-1} \circ f(1-f);\;"
        r" e \circ i \circ (1 - \tilde g^2);\; g \circ \tanh c_k \circ o(1-o) \,\big]",
        r"g \leftarrow W_h^\top \delta_k, \qquad e \leftarrow f_k \circ e",
    )

    def sums(self, x: Tensor, h: Tensor, weights: Sequence[Tensor]) -> Tensor:
        from_x, from_h = linear(x, h, weights)
        return (from_x + from_h).unflatten(0, (4, -1))

    def steps(self, now: Event) -> list[Step]:
        assert now.c is not None
        forgotten, written = now.heard["f"] * now.c, now.heard["i"] * now.heard["g"]
        return [
            *gated(
                self, now, r"a^* = W_{i*} x_t + b_{i*} + W_{h*} h_{t-1} + b_{h*}",
                lambda a: torch.stack([a[0].sigmoid(), a[1].sigmoid(), a[2].tanh(), a[3].sigmoid()]),
                r"i, f, o = \sigma(a^*),\quad g = \tanh(a^g)",
                "The gates say how much is let in (i), kept (f) and shown (o); g is what would be written.",
            ),
            Step(
                "cell", r"c_t = f \circ c_{t-1} + i \circ g", "What is kept of the old cell, and what is written.",
                ["gates", "c"], [named("f∘c", forgotten), named("i∘g", written), named("c'", forgotten + written)],
                gap(forgotten + written, now.heard["c"]),
            ),
        ]  # fmt: skip

    def state(self, now: Event) -> tuple[Tensor, str, str]:
        assert now.c is not None
        cell = now.heard["f"] * now.c + now.heard["i"] * now.heard["g"]
        note = "The cell is kept whole, and shown as far as the gate lets it."
        return now.heard["o"] * torch.tanh(cell), r"h_t = o \circ \tanh(c_t)", note

    def local(self, now: Parts, before: Parts, W_hh: Tensor, b_hh: Tensor, given: Grads) -> Local:
        i, f, g, o, tanh = now["i"], now["f"], now["g"], now["o"], torch.tanh(now["c"])
        e = given[1] + given[0] * o * (1 - tanh**2)
        delta = torch.cat([
            e * g * i * (1 - i), e * before["c"] * f * (1 - f), e * i * (1 - g**2), given[0] * tanh * o * (1 - o),
        ])  # fmt: skip
        return Local(delta, delta, (W_hh.T @ delta, f * e))

    def edges(self, k: int) -> list[Edge]:
        return [
            Edge(f"a_{k}", f"c_{k}", "", False), Edge(f"c_{k}", f"h_{k}", "", False),
            Edge(f"c_{k - 1}", f"c_{k}", "f", True),
        ]  # fmt: skip


class GRUCell(Cell):
    """h_t = (1 - z)∘n + z∘h_{t-1}."""

    title, symbols, delta_h = "A GRU", "rzn", r"\delta'_k"
    back = (
        r"\bar n = g \circ (1 - z) \circ (1 - n^2)",
        r"\delta_k = \big[\, \bar n \circ a_n \circ r(1-r);\; g \circ (h_{k-1} - n) \circ z(1-z);\; \bar n \,\big],"
        r"\qquad \delta'_k = [\dots;\; \bar n \circ r]",
        r"g \leftarrow W_h^\top \delta'_k + g \circ z",
    )

    def sums(self, x: Tensor, h: Tensor, weights: Sequence[Tensor]) -> Tensor:
        (r_x, z_x, n_x), (r_h, z_h, n_h) = (part.chunk(3) for part in linear(x, h, weights))
        return torch.stack([r_x + r_h, z_x + z_h, n_x + torch.sigmoid(r_x + r_h) * n_h])

    def steps(self, now: Event) -> list[Step]:
        return gated(
            self, now,
            r"a^{r,z} = W_i x_t + b_i + W_h h_{t-1} + b_h,\quad "
            r"a^n = W_{in} x_t + b_{in} + r \circ (W_{hn} h_{t-1} + b_{hn})",
            lambda a: torch.stack([a[0].sigmoid(), a[1].sigmoid(), a[2].tanh()]),
            r"r, z = \sigma(a^{r,z}),\quad n = \tanh(a^n)",
            "The gates say how much of the past is heard (r) and how much stays (z); n is what would be new.",
        )  # fmt: skip

    def state(self, now: Event) -> tuple[Tensor, str, str]:
        z, n = now.heard["z"], now.heard["n"]
        note = "Each number is somewhere between the old one and the new one."
        return (1 - z) * n + z * now.h, r"h_t = (1 - z) \circ n + z \circ h_{t-1}", note

    def local(self, now: Parts, before: Parts, W_hh: Tensor, b_hh: Tensor, given: Grads) -> Local:
        r, z, n = now["r"], now["z"], now["n"]
        a_n = (W_hh @ before["h"] + b_hh).chunk(3)[2]
        new = given[0] * (1 - z) * (1 - n**2)
        reset, update = new * a_n * r * (1 - r), given[0] * (before["h"] - n) * z * (1 - z)
        to_h = torch.cat([reset, update, new * r])
        return Local(torch.cat([reset, update, new]), to_h, (W_hh.T @ to_h + given[0] * z,))

    def edges(self, k: int) -> list[Edge]:
        return [Edge(f"h_{k - 1}", f"h_{k}", "z", True)]


CELLS: dict[Callable[..., dict[str, Tensor]], Cell] = {
    rnn_unit: RNNCell(), lstm_unit: LSTMCell(), gru_unit: GRUCell()
}  # fmt: skip


def cell_of(module: Recurrent) -> Cell:
    """The unit that a layer is made of."""
    return CELLS[module.unit.equation]
