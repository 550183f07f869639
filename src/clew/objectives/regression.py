"""Squared error of a number."""

from __future__ import annotations

from clew.batches import TextBatch
from clew.config import Choice
from clew.contracts import Loss, Model, Objective


class RegressionConfig(Choice):
    kind: str = "regression"


class Regression(Objective):
    """Σ over texts of (ŷ - y)², counted per text: the Gaussian likelihood of y around ŷ, up to constants.

    Needs a model with `forward(batch).logits`, (batch, 1).
    """

    Config = RegressionConfig

    def __call__(self, model: Model, batch: TextBatch) -> Loss:
        said = model(batch).logits.float()[:, 0]
        return Loss((said - batch.label).square().sum(), len(batch.label), batch.n_read)
