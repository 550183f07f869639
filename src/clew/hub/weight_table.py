"""A linear model as one table: each n-gram with its weights, for spreadsheets and other programs."""

from __future__ import annotations

import os
from pathlib import Path

from clew.models.linear import Linear
from clew.text.labelled_bag import LabelledTfidf

COLUMNS = ("sort", "ngram", "idf")
SPACES = str.maketrans("\t\r\n", "   ")  # of labels; n-grams hold none of these


def write_table(model: Linear, preprocessor: LabelledTfidf, path: Path) -> None:
    """Write tab-separated lines under a header: sort (words or characters), ngram, idf, then a weight for each label.

    The first line after the header is the bias, its sort "bias". A score is Σ_f x_f weight + bias, with x_f as
    `clew.text.tfidf` has it. The file appears whole or not at all.
    """
    parts = preprocessor.tokenizer.parts
    names = [(sort, name) for sort, part in parts.items() for name in part.names]
    weights, bias = model.weight.detach().tolist(), model.bias.detach().tolist()
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w", encoding="utf-8") as file:
        file.write("\t".join([*COLUMNS, *(label.translate(SPACES) for label in preprocessor.labels)]) + "\n")
        file.write("\t".join(["bias", "", "", *map(repr, bias)]) + "\n")
        for (sort, name), idf, row in zip(names, preprocessor.tokenizer.idf.tolist(), weights, strict=True):
            file.write("\t".join([sort, name, repr(idf), *map(repr, row)]) + "\n")
    os.replace(temporary, path)
