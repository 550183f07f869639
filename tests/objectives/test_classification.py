"""Balanced classes against loops over labels, for texts and for tokens."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from clew.batches import TextBatch
from clew.config import BatchConfig
from clew.data.batches import TextLoader, Texts
from clew.errors import RecipeError
from clew.objectives.classification import Classification, ClassificationConfig, balanced

CLASSES = [0, 0, 0, 0, 0, 1, 1, 2]
WEIGHTS = [8 / (3 * 5), 8 / (3 * 2), 8 / (3 * 1)]


@dataclass
class Said:
    """A model with one output for everything."""

    logits: Tensor

    def __call__(self, batch: TextBatch) -> Said:
        return self


def loader(labels: list[Any], **more: Any) -> TextLoader:
    text = [[5]] * len(labels) * more.get("choices", 1)
    return TextLoader(Texts(text, labels, **more), batch=BatchConfig(tokens=100), max_length=9, seed=1, pad_id=0)


def objective(labels: list[Any], smoothing: float = 0.0, weights: str = "balanced", **more: Any) -> Classification:
    made = Classification(ClassificationConfig(label_smoothing=smoothing, class_weights=weights))
    given = loader(labels, **more)
    assert made.loader(given, None) is given
    return made


@pytest.mark.parametrize("labels", [CLASSES, [[0, 0, 1], [], [0, 0], [0, 2, 1]]])
def test_weights(labels: list[Any]) -> None:
    """n / (C n_c), which scikit-learn calls balanced; 1 on average over the labels."""
    weights = balanced(labels)
    assert weights.tolist() == pytest.approx(WEIGHTS)
    assert weights[CLASSES].mean().item() == pytest.approx(1)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("weights", ["none", "balanced"])
def test_loss(smoothing: float, weights: str) -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(4, 3, dtype=torch.float64), [2, 0, 1, 2]
    made = objective(CLASSES, smoothing, weights)
    given = loader([0] * 4).batch([0, 1, 2, 3])
    given.label = torch.tensor(labels)
    loss = made(Said(logits), given)
    total = nll = 0.0
    for row, y in zip(logits.tolist(), labels, strict=True):
        log_z = math.log(sum(math.exp(x) for x in row))
        for c in range(3):
            q = (1 - smoothing) * (c == y) + smoothing / 3
            total -= q * (WEIGHTS[c] if weights == "balanced" else 1) * (row[c] - log_z)
        nll -= row[y] - log_z
    assert loss.total.item() == pytest.approx(total, rel=1e-5) and loss.count == 4
    assert loss.parts["nll"].item() == pytest.approx(nll, rel=1e-5)


def test_choices_have_no_classes() -> None:
    with pytest.raises(RecipeError, match="no classes to balance"):
        objective([0, 1, 0], choices=2)
