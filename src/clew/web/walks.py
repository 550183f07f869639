"""Walks through a run's equations on the user's own text, as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from clew.errors import DataError
from clew.inspect.bptt import of_sentence
from clew.inspect.through_time import of_text
from clew.inspect.walks import take, walks_for
from clew.web.model_cache import ModelCache

WORDS = 200  # of a text that is walked through, at most


def offers(cache: ModelCache, name: str) -> list[dict[str, Any]]:
    """The walks that a run offers."""
    with cache.use(name) as opened:
        return [asdict(offer) for offer in walks_for(opened.run.recipe, opened.model)]


def walk(cache: ModelCache, name: str, text: str, target: str, **choice: Any) -> dict[str, Any]:
    """One of them, on a text. Raises DataError for an empty text or a long one, RecipeError for what is not offered."""
    if not text.strip() or len(text.split()) > WORDS:
        raise DataError(f"a walk is through 1 to {WORDS} words", fix="type a sentence")
    with cache.use(name) as opened:
        given = {"target": target.strip() or None, "recipe": opened.run.recipe, **choice}
        return asdict(take(opened.model, opened.preprocessor, text, **given))


def unrolled(cache: ModelCache, text: str, d: int, run: str, place: str, layer: int, target: str) -> dict[str, Any]:
    """Backpropagation through time, on a text that a run's layer reads, or without a run a drawn RNN of d units."""
    if not run:
        return asdict(of_sentence(text, d=d))
    with cache.use(run) as opened:
        written = target.strip() or None
        return asdict(of_text(opened.model, opened.preprocessor, text, place=place, layer=layer, target=written))
