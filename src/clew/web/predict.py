"""What a run's task makes of a text, and texts to begin with."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from clew.decode.tree import BeamTree
from clew.errors import ClewError, DataError
from clew.inspect.writing import written
from clew.runs import Run
from clew.web.model_cache import LoadedRun, ModelCache

SECONDS = 120.0  # that one text may be written


def predict(cache: ModelCache, name: str, text: str, n_best: int, length: int | None = None) -> dict[str, Any]:
    """The best answer and others, with the seconds that they took; of a beam search, everything that it kept.

    length: tokens that are written at most, instead of the recipe's. Raises DataError where there is no text.
    """
    if not text.strip():
        raise DataError("there is no text", fix="type one")
    with cache.use(name) as opened:
        if opened.preprocessor.files:  # whoever sees the page does not choose which files of this machine are read
            what = f"this run reads {opened.task.unit}, not texts"
            raise DataError(what, where=name, fix="ask it in a terminal: clew predict RUN …")
        decode = opened.run.recipe.decode
        decode = decode.model_copy(update={"beam": max(decode.beam, n_best), "max_length": length or decode.max_length})
        tree = None
        if opened.task.searches(opened.model, decode):
            tree = BeamTree(opened.preprocessor.target.eos_id, decode.length_penalty)
        begin = time.perf_counter()
        found = next(iter(opened.task.predict(opened.model, opened.preprocessor, [text], decode, listener=tree)))
        seconds = time.perf_counter() - begin
    return {
        "text": found.text, "shown": found.shown or found.text, "score": found.score, "seconds": seconds,
        "alternatives": [{"text": other, "score": score} for other, score in found.alternatives[: max(n_best - 1, 15)]],
        "tree": tree and drawn(tree, opened, decode.beam), "places": found.places, "tagged": found.tagged,
    }  # fmt: skip


def drawn(tree: BeamTree, opened: LoadedRun, beam: int) -> dict[str, Any]:
    """A beam's tree by columns, one entry a node; best: the nodes of what the search returns, best first."""
    return {
        "token": opened.preprocessor.target.tokens([node.token for node in tree.nodes]),
        "parent": [node.parent for node in tree.nodes], "length": [node.length for node in tree.nodes],
        "log_p": [node.log_p for node in tree.nodes], "score": [node.score for node in tree.nodes],
        "over": [node.over for node in tree.nodes], "best": [place for place, _ in tree.hypotheses(beam)],
    }  # fmt: skip


def writes(run: Run) -> bool:
    """Whether a run's task goes on with a text."""
    return run.task.writes_on


def write(cache: ModelCache, name: str, text: str, changes: dict[str, Any], length: int) -> Iterator[dict[str, Any]]:
    """Each token that a run writes after a text, as it is drawn, then how it ended.

    changes: of the recipe's `decode.sample`. Raises ClewError for a run that does not write.
    """
    with cache.use(name) as opened:
        if not writes(opened.run):
            raise ClewError("this run does not go on with texts", where=name, fix="ask it for a prediction")
        own = opened.run.recipe.decode
        decode = own.model_copy(update={"sample": own.sample.model_copy(update=changes), "max_length": length})
        begin, n = time.perf_counter(), 0
        for each in written(opened.model, opened.preprocessor, text, decode):
            n += 1
            yield asdict(each)
            if time.perf_counter() - begin > SECONDS:
                break
        yield {"tokens": n, "seconds": time.perf_counter() - begin}


def fields(run: Run) -> list[str]:
    """What a text has in it, each by a name; in a text there are tabs between them."""
    return [re.sub(r"_|(?<=[a-z])(?=\d)", " ", name) for name in run.task.field_names]


def examples(run: Run) -> dict[str, Any]:
    """Texts to begin with: those that the run's newest samples were made of. And what a text has in it.

    tip: a line on what the task reads; fields: see above, of which `least` must be there; begins: how a text may begin.
    """
    files = sorted((run.path / "samples").glob("step-*.txt"))
    text = files[-1].read_text(encoding="utf-8", errors="replace") if files else ""
    found = []
    for block in text.strip().split("\n\n"):
        given = dict(line.partition(" ")[::2] for line in block.splitlines())
        if "source" in given:
            found.append({"source": given["source"].strip(" "), "reference": given.get("reference", "").strip(" ")})
    task, parts = run.task, run.recipe.data.model_dump().get("parts") or {}
    out: dict[str, Any] = {
        "tip": task.hint, "fields": fields(run), "least": task.n_fields, "examples": found, "writes": None,
        "begins": {name: re.sub(r"\{\w+\}", "…", part["input"]) for name, part in parts.items()},
    }  # fmt: skip
    if writes(run):
        out["writes"] = run.recipe.decode.sample.model_dump(exclude={"stop"})
    return out
