"""One update of skip-gram with negative sampling: scores, σ, loss, gradients, and how each vector moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from clew.data.corpus import noise
from clew.errors import RecipeError, VocabularyError
from clew.inspect.walk import Step, Walk, gap, named
from clew.models.glove import GloVe
from clew.models.word2vec import Word2Vec
from clew.objectives.negative_sampling import loss_of_scores, scores_of


def skipgram_walk(
    model: Word2Vec, centre: str, context: str, *, negatives: Sequence[str] = (), draw: int = 5,
    rate: float = 0.025, seed: int = 1,
) -> Walk:  # fmt: skip
    """What the pair (centre, context) teaches, at this learning rate; the model itself stays as it is.

    negatives: words; where none are given, `draw` are drawn from P(w) ∝ count^¾. The loss is that of the objective, the
    gradients are autograd's, in double precision. Raises VocabularyError for a word that the vocabulary lacks,
    RecipeError for CBOW.
    """
    if model.config.architecture != "skipgram":
        raise RecipeError("this model predicts a word from its window", where="model.architecture", fix="take skipgram")
    words = model.vocabulary.words
    w, c = (row_of(model, word) for word in (centre, context))
    drawn = [row_of(model, word) for word in negatives] or drawn_for(model, c, draw, seed)
    parts = parts_of(model, w)
    rows = model.input.detach()[parts].double()  # (parts, d)
    v, u = rows.mean(dim=0), model.output.detach()[[c, *drawn]].double()  # (d,), (1 + k, d)
    labels = [context, *(words[n] for n in drawn)]

    first = Step(
        "vectors", r"v_w,\ u_c,\ u_{n_1}, \dots, u_{n_k}", composed(len(parts)), [],
        [named("v", v[None], [centre]), named("u", u, labels)], None,
    )  # fmt: skip
    how = f" The centre is the mean of {len(parts)} rows: each moves by the whole of it, as in the papers' programs."
    steps = sampled(v, u, ("v", centre), labels, rate, how * (len(parts) > 1))
    return Walk(f"Skip-gram: “{centre}” meets “{context}”", [centre, *labels], [first, *steps])


def sampled(
    v: Tensor, u: Tensor, predictor: tuple[str, str], labels: Sequence[str], rate: float, how: str
) -> list[Step]:
    """From what predicts, v (d,), and the rows u (1 + k, d) of a word and its negatives to how all of them move.

    predictor: the symbol of v and what it stands for; how: what is to be said of the rows that v is made of.
    """
    symbol, name = predictor
    of = "v_w" if symbol == "v" else symbol
    scores = u @ v
    sigma = 1 / (1 + torch.exp(-scores))
    target = torch.zeros_like(scores)
    target[0] = 1.0
    loss = -torch.log(sigma[0]) - torch.log(1 - sigma[1:]).sum()
    error = sigma - target  # (1 + k,)
    d_v, d_u = error @ u, error[:, None] * v
    engine = by_autograd(v, u, rate)
    new_v, new_u = v - rate * d_v, u - rate * d_u
    after = new_u @ new_v
    return [
        Step("scores", rf"s_j = u_j \cdot {of}", "How well each word fits.", [symbol, "u"],
             [named("s", scores, labels)], gap(scores, engine.scores)),
        Step("probabilities", r"\sigma(s_j) = \frac{1}{1 + e^{-s_j}}",
             "How sure the model is that they stood together: they did for the first word, and not for the others.",
             ["s"], [named("σ", sigma, labels), named("y", target, labels)], gap(sigma, torch.sigmoid(engine.scores))),
        Step("loss", rf"L = -\log \sigma(u_c \cdot {of}) - \textstyle\sum_i \log \sigma(-u_{{n_i}} \cdot {of})",
             "The surprise at the truth.", ["σ"], [named("L", loss)], gap(loss, engine.loss)),
        Step("errors", r"\frac{\partial L}{\partial s_j} = \sigma(s_j) - y_j",
             "Too sure or not sure enough: one number for each word.", ["σ", "y"], [named("e", error, labels)],
             gap(error, engine.errors)),
        Step("gradients", rf"\frac{{\partial L}}{{\partial {of}}} = \textstyle\sum_j e_j u_j, \qquad "
             rf"\frac{{\partial L}}{{\partial u_j}} = e_j {of}",
             "What predicts is drawn to the word and away from the negatives; each of them likewise.",
             ["e", "u", symbol], [named(f"∂L/∂{symbol}", d_v[None], [name]), named("∂L/∂u", d_u, labels)],
             max(gap(d_v, engine.d_v), gap(d_u, engine.d_u))),
        moved(rate, (d_v, d_u), (new_v, new_u), engine, predictor, labels, how),
        Step("afterwards", rf"s'_j = u'_j \cdot {of}'",
             f"The first score goes from {float(scores[0]):.4g} to {float(after[0]):.4g}.", ["u'", f"{symbol}'"],
             [named("s'", after, labels), named("σ'", torch.sigmoid(after), labels)],
             gap(after, scores_of(engine.new_v[None], engine.new_u[None])[0])),
    ]  # fmt: skip


def moved(
    rate: float, gradients: tuple[Tensor, Tensor], new: tuple[Tensor, Tensor], engine: Engine,
    predictor: tuple[str, str], labels: Sequence[str], how: str,
) -> Step:  # fmt: skip
    """How each vector moves."""
    (d_v, d_u), (symbol, name) = gradients, predictor
    lengths = torch.cat([d_v[None], d_u]).norm(dim=1) * rate
    return Step(
        "update",
        rf"{symbol}' = {symbol} - \eta\,\frac{{\partial L}}{{\partial {symbol}}},"
        rf"\quad u'_j = u_j - \eta\,\frac{{\partial L}}{{\partial u_j}},\quad \eta = {rate:g}",
        f"Each vector takes a small step down its gradient.{how}", [f"∂L/∂{symbol}", "∂L/∂u"],
        [named(f"Δ{symbol}", -rate * d_v[None], [name]), named("Δu", -rate * d_u, labels),
         named(f"{symbol}'", new[0][None], [name]), named("u'", new[1], labels),
         named("length of the step", lengths, [name, *labels])],
        max(gap(new[0], engine.new_v), gap(new[1], engine.new_u)),
    )  # fmt: skip


@dataclass(frozen=True)
class Engine:
    """What the objective, autograd and torch's SGD make of v (d,) and u (1 + k, d)."""

    scores: Tensor
    loss: Tensor
    errors: Tensor  # ∂L/∂s
    d_v: Tensor
    d_u: Tensor
    new_v: Tensor
    new_u: Tensor


def by_autograd(v: Tensor, u: Tensor, rate: float) -> Engine:
    v, u = v.clone().requires_grad_(), u.clone().requires_grad_()
    scores = scores_of(v[None], u[None])
    loss = loss_of_scores(scores[:, 0], scores[:, 1:])[0]
    errors, d_v, d_u = torch.autograd.grad(loss, [scores, v, u])
    v.grad, u.grad = d_v.clone(), d_u.clone()
    torch.optim.SGD([v, u], lr=rate).step()
    return Engine(scores[0].detach(), loss.detach(), errors[0], d_v, d_u, v.detach(), u.detach())


def composed(n: int) -> str:
    if n == 1:
        return "The centre has a vector of one table; its context and the negatives have vectors of the other."
    return f"The centre's vector is the mean of {n} rows, its own and its n-grams'; the others have one row each."


def parts_of(model: Word2Vec, word: int) -> list[int]:
    """The rows that a word is made of."""
    if not model.config.max_n:
        return [word]
    rows, bounds = model.parts
    return [int(row) for row in rows[bounds[word] : bounds[word + 1]]]


def row_of(model: Word2Vec | GloVe, word: str) -> int:
    row = model.vocabulary.index.get(word.lower() if model.vocabulary.lowercase else word)
    if row is None:
        raise VocabularyError(f'"{word}" is not in the vocabulary', fix="choose a word that the training text has")
    return row


def drawn_for(model: Word2Vec, context: int, k: int, seed: int) -> list[int]:
    """k different words drawn from the noise of training; the context word itself is no negative."""
    weights = np.array(noise(model.vocabulary.counts), dtype=np.float64)
    weights[context] = 0.0
    if not 0 < k <= np.count_nonzero(weights):
        raise RecipeError(f"{k} negatives cannot be drawn from {len(weights)} words", fix="choose a smaller number")
    rng = np.random.default_rng(seed)
    return rng.choice(len(weights), size=k, replace=False, p=weights / weights.sum()).tolist()
