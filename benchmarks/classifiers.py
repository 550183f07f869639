"""Which classifier, for how many labels: the cheap ones and a network, on six sets, at 100, 1,000 and all labels.

    python benchmarks/classifiers.py [--sets sst2,…] [--sizes 100,1000,0] [--models linear,…] [--seeds 3]

Each seed draws other training rows (0: takes all) and another beginning; accuracy is on the set's own validation rows
(of TREC, which has none, on a tenth of the training rows that nobody trains on), with the mean over seeds and Student's
95% interval. CPU-seconds are those of the whole command's training, reading and measuring included. Markdown goes to
standard output as it comes; nothing of the validation rows chooses anything.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

import torch
from beside import hardware
from scipy.stats import t as student

from clew.config import Recipe
from clew.data.catalogue import Catalogue, CatalogueConfig
from clew.runs import Run
from clew.runs.training import train

SETS = {
    "sst2": ("sentence", "label"), "subjectivity": ("sentence", "label"), "trec_questions": ("question", "fine_label"),
    "tweeteval_emotion": ("text", "label"), "scicite": ("text", "label"), "imdb": ("text", "label"),
}  # fmt: skip
# Epochs at 100, 1,000 and all labels, set once before anything was measured, and not searched for.
FALLING = {"kind": "linear", "warmup": 0}
MODELS: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[int, int, int]]] = {
    "linear": ({"kind": "linear"}, {}, (1, 1, 1)),
    "fasttext": ({"kind": "fasttext"}, {"batch": {"examples": 16}}, (100, 40, 8)),
    "convolution": (
        {"kind": "text_classifier", "encoder": "convolution", "d_embedding": 100, "widths": [3, 4, 5], "dropout": 0.3},
        {"batch": {"tokens": 1024}, "optimizer": {"kind": "adamw", "lr": 2e-3}, "schedule": FALLING},
        (60, 20, 4),
    ),
}  # fmt: skip
OBJECTIVES = {"linear": "logistic_regression", "fasttext": "bag_classification", "convolution": "classification"}
SGD = {"optimizer": {"kind": "sgd", "lr": 0.5}, "schedule": FALLING}


def rows_of(name: str) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Return the training and the validation rows of a set, as text and label."""
    text, label = SETS[name]
    source = Catalogue(CatalogueConfig(name=name, columns=(text, label)))
    found = [
        [{"text": a, "label": str(b).partition(":")[0]} for a, b in zip(rows[text], rows[label], strict=True)]
        for rows in map(source.split, source.splits if "valid" in source.splits else ("train",))
    ]
    if len(found) > 1:
        return found[0], found[[*source.splits].index("valid")]
    random.Random(0).shuffle(found[0])
    tenth = len(found[0]) // 10
    return found[0][tenth:], found[0][:tenth]


def measured(
    model: str, n: int, seed: int, rows: Sequence[Any], valid: Sequence[Any], place: Path
) -> tuple[float, float]:
    """Train once; return the accuracy on the validation rows, and CPU-seconds."""
    settings, training, epochs = MODELS[model]
    chosen = random.Random(seed).sample(rows, n) if n else rows
    for name, some in (("train", chosen), ("valid", valid)):
        (place / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some), encoding="utf-8")
    epoch = epochs[0 if 0 < n <= 100 else 1 if 0 < n <= 1000 else 2]
    recipe = Recipe.model_validate({
        "name": model, "seed": seed, "task": {"kind": "classify", "text": "text", "label": "label", "max_length": 400},
        "data": {"kind": "files", "train": [str(place / "train.jsonl")], "valid": [str(place / "valid.jsonl")],
                 "columns": ["text", "label"]},
        "tokenizer": {"kind": "word", "lowercase": True, "vocab_size": 80000}, "model": settings,
        "objective": {"kind": OBJECTIVES[model]}, "decode": {"beam": 1},
        "train": {"threads": 1, "device": "cpu", "budget": {"epochs": epoch}, "evaluate_every": 10**6,
                  **(SGD if model == "fasttext" else {}), **training},
    })  # fmt: skip
    began = time.process_time()
    for _ in train(recipe, place / "run"):
        pass
    figure = Run(place / "run").results()["splits"]["valid"]["accuracy"]["value"]
    return figure, time.process_time() - began


def cell(figures: Sequence[float]) -> str:
    """Return a mean with its interval."""
    if len(figures) < 2:
        return f"{figures[0]:.1f}"
    half = student.ppf(0.975, len(figures) - 1) * stdev(figures) / math.sqrt(len(figures))
    return f"{fmean(figures):.1f} ± {half:.1f}"


def main() -> None:
    """Measure, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--sizes", default="100,1000,0")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    models = args.models.split(",")
    print(f"{hardware()}, one thread, seeds 1–{args.seeds}\n")
    print("| set | labels | commonest | " + " | ".join(f"{model} | CPU-s" for model in models) + " |")
    print("|---" * (3 + 2 * len(models)) + "|", flush=True)
    for name in args.sets.split(","):
        rows, valid = rows_of(name)
        counts = [[row["label"] for row in valid].count(label) for label in {row["label"] for row in valid}]
        for n in map(int, args.sizes.split(",")):
            line = [name, f"{n or len(rows):,}", f"{100 * max(counts) / len(valid):.1f}"]
            for model in models:
                found = []
                for seed in range(1, args.seeds + 1):
                    with tempfile.TemporaryDirectory() as place:
                        found.append(measured(model, n, seed, rows, valid, Path(place)))
                line += [cell([figure for figure, _ in found]), f"{median(cpu for _, cpu in found):.1f}"]
                print(f"{name} {n} {model}: {found}", file=sys.stderr, flush=True)
            print("| " + " | ".join(line) + " |", flush=True)


if __name__ == "__main__":
    main()
