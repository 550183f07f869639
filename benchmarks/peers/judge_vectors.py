"""Judge saved word vectors, whoever made them, by one measure: similarity sets, noun categories, Google's analogies.

    python judge_vectors.py VECTORS DATA

VECTORS: a run folder of clew, or a file in word2vec's binary format. DATA: the folder of word_similarity/ and
word_analogy/. Words without a vector of their own are left out for all, though n-grams could make one.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from clew.hub.vectors import load_vectors
from clew.metrics.words import evaluate
from clew.models.vectors import WordVectors
from clew.runs import Run

path, data = Path(sys.argv[1]), Path(sys.argv[2])
vectors = Run.open(path).model().vectors() if path.is_dir() else load_vectors(path, format="binary")
figures = {}
for name, scored in evaluate(WordVectors(vectors.words, vectors.matrix), data).items():
    figures |= {name: scored.score.value, f"{name}_coverage": scored.coverage}
    figures |= {f"{name}_{kind}": scored.parts[kind].score.value for kind in ("semantic", "syntactic") if scored.parts}
print("RESULT " + json.dumps(figures))
