"""The backward pass of attention, step by step: from the loss through softmax to the weights, beside autograd."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from clew.batches import PairBatch, TextBatch
from clew.contracts import Model
from clew.errors import RecipeError
from clew.inspect.walk import Step, Walk, gap, named, precise
from clew.inspect.walks.attention import PLACES, group_of, project, turned
from clew.inspect.walks.places import Site, place_of, read, visit


def softmax_jacobian(alpha: Tensor) -> Tensor:
    """∂α_i/∂s_j = α_i (δ_ij - α_j) of α = softmax(s): (…, S) -> (…, S, S)."""
    return torch.diag_embed(alpha) - alpha[..., :, None] * alpha[..., None, :]


@dataclass(frozen=True)
class Loss:
    """What is differentiated: a number, its formula, and a sentence that says what it is."""

    value: Tensor
    formula: str
    note: str


def loss_of(model: Model, batch: Any) -> Loss:
    """A loss of one text without labels: the surprise at its own tokens where the model predicts tokens, else at its
    own answer."""
    return next((loss for head, loss in LOSSES.items() if head in model.heads), of_states)(model, batch)


def surprise(log_p: Tensor, tokens: Tensor) -> Tensor:
    """-Σ log P of tokens (…), of log-probabilities (…, V)."""
    return -log_p.gather(-1, tokens[..., None]).sum()


def of_target(model: Any, batch: PairBatch) -> Loss:
    nll = surprise(model.project(model(batch).hidden).log_softmax(dim=-1), batch.target_out)
    return Loss(nll, r"L = -\textstyle\sum_t \log P(y_t)", "The loss is the surprise at the target, token by token.")


def of_next_tokens(model: Any, batch: TextBatch) -> Loss:
    nll = surprise(model.logits(read(model, batch).hidden[0, :-1]).log_softmax(dim=-1), batch.text[0, 1:])
    return Loss(nll, r"L = -\textstyle\sum_t \log P(w_{t+1})", "The loss is the surprise at each next token.")


def everywhere(batch: TextBatch) -> TextBatch:
    """The batch, with every token asked for."""
    return replace(batch, at=torch.arange(batch.text.shape[1]), label=batch.text[0])


def of_tokens(model: Any, batch: TextBatch) -> Loss:
    weight, bias = model.output_table()
    nll = surprise((model(everywhere(batch)).hidden @ weight.T + bias).log_softmax(dim=-1), batch.text[0])
    return Loss(nll, r"L = -\textstyle\sum_t \log P(w_t)", "The loss is the surprise at each token that stands there.")


def of_logits(model: Any, batch: TextBatch) -> Loss:
    logits = model(everywhere(batch)).logits
    if logits.shape[-1] == 1:
        return Loss(logits.sum(), "L = s", "What is differentiated is the score itself.")
    return own_answer(logits)


def of_span(model: Any, batch: TextBatch) -> Loss:
    out = model(batch)
    return own_answer(out.start, out.end)


def own_answer(*logits: Tensor) -> Loss:
    best = -torch.stack([each.log_softmax(dim=-1).amax(dim=-1).sum() for each in logits]).sum()
    return Loss(best, r"L = -\log P(\hat y)", "The loss is the surprise at the model's own answer.")


def of_states(model: Any, batch: TextBatch) -> Loss:
    squares = read(model, batch).hidden.square().sum() / 2
    return Loss(squares, r"L = \tfrac12 \textstyle\sum_t \lVert h_t \rVert^2", "The loss is half the squared states.")


LOSSES: dict[str, Callable[[Any, Any], Loss]] = {
    "translate": of_target, "language_model": of_next_tokens, "masked_lm": of_tokens, "classify": of_logits,
    "tag": of_logits, "answer": of_span,
}  # fmt: skip
"""By what a model gives, see `Model.heads`."""


def backward_walk(
    model: Model, batch: PairBatch | TextBatch, rows: Sequence[str], columns: Sequence[str], *, place: str,
    layer: int, head: int, at: int = 0,
) -> Walk:  # fmt: skip
    """One head of one layer, backward, on a batch of one text; `at`: the token whose softmax is looked at closely.

    The loss is `loss_of`. Each gradient is computed from local derivatives, in double precision, and compared with
    autograd's through the whole model, or through this attention where the model does not hold the tensor.
    Raises RecipeError for what is not there.
    """
    where = place_of(model, place, layer, head)
    if not 0 <= at < len(rows):
        raise RecipeError(f"there is no token {at}", fix=f"choose one of 0 to {len(rows) - 1}")
    exact, losses = precise(model).requires_grad_(), []
    site = visit(
        exact, batch, where, layer, listen=True, run=lambda model, batch: losses.append(loss_of(model, batch))
    )  # fmt: skip
    attention, loss = site.attention, losses[0]
    linear = [attention.query, attention.key, attention.value]
    assert site.weights is not None
    G, d_heads, d_weights, *d_linear = torch.autograd.grad(
        loss.value, [site.joined.output, site.joined.args[0], site.weights, *(part.weight for part in linear)]
    )
    with torch.no_grad():
        y = site.norm(site.x) if site.pre else site.x
    G, d_heads = (spread(part, site.only, len(y)) for part in (G, d_heads))
    share = part_of(site, head)
    with torch.no_grad():
        d_O = G @ attention.output.weight[:, share]
    local = Local.of(site, y, d_O, head)
    group = [other for other in range(attention.n_heads) if group_of(site, other) == group_of(site, head)]
    with torch.no_grad():
        d_others = [G @ attention.output.weight[:, part_of(site, other)] for other in group]
    sharing = [Local.of(site, y, d, other) for d, other in zip(d_others, group, strict=True)]
    steps = [
        Step("upstream", loss.formula + r",\quad G = \frac{\partial L}{\partial y}",
             f"{loss.note} Here it is {float(loss.value.detach()):.4g}; what comes back to this attention is given.",
             [], [named("G", G, rows)], None),
        Step("back through W_o", r"\frac{\partial L}{\partial O} = G\,W_o", "Each head gets its own part.", ["G"],
             [named("∂L/∂O", d_O, rows)], gap(d_O, d_heads[:, share])),
        *local.steps(d_O, d_weights[0, head], rows, columns, at),
        *to_weights(site, local, sharing, y, d_linear, rows, columns, head),
    ]  # fmt: skip
    title = f"Backward: {PLACES[place]}, layer {layer + 1} of {where.n_layers}, head {head + 1} of {where.n_heads}"
    return Walk(title, [*rows], steps)


def part_of(site: Site, head: int) -> slice:
    """Which of all heads' numbers are those of one."""
    return slice(head * site.d_head, (head + 1) * site.d_head)


def spread(gradient: Tensor, only: Tensor | None, size: int) -> Tensor:
    """Back to all tokens, where a layer was asked for some alone; what was asked for twice adds up."""
    gradient = gradient.reshape(-1, gradient.shape[-1])
    return gradient if only is None else gradient.new_zeros(size, gradient.shape[1]).index_add(0, only, gradient)


@dataclass(frozen=True)
class Local:
    """One head forward, its gradients from local derivatives, and autograd's of the same, by name.

    q: (T, d_head), k, v: (S, d_head), as they meet (turned, where positions are rotary); alpha: (T, S).
    """

    q: Tensor
    k: Tensor
    v: Tensor
    alpha: Tensor
    d_q: Tensor  # before they were turned
    d_k: Tensor
    d_v: Tensor
    scale: float
    engine: dict[str, Tensor]

    @classmethod
    def of(cls, site: Site, y: Tensor, d_O: Tensor, head: int) -> Local:
        y = y.detach().requires_grad_()
        memory = y if site.memory is None else site.memory.detach().requires_grad_()
        all_q, all_k, all_v = project(site, y, memory)
        group = group_of(site, head)
        plain = all_q[head], all_k[group]
        q, k, v = turned(site, plain[0]), turned(site, plain[1]), all_v[group]
        scores = q @ k.T / site.scale
        if site.bias is not None:
            scores = scores + site.bias[head].detach()
        alpha = scores.masked_fill(~site.mask, -torch.inf).softmax(dim=-1)
        wanted = {"S": scores, "q": plain[0], "k": plain[1], "v": v, "y": y, "m": memory}
        found = torch.autograd.grad(alpha @ v, [*wanted.values()], d_O)
        engine = dict(zip(wanted, found, strict=True))
        q, k, v, alpha = (part.detach() for part in (q, k, v, alpha))
        d_scores = through_softmax(alpha, d_O @ v.T) / site.scale
        d_q, d_k = d_scores @ k, d_scores.T @ q
        if site.attention.rotary:
            d_q, d_k = turn_back(site, d_q), turn_back(site, d_k)
        return cls(q, k, v, alpha, d_q, d_k, alpha.T @ d_O, site.scale, engine)

    def steps(self, d_O: Tensor, d_weights: Tensor, rows: Sequence[str], columns: Sequence[str], at: int) -> list[Step]:
        """Through the weighted sum, the softmax and the products."""
        d_alpha = d_O @ self.v.T
        d_S = through_softmax(self.alpha, d_alpha)
        jacobian = softmax_jacobian(self.alpha[at])
        slope = float((self.alpha * (1 - self.alpha)).sum(dim=1).mean())
        table, divided = {"rows": rows, "columns": columns}, "" if self.scale == 1 else r"\frac{1}{\sqrt{d_k}}"
        return [
            Step("to the values", r"\frac{\partial L}{\partial V} = \alpha^\top \frac{\partial L}{\partial O}",
                 "A value is told off by every token that took of it, in proportion.", ["∂L/∂O"],
                 [named("∂L/∂V", self.d_v, columns)], gap(self.d_v, self.engine["v"])),
            Step("to the weights", r"\frac{\partial L}{\partial \alpha} = \frac{\partial L}{\partial O} V^\top",
                 "Taking more of a value helps or hurts by how it points.", ["∂L/∂O"],
                 [named("∂L/∂α", d_alpha, **table)], gap(d_alpha, d_weights)),
            Step("softmax, locally",
                 r"J_{ij} = \frac{\partial \alpha_i}{\partial S_j} = \alpha_i(\delta_{ij} - \alpha_j)",
                 f"Of “{rows[at]}”; where one weight is near 1 all of it is near 0 (its mean trace here: {slope:.3g}).",
                 ["α"], [named("α", self.alpha, **table), named("J", jacobian, columns, columns)],
                 gap(jacobian, by_autograd(self.alpha[at]))),
            Step("through softmax", r"\frac{\partial L}{\partial S_{tj}} = \alpha_{tj}\Big(\frac{\partial L}"
                 r"{\partial \alpha_{tj}} - \textstyle\sum_i \alpha_{ti} \frac{\partial L}{\partial \alpha_{ti}}\Big)",
                 "Each row sums to 0: what one score wins, others lose.", ["α", "∂L/∂α"],
                 [named("∂L/∂S", d_S, **table)], gap(d_S, self.engine["S"])),
            Step("to queries and keys",
                 rf"\frac{{\partial L}}{{\partial Q}} = {divided}\frac{{\partial L}}{{\partial S}} K,"
                 rf"\quad \frac{{\partial L}}{{\partial K}} = {divided}\frac{{\partial L}}{{\partial S}}^\top Q",
                 f"What divides the scores divides the gradient too: {self.scale:.4g}.", ["∂L/∂S"],
                 [named("∂L/∂Q", self.d_q, rows), named("∂L/∂K", self.d_k, columns)],
                 max(gap(self.d_q, self.engine["q"]), gap(self.d_k, self.engine["k"]))),
        ]  # fmt: skip


def through_softmax(alpha: Tensor, d_alpha: Tensor) -> Tensor:
    """∂L/∂s = Jᵀ ∂L/∂α of each row, without holding J: (…, S) -> (…, S)."""
    return alpha * (d_alpha - (alpha * d_alpha).sum(dim=-1, keepdim=True))


def by_autograd(alpha: Tensor) -> Tensor:
    """The Jacobian of softmax at the scores log α (-∞ where α is 0)."""
    return torch.autograd.functional.jacobian(lambda s: s.softmax(dim=-1), alpha.log())


def turn_back(site: Site, gradient: Tensor) -> Tensor:
    """The transpose of a rotation turns the other way: with the halves exchanged, the rotation does."""
    half = gradient.shape[1] // 2
    return turned(site, gradient.roll(half, dims=1)).roll(half, dims=1)


def to_weights(
    site: Site, local: Local, sharing: Sequence[Local], y: Tensor, d_linear: Sequence[Tensor], rows: Sequence[str],
    columns: Sequence[str], head: int,
) -> list[Step]:  # fmt: skip
    """The gradients of W_q, W_k and W_v, and what goes on to the tokens through this head.

    sharing: the heads that share W_k and W_v with it, itself among them, whose gradients add up there.
    """
    attention = site.attention
    memory = y if site.memory is None else site.memory.detach()
    own, group = part_of(site, head), part_of(site, group_of(site, head))
    W_q = attention.query.weight.detach()[own]
    W_k, W_v = (part.weight.detach()[group] for part in (attention.key, attention.value))
    engine = [part[share] for part, share in zip(d_linear, (own, group, group), strict=True)]
    d_k, d_v = (torch.stack(parts).sum(dim=0) for parts in ([p.d_k for p in sharing], [p.d_v for p in sharing]))
    found = [local.d_q.T @ y, d_k.T @ memory, d_v.T @ memory]
    back_q, back_m = local.d_q @ W_q, local.d_k @ W_k + local.d_v @ W_v
    if site.memory is None:
        back, check = [named("∂L/∂x of this head", back_q + back_m, rows)], gap(back_q + back_m, local.engine["y"])
    else:
        back = [named("∂L/∂x of this head", back_q, rows), named("∂L/∂m of this head", back_m, columns)]
        check = max(gap(back_q, local.engine["y"]), gap(back_m, local.engine["m"]))
    names = ("∂L/∂W_q", "∂L/∂W_k", "∂L/∂W_v")
    return [
        Step("to the weights' matrices", r"\frac{\partial L}{\partial W_q} = \frac{\partial L}{\partial Q}^\top x,"
             r"\quad \frac{\partial L}{\partial W_k} = \frac{\partial L}{\partial K}^\top x,"
             r"\quad \frac{\partial L}{\partial W_v} = \frac{\partial L}{\partial V}^\top x",
             "What the optimizer is given for this head, equal to autograd's through the whole model."
             + (f" Keys and values are shared by {len(sharing)} heads, whose gradients add up." * (len(sharing) > 1)),
             ["∂L/∂Q", "∂L/∂K", "∂L/∂V"], [named(name, part) for name, part in zip(names, found, strict=True)],
             max(gap(ours, theirs) for ours, theirs in zip(found, engine, strict=True))),
        Step("to the tokens", r"\frac{\partial L}{\partial x} = \frac{\partial L}{\partial Q} W_q + "
             r"\frac{\partial L}{\partial K} W_k + \frac{\partial L}{\partial V} W_v",
             "A token is reached three ways: as the one who asks, as the one found, as the one taken of.",
             ["∂L/∂Q", "∂L/∂K", "∂L/∂V"], back, check),
    ]  # fmt: skip
