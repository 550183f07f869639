"""Classification: one label for a text."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clew.config import Choice, DecodeConfig, TokenizerConfig, TrainConfig, build
from clew.data.batches import TextLoader, Texts
from clew.data.rows import Rows
from clew.errors import DataError, RecipeError
from clew.metrics.classification import accuracy, macro_f1
from clew.tasks.examples import SHOWN, Example, Prediction, by_length
from clew.text.labelled import Labelled
from clew.text.tokenizer import Tokenizer

Model = Any
"""An nn.Module that is called as `clew.models.classifier.Classifier` says: Python has no type for both at once."""


class ClassifyConfig(Choice):
    """Which columns of the data are the text and its label."""

    kind: str = "classify"
    text: str
    label: str


class Classify:
    """Read column `text`, choose among the labels that column `label` has in the training rows."""

    Config = ClassifyConfig
    quality = "accuracy"
    items = "text"
    counted = "texts"

    def __init__(self, config: ClassifyConfig) -> None:
        self.config = config

    # Which examples.

    def columns(self, rows: Rows) -> tuple[list[str], list[str]]:
        """Texts and labels. Raises DataError where a column is missing."""
        for key, name in (("text", self.config.text), ("label", self.config.label)):
            if name not in rows.columns:
                raise DataError(
                    f'no column "{name}" in {rows.report.source}',
                    where=f"task.{key}", fix=f"columns there: {', '.join(rows.columns)}",
                )  # fmt: skip
        return rows[self.config.text], rows[self.config.label]

    def tokenizers(self, rows: Rows, config: TokenizerConfig) -> Labelled:
        """A tokenizer trained on the texts, and the labels."""
        texts, labels = self.columns(rows)
        return Labelled.of(Tokenizer.train(texts[: config.max_examples], config), labels, rows.report.source)

    def save_tokenizers(self, tokenizers: Labelled, folder: Path) -> None:
        tokenizers.save(folder)

    def load_tokenizers(self, folder: Path) -> Labelled:
        """Those that a run folder holds."""
        return Labelled.load(folder)

    def describe(self, tokenizers: Labelled) -> dict[str, Any]:
        """What `config.json` says of the vocabulary and the labels."""
        tokenizer = tokenizers.tokenizer
        return {
            "vocab_size": len(tokenizer),
            "pad_id": tokenizer.pad_id,
            "id2label": dict(enumerate(tokenizers.labels)),
        }

    def words(self, tokenizers: Labelled) -> dict[str, list[str]]:
        """What the rows of a model's embedding stand for."""
        return {"embedding": tokenizers.tokenizer.words}

    def encode(self, tokenizers: Labelled, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text; one without any token is one unknown word."""
        return [ids or [tokenizers.tokenizer.unk_id] for ids in tokenizers.tokenizer.encode(texts)]

    def batches(self, rows: Rows, tokenizers: Labelled, train: TrainConfig, seed: int) -> TextLoader:
        """Training batches. Raises DataError where no text is short enough to train on."""
        texts, labels = self.columns(rows)
        encoded = Texts(self.encode(tokenizers, texts), [tokenizers.index[label] for label in labels])
        loader = TextLoader(
            encoded, batch_tokens=train.batch_tokens, max_length=train.max_length, seed=seed,
            pad_id=tokenizers.tokenizer.pad_id,
        )  # fmt: skip
        if not len(loader.rows):
            raise DataError(
                f"all {len(encoded)} texts are longer than {train.max_length} tokens", fix="raise train.max_length"
            )
        return loader

    def model(self, config: Choice, tokenizers: Labelled) -> Model:
        tokenizer = tokenizers.tokenizer
        return build("model", config, len(tokenizer), len(tokenizers.labels), tokenizer.pad_id)

    # How to predict.

    def predict(
        self, model: Model, tokenizers: Labelled, texts: Iterable[str], decode: DecodeConfig, *, attention: bool = False
    ) -> Iterator[Prediction]:
        """The label of each text with its probability, in order; the other labels by falling probability besides.

        Any number of texts, 64 batches in memory at a time. Raises RecipeError for a lower precision than fp32.
        """
        if decode.precision != "fp32":
            raise RecipeError(
                f"classifiers predict in fp32, not in {decode.precision}", where="decode.precision", fix="leave it out"
            )
        stream = iter(texts)
        while chunk := list(islice(stream, 64 * decode.batch_size)):
            for row in self.probabilities(model, tokenizers, chunk, decode.batch_size):
                ranked = [(tokenizers.labels[i], float(row[i])) for i in row.argsort(descending=True, stable=True)]
                yield Prediction(*ranked[0], alternatives=ranked[1:])

    @torch.no_grad()
    def probabilities(self, model: Model, tokenizers: Labelled, texts: Sequence[str], batch_size: int) -> Tensor:
        """P(label | text), (texts, labels)."""
        model.eval()
        device = next(model.parameters()).device
        encoded = Texts(self.encode(tokenizers, texts), [0] * len(texts))
        order = sorted(range(len(encoded)), key=lambda i: len(encoded.text[i]))
        found = torch.empty(len(encoded), len(tokenizers.labels))
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            batch = encoded.batch(rows, pad_id=tokenizers.tokenizer.pad_id).to(device)
            found[rows] = model(batch).logits.float().softmax(dim=1).cpu()
        return found

    def examples(self, data: Any, splits: Sequence[str]) -> list[Example]:
        """Texts of varied lengths from the splits that runs measured, with their labels."""
        found = []
        for split in splits:
            texts, labels = self.columns(data.split(split))
            found += [Example(texts[i], labels[i]) for i in by_length(texts, SHOWN)]
        return found

    # Which metrics.

    def validate(
        self, model: Model, tokenizers: Labelled, rows: Rows, decode: DecodeConfig, n_examples: int
    ) -> dict[str, Any]:
        """Loss, accuracy and macro-F1 on all rows, which cost little; samples."""
        texts, labels = self.columns(rows)
        predictions = list(self.predict(model, tokenizers, texts, decode))
        outputs = [prediction.text for prediction in predictions]
        shown = list(zip(texts, labels, predictions, strict=True))[:8]
        return {
            "loss": loss(predictions, labels),
            "accuracy": accuracy(outputs, labels).value,
            "macro_f1": macro_f1(outputs, labels).value,
            "samples": [{"source": t, "reference": y, "output": f"{p.text} ({p.score:.2f})"} for t, y, p in shown],
        }

    def evaluate(
        self, model: Model, tokenizers: Labelled, rows: Rows, decode: DecodeConfig, *, choose_on: Rows | None = None
    ) -> dict[str, Any]:
        """Accuracy and macro-F1 on all rows, with 95% bootstrap intervals; loss, and speed."""
        texts, labels = self.columns(rows)
        cpu = time.process_time()
        predictions = list(self.predict(model, tokenizers, texts, decode))
        cpu = time.process_time() - cpu
        outputs = [prediction.text for prediction in predictions]
        return {
            "sentences": len(rows),
            "accuracy": accuracy(outputs, labels).as_dict(),
            "macro_f1": macro_f1(outputs, labels).as_dict(),
            "loss": loss(predictions, labels),
            "decode_sentences_per_cpu_second": len(rows) / cpu,
            "outputs": outputs,
        }


def loss(predictions: Sequence[Prediction], labels: Sequence[str]) -> float:
    """The mean of -log P(label), in nats. A label that no training text had has no probability and is left out."""
    given = [dict([(p.text, p.score), *p.alternatives]) for p in predictions]
    likelihood = torch.tensor([each[y] for each, y in zip(given, labels, strict=True) if y in each])
    return -likelihood.clamp(min=1e-30).log().mean().item()
