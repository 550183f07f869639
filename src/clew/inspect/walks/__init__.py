"""Walks through the equations of a model, on the user's own text; each step beside the engine's numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from clew.errors import RecipeError
from clew.inspect.walk import Walk
from clew.inspect.walks.attention import attention_walk
from clew.inspect.walks.places import places
from clew.inspect.walks.text import reading


@dataclass(frozen=True)
class Offer:
    """A walk that can be taken: its kind and place, and what there is to choose.

    layers, heads: how many; 0 where there is nothing to choose. target: whether a target text may be given.
    """

    kind: str
    place: str
    title: str
    layers: int = 0
    heads: int = 0
    target: bool = False


def walks_for(recipe: Any, model: Any) -> list[Offer]:
    """Every walk that a run offers, by its recipe and its model."""
    pairs = recipe.task.kind == "translate"
    return [
        Offer("attention", each.name, f"Attention: {each.name}", each.n_layers, each.n_heads, pairs)
        for each in places(model)
    ]


def take(
    model: Any, tokenizers: Any, text: str, *, kind: str, place: str = "", layer: int = 0, head: int = 0,
    target: str | None = None,
) -> Walk:  # fmt: skip
    """Take a walk that `walks_for` offers, on a text. Raises RecipeError for one that it does not offer."""
    if kind == "attention":
        seen = reading(model, tokenizers, text, target)
        asked = seen.source if place != "decoder" else seen.target_in
        rows = seen.target_in if place == "cross" else asked
        return attention_walk(model, seen.batch, rows, asked, place=place, layer=layer, head=head)
    raise RecipeError(f'there is no walk "{kind}"', fix="take one that walks_for lists")
