"""The attention of a run on a text: read once, kept for a while, handed out one head at a time."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_max_pool2d

from clew.config import build
from clew.data.batches import Pairs
from clew.errors import ClewError, DataError
from clew.inspect.heads import Layer, attention_taps, distance, entropy, pair_layers, received, text_layers
from clew.inspect.reading import greedy, of_text
from clew.metrics import Links, aer
from clew.metrics.alignment import align
from clew.web.model_cache import LoadedRun, ModelCache

KEPT = 512 << 20  # bytes of weights kept at once, of the newest texts
TOKENS = 512  # at most, of either side
THUMBNAIL = 28  # cells a side, at most
SALIENT = 5
WORST = 20  # sentences listed
THRESHOLDS = [n / 50 for n in range(46)]

Found = tuple[dict[str, Any], list[Layer]]


class Maps:
    """The layers of the texts that were asked for last, and what was said of them."""

    def __init__(self) -> None:
        self.found: OrderedDict[str, Found] = OrderedDict()

    def keep(self, about: dict[str, Any], layers: list[Layer]) -> dict[str, Any]:
        """Give them a name, `id`, and forget the oldest where there are too many; returns what is said of them."""
        name = secrets.token_hex(8)
        about = {**about, "id": name, "layers": [described(layer) for layer in layers]}
        self.found[name] = about, layers
        while len(self.found) > 1 and sum(size(layers) for _, layers in self.found.values()) > KEPT:
            self.found.popitem(last=False)
        return about

    def get(self, name: str) -> Found:
        """Raise DataError for a text that is not kept (any more)."""
        found = self.found.get(name)
        if found is None:
            raise DataError("this text is not kept any more", where=name[:40], fix="ask for it again")
        return found

    def layers(self, name: str) -> list[Layer]:
        return self.get(name)[1]

    def head(self, name: str, layer: int, head: int) -> bytes:
        """(rows, columns) of one head, row after row, as float16 (little end first)."""
        layers = self.layers(name)
        if not 0 <= layer < len(layers):
            raise DataError(f"there are layers 0 to {len(layers) - 1}", where=f"layer {layer}")
        return layers[layer].head(head).half().numpy().astype("<f2").tobytes()

    def thumbnails(self, name: str) -> bytes:
        """Every head of every layer, made small by the largest of the cells that fall together; a byte each, of √w."""
        return b"".join(small(layer.weights) for layer in self.layers(name))

    def packed(self, name: str) -> bytes:
        """All weights in thousandths, two bytes each, as a saved page has them: what it shows has two or three digits.

        High bytes after low ones: most weights are small, and the high half, nearly all zeros, deflates to little.
        """
        parts = [(1000 * layer.weights).round().short().numpy().astype("<u2").tobytes() for layer in self.layers(name)]
        thousandths = b"".join(parts)
        return thousandths[0::2] + thousandths[1::2]


def size(layers: list[Layer]) -> int:
    return sum(layer.weights.nbytes for layer in layers)


def side(n: int) -> int:
    return min(n, THUMBNAIL)


def small(weights: Tensor) -> bytes:
    """(heads, rows, columns) -> a byte per cell of (heads, side(rows), side(columns))."""
    rows, columns = weights.shape[1:]
    pooled = adaptive_max_pool2d(weights, (side(rows), side(columns)))
    return (pooled.clamp(0, 1).sqrt() * 255).round().to(torch.uint8).numpy().tobytes()


def look(cache: ModelCache, maps: Maps, name: str, text: str, target: str, step: int | None = None) -> dict[str, Any]:
    """Read a text with a run's model: its tokens, its layers, what each head is like; `id` asks for the weights.

    target: what a translator is to have written; what it writes itself where this is empty. step: with the model as it
    was at that checkpoint. Raises ClewError where nothing in the model attends, DataError for an empty text or one
    that is too long.
    """
    if not text.strip():
        raise DataError("there is no text", fix="type one")
    with cache.use(name, step) as opened:
        if not attention_taps(opened.model):
            kind = opened.run.recipe.model.kind
            raise ClewError(f"a {kind} model does not attend", where=name, fix="choose a run whose model does")
        about, layers = read_pair(opened, text, target) if opened.preprocessor.writes else read_text(opened, text)
    longest = max(max(len(layer.rows), len(layer.columns)) for layer in layers)
    if longest > TOKENS:
        raise DataError(f"{longest} tokens are too many to look at: {TOKENS} at most", fix="give a shorter text")
    return maps.keep({"run": name, **about}, layers)


def read_pair(opened: LoadedRun, text: str, target: str) -> Found:
    """A translator: what it writes, or is made to write, and where it looks meanwhile."""
    preprocessor, model, task = opened.preprocessor, opened.model, opened.task
    source, written = task.both_sides(preprocessor, text, target.strip())
    if written is None:
        written = greedy(model, preprocessor, source)
    output = target.strip() or " ".join(preprocessor.target.tokens(written)).replace("▁", "")
    rows = [*preprocessor.target.tokens(written), preprocessor.target.specials.eos]
    columns = [*preprocessor.source.tokens(source), preprocessor.source.specials.eos]
    if max(len(rows), len(columns)) > TOKENS:
        raise DataError(f"more than {TOKENS} tokens are too many to look at", fix="give a shorter text")
    batch = Pairs([source], [written]).batch([0], **preprocessor.ids).to(next(model.parameters()).device)
    return {"source": text, "output": output}, pair_layers(model, batch, columns, rows)


def read_text(opened: LoadedRun, text: str) -> Found:
    """An encoder under whatever head, or a model that writes: what it says of the text, and where it looks in it."""
    text = opened.task.asked(text)
    decode = opened.run.recipe.decode
    answer = next(iter(opened.task.predict(opened.model, opened.preprocessor, [text], decode)))
    seen = of_text(
        opened.model, opened.preprocessor, opened.task.looked_at(text, answer.text, opened.preprocessor.labels)
    )
    batch = seen.batch.to(next(opened.model.parameters()).device)
    return {"source": text, "output": answer.shown or answer.text}, text_layers(opened.model, batch, seen.source)


def described(layer: Layer) -> dict[str, Any]:
    """What the page knows of a layer before it asks for a head."""
    weights = layer.weights
    mean = weights.mean(dim=0)
    most = received(mean).topk(min(SALIENT, len(layer.columns)))
    return {
        "name": layer.name.removesuffix(".weights"),
        "rows": layer.rows, "columns": layer.columns, "heads": len(weights),
        "thumbnail": [side(len(layer.rows)), side(len(layer.columns))],
        "entropy": entropy(weights).mean(dim=-1).tolist(), "distance": distance(weights).mean(dim=-1).tolist(),
        "salient": [[int(i), float(w)] for w, i in zip(most.values, most.indices, strict=True)],
    }  # fmt: skip


class Gold:
    """How well a run's attention aligns the words of its test sentences, at any threshold; worked out once a run."""

    def __init__(self, cache: ModelCache) -> None:
        self.cache = cache
        self.known: dict[Any, dict[str, Any]] = {}

    def measure(self, name: str) -> dict[str, Any]:
        """AER at each threshold, and the sentences; the map is chosen, and AER counted, as `clew evaluate` does.

        Raises DataError where there is no gold alignment to compare with.
        """
        with self.cache.use(name) as opened:
            if self.cache.key not in self.known:
                self.known = {self.cache.key: measure(opened)}
            return self.known[self.cache.key]


def measure(opened: LoadedRun) -> dict[str, Any]:
    task, model, run = opened.task, opened.model, opened.run
    if not run.finished:
        raise DataError("the run has not chosen its map yet", where=str(run.path), fix=run.go_on)
    measured = run.results()["splits"]
    split = next((name for name, figures in measured.items() if "aer" in figures), None)
    if split is None:
        raise DataError(
            "there are no gold alignments for this run", where=str(run.path),
            fix="choose one that attends, and whose test data says which word stands for which",
        )  # fmt: skip
    rows = build("data", run.recipe.data).split(split)
    chosen = measured[split]["aer"]["map"]
    words, sure, possible = task.word_maps(model, opened.preprocessor, rows)
    maps = [each[chosen] for each in words]
    source, target = task.columns(rows)
    curve = [score_at(maps, sure, possible, least) for least in THRESHOLDS]
    each = [aer([align(m)], [s], [p]).aer for m, s, p in zip(maps, sure, possible, strict=True)]
    order = sorted(range(len(each)), key=lambda i: (-each[i], i))[:WORST]
    best = aer([align(m) for m in maps], sure, possible).score.as_dict()
    return {
        "map": chosen.removesuffix(".weights"), "split": split, "sentences": len(maps), "aer": best, "curve": curve,
        "worst": [
            {"source": source[i], "target": target[i], "aer": each[i], "gold": sorted(sure[i] | possible[i])}
            for i in order
        ],
    }  # fmt: skip


def score_at(maps: list[np.ndarray], sure: list[Links], possible: list[Links], least: float) -> Mapping[str, float]:
    found = aer([align(each, least=least) for each in maps], sure, possible)
    return {"least": least, "aer": found.aer, "precision": found.precision, "recall": found.recall}
