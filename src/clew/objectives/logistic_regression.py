"""Multinomial logistic regression over bags of features, fitted to its minimum by L-BFGS (Liu and Nocedal 1989)."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from scipy import optimize, sparse

from clew.batches import BagBatch
from clew.config import Choice, TrainConfig
from clew.contracts import Loader, Loss, Objective
from clew.data.bags import BagLoader, Bags, WholeLoader
from clew.errors import RecipeError
from clew.models.linear import Linear
from clew.objectives.classification import balanced


class LogisticRegressionConfig(Choice):
    """How strongly weights are held down, and when the search for the minimum ends."""

    kind: str = "logistic_regression"
    C: float = Field(5.0, gt=0)  # as scikit-learn has it: a text's loss against half the squared weights; less: smaller
    class_weights: Literal["none", "balanced"] = "none"  # balanced: every class counts for as much as any other
    tolerance: float = Field(1e-4, gt=0)  # of the largest partial derivative of the mean loss
    iterations: int = Field(1000, ge=1)  # at most


class LogisticRegression(Objective):
    """min over W, b of 1/n [ Σ_i c_i · -log p(y_i | x_i) + |W|²/(2C) ], p = softmax(x W + b); the bias is free.

    Of two classes the model is one vector w, log-odds x w + b with |w|²/(2C), as is usual: W is then (-w/2, w/2). The
    minimum is the same from everywhere: no seed, no rate, no epochs. One step of training is the whole search, over all
    texts; parts: `nll` and `accuracy` at its end, `penalty`, `iterations`. Needs a `Linear` model. c_i: see
    `Classification`. Raises RecipeError where the search did not end within `iterations`.
    """

    Config = LogisticRegressionConfig
    moves_weights = True
    finds_minimum = True

    def __init__(self, config: LogisticRegressionConfig) -> None:
        super().__init__(config)
        self.texts: Bags | None = None

    def loader(self, loader: Loader, train: TrainConfig) -> Loader:
        """Return all texts at once. Raises RecipeError where they are no bags of features."""
        if not isinstance(loader, BagLoader):
            raise RecipeError(
                "logistic regression is over bags of n-grams", where="objective.kind",
                fix='set model.kind="linear", or objective.kind="classification"',
            )  # fmt: skip
        self.texts = loader.texts
        return WholeLoader(loader.texts)

    def __call__(self, model: Linear, batch: BagBatch) -> Loss:
        assert self.texts is not None
        matrix, labels = self.texts.matrix, np.asarray(self.texts.label)
        each = np.ones(len(labels))
        if self.config.class_weights == "balanced":
            each = balanced(self.texts.label).numpy().astype(np.float64)[labels]
        search = Search(matrix, labels, model.n_outputs, each, self.config.C)
        found = optimize.minimize(
            search, search.begin(model), jac=True, method="L-BFGS-B",
            options={"maxiter": self.config.iterations, "maxfun": 2 * self.config.iterations,
                     "gtol": self.config.tolerance, "ftol": 64 * np.finfo(float).eps},
        )  # fmt: skip
        if not found.success:
            raise RecipeError(
                f"the minimum was not found: {found.message}", where="objective.iterations",
                fix="set it higher, or objective.C lower",
            )  # fmt: skip
        weight, bias = search.whole(found.x)
        with torch.no_grad():
            model.weight.copy_(torch.from_numpy(weight))
            model.bias.copy_(torch.from_numpy(bias))
        self.finished = True
        scores = matrix @ weight + bias
        right = float((scores.argmax(axis=1) == labels).sum())
        nll = float((log_sum(scores) - scores[np.arange(len(labels)), labels]).sum())
        parts = {"nll": nll, "accuracy": right, "penalty": found.fun * len(labels) - nll, "iterations": found.nit}
        parts["iterations"] *= len(labels)  # the log divides by the count
        return Loss(
            torch.tensor(found.fun * len(labels)), len(labels), batch.n_read * found.nfev,
            {name: torch.tensor(float(value)) for name, value in parts.items()},
        )  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        return {"finished": self.finished}

    def load_state_dict(self, state: Any) -> None:
        self.finished = bool(state["finished"])


class Search:
    """The mean loss and its gradient at a point: W (features, k) and b (k,), flat, with k = 1 for two classes.

    matrix: (n, features); labels: (n,) classes; each: (n,) how much each text counts.
    """

    def __init__(self, matrix: sparse.csr_array, labels: np.ndarray, classes: int, each: np.ndarray, C: float) -> None:
        self.x, self.transposed, self.C = matrix, matrix.T.tocsr(), C
        self.labels, self.each = labels, each[:, None]
        self.spread = np.array([[-0.5, 0.5]]) if classes == 2 else np.eye(classes)  # k vectors → scores of the classes
        self.right = np.eye(classes)[labels]

    def whole(self, point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return weight (features, classes) and bias (classes,)."""
        table = point.reshape(-1, len(self.spread)) @ self.spread
        return table[:-1], table[-1]

    def begin(self, model: Linear) -> np.ndarray:
        """Return the point where a model stands."""
        both = torch.cat([model.weight.detach(), model.bias.detach()[None]]).double().cpu().numpy()
        flat: np.ndarray = np.ravel(both @ np.linalg.pinv(self.spread))
        return flat

    def __call__(self, point: np.ndarray) -> tuple[float, np.ndarray]:
        n, table = len(self.labels), point.reshape(-1, len(self.spread))
        scores = (self.x @ table[:-1] + table[-1]) @ self.spread  # (n, classes)
        total = log_sum(scores)
        loss = self.each[:, 0] @ (total - (scores * self.right).sum(axis=1))
        error = self.each * (np.exp(scores - total[:, None]) - self.right) @ self.spread.T  # (n, k)
        gradient = np.concatenate([self.transposed @ error + table[:-1] / self.C, error.sum(axis=0)[None]])
        penalty = np.square(table[:-1]).sum() / (2 * self.C)
        return float(loss + penalty) / n, np.ravel(gradient) / n


def log_sum(scores: np.ndarray) -> np.ndarray:
    """log Σ_c exp s_c of each row: (n, classes) -> (n,)."""
    most = scores.max(axis=1)
    total: np.ndarray = most + np.log(np.exp(scores - most[:, None]).sum(axis=1))
    return total
