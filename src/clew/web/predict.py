"""What a run's task makes of a text, and texts to begin with."""

from __future__ import annotations

import time
from typing import Any

from clew.errors import DataError
from clew.runs import Run
from clew.web.room import Room

TIPS = {
    "embed": "A word for its neighbours; “king - man + woman” for an analogy; two words for how alike they are; "
    "more for the odd one out.",
    "pretrain": "A text with [MASK] in place of a word.",
    "translate": "A sentence.",
    "write": "The beginning of a text.",
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


def examples(run: Run) -> dict[str, Any]:
    """Texts to begin with, and a line on what the task reads: those that the run's newest samples were made of."""
    files = sorted((run.path / "samples").glob("step-*.txt"))
    text = files[-1].read_text(encoding="utf-8", errors="replace") if files else ""
    found = []
    for block in text.strip().split("\n\n"):
        given = dict(line.partition(" ")[::2] for line in block.splitlines())
        if "source" in given:
            found.append({"source": given["source"].strip(" "), "reference": given.get("reference", "").strip(" ")})
    return {"tip": TIPS.get(run.recipe.task.kind, "A text."), "examples": found}
