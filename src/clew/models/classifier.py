"""What every classifier of texts offers, so that training and prediction treat them alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from clew.batches import TextBatch


@dataclass
class ClassifierOutput:
    """What `forward` returns. logits: (batch, classes)."""

    logits: Tensor


class Classifier(Protocol):
    """A model from a text to one of some classes, built as `Model(config, vocab_size, n_classes, pad_id)`."""

    def __call__(self, batch: TextBatch) -> ClassifierOutput:
        """Logits of every class for every text; `batch.label` is not looked at."""
        ...
