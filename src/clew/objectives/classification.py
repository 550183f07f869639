"""Maximum likelihood of each text's class, with label smoothing."""

from __future__ import annotations

import torch.nn.functional as F
from pydantic import Field

from clew.config import Choice
from clew.data.batches import TextBatch
from clew.models.classifier import Classifier
from clew.objectives.loss import Loss


class ClassificationConfig(Choice):
    kind: str = "classification"
    label_smoothing: float = Field(0.0, ge=0, lt=1)


class Classification:
    """Σ over texts of the cross-entropy -Σ_c q_c log p_c, q = (1 - ε) onehot(y) + ε/C; counted per text.

    Needs a model with `forward(batch).logits`, (batch, classes). parts: `nll`, the same with ε = 0, and `accuracy`.
    """

    Config = ClassificationConfig

    def __init__(self, config: ClassificationConfig) -> None:
        self.smoothing = config.label_smoothing

    def __call__(self, model: Classifier, batch: TextBatch) -> Loss:
        logits = model(batch).logits.float()
        total = F.cross_entropy(logits, batch.label, reduction="sum", label_smoothing=self.smoothing)
        nll = F.cross_entropy(logits.detach(), batch.label, reduction="sum")
        right = (logits.detach().argmax(dim=1) == batch.label).float().sum()
        return Loss(total, len(batch.label), {"nll": nll, "accuracy": right})
