"""What spoke for a label, in a model whose scores are a sum over the features of a text: weights × values."""

from __future__ import annotations

from collections import Counter
from functools import singledispatch
from typing import Any

import torch
from torch import Tensor

from clew.batches import BagBatch
from clew.errors import DataError
from clew.inspect.walk import Step, Walk, gap, named, precise
from clew.text.tfidf import Tfidf, of_characters, of_words


def evidence_walk(model: Any, preprocessor: Any, text: str) -> Walk:
    """From the features of a text to its scores, each feature with what it says; those that speak most come first.

    A feature's say for class c is x_f (w_fc - mean over classes of w_f): what all classes share cancels in the softmax.
    Raises DataError for a text without a feature that training had.
    """
    first, _, second = text.partition("\t")
    x = preprocessor.tokenizer.bags([first], [second] if second else None)
    if not x.nnz:
        raise DataError("nothing in this text stood in the training texts", where=text[:80], fix="write other words")
    features, exact = torch.from_numpy(x.indices).long(), precise(model)
    values = torch.from_numpy(x.data).double()
    with torch.no_grad():
        weights = exact.feature_scores(features)  # (features, classes)
        said = values[:, None] * (weights - weights.mean(dim=1, keepdim=True))
        scores = values @ weights + exact.bias
        engine = exact(bag(features, values)).logits[0]
        p = scores.softmax(dim=0)
    best, classes = int(p.argmax()), [*preprocessor.labels]
    order = said[:, best].abs().argsort(descending=True)
    names = preprocessor.tokenizer.names_of(features[order].tolist(), *filter(None, (first, second)))
    return Walk(f"What spoke for “{classes[best]}”", names, [
        *values_of(preprocessor.tokenizer, first, second, features[order], values[order], names),
        Step("say", r"s_{fc} = x_f \left(w_{fc} - \bar w_f\right)", f"What each feature says for each label: the first "
             f"said most for or against “{classes[best]}”.", ["x"], [named("w", weights[order], names, classes),
             named("s", said[order], names, classes)], None),
        Step("scores", r"z_c = \sum_f x_f w_{fc} + b_c", "All features together, and what a label has to begin with.",
             ["x", "w"], [named("b", exact.bias.detach(), classes), named("z", scores, classes)], gap(scores, engine)),
        Step("softmax", r"P(c) = \frac{\exp z_c}{\sum_{c'} \exp z_{c'}}", f"The answer is “{classes[best]}”.", ["z"],
             [named("P", p, classes)], gap(p, engine.softmax(dim=0))),
    ])  # fmt: skip


def bag(features: Tensor, values: Tensor) -> Any:
    """Return one text as a batch."""
    zero = torch.zeros(1, dtype=torch.long)
    return BagBatch(features, values, zero, zero, zero)


@singledispatch
def values_of(
    tokenizer: Any, first: str, second: str, features: Tensor, values: Tensor, names: list[str]
) -> list[Step]:
    """The steps from a text to how much each of its features counts."""
    return [Step("values", "x_f", "How much each feature counts.", [], [named("x", values, names)], None)]


@values_of.register
def _(tokenizer: Tfidf, first: str, second: str, features: Tensor, values: Tensor, names: list[str]) -> list[Step]:
    counts, lengths, at, begin = torch.zeros(tokenizer.spec.n_features).double(), [], [], 0
    idf = torch.from_numpy(tokenizer.idf)
    for sort, part in tokenizer.parts.items():
        for text in map(tokenizer.normalise, filter(None, (first, second))):
            pieces = of_words(text, tokenizer.config.words) if sort == "words" else [
                piece for word in text.split() for piece in of_characters(word, tokenizer.config.characters)
            ]  # fmt: skip
            for name, count in Counter(pieces).items():
                if name in part.columns:
                    counts[begin + part.columns[name]] += count
        end = begin + len(part.names)
        weighed = tf_of(counts[begin:end], tokenizer.config.sublinear) * idf[begin:end]
        lengths.append(float(weighed.norm()))
        at.append(end)
        begin = end
    tf = counts[features]
    sort_of = torch.bucketize(features, torch.tensor(at), right=True)
    length = torch.tensor(lengths).double()[sort_of]
    ours = tf_of(tf, tokenizer.config.sublinear) * idf[features] / length
    formula = r"1 + \ln \mathrm{tf}_f" if tokenizer.config.sublinear else r"\mathrm{tf}_f"
    return [
        Step("counts", r"\mathrm{tf}_f", "How often the text has each n-gram; ‹ › holds letters, ␣ a word’s end.",
             [], [named("tf", tf, names)], None),
        Step("values", rf"x_f = \frac{{({formula}) \cdot \mathrm{{idf}}_f}}{{|x|}}",
             "Rare n-grams count for more; words and letters are each brought to length 1.", ["tf"],
             [named("idf", idf[features], names), named("x", ours, names)], gap(ours, values)),
    ]  # fmt: skip


def tf_of(counts: Tensor, sublinear: bool) -> Tensor:
    """How much a count weighs, 0 where there is none."""
    return torch.where(counts > 0, 1 + counts.clamp(min=1).log(), 0.0) if sublinear else counts
