"""Walks through a run's equations on the user's own text, as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from clew.errors import DataError
from clew.inspect.bptt import of_sentence
from clew.inspect.walks import take, walks_for
from clew.web.room import Room

WORDS = 200  # of a text that is walked through, at most


def offers(room: Room, name: str) -> list[dict[str, Any]]:
    """The walks that a run offers."""
    with room.use(name) as opened:
        return [asdict(offer) for offer in walks_for(opened.run.recipe, opened.model)]


def walk(room: Room, name: str, text: str, target: str, **choice: Any) -> dict[str, Any]:
    """One of them, on a text. Raises DataError for an empty text or a long one, RecipeError for what is not offered."""
    if not text.strip() or len(text.split()) > WORDS:
        raise DataError(f"a walk is through 1 to {WORDS} words", fix="type a sentence")
    with room.use(name) as opened:
        return asdict(take(opened.model, opened.tokenizers, text, target=target.strip() or None, **choice))


def unrolled(text: str, d: int) -> dict[str, Any]:
    """Backpropagation through time, on a sentence that a drawn RNN of d units reads."""
    return asdict(of_sentence(text, d=d))
