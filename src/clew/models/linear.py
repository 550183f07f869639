"""A linear model of a text's class over weighted n-grams: what every other classifier has to beat."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clew.batches import BagBatch
from clew.contracts import Head, Model
from clew.errors import RecipeError
from clew.inputs import Bag, InputSpec
from clew.models.heads import ClassifierOutput
from clew.text.tfidf import NgramsConfig


class LinearConfig(NgramsConfig):
    """Which n-grams a text has and how they are weighed; left open, the objective is `logistic_regression`."""

    kind: str = "linear"
    brings: ClassVar[dict[str, Any]] = {"objective": {"kind": "logistic_regression"}}


class BagClassifier(Model):
    """A model whose scores of a text are a sum over its features, each with a value x_f."""

    heads = frozenset({"classify"})
    reads = Bag
    bias: Tensor

    @classmethod
    def with_head(cls, head: Head, config: Any, spec: InputSpec, n_outputs: int) -> Model:
        if head not in cls.heads:
            return super().with_head(head, config, spec, n_outputs)
        if not isinstance(spec, Bag):
            raise RecipeError(
                f"a {config.kind} model gives a text one of several labels", where="model.kind",
                fix='take task.kind="classify", or choose another kind of model',
            )  # fmt: skip
        return cls(config, spec, n_outputs)

    @abstractmethod
    def feature_scores(self, features: Tensor) -> Tensor:
        """Return what each feature says of each class where it counts 1: ids (n,) -> (n, classes)."""


class Linear(BagClassifier):
    """Scores Σ_f x_f w_f + b of a text with weighted n-grams x; they begin at 0. weight: (features, classes)."""

    Config = LinearConfig
    exports = frozenset({"table"})
    own_preprocessor = "clew.text.labelled_bag:LabelledTfidf"

    def __init__(self, config: LinearConfig, spec: Bag, n_classes: int) -> None:
        super().__init__()
        self.config, self.n_outputs = config, n_classes
        self.share_read = 1.0 / spec.n_features  # a feature meets one row of the weights
        self.weight = nn.Parameter(torch.zeros(spec.n_features, n_classes))
        self.bias = nn.Parameter(torch.zeros(n_classes))

    def feature_scores(self, features: Tensor) -> Tensor:
        return self.weight[features]

    def forward(self, batch: BagBatch) -> ClassifierOutput:
        values = batch.weight.to(self.weight.dtype)
        scores = F.embedding_bag(batch.feature, self.weight, batch.start, mode="sum", per_sample_weights=values)
        return ClassifierOutput(scores + self.bias)
