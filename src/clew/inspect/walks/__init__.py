"""Walks through the equations of a model, on the user's own text; each step beside the engine's numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from clew.batches import PairBatch, TextBatch
from clew.errors import RecipeError
from clew.inspect.reading import Reading, reading
from clew.inspect.walk import Walk
from clew.inspect.walks.alignment import alignment_walk
from clew.inspect.walks.attention import attention_walk
from clew.inspect.walks.backward import backward_walk
from clew.inspect.walks.cbow import cbow_walk
from clew.inspect.walks.feedforward import feedforward_walk
from clew.inspect.walks.glove import glove_walk
from clew.inspect.walks.places import places
from clew.inspect.walks.pooling import pooling_walk, pools
from clew.inspect.walks.recurrent import recurrent, recurrent_walk
from clew.inspect.walks.skipgram import skipgram_walk
from clew.models.glove import GloVe
from clew.models.seq2seq import Seq2Seq
from clew.models.word2vec import Word2Vec

SAMPLED = {"skipgram": "One update of skip-gram", "cbow": "One update of CBOW"}  # with negative sampling


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


def walks_for(recipe: Any, model: nn.Module) -> list[Offer]:
    """Every walk that a run offers, by its recipe and its model."""
    pairs = hasattr(model, "target_attention")  # a translator, whatever its task is called
    offers: list[Offer] = []
    for each in places(model):
        choice: dict[str, Any] = {"layers": each.n_layers, "heads": each.n_heads, "target": pairs}
        offers += [
            Offer("attention", each.name, f"Attention: {each.name}", **choice),
            Offer("backward", each.name, f"Attention, backward: {each.name}", at=True, **choice),
        ]
        if each.name != "cross":
            offers.append(Offer("feedforward", each.name, f"Feed-forward: {each.name}", each.n_layers, target=pairs))
    if isinstance(model, Seq2Seq) and model.attention.score is not None:
        offers.append(Offer("alignment", "", "Attention over the encoder's states", at=True, target=True))
    for place, layers in recurrent(model).items():
        offers.append(Offer("recurrent", place, f"One recurrent step: {place}", len(layers), at=True, target=pairs))
    if pools(model):
        offers.append(Offer("pooling", "", "Attention over the states, for one class"))
    if isinstance(model, Word2Vec) and recipe.objective.kind == "negative_sampling":
        kind = model.config.architecture
        offers.append(Offer(kind, "", SAMPLED[kind], at=kind == "cbow"))
    if isinstance(model, GloVe):
        offers.append(Offer("glove", "", "One update of GloVe"))
    return offers


def take(
    model: Any, tokenizers: Any, text: str, *, kind: str, place: str = "", layer: int = 0, head: int = 0, at: int = 0,
    target: str | None = None, recipe: Any = None,
) -> Walk:  # fmt: skip
    """Take a walk that `walks_for` offers, on a text. Raises RecipeError for one that it does not offer.

    recipe: the run's, for what the model does not hold: its rate, how GloVe weighs counts.
    """
    if kind in ("skipgram", "cbow", "glove"):
        return of_words(model, text.split(), kind, at, recipe)
    takers = {
        "attention": _attention, "backward": _backward, "feedforward": _feedforward, "alignment": _alignment,
        "recurrent": _recurrent,
    }  # fmt: skip
    if kind == "pooling":
        seen = reading(model, tokenizers, text)
        assert isinstance(seen.batch, TextBatch)
        return pooling_walk(model, seen.batch, seen.source, classes=getattr(tokenizers, "labels", ()))
    if kind not in takers:
        raise RecipeError(f'there is no walk "{kind}"', fix="take one that walks_for lists")
    return takers[kind](model, reading(model, tokenizers, text, target), place, layer, head, at)


def of_words(model: Any, words: list[str], kind: str, at: int, recipe: Any) -> Walk:
    """An update of word vectors, at the rate of the run where there is one."""
    optimizer = getattr(getattr(recipe, "train", None), "optimizer", None)
    how: dict[str, Any] = {} if optimizer is None else {"rate": optimizer.lr}
    if kind == "cbow":
        return cbow_walk(model, words, at, **how)
    if len(words) < 2:
        raise RecipeError(f"{kind} needs two words", fix='write "centre context", and negatives or a count after them')
    if kind == "skipgram":
        return skipgram_walk(model, words[0], words[1], negatives=words[2:], **how)
    try:
        count = float(words[2])
    except (IndexError, ValueError):
        raise RecipeError("GloVe learns from a count", fix='write "word context count", as in "cat mat 12"') from None
    for part, keys in ((optimizer, ("initial",)), (getattr(recipe, "objective", None), ("x_max", "power"))):
        how |= {key: getattr(part, key) for key in keys if hasattr(part, key)}
    return glove_walk(model, words[0], words[1], count, **how)


def _tokens(seen: Reading, place: str) -> tuple[list[str], list[str]]:
    """Those that ask and those that are asked."""
    return (
        seen.target_in if place in ("decoder", "cross") else seen.source,
        seen.target_in if place == "decoder" else seen.source,
    )


def _attention(model: Any, seen: Reading, place: str, layer: int, head: int, at: int) -> Walk:
    return attention_walk(model, seen.batch, *_tokens(seen, place), place=place, layer=layer, head=head)


def _backward(model: Any, seen: Reading, place: str, layer: int, head: int, at: int) -> Walk:
    return backward_walk(model, seen.batch, *_tokens(seen, place), place=place, layer=layer, head=head, at=at)


def _feedforward(model: Any, seen: Reading, place: str, layer: int, head: int, at: int) -> Walk:
    return feedforward_walk(model, seen.batch, _tokens(seen, place)[0], place=place, layer=layer)


def _alignment(model: Any, seen: Reading, place: str, layer: int, head: int, at: int) -> Walk:
    assert isinstance(seen.batch, PairBatch)
    return alignment_walk(model, seen.batch, seen.source, seen.target_out, at=at)


def _recurrent(model: Any, seen: Reading, place: str, layer: int, head: int, at: int) -> Walk:
    tokens = seen.target_in if place == "decoder" else seen.source
    return recurrent_walk(model, seen.batch, tokens, place=place, layer=layer, at=at)
