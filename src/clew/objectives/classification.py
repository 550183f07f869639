"""Maximum likelihood of each example's class, with label smoothing, and with weights for rare classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from clew.batches import ImageBatch, TextBatch
from clew.config import Choice
from clew.contracts import Loss, Model, Objective


class ClassificationConfig(Choice):
    kind: str = "classification"
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    class_weights: Literal["none", "balanced"] = "none"  # balanced: every class counts for as much as any other


class Classification(Objective):
    """Σ of the cross-entropy -Σ_c q_c w_c log p_c, q = (1 - ε) onehot(y) + ε/C; counted per text, image or token.

    Needs a model with `forward(batch).logits`, (batch, classes), or (n, classes) of tokens. parts: `nll`, the same with
    ε = 0 and w = 1, and `accuracy`. Balanced weights are w_c = n / (C n_c) for a class with n_c of the n training
    labels (King and Zeng 2001, eq. 12): they are 1 on average over the labels.
    """

    Config = ClassificationConfig

    def __init__(self, config: ClassificationConfig) -> None:
        super().__init__(config)
        self.weight: Tensor | None = None  # (classes,)

    def loader(self, loader: Any, train: Any) -> Any:
        """Return the same batches; where classes are to be balanced, their labels are counted.

        Raises RecipeError where labels say which of several texts is right: those places are no classes.
        """
        if self.config.class_weights == "balanced":
            self.weight = balanced(loader.labels())
        return loader

    def __call__(self, model: Model, batch: TextBatch | ImageBatch) -> Loss:
        logits = model(batch).logits.float()
        weight = None if self.weight is None else self.weight.to(logits.device)
        total = F.cross_entropy(
            logits, batch.label, weight, reduction="sum", label_smoothing=self.config.label_smoothing
        )
        nll = F.cross_entropy(logits.detach(), batch.label, reduction="sum")
        right = (logits.detach().argmax(dim=1) == batch.label).float().sum()
        return Loss(total, len(batch.label), batch.n_read, {"nll": nll, "accuracy": right})


def balanced(labels: Sequence[Any]) -> Tensor:
    """n / (C n_c) of each class: labels, one for each text or a list for each, -> (C,)."""
    flat = [each for label in labels for each in (label if isinstance(label, Sequence) else [label])]
    n = torch.bincount(torch.tensor(flat))
    return len(flat) / (len(n) * n)
