"""One update of CBOW with negative sampling: a mean of the words around predicts the word between them."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clew.errors import RecipeError
from clew.inspect.walk import Step, Walk, gap, named
from clew.inspect.walks.skipgram import drawn_for, parts_of, row_of, sampled
from clew.models.word2vec import Word2Vec


def cbow_walk(
    model: Word2Vec, window: Sequence[str], at: int, *, negatives: Sequence[str] = (), draw: int = 5,
    rate: float = 0.025, seed: int = 1,
) -> Walk:  # fmt: skip
    """What the window teaches of its word number `at`, predicted by all others; the model itself stays as it is.

    negatives: words; where none are given, `draw` are drawn from P(w) ∝ count^¾. The mean is the model's, the loss the
    objective's and the gradients autograd's, in double precision. Raises VocabularyError for a word that the vocabulary
    lacks, RecipeError for a window without context, and for skip-gram.
    """
    if model.config.architecture != "cbow":
        raise RecipeError("this model predicts the words around a word", where="model.architecture", fix="take cbow")
    if len(window) < 2 or not 0 <= at < len(window):
        raise RecipeError(f"no word {at} with others around it", fix="write two words or more, and choose one of them")
    words, target = model.vocabulary.words, window[at]
    around = [word for k, word in enumerate(window) if k != at]
    ids, c = [row_of(model, word) for word in around], row_of(model, target)
    drawn = [row_of(model, word) for word in negatives] or drawn_for(model, c, draw, seed)
    rows = [model.input.detach()[parts_of(model, word)].double() for word in ids]  # of each word (parts, d)
    v = torch.stack([part.mean(dim=0) for part in rows])  # (C, d)
    sizes = torch.tensor([float(len(part)) for part in rows]).double()
    shares = sizes / sizes.sum()
    h = shares @ v
    mean = Step(
        "mean", r"h = \frac{1}{|C|} \textstyle\sum_{w \in C} v_w" if len(sizes) == sizes.sum() else
        r"h = \textstyle\sum_{w \in C} \frac{n_w}{\sum_{w'} n_{w'}} v_w",
        f"The {len(around)} words around become one vector, whatever their order."
        + (" Each counts for as many rows as it is made of." if len(sizes) < sizes.sum() else ""),
        ["v"], [named("share", shares, around), named("h", h[None], ["h"])], gap(h, of_engine(model, rows)),
    )  # fmt: skip
    labels = [target, *(words[n] for n in drawn)]
    u = model.output.detach()[[c, *drawn]].double()  # (1 + k, d)
    first = Step(
        "vectors", r"v_w,\ w \in C; \quad u_c,\ u_{n_1}, \dots, u_{n_k}",
        "The words around have vectors of one table; the word to be predicted and the negatives of the other.", [],
        [named("v", v, around), named("u", u, labels)], None,
    )  # fmt: skip
    moves = int(sizes.sum())
    how = f" h is the mean of {moves} rows: each moves by the whole of it, as in the papers' programs."
    steps = sampled(h, u, ("h", "h"), labels, rate, how * (moves > 1))
    return Walk(f"CBOW: “{target}” between {len(around)} words", [*window], [first, mean, *steps])


def of_engine(model: Word2Vec, rows: Sequence[Tensor]) -> Tensor:
    """The model's own mean of words with these rows, in double precision: it is lent nothing but them."""
    bounds = np.cumsum([0, *(len(part) for part in rows)])
    lent: Any = SimpleNamespace(config=model.config, input=torch.cat([*rows]), parts=(np.arange(bounds[-1]), bounds))
    lent.vector = lambda words: Word2Vec.vector(lent, words)
    words = torch.arange(len(rows))[None]
    return Word2Vec.context(lent, words, torch.ones_like(words, dtype=torch.bool))[0]
