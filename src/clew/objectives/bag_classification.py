"""Classification of bags of features by SGD, one text after another, in compiled code (Joulin et al. 2017)."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import Optimizer

from clew.batches import BagBatch
from clew.config import Choice, TrainConfig
from clew.contracts import Loader, Loss, Objective
from clew.data.bags import BagLoader
from clew.errors import RecipeError
from clew.kernels.bags import train_texts
from clew.models.fasttext import FastText


class BagClassificationConfig(Choice):
    """Nothing is to be chosen: the rate is the optimizer's."""

    kind: str = "bag_classification"


class BagClassification(Objective):
    """-log p(y | x), whose gradient moves the rows of each text before the next is read, at the optimizer's rate.

    The total carries no graph. parts: `nll` and `accuracy`, each text before its own step. Needs a `FastText`.
    """

    Config = BagClassificationConfig
    moves_weights = True

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.optimizer: Optimizer | None = None

    def loader(self, loader: Loader, train: TrainConfig) -> Loader:
        """Return it. Raises RecipeError where it gives no bags of features."""
        if not isinstance(loader, BagLoader):
            raise RecipeError(
                "this objective is over bags of n-grams", where="objective.kind",
                fix='set model.kind="fasttext", or objective.kind="classification"',
            )  # fmt: skip
        return loader

    def prepare(self, model: Any, optimizer: Optimizer) -> None:
        """Take the optimizer whose rate it heeds, and compile."""
        self.optimizer = optimizer
        nothing = torch.zeros(0, dtype=torch.int64)
        self(model, BagBatch(nothing, nothing.float(), nothing, nothing, nothing))

    def __call__(self, model: FastText, batch: BagBatch) -> Loss:
        if self.optimizer is None:
            raise RecipeError("the engine moves the weights itself, at a rate that it lacks", fix="call prepare()")
        texts = (each.numpy() for each in (batch.feature, batch.weight, batch.start, batch.label))
        tables = model.input.detach().numpy(), model.output.detach().numpy()
        loss, right = train_texts(*texts, *tables, self.optimizer.param_groups[0]["lr"])
        parts = {"nll": torch.tensor(loss), "accuracy": torch.tensor(float(right))}
        return Loss(torch.tensor(loss), len(batch.label), batch.n_read, parts)
