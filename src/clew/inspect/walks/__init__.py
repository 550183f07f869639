"""Walks through the equations of a model, on the user's own text; each step beside the engine's numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

from clew.contracts import Model
from clew.errors import RecipeError
from clew.inspect.reading import reading
from clew.inspect.walk import Walk
from clew.inspect.walks.alignment import alignment_walk
from clew.inspect.walks.attention import attention_walk
from clew.inspect.walks.backward import backward_walk
from clew.inspect.walks.cbow import cbow_walk
from clew.inspect.walks.evidence import evidence_walk
from clew.inspect.walks.feedforward import feedforward_walk
from clew.inspect.walks.glove import glove_walk
from clew.inspect.walks.places import places
from clew.inspect.walks.pooling import pooling_walk
from clew.inspect.walks.recurrent import recurrent, recurrent_walk
from clew.inspect.walks.skipgram import skipgram_walk
from clew.models.glove import GloVe
from clew.models.linear import BagClassifier
from clew.models.seq2seq import Attention
from clew.models.text_classifier import Attended
from clew.models.word2vec import Word2Vec
from clew.nn.taps import parts_of_kind
from clew.objectives.glove import CooccurrenceConfig
from clew.objectives.negative_sampling import NegativeSamplingConfig


@dataclass(frozen=True)
class Offer:
    """A walk that can be taken: its kind and place, its title, and what there is to choose.

    layers, heads: how many there are, 0 where there is nothing to choose; at: whether a token is chosen; target:
    whether a target text may be given. For kind "skipgram" the text is "centre context", and negatives may follow;
    for "cbow" it is a window, of which one word is predicted; for "glove" "word context count".
    """

    kind: str
    place: str
    title: str
    layers: int = 0
    heads: int = 0
    at: bool = False
    target: bool = False


SAMPLED = {
    "skipgram": Offer("skipgram", "", "One update of skip-gram"),
    "cbow": Offer("cbow", "", "One update of CBOW", at=True),
}


def walks_for(recipe: Any, model: Model) -> list[Offer]:
    """Every walk that a run offers, by its recipe and its model."""
    pairs = "translate" in model.heads
    offers: list[Offer] = []
    for each in places(model):
        choice: dict[str, Any] = {"layers": each.n_layers, "heads": each.n_heads, "target": pairs}
        offers += [
            Offer("attention", each.name, f"Attention: {each.name}", **choice),
            Offer("backward", each.name, f"Attention, backward: {each.name}", at=True, **choice),
        ]
        if each.name != "cross":
            offers.append(Offer("feedforward", each.name, f"Feed-forward: {each.name}", each.n_layers, target=pairs))
    if any(attention.score is not None for attention in parts_of_kind(model, Attention).values()):
        offers.append(Offer("alignment", "", "Attention over the encoder's states", at=True, target=True))
    for place, layers in recurrent(model).items():
        offers.append(Offer("recurrent", place, f"One recurrent step: {place}", len(layers), at=True, target=pairs))
    if parts_of_kind(model, Attended):
        offers.append(Offer("pooling", "", "Attention over the states, for one class"))
    return [*offers, *of_bags(model), *updates(recipe.objective, model)]


@singledispatch
def of_bags(model: Model) -> list[Offer]:
    """The walks through what a model makes of a bag of features; none by most."""
    return []


@of_bags.register
def _(model: BagClassifier) -> list[Offer]:
    return [Offer("evidence", "", "What spoke for the label")]


@singledispatch
def updates(objective: Any, model: Any) -> list[Offer]:
    """The walks through an update by this objective (its settings); none by most."""
    return []


@updates.register
def _(objective: NegativeSamplingConfig, model: Word2Vec) -> list[Offer]:
    return [SAMPLED[model.config.architecture]]


@updates.register
def _(objective: CooccurrenceConfig, model: GloVe) -> list[Offer]:
    return [Offer("glove", "", "One update of GloVe")]


def take(
    model: Any, preprocessor: Any, text: str, *, kind: str, place: str = "", layer: int = 0, head: int = 0, at: int = 0,
    target: str | None = None, recipe: Any = None,
) -> Walk:  # fmt: skip
    """Take a walk that `walks_for` offers, on a text. Raises RecipeError for one that it does not offer.

    recipe: the run's, for what the model does not hold: its rate, how GloVe weighs counts.
    """
    if (of_words := OF_WORDS.get(kind)) is not None:
        return of_words(model, text.split(), at, recipe)
    if (of_bag := OF_BAGS.get(kind)) is not None:
        return of_bag(model, preprocessor, text)
    seen = reading(model, preprocessor, text, target)
    rows = seen.target_in if place in ("decoder", "cross") else seen.source
    columns = seen.target_in if place == "decoder" else seen.source
    batch: Any = seen.batch
    of_text: dict[str, Callable[[], Walk]] = {
        "attention": lambda: attention_walk(model, batch, rows, columns, place=place, layer=layer, head=head),
        "backward": lambda: backward_walk(model, batch, rows, columns, place=place, layer=layer, head=head, at=at),
        "feedforward": lambda: feedforward_walk(model, batch, rows, place=place, layer=layer),
        "alignment": lambda: alignment_walk(model, batch, seen.source, seen.target_out, at=at),
        "recurrent": lambda: recurrent_walk(model, batch, rows, place=place, layer=layer, at=at),
        "pooling": lambda: pooling_walk(model, batch, seen.source, classes=seen.labels),
    }
    if kind not in of_text:
        raise RecipeError(f'there is no walk "{kind}"', fix="take one that walks_for lists")
    return of_text[kind]()


def rate(recipe: Any) -> dict[str, Any]:
    """The rate of a run, where there is one."""
    return {} if recipe is None else {"rate": recipe.train.optimizer.lr}


def two(words: list[str], name: str) -> list[str]:
    if len(words) < 2:
        raise RecipeError(f"{name} needs two words", fix='write "centre context", and negatives or a count after them')
    return words[:2]


def of_glove(model: GloVe, words: list[str], _at: int, recipe: Any) -> Walk:
    word, context = two(words, "glove")
    try:
        count = float(words[2])
    except (IndexError, ValueError):
        raise RecipeError("GloVe learns from a count", fix='write "word context count", as in "cat mat 12"') from None
    how = rate(recipe)
    if recipe is not None:
        how |= recipe.train.optimizer.model_dump(include={"initial"})
        how |= recipe.objective.model_dump(include={"x_max", "power"})
    return glove_walk(model, word, context, count, **how)


OF_BAGS: dict[str, Callable[..., Walk]] = {"evidence": evidence_walk}

OF_WORDS: dict[str, Callable[..., Walk]] = {
    "cbow": lambda model, words, at, recipe: cbow_walk(model, words, at, **rate(recipe)),
    "skipgram": lambda model, words, at, recipe: skipgram_walk(
        model, *two(words, "skipgram"), negatives=words[2:], **rate(recipe)
    ),
    "glove": of_glove,
}
