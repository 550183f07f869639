"""Judge saved word vectors, whoever made them, by one measure: similarity sets (Spearman) and Google's analogies.

    python judge_vectors.py VECTORS DATA

VECTORS: a run folder of clew, or a file in word2vec's binary format. DATA: the folder of word_similarity/ and
word_analogy/.
"""

from __future__ import annotations

import csv
import gzip
import json
import sys
from pathlib import Path

import numpy as np

from clew.hub.vectors import load_vectors
from clew.models.vectors import WordVectors
from clew.runs import Run

SETS = {"wordsim353": "wordsim353_all", "simlex999": "simlex999", "men": "men3000", "rareword": "rareword2034"}
CANDIDATES = 30_000  # analogies are answered, and asked, within the most frequent words: as in gensim's own comparison
SYNTACTIC = "gram"  # how the names of Google's syntactic categories begin


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 0, ties sharing their mean."""
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts + 1) / 2)[where]


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def similarity(path: Path, index: dict[str, int], unit: np.ndarray) -> tuple[float, float]:
    """100 · Spearman's ρ between cosines and people's scores, and the share of pairs whose words are both known."""
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    known = [
        (index[row["word1"].lower()], index[row["word2"].lower()], float(row["score"]))
        for row in rows
        if row["word1"].lower() in index and row["word2"].lower() in index
    ]
    left, right, scores = (np.array(column) for column in zip(*known, strict=True))
    return 100 * spearman((unit[left] * unit[right]).sum(axis=1), scores), len(known) / len(rows)


def analogies(path: Path, index: dict[str, int], unit: np.ndarray) -> dict[str, float]:
    """Percent of a : b = c : ? answered with d by 3CosAdd, a, b and c themselves left out; and the share asked."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    known = [
        (row["type"], *(index[row[key].lower()] for key in ("word1", "word2", "word3", "target")))
        for row in rows
        if all(index.get(row[key].lower(), CANDIDATES) < CANDIDATES for key in ("word1", "word2", "word3", "target"))
    ]
    syntactic = np.array([kind.startswith(SYNTACTIC) for kind, *_ in known])
    words = np.array([row[1:] for row in known])
    right = np.zeros(len(words), dtype=bool)
    table = unit[:CANDIDATES]
    for start in range(0, len(words), 500):
        a, b, c, target = words[start : start + 500].T
        scores = (table[b] - table[a] + table[c]) @ table.T
        for given in (a, b, c):
            scores[np.arange(len(a)), given] = -np.inf
        right[start : start + 500] = scores.argmax(axis=1) == target
    return {
        "analogies": 100 * right.mean(), "analogies_semantic": 100 * right[~syntactic].mean(),
        "analogies_syntactic": 100 * right[syntactic].mean(), "analogies_coverage": len(known) / len(rows),
    }  # fmt: skip


def load(path: Path) -> WordVectors:
    """Words by falling count, as every peer here writes them."""
    return Run.open(path).model().vectors() if path.is_dir() else load_vectors(path, format="binary")


def judge(vectors: WordVectors, data: Path) -> dict[str, float]:
    """All figures, in percent; coverages as shares."""
    unit = np.asarray(vectors.matrix) / np.linalg.norm(vectors.matrix, axis=1, keepdims=True).clip(1e-12)
    index = {word: i for i, word in enumerate(vectors.words)}
    figures: dict[str, float] = {}
    for name, stem in SETS.items():
        found = similarity(data / "word_similarity" / f"{stem}.tsv", index, unit)
        figures[name], figures[f"{name}_coverage"] = found
    return figures | analogies(data / "word_analogy" / "google_analogies.tsv.gz", index, unit)


if __name__ == "__main__":
    print(
        "RESULT " + json.dumps({key: float(x) for key, x in judge(load(Path(sys.argv[1])), Path(sys.argv[2])).items()})
    )
