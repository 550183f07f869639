"""One step of an RNN, LSTM or GRU on a text: what comes in, the gates, what is kept, what goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from clew.errors import RecipeError
from clew.inspect.walk import Call, Step, Walk, gap, named, precise, tracing
from clew.inspect.walks.places import read
from clew.nn.recurrent import UNITS, WEIGHTS, Recurrent

TITLES = {"rnn": "An RNN", "lstm": "An LSTM", "gru": "A GRU"}
Parts = Mapping[str, Tensor]


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


def recurrent(model: nn.Module) -> dict[str, list[str]]:
    """The recurrent layers of a model: name → its layers and directions, as torch names them (l0, l0_reverse, …)."""
    return {name: [*module.taps] for name, module in model.named_modules() if isinstance(module, Recurrent)}


def recurrent_walk(
    model: nn.Module, batch: Any, tokens: Sequence[str], *, place: str, layer: int = 0, at: int = 0
) -> Walk:
    """One step, at token `at`, of one layer in one direction, on a batch of one text.

    place: a name of `recurrent`; layer: counts that place's layers and directions. The gates are compared with what
    the taps hear, h_t with the fused kernel too, in double precision. Raises RecipeError for what is not there.
    """
    found = recurrent(model)
    if place not in found or not 0 <= layer < len(found[place]):
        known = ", ".join(f"{name} (0 to {len(names) - 1})" for name, names in found.items())
        raise RecipeError(f'no recurrent layer {layer} named "{place}"', fix=f"there is: {known or 'none'}")
    if not 0 <= at < len(tokens):
        raise RecipeError(f"there is no token {at}", fix=f"choose one of 0 to {len(tokens) - 1}")
    exact, name = precise(model), found[place][layer]
    with torch.no_grad():
        with tracing(exact, place) as engine:
            read(exact, batch)
        with tracing(exact, f"{place}.taps", taps=True) as heard:
            read(exact, batch)
        module = exact.get_submodule(place)
        assert isinstance(module, Recurrent)
        kind = next(kind for kind, unit in UNITS.items() if unit.equation is module.unit.equation)
        now = moment(module, engine[place], heard, place, name, at)
        steps = [*gates(kind, now), kept(now)] if kind == "lstm" else [*gates(kind, now)]
        steps.append(goes_on(kind, now, steps))
    way = "backward" if name.endswith("_reverse") else "forward"
    title = f"{TITLES[kind]} step at “{tokens[at]}”: {place}, layer {name.split('_')[0][1:]}, reading {way}"
    return Walk(title, [*tokens], steps)


def moment(
    module: Recurrent, calls: list[Call], heard: Mapping[str, list[Call]], place: str, name: str, at: int
) -> Event:
    """What the engine and the taps say of one step."""

    def all_of(of: str, part: str) -> Tensor:
        return torch.cat([call.output for call in heard[f"{place}.taps.{of}.{part}"]], dim=1)[0]  # (time, d_hidden)

    names, parts = [*module.taps], {part: all_of(name, part) for part in module.unit.taps}
    lower = [each for each in names if each.split("_")[0] == f"l{int(name.split('_')[0][1:]) - 1}"]
    if lower:
        x = torch.cat([all_of(each, "h") for each in lower], dim=-1)
    else:
        x = torch.cat([call.args[0] for call in calls], dim=1)[0]
    earlier = at + 1 if name.endswith("_reverse") else at - 1
    first = calls[0].kwargs.get("state") or (calls[0].args[2] if len(calls[0].args) > 2 else None)
    if 0 <= earlier < len(x):
        state = [parts[part][earlier] for part in module.unit.state]
    else:
        zeros = torch.zeros_like(parts["h"][0])
        state = [zeros if first is None else first[n][names.index(name), 0] for n, _ in enumerate(module.unit.state)]
    width, directions = module.fused.hidden_size, 2 if module.fused.bidirectional else 1
    above = names.index(name) - (len(names) - directions)  # where its states stand in the output
    out = torch.cat([call.output[0] for call in calls], dim=1)[0, at]
    return Event(
        x[at], state[0], state[1] if len(state) > 1 else None,
        [getattr(module.fused, f"{part}_{name}") for part in WEIGHTS], {part: each[at] for part, each in parts.items()},
        out[above * width : (above + 1) * width] if above >= 0 else None,
    )  # fmt: skip


def comes_in(now: Event) -> Step:
    values = [named("x", now.x), named("h", now.h)] + ([] if now.c is None else [named("c", now.c)])
    what = "what was kept" if now.c is not None else "what was said"
    return Step("what comes in", r"x_t,\ h_{t-1}" + (r",\ c_{t-1}" if now.c is not None else ""),
                f"The token, and {what} one step before.", [], values, None)  # fmt: skip


def gates(kind: str, now: Event) -> list[Step]:
    """From what comes in to the gates, and what they let through."""
    W_ih, W_hh, b_ih, b_hh = now.weights
    from_x, from_h = W_ih @ now.x + b_ih, W_hh @ now.h + b_hh
    if kind == "rnn":
        return [comes_in(now), Step(
            "sum", r"a_t = U x_t + b + W h_{t-1} + b'", "What is read and what is remembered are added.", ["x", "h"],
            [named("a", from_x + from_h)], None,
        )]  # fmt: skip
    if kind == "lstm":
        a = (from_x + from_h).unflatten(0, (4, -1))  # (gates, d_hidden)
        i, f, g, o = torch.sigmoid(a[0]), torch.sigmoid(a[1]), torch.tanh(a[2]), torch.sigmoid(a[3])
        values, symbols = torch.stack([i, f, g, o]), "ifgo"
        sums = r"a^* = W_{i*} x_t + b_{i*} + W_{h*} h_{t-1} + b_{h*}"
        formula, note = (
            r"i, f, o = \sigma(a^*),\quad g = \tanh(a^g)",
            ("The gates say how much is let in (i), kept (f) and shown (o); g is what would be written."),
        )
    else:
        x3, h3 = from_x.unflatten(0, (3, -1)), from_h.unflatten(0, (3, -1))
        r, z = torch.sigmoid(x3[0] + h3[0]), torch.sigmoid(x3[1] + h3[1])
        a = torch.stack([x3[0] + h3[0], x3[1] + h3[1], x3[2] + r * h3[2]])
        values, symbols = torch.stack([r, z, torch.tanh(a[2])]), "rzn"
        sums = (
            r"a^{r,z} = W_i x_t + b_i + W_h h_{t-1} + b_h,\quad "
            r"a^n = W_{in} x_t + b_{in} + r \circ (W_{hn} h_{t-1} + b_{hn})"
        )
        formula, note = (
            r"r, z = \sigma(a^{r,z}),\quad n = \tanh(a^n)",
            ("The gates say how much of the past is heard (r) and how much stays (z); n is what would be new."),
        )
    check = max(gap(value, now.heard[symbol]) for symbol, value in zip(symbols, values, strict=True))
    return [
        comes_in(now),
        Step("sums", sums, "One linear map of the token and one of the state, for every gate.", ["x", "h"],
             [named("a", a, [*symbols])], None),
        Step("gates", formula, note, ["a"], [named("gates", values, [*symbols])], check),
    ]  # fmt: skip


def kept(now: Event) -> Step:
    """An LSTM's cell."""
    assert now.c is not None
    heard = now.heard
    forgotten, written = heard["f"] * now.c, heard["i"] * heard["g"]
    return Step(
        "cell", r"c_t = f \circ c_{t-1} + i \circ g", "What is kept of the old cell, and what is written.",
        ["gates", "c"], [named("f∘c", forgotten), named("i∘g", written), named("c'", forgotten + written)],
        gap(forgotten + written, heard["c"]),
    )  # fmt: skip


def goes_on(kind: str, now: Event, steps: Sequence[Step]) -> Step:
    """The new state h_t, beside the tap and the fused kernel."""
    heard, last = now.heard, steps[-1].values
    if kind == "rnn":
        W_ih, W_hh, b_ih, b_hh = now.weights
        h, formula = torch.tanh(W_ih @ now.x + b_ih + W_hh @ now.h + b_hh), r"h_t = \tanh(a_t)"
        note = "The new state is all that the next step knows."
    elif kind == "lstm":
        assert now.c is not None
        cell = heard["f"] * now.c + heard["i"] * heard["g"]
        h, formula = heard["o"] * torch.tanh(cell), r"h_t = o \circ \tanh(c_t)"
        note = "The cell is kept whole, and shown as far as the gate lets it."
    else:
        h, formula = (1 - heard["z"]) * heard["n"] + heard["z"] * now.h, r"h_t = (1 - z) \circ n + z \circ h_{t-1}"
        note = "Each number is somewhere between the old one and the new one."
    check = gap(h, heard["h"]) if now.fused is None else max(gap(h, heard["h"]), gap(h, now.fused))
    return Step("state", formula, note, [last[-1].name], [named("h'", h)], check)
