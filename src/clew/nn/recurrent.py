"""Recurrent units as their equations, and a layer that unrolls them or hands the same weights to torch's kernels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from clew.nn.taps import Tap

WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")  # torch's names
State = tuple[Tensor, ...]  # what a unit carries from step to step: (h,), or (h, c) for an LSTM


@cache
def knows_bf16() -> bool:
    """Return whether this processor multiplies in bfloat16."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def rnn_unit(x: Tensor, state: State, W_ih: Tensor, W_hh: Tensor, b_ih: Tensor, b_hh: Tensor) -> dict[str, Tensor]:
    """One step of a plain RNN (Elman 1990): h_t = tanh(U x_t + b + W h_{t-1} + b').

    x: (batch, d_input); state: (h,) of (batch, d_hidden); returns {"h"}.
    """
    (h,) = state
    return {"h": torch.tanh(x @ W_ih.T + b_ih + h @ W_hh.T + b_hh)}


def lstm_unit(x: Tensor, state: State, W_ih: Tensor, W_hh: Tensor, b_ih: Tensor, b_hh: Tensor) -> dict[str, Tensor]:
    """One step of an LSTM (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000).

    i, f, o = σ(W_i* x + b_i* + W_h* h + b_h*); g = tanh(…); c_t = f∘c_{t-1} + i∘g; h_t = o∘tanh(c_t).
    x: (batch, d_input); state: (h, c) of (batch, d_hidden); the weights hold the rows of i, f, g, o in that order.
    """
    h, c = state
    i, f, g, o = (x @ W_ih.T + b_ih + h @ W_hh.T + b_hh).chunk(4, dim=-1)  # (batch, d_hidden) each
    i, f, g, o = torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)
    c = f * c + i * g
    h = o * torch.tanh(c)
    return {"i": i, "f": f, "g": g, "o": o, "c": c, "h": h}


def gru_unit(x: Tensor, state: State, W_ih: Tensor, W_hh: Tensor, b_ih: Tensor, b_hh: Tensor) -> dict[str, Tensor]:
    """One step of a GRU in torch's (and cuDNN's) form: the reset gate acts after the hidden linear map.

    r, z = σ(W_i* x + b_i* + W_h* h + b_h*); n = tanh(W_in x + b_in + r∘(W_hn h + b_hn)); h_t = (1 - z)∘n + z∘h_{t-1}.
    Departs from Cho et al. (2014), who write W_hn (r∘h). The weights hold the rows of r, z, n in that order.
    """
    (h,) = state
    x_r, x_z, x_n = (x @ W_ih.T + b_ih).chunk(3, dim=-1)
    h_r, h_z, h_n = (h @ W_hh.T + b_hh).chunk(3, dim=-1)
    r, z = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z)
    n = torch.tanh(x_n + r * h_n)
    return {"r": r, "z": z, "n": n, "h": (1 - z) * n + z * h}


@dataclass(frozen=True)
class Unit:
    """A recurrent unit: its equation, torch's engines for it, what it carries, and what it lets others see."""

    equation: Callable[..., dict[str, Tensor]]
    module: Callable[..., nn.RNNBase]
    kernel: Callable[..., tuple[Tensor, ...]]
    state: tuple[str, ...]
    taps: tuple[str, ...]


UNITS = {
    "rnn": Unit(rnn_unit, nn.RNN, torch.rnn_tanh, ("h",), ("h",)),
    "lstm": Unit(lstm_unit, nn.LSTM, torch.lstm, ("h", "c"), ("i", "f", "g", "o", "c", "h")),
    "gru": Unit(gru_unit, nn.GRU, torch.gru, ("h",), ("r", "z", "n", "h")),
}
CLOSED = 1e4  # added to a gate before σ: σ(±1e4) is exactly 1 or 0


class Recurrent(nn.Module):
    """A stack of recurrent layers, read in one or both directions: (batch, time, d_input) -> (batch, time, d_output).

    Two paths over one set of parameters, `fused.weight_ih_l0` and so on: the unit's equation, step by step, taken while
    someone listens to one of the `taps` (`taps.l0.f`, `taps.l1_reverse.c`, …, each fed (batch, time, d_hidden)), and
    torch's fused kernels, taken otherwise. d_output is d_hidden, twice that in both directions; `dropout` acts between
    layers.
    """

    def __init__(
        self,
        unit: str,
        d_input: int,
        d_hidden: int,
        n_layers: int = 1,
        *,
        bidirectional: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.unit = UNITS[unit]
        between = dropout if n_layers > 1 else 0.0
        self.fused = self.unit.module(
            d_input, d_hidden, n_layers, batch_first=True, bidirectional=bidirectional, dropout=between
        )
        directions = ("", "_reverse") if bidirectional else ("",)
        names = [f"l{layer}{direction}" for layer in range(n_layers) for direction in directions]
        self.taps = nn.ModuleDict({name: nn.ModuleDict({tap: Tap() for tap in self.unit.taps}) for name in names})
        self.initialise()

    def initialise(self) -> None:
        """Xavier input weights, orthogonal recurrent ones (they keep the length of h over many steps), zero biases.

        Each gate's block is drawn by itself: the rows of several gates together are no matrix of the model.
        """
        for name, parameter in self.fused.named_parameters():
            for gate in parameter.detach().split(self.fused.hidden_size):
                if "bias" in name:
                    nn.init.zeros_(gate)
                elif "weight_hh" in name:
                    nn.init.orthogonal_(gate)
                else:
                    nn.init.xavier_uniform_(gate)

    def weights(self, name: str) -> list[Tensor]:
        """Return the `WEIGHTS` of a layer in a direction: l0, l0_reverse, …"""
        return [self.fused.get_parameter(f"{kind}_{name}") for kind in WEIGHTS]

    def forward(self, x: Tensor, mask: Tensor | None = None, state: State | None = None) -> tuple[Tensor, State]:
        """Read x (batch, time, d_input), starting from `state` (zeros where None); return (output, last state).

        mask: (batch, time) bool, True = a real step; real steps come first and every row has one. Padded steps change
        no state and give zeros, so that the backward direction starts at each row's own last step.
        The state is a tuple, (h,) or (h, c), of (n_layers · directions, batch, d_hidden), as torch's. Under autocast on
        a processor without bfloat16, for which torch has no recurrent kernel, it computes in float32.
        """
        if x.device.type == "cpu" and torch.is_autocast_enabled("cpu") and not knows_bf16():
            with torch.autocast("cpu", enabled=False):
                return self(x.float(), mask, state and tuple(part.float() for part in state))
        if any(tap.heard for taps in self.taps.values() for tap in taps.values()):
            return self.by_layer(x, mask, state, self.by_equation)
        if mask is None or x.device.type != "cpu":
            return self.by_module(x, mask, state)
        return self.by_layer(x, mask, state, self.by_kernel)

    def by_module(self, x: Tensor, mask: Tensor | None, state: State | None) -> tuple[Tensor, State]:
        """The whole stack in one call of torch's module; padded batches go packed."""
        start = state if state is None or len(state) > 1 else state[0]
        if mask is None:
            output, last = self.fused(x, start)
        else:
            packed = pack_padded_sequence(x, mask.sum(dim=1).cpu(), batch_first=True, enforce_sorted=False)
            output, last = self.fused(packed, start)
            output, _ = pad_packed_sequence(output, batch_first=True, total_length=x.shape[1])
        return output, last if isinstance(last, tuple) else (last,)

    def by_layer(
        self, x: Tensor, mask: Tensor | None, state: State | None, read: Callable[..., tuple[Tensor, State]]
    ) -> tuple[Tensor, State]:
        """Layer by layer, direction by direction, each by `read`."""
        directions = 2 if self.fused.bidirectional else 1
        if state is None:
            zeros = x.new_zeros(len(self.taps), x.shape[0], self.fused.hidden_size)
            state = tuple(zeros for _ in self.unit.state)
        starts = list(zip(self.taps, zip(*state, strict=True), strict=True))  # (name, (h, c)) per layer and direction
        ends: list[State] = []
        for layer in range(self.fused.num_layers):
            if layer > 0:
                x = F.dropout(x, self.fused.dropout, self.training)
            outputs = []
            for direction, (name, start) in enumerate(starts[layer * directions : (layer + 1) * directions]):
                output, end = read(x, mask, start, self.weights(name), name, reverse=direction == 1)
                outputs.append(output)
                ends.append(end)
            x = torch.cat(outputs, dim=-1)
        return x, tuple(torch.stack(values) for values in zip(*ends, strict=True))

    def by_equation(
        self, x: Tensor, mask: Tensor | None, state: State, weights: list[Tensor], name: str, *, reverse: bool
    ) -> tuple[Tensor, State]:
        """One layer in one direction, step by step; every intermediate goes through its tap, zero at padded steps."""
        order = range(x.shape[1])
        steps: dict[int, dict[str, Tensor]] = {}
        for t in reversed(order) if reverse else order:
            steps[t] = self.unit.equation(x[:, t], state, *weights)
            new = tuple(steps[t][part] for part in self.unit.state)
            if mask is not None:
                real = mask[:, t, None]
                new = tuple(torch.where(real, after, before) for after, before in zip(new, state, strict=True))
            state = new
        seen = {}
        for part, tap in self.taps[name].items():
            values = torch.stack([steps[t][part] for t in order], dim=1)  # (batch, time, d_hidden)
            seen[part] = tap(values if mask is None else values.masked_fill(~mask[..., None], 0.0))
        return seen["h"], state

    def by_kernel(
        self, x: Tensor, mask: Tensor, state: State, weights: list[Tensor], name: str, *, reverse: bool
    ) -> tuple[Tensor, State]:
        """One layer in one direction, one fused call that runs over the padding too.

        On the CPU this trains 1.1 to 2.3 times as fast as a packed batch, whose backward pass costs time². Reading
        backward is reading each row's real steps in reverse order. An LSTM's cell must outlast the padding: one more
        input, 1 at padded steps, opens the forget gate and closes the input gate.
        """
        lengths, t = mask.sum(dim=1, keepdim=True), torch.arange(x.shape[1])
        mirror = torch.where(mask, lengths - 1 - t, t)[..., None]  # (batch, time, 1); its own inverse
        if reverse:
            x = x.gather(1, mirror.expand_as(x))
        if len(state) > 1:
            closed = torch.tensor([-CLOSED, CLOSED, 0.0, 0.0]).to(weights[0]).repeat_interleave(len(weights[0]) // 4)
            x = torch.cat([x, ~mask[..., None]], dim=-1)
            weights = [torch.cat([weights[0], closed[:, None]], dim=1), *weights[1:]]
        start = [part[None] for part in state]
        keep = torch.is_grad_enabled()  # what the backward pass needs
        output, _, *cell = self.unit.kernel(
            x, start if len(start) > 1 else start[0], weights, True, 1, 0.0, keep, False, True
        )
        h = output[torch.arange(len(x)), lengths[:, 0] - 1]
        if reverse:
            output = output.gather(1, mirror.expand_as(output))
        return output.masked_fill(~mask[..., None], 0.0), (h, *(c[0] for c in cell))
