"""A text's class from the states of both directions that it attends to: from states to shares, one vector, a guess."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from clew.batches import TextBatch
from clew.errors import RecipeError
from clew.inspect.walk import Step, Walk, gap, named, precise, tracing
from clew.models.text_classifier import Attended, TextClassifier
from clew.nn.taps import parts_of_kind


def pooling_walk(
    model: TextClassifier, batch: TextBatch, tokens: Sequence[str], *, classes: Sequence[str] = ()
) -> Walk:
    """The attention of a classifier over its states, on a batch of one text, forward and back to the scores.

    classes: their names. Everything is computed twice in double precision; the gradient is that of the surprise at the
    model's own answer. Raises RecipeError for a model that does not pool so.
    """
    if not parts_of_kind(model, Attended):
        raise RecipeError("this model does not attend to its states", where="model.encoder", fix="choose another run")
    exact = precise(model).requires_grad_()
    with tracing(exact, "encoder", taps=False) as fused:
        logits = exact(batch).logits[0]
    with tracing(exact, "encoder.weights", taps=True) as heard:
        exact(batch)
    encoder, output = exact.encoder, exact.output
    h = fused["encoder.layer"][0].output[0][0].detach()  # (T, 2d)
    with torch.no_grad():
        k = torch.tanh(h @ encoder.key.weight.T + encoder.key.bias)
        e = k @ encoder.query.weight[0]
        shifted = (e - e.max()).exp()
        alpha = shifted / shifted.sum()
        z = alpha @ h
        ours = output.weight @ z + output.bias
        p = ours.softmax(dim=0)
    names = [*classes] or [str(n) for n in range(len(p))]
    checks = {
        "keys": gap(e, fused["encoder.query"][0].output[0, :, 0]), "tanh": gap(k, fused["encoder.query"][0].args[0][0]),
        "weights": gap(alpha, heard["encoder.weights"][0].output[0]), "z": gap(z, fused["encoder"][0].output[0]),
        "logits": gap(ours, logits),
    }  # fmt: skip
    best = int(p.argmax())
    return Walk(f"Attention over {len(tokens)} states, for one class", [*tokens], [
        Step("states", r"h_t = [\overrightarrow{h_t}; \overleftarrow{h_t}]",
             "What the recurrent layer made of each token, read from both sides.", [], [named("h", h, tokens)], None),
        Step("keys", r"k_t = \tanh(W h_t + b)", "Each state goes through a small layer.", ["h"],
             [named("k", k, tokens)], checks["tanh"]),
        Step("scores", r"e_t = u^\top k_t", "One learned question u is asked of every text.", ["k"],
             [named("u", encoder.query.weight.detach()), named("e", e, tokens)], checks["keys"]),
        Step("softmax", r"\alpha_t = \frac{\exp e_t}{\sum_{t'} \exp e_{t'}}", "Shares of one.", ["e"],
             [named("α", alpha, tokens)], checks["weights"]),
        Step("one vector", r"z = \textstyle\sum_t \alpha_t h_t", "The text is its states, each by its share.",
             ["α", "h"], [named("z", z)], checks["z"]),
        Step("classes", r"P(c) = \mathrm{softmax}(W_c z + b_c)", f"The guess is “{names[best]}”.", ["z"],
             [named("logits", ours, names), named("P", p, names)], checks["logits"]),
        *back(exact, h, alpha, p, best, tokens),
    ])  # fmt: skip


def back(exact: Any, h: Tensor, alpha: Tensor, p: Tensor, best: int, tokens: Sequence[str]) -> list[Step]:
    """From the surprise at the answer back to the shares and the scores, beside autograd's."""
    with torch.no_grad():
        error = p.clone()
        error[best] -= 1.0
        d_z = error @ exact.output.weight
        d_alpha = h @ d_z
        d_e = alpha * (d_alpha - alpha @ d_alpha)
    states = h.clone()
    scores = (torch.tanh(exact.encoder.key(states)) @ exact.encoder.query.weight[0]).detach().requires_grad_()
    shares = scores.softmax(dim=0)
    loss = -exact.output(shares @ states).log_softmax(dim=0)[best]
    by_shares, by_scores = torch.autograd.grad(loss, [shares, scores])
    return [
        Step("to the shares", r"\frac{\partial L}{\partial \alpha_t} = h_t \cdot W_c^\top (P - y),"
             r"\quad L = -\log P(\hat c)", "More of a state helps or hurts the answer by how it points.", ["P", "h"],
             [named("∂L/∂α", d_alpha, tokens)], gap(d_alpha, by_shares)),
        Step("to the scores", r"\frac{\partial L}{\partial e_t} = \alpha_t \Big(\frac{\partial L}{\partial \alpha_t}"
             r" - \textstyle\sum_{t'} \alpha_{t'} \frac{\partial L}{\partial \alpha_{t'}}\Big)",
             "They sum to 0: what one token wins, others lose.", ["α", "∂L/∂α"],
             [named("∂L/∂e", d_e, tokens)], gap(d_e, by_scores)),
    ]  # fmt: skip
