"""fastText's classifiers as files of its own (`.bin`), read and written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clew.errors import DataError
from clew.hub import fasttext_bin
from clew.hub.fasttext_bin import SUPERVISED, Arguments
from clew.hub.table_file import mapped, replacing
from clew.models.fasttext import FastText, FastTextConfig
from clew.text.hashed import HashedNgrams
from clew.text.labelled_bag import LabelledHashed

PREFIX, SOFTMAX = "__label__", 3


class ClassifierFile:
    """A .bin as a checkpoint, which is its own adapter: see `clew.runs.imported`."""

    def __init__(self, file: Path) -> None:
        """Read it. Raise DataError for a file that is damaged, quantised, of word vectors, or not of softmax."""
        self.folder = file
        with mapped(file) as table:
            self.model = fasttext_bin.read(table)
        args = self.model.arguments
        if args.model != SUPERVISED or args.loss != SOFTMAX:
            what = "word vectors" if args.model != SUPERVISED else "a classifier of another loss than softmax"
            raise DataError(
                f"this is {what}", where=str(file),
                fix="import a classifier that was trained with -loss softmax; word vectors are what model.start takes",
            )  # fmt: skip

    @property
    def adapter(self) -> ClassifierFile:
        return self

    @property
    def config(self) -> FastTextConfig:
        """Its settings; texts are parted at white space alone."""
        args = self.model.arguments
        return FastTextConfig(
            d_model=args.dim, words=args.word_ngrams, min_n=args.minn if args.maxn else 0, max_n=args.maxn,
            buckets=max(1, args.bucket), min_count=max(1, args.min_count), lowercase=False, marks=False,
        )  # fmt: skip

    @property
    def tokenizer(self) -> list[str]:
        return [*self.model.words]

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Both tables, under the names that they have here."""
        return {
            "input": torch.from_numpy(np.array(self.model.input)),
            "output": torch.from_numpy(np.array(self.model.output)),
        }

    def recipe(self, checkpoint: Any, name: str) -> dict[str, Any]:
        """Return the task and the objective of its run."""
        task = {"kind": "classify", "text": "text", "label": "label"}
        return {"task": task, "objective": {"kind": "bag_classification"}, "tokenizer": {"kind": "word"}}

    def preprocessor(self, checkpoint: Any, task: Any) -> LabelledHashed:
        """Return what reads its texts; labels are without their prefix."""
        features = HashedNgrams(self.config, self.model.words, self.model.counts.tolist())
        return LabelledHashed(features, [label.removeprefix(PREFIX) for label in self.model.labels])

    def take(self, model: FastText, tensors: Mapping[str, Tensor], where: str) -> None:
        """Load both tables."""
        model.load_state_dict(dict(tensors))


def write(model: FastText, preprocessor: LabelledHashed, path: Path) -> None:
    """Write a .bin that fastText loads. It reads texts as `model.marks = false` and `model.lowercase = false` do.

    Whoever gives it texts parts their marks and lower-cases them first, where the model was trained so.
    """
    config, features = model.config, preprocessor.tokenizer
    arguments = Arguments(
        config.d_model, min_count=config.min_count, word_ngrams=config.words, loss=SOFTMAX, model=SUPERVISED,
        bucket=config.n_buckets, minn=config.min_n, maxn=config.max_n,
    )  # fmt: skip
    tables = (model.input.detach().numpy(), model.output.detach().numpy())
    labels = [f"{PREFIX}{'_'.join(label.split())}" for label in preprocessor.labels]
    found = fasttext_bin.FastText(
        arguments, features.words, features.counts, int(features.counts.sum()), *tables, labels
    )  # fmt: skip
    with replacing(path) as file:
        fasttext_bin.write(found, file)
