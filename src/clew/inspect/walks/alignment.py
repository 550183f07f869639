"""Attention of a recurrent decoder over its encoder's states, step by step: additive, dot, scaled, general, cosine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import torch
from torch import Tensor

from clew.batches import PairBatch
from clew.errors import RecipeError
from clew.inspect.walk import Step, Walk, gap, named, precise, tracing
from clew.models.seq2seq import Attention, Seq2Seq
from clew.nn.attention import Additive, Cosine, Dot, General, Projected, ScaledDot


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
        found = scored(exact.attention.score, h, memory, source, target, at)
        steps = [
            Step("states", r"h_t,\ \bar h_s", "The decoder's states ask; the encoder's states are keys and values.",
                 [], [named("h", h, target), named("h̄", memory, source)], None),
            *found.steps,
            Step("scores", found.formula, "How well each target state matches each source token.", ["h", "h̄"],
                 [named("e", found.e, target, source)], gap(found.e, engine)),
            *taken(exact.attention, h, memory, engine, weights, hidden, source, target),
        ]  # fmt: skip
    return Walk(f"{found.title} attention over the encoder's states", [*source], steps)


@dataclass(frozen=True)
class Scored:
    """How a score comes about: what it is called, the scores e (T, S), their formula, and the steps before them."""

    title: str
    e: Tensor
    formula: str
    steps: Sequence[Step] = ()


@singledispatch
def scored(
    score: Any, h: Tensor, memory: Tensor, source: Sequence[str], target: Sequence[str], at: int
) -> Scored:  # fmt: skip
    """Score states h (T, d) with the memory (S, d) by the equation; a score that is not known here, as it is."""
    return Scored("Another", score(h, score.prepare(memory)), r"e_{ts} = \mathrm{score}(h_t, \bar h_s)")


@scored.register
def _(score: Dot, h: Tensor, memory: Tensor, source: Sequence[str], target: Sequence[str], at: int) -> Scored:
    return Scored("Dot-product", h @ memory.T, r"e_{ts} = h_t^\top \bar h_s")


@scored.register
def _(score: ScaledDot, h: Tensor, memory: Tensor, source: Sequence[str], target: Sequence[str], at: int) -> Scored:
    return Scored("Scaled dot-product", h @ memory.T / math.sqrt(h.shape[1]), r"e_{ts} = h_t^\top \bar h_s / \sqrt{d}")


@scored.register
def _(score: Additive, h: Tensor, memory: Tensor, source: Sequence[str], target: Sequence[str], at: int) -> Scored:
    q, k = h @ score.W.weight.T, memory @ score.U.weight.T + score.U.bias
    both = torch.tanh(q[:, None] + k)  # (T, S, d_hidden)
    return Scored("Additive", both @ score.v.weight[0], r"e_{ts} = v^\top \tanh(W h_t + U \bar h_s + b)", [
        Step("into one space", r"W h_t,\quad U \bar h_s + b", "Both are mapped into one space; that of the encoder's "
             "states is done once.", ["h", "h̄"], [named("W h", q, target), named("U h̄", k, source)],
             max(gap(q, score.W(h)), gap(k, score.prepare(memory)))),
        Step("meeting", r"\tanh(W h_t + U \bar h_s + b)", f"Each pair meets in a small network: here “{target[at]}” "
             "with every source token.", ["W h", "U h̄"], [named("tanh", both[at], source)], None),
    ])  # fmt: skip


@scored.register
def _(score: General, h: Tensor, memory: Tensor, source: Sequence[str], target: Sequence[str], at: int) -> Scored:
    k = memory @ score.W.weight.T
    return Scored("General", h @ k.T, r"e_{ts} = h_t^\top W \bar h_s", [
        Step("into the query's space", r"W \bar h_s", "A learned map takes the encoder's states there.", ["h̄"],
             [named("W h̄", k, source)], gap(k, score.prepare(memory))),
    ])  # fmt: skip


@scored.register
def _(score: Projected, h: Tensor, memory: Tensor, source: Sequence[str], target: Sequence[str], at: int) -> Scored:
    q, k = h @ score.W_q.weight.T, memory @ score.W_k.weight.T
    inner = scored(score.score, q, k, source, target, at)
    formula = inner.formula.replace("h_t", "(W_q h_t)").replace(r"\bar h_s", r"(W_k \bar h_s)")
    return Scored(f"{inner.title}, projected", inner.e, formula, [
        Step("into one space", r"W_q h_t,\quad W_k \bar h_s", "Learned maps of both are compared; that of the "
             "encoder's states is done once.", ["h", "h̄"], [named("W_q h", q, target), named("W_k h̄", k, source)],
             max(gap(q, score.W_q(h)), gap(k, score.W_k(memory)))),
        *inner.steps,
    ])  # fmt: skip


@scored.register
def _(score: Cosine, h: Tensor, memory: Tensor, source: Sequence[str], target: Sequence[str], at: int) -> Scored:
    q, k = (part / part.norm(dim=-1, keepdim=True) for part in (h, memory))
    tau = score.log_temperature.exp()
    return Scored("Cosine", tau * (q @ k.T), r"e_{ts} = \tau \cos(h_t, \bar h_s)", [
        Step("directions", r"\frac{h_t}{\lVert h_t \rVert},\quad \frac{\bar h_s}{\lVert \bar h_s \rVert}",
             f"Only directions count; the learned τ is {float(tau):.4g}.", ["h", "h̄"],
             [named("h / |h|", q, target), named("h̄ / |h̄|", k, source)], gap(k, score.prepare(memory))),
    ])  # fmt: skip


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
