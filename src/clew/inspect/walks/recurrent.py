"""One step of an RNN, LSTM or GRU on a text: what comes in, the gates, what is kept, what goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from clew.errors import RecipeError
from clew.inspect.cells import Event, cell_of
from clew.inspect.walk import Call, Step, Walk, gap, named, precise, tracing
from clew.inspect.walks.places import read
from clew.nn.recurrent import Recurrent
from clew.nn.taps import parts_of_kind


def recurrent(model: nn.Module) -> dict[str, list[str]]:
    """The recurrent layers of a model: name → its layers and directions, as torch names them (l0, l0_reverse, …)."""
    return {name: [*module.taps] for name, module in parts_of_kind(model, Recurrent).items()}


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
        module = parts_of_kind(exact, Recurrent)[place]
        cell, now = cell_of(module), moment(module, engine[place], heard, place, name, at)
        steps = [comes_in(now), *cell.steps(now)]
        h, formula, note = cell.state(now)
        check = gap(h, now.heard["h"]) if now.fused is None else max(gap(h, now.heard["h"]), gap(h, now.fused))
        steps.append(Step("state", formula, note, [steps[-1].values[-1].name], [named("h'", h)], check))
    way = "backward" if name.endswith("_reverse") else "forward"
    title = f"{cell.title} step at “{tokens[at]}”: {place}, layer {name.split('_')[0][1:]}, reading {way}"
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
        module.weights(name), {part: each[at] for part, each in parts.items()},
        out[above * width : (above + 1) * width] if above >= 0 else None,
    )  # fmt: skip


def comes_in(now: Event) -> Step:
    values = [named("x", now.x), named("h", now.h)] + ([] if now.c is None else [named("c", now.c)])
    what = "what was kept" if now.c is not None else "what was said"
    return Step("what comes in", r"x_t,\ h_{t-1}" + (r",\ c_{t-1}" if now.c is not None else ""),
                f"The token, and {what} one step before.", [], values, None)  # fmt: skip
