"""One update of GloVe: a pair's score beside the logarithm of its count, the weighted square, and how all move."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from clew.errors import RecipeError
from clew.inspect.walk import Step, Walk, gap, named
from clew.inspect.walks.skipgram import row_of
from clew.models.glove import GloVe
from clew.objectives.glove import weighted_squares


def glove_walk(
    model: GloVe, word: str, context: str, count: float, *, x_max: float = 100.0, power: float = 0.75,
    rate: float = 0.05, initial: float = 1.0,
) -> Walk:  # fmt: skip
    """What it teaches that `word` met `context` so many times (weighted by distance); the model stays as it is.

    The score is the model's, the loss the objective's and the gradients autograd's, in double precision. Raises
    VocabularyError for a word that the vocabulary lacks, RecipeError where the count is not above 0.
    """
    if not count > 0:
        raise RecipeError(f"a count of {count:g} has no logarithm", fix="write a number above 0 after the two words")
    i, j = row_of(model, word), row_of(model, context)
    w, c, b, b_c = (part[0] for part in rows_of(model, i, j).values())  # (d,), (d,), (), ()
    X, labels = torch.tensor(float(count)).double(), [word, context]
    score = w @ c + b + b_c
    weight = torch.minimum((X / x_max) ** power, torch.ones(()).double())
    difference = score - X.log()
    loss, error = 0.5 * weight * difference**2, weight * difference
    d_w, d_c = error * c, error * w
    engine = by_autograd(model, i, j, X, (x_max, power), (rate, initial))
    # Each square is added to its sum before that divides, as by torch.
    new_w, new_c = (part - rate * g / (initial + g**2).sqrt() for part, g in ((w, d_w), (c, d_c)))
    new_b, new_b_c = (part - rate * error / (initial + error**2).sqrt() for part in (b, b_c))
    after = new_w @ new_c + new_b + new_b_c
    return Walk(f"GloVe: “{word}” met “{context}” {count:g} times", labels, [
        Step("vectors", r"w_i,\ b_i,\ \tilde w_j,\ \tilde b_j",
             "Every word has a vector and a bias as itself, and another as what stands around.", [],
             [named("w", w[None], [word]), named("w̃", c[None], [context]),
              named("b, b̃", torch.stack([b, b_c]), labels)], None),
        Step("score", r"s = w_i \cdot \tilde w_j + b_i + \tilde b_j", "What the model takes log X for.",
             ["w", "w̃", "b, b̃"], [named("w·w̃", w @ c), named("s", score)], gap(score, engine.score)),
        Step("difference", r"s - \log X_{ij}", f"They met {count:g} times: the logarithm is {float(X.log()):.4g}.",
             ["s"], [named("log X", X.log()), named("difference", difference)],
             gap(difference, engine.difference)),
        Step("weight", r"f(X) = \min\Big(1, \big(\tfrac{X}{x_{\max}}\big)^{\alpha}\Big),"
             rf"\quad x_{{\max}} = {x_max:g},\ \alpha = {power:g}",
             "Rare meetings are noise and count for less.", [], [named("f", weight)], gap(weight, engine.weight)),
        Step("loss", r"L = \tfrac12 f(X_{ij}) (s - \log X_{ij})^2", "A weighted square.", ["f", "difference"],
             [named("L", loss)], gap(loss, engine.loss)),
        Step("gradients", r"e = f(X)(s - \log X),\quad \frac{\partial L}{\partial w_i} = e\,\tilde w_j,"
             r"\quad \frac{\partial L}{\partial \tilde w_j} = e\,w_i,"
             r"\quad \frac{\partial L}{\partial b_i} = \frac{\partial L}{\partial \tilde b_j} = e",
             "One error for the pair; each vector moves along the other.", ["f", "difference", "w", "w̃"],
             [named("e", error), named("∂L/∂w", d_w[None], [word]), named("∂L/∂w̃", d_c[None], [context])],
             max(gap(ours, theirs) for ours, theirs in zip((d_w, d_c, error, error), engine.gradients, strict=True))),
        Step("update", rf"w' = w - \eta\,\frac{{g}}{{\sqrt{{{initial:g} + g^2}}}}\ \text{{in each dimension}},\quad "
             rf"g = \frac{{\partial L}}{{\partial w}},\ \eta = {rate:g}",
             f"AdaGrad's first step, whose sums of squares begin at {initial:g}; later ones are shorter.",
             ["∂L/∂w", "∂L/∂w̃"], [named("w'", new_w[None], [word]), named("w̃'", new_c[None], [context]),
              named("b', b̃'", torch.stack([new_b, new_b_c]), labels)],
             max(gap(ours, theirs) for ours, theirs in zip((new_w, new_c, new_b, new_b_c), engine.new, strict=True))),
        Step("afterwards", r"s' = w'_i \cdot \tilde w'_j + b'_i + \tilde b'_j",
             f"The score goes from {float(score):.4g} to {float(after):.4g}, towards {float(X.log()):.4g}.",
             ["w'", "w̃'", "b', b̃'"], [named("s'", after)], gap(after, engine.after)),
    ])  # fmt: skip


def rows_of(model: GloVe, i: int, j: int) -> dict[str, Tensor]:
    """The rows of a word and a context, (1, d) or (1,) each, under the names of their tables."""
    tables = {"word": i, "context": j, "word_bias": i, "context_bias": j}
    return {name: model.get_parameter(name).detach()[row : row + 1].double() for name, row in tables.items()}


@dataclass(frozen=True)
class Engine:
    """What the model, the objective, autograd and torch's AdaGrad make of a pair; gradients and new: of w, w̃, b, b̃."""

    score: Tensor
    difference: Tensor  # s - log X = L' / L''
    weight: Tensor  # f(X) = L'', as the loss is a weighted square of the score
    loss: Tensor
    gradients: list[Tensor]
    new: list[Tensor]
    after: Tensor


def by_autograd(
    model: GloVe, i: int, j: int, count: Tensor, weighing: tuple[float, float], adagrad: tuple[float, float]
) -> Engine:
    """weighing: x_max and power; adagrad: its rate, and what its sums of squares begin at."""
    rows = {name: part.requires_grad_() for name, part in rows_of(model, i, j).items()}
    first = torch.zeros(1, dtype=torch.long)

    def scored() -> Tensor:
        return torch.func.functional_call(model, rows, (first, first))

    score = scored()  # as if the model had these rows alone
    loss = weighted_squares(score, count[None], *weighing)[0]
    (slope,) = torch.autograd.grad(loss, score, create_graph=True)
    (weight,) = torch.autograd.grad(slope[0], score, retain_graph=True)
    loss.backward()
    gradients = [part.grad[0].clone() for part in rows.values() if part.grad is not None]
    rate, initial = adagrad
    torch.optim.Adagrad([*rows.values()], lr=rate, initial_accumulator_value=initial, eps=0).step()
    with torch.no_grad():
        return Engine(
            score[0].detach(), (slope / weight)[0], weight[0], loss.detach(), gradients,
            [part[0].detach() for part in rows.values()], scored()[0],
        )  # fmt: skip
