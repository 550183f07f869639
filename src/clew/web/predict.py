"""What a run's task makes of a text, and texts to begin with."""

from __future__ import annotations

import time
from typing import Any

from clew.config import build
from clew.errors import ClewError, DataError
from clew.runs import Run
from clew.web.room import Room

TIPS = {
    "embed": "A word for its neighbours; “king - man + woman” for an analogy; two words for how alike they are; "
    "more for the odd one out.",
    "pretrain": "A text with [MASK] in place of a word.",
    "translate": "A sentence.",
}


def predict(room: Room, name: str, text: str, n_best: int) -> dict[str, Any]:
    """The best answer and others, with the seconds that they took. Raises DataError where there is no text."""
    if not text.strip():
        raise DataError("there is no text", fix="type one")
    with room.use(name) as opened:
        decode = opened.run.recipe.decode
        decode = decode.model_copy(update={"beam": max(decode.beam, n_best)})
        begin = time.perf_counter()
        found = next(iter(opened.task.predict(opened.model, opened.tokenizers, [text], decode)))
        seconds = time.perf_counter() - begin
    return {
        "text": found.text, "shown": found.shown or found.text, "score": found.score, "seconds": seconds,
        "alternatives": [{"text": other, "score": score} for other, score in found.alternatives[: max(n_best - 1, 15)]],
    }  # fmt: skip


class Examples:
    """Texts of runs' own data to try; building the data may take seconds, so each run's are kept."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, float], dict[str, Any]] = {}

    def of(self, run: Run) -> dict[str, Any]:
        key = (str(run.path), (run.path / "recipe.toml").stat().st_mtime)
        if key not in self.known:
            self.known[key] = examples(run)
        return self.known[key]


def examples(run: Run) -> dict[str, Any]:
    """Some, with a line on what the task reads; none, with the reason, where the data is not here."""
    recipe = run.recipe
    out: dict[str, Any] = {"tip": TIPS.get(recipe.task.kind, "A text."), "examples": [], "why": ""}
    try:
        data = build("data", recipe.data)
        splits = [name for name in data.splits if name not in ("train", "valid")] or ["valid"]
        found = run.task.examples(data, splits)
        out["examples"] = [{"source": e.source, "reference": e.reference, "gold": e.gold} for e in found]
    except (ClewError, OSError) as error:
        out["why"] = getattr(error, "what", str(error))
    return out
