"""Attention of a recurrent decoder over its encoder's states, step by step: additive, dot, scaled, general, cosine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from clew.batches import PairBatch
from clew.errors import RecipeError
from clew.inspect.walk import Step, Walk, gap, named, precise, tracing
from clew.models.seq2seq import Attention, Seq2Seq
from clew.nn.attention import Additive, Cosine, Dot, General, ScaledDot


def alignment_walk(
    model: Seq2Seq, batch: PairBatch, source: Sequence[str], target: Sequence[str], *, at: int = 0
) -> Walk:
    """What each target state takes of the source, on a batch of one pair; `at`: the target token looked at closely.

    target: the tokens that are written, y_1 … </s>: row t belongs to the state that predicts y_t. Everything is
    computed twice in double precision. Raises RecipeError for a model without attention, or a place that is not there.
    """
    if model.attention.score is None:
        raise RecipeError("this translator has no attention", where="model.attention.score", fix="choose another run")
    if not 0 <= at < len(target):
        raise RecipeError(f"there is no target token {at}", fix=f"choose one of 0 to {len(target) - 1}")
    exact = precise(model)
    with torch.no_grad(), tracing(exact, "attention") as seen:
        exact(batch)
    calls = seen["attention"]
    h = torch.cat([call.args[0][0] for call in calls])  # (T, d)
    weights = torch.cat([call.output[1][0] for call in calls])  # (T, S)
    hidden = torch.cat([call.output[0][0] for call in calls])  # (T, d)
    memory = calls[0].args[2].states[0]  # (S, d)
    with torch.no_grad():
        engine = exact.attention.score(h[None], exact.attention.score.prepare(memory[None]))[0]
        steps = [
            Step("states", r"h_t,\ \bar h_s", "The decoder's states ask; the encoder's states are keys and values.",
                 [], [named("h", h, target), named("h̄", memory, source)], None),
            *scored(exact.attention.score, h, memory, engine, source, target, at),
            *taken(exact.attention, h, memory, engine, weights, hidden, source, target),
        ]  # fmt: skip
    return Walk(f"{TITLES[kind_of(exact.attention.score)]} attention over the encoder's states", [*source], steps)


TITLES = {
    "additive": "Additive", "general": "General", "scaled_dot": "Scaled dot-product", "dot": "Dot-product",
    "cosine": "Cosine",
}  # fmt: skip


def kind_of(score: Any) -> str:
    kinds = {Additive: "additive", General: "general", ScaledDot: "scaled_dot", Dot: "dot", Cosine: "cosine"}
    return next(name for kind, name in kinds.items() if isinstance(score, kind))


def scored(
    score: Any, h: Tensor, memory: Tensor, engine: Tensor, source: Sequence[str], target: Sequence[str], at: int
) -> list[Step]:
    """From states to the scores e (T, S)."""
    kind, steps = kind_of(score), []
    if kind == "additive":
        q, k = h @ score.W.weight.T, memory @ score.U.weight.T + score.U.bias
        both = torch.tanh(q[:, None] + k)  # (T, S, d_hidden)
        e, formula = both @ score.v.weight[0], r"e_{ts} = v^\top \tanh(W h_t + U \bar h_s + b)"
        steps.append(Step(
            "into one space", r"W h_t,\quad U \bar h_s + b", "Both are mapped into one space; that of the encoder's "
            "states is done once.", ["h", "h̄"], [named("W h", q, target), named("U h̄", k, source)],
            max(gap(q, score.W(h)), gap(k, score.prepare(memory))),
        ))  # fmt: skip
        steps.append(Step(
            "meeting", r"\tanh(W h_t + U \bar h_s + b)", f"Each pair meets in a small network: here “{target[at]}” "
            "with every source token.", ["W h", "U h̄"], [named("tanh", both[at], source)], None,
        ))  # fmt: skip
    elif kind == "general":
        k = memory @ score.W.weight.T
        e, formula = h @ k.T, r"e_{ts} = h_t^\top W \bar h_s"
        steps.append(Step(
            "into the query's space", r"W \bar h_s", "A learned map takes the encoder's states there.", ["h̄"],
            [named("W h̄", k, source)], gap(k, score.prepare(memory)),
        ))  # fmt: skip
    elif kind == "cosine":
        q, k = (part / part.norm(dim=-1, keepdim=True) for part in (h, memory))
        e, formula = score.log_temperature.exp() * (q @ k.T), r"e_{ts} = \tau \cos(h_t, \bar h_s)"
        steps.append(Step(
            "directions", r"\frac{h_t}{\lVert h_t \rVert},\quad \frac{\bar h_s}{\lVert \bar h_s \rVert}",
            f"Only directions count; the learned τ is {float(score.log_temperature.exp()):.4g}.", ["h", "h̄"],
            [named("h / |h|", q, target), named("h̄ / |h̄|", k, source)], gap(k, score.prepare(memory)),
        ))  # fmt: skip
    elif kind == "scaled_dot":
        e, formula = h @ memory.T / math.sqrt(h.shape[1]), r"e_{ts} = h_t^\top \bar h_s / \sqrt{d}"
    else:
        e, formula = h @ memory.T, r"e_{ts} = h_t^\top \bar h_s"
    last = Step("scores", formula, "How well each target state matches each source token.", ["h", "h̄"],
                [named("e", e, target, source)], gap(e, engine))  # fmt: skip
    return [*steps, last]


def taken(
    attention: Attention, h: Tensor, memory: Tensor, e: Tensor, weights: Tensor, hidden: Tensor, source: Sequence[str],
    target: Sequence[str],
) -> list[Step]:  # fmt: skip
    """From scores to weights, contexts and attentional states, beside the engine's weights (T, S) and states (T, d)."""
    shifted = (e - e.amax(dim=1, keepdim=True)).exp()
    alpha = shifted / shifted.sum(dim=1, keepdim=True)
    context = alpha @ memory
    both = torch.cat([context, h], dim=1)
    out = torch.tanh(both @ attention.combine.weight.T + attention.combine.bias)
    return [
        Step("softmax", r"\alpha_{ts} = \frac{\exp e_{ts}}{\sum_{s'} \exp e_{ts'}}",
             "Every row becomes shares of one: the alignment of a target token.", ["e"],
             [named("α", alpha, target, source)], gap(alpha, weights)),
        Step("context", r"c_t = \textstyle\sum_s \alpha_{ts} \bar h_s", "Each target state takes its shares.",
             ["α", "h̄"], [named("c", context, target)], gap(context, weights @ memory)),
        Step("attentional state", r"\tilde h_t = \tanh(W_c\,[c_t; h_t] + b_c)",
             "What was found and what was known together choose the word.", ["c", "h"],
             [named("h̃", out, target)], gap(out, hidden)),
    ]  # fmt: skip
