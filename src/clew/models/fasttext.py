"""fastText's classifier: the mean of vectors of words and n-grams, and a linear layer (Joulin et al. 2017)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from clew.batches import BagBatch
from clew.contracts import Head, Model
from clew.errors import RecipeError
from clew.inputs import Bag, InputSpec
from clew.models.heads import ClassifierOutput
from clew.text.hashed import HashedConfig


class FastTextConfig(HashedConfig):
    """Which rows a text has, and how wide they are; left open, objective, rate and schedule are fastText's."""

    kind: str = "fasttext"
    d_model: int = Field(16, ge=1)
    brings: ClassVar[dict[str, Any]] = {
        "objective": {"kind": "bag_classification"},
        "train": {"optimizer": {"kind": "sgd", "lr": 0.5}, "schedule": {"kind": "linear", "warmup": 0}},
    }


class FastText(Model):
    """Scores W h of a text, with h = Σ_f x_f v_f the mean of the rows of its features.

    input v: (features, d), uniform in ±1/d at the beginning; output W: (classes, d), zeros; no bias.
    """

    Config = FastTextConfig
    heads = frozenset({"classify"})
    exports = frozenset({"fasttext-classifier"})
    reads = Bag
    own_preprocessor = "clew.text.labelled_bag:LabelledHashed"

    @classmethod
    def with_head(cls, head: Head, config: FastTextConfig, spec: InputSpec, n_outputs: int) -> Model:
        if head not in cls.heads:
            return super().with_head(head, config, spec, n_outputs)
        if not isinstance(spec, Bag):
            raise RecipeError(
                f"a {config.kind} model gives a text one of several labels", where="model.kind",
                fix='take task.kind="classify", or choose another kind of model',
            )  # fmt: skip
        return cls(config, spec, n_outputs)

    def __init__(self, config: FastTextConfig, spec: Bag, n_classes: int) -> None:
        super().__init__()
        self.config, self.n_outputs = config, n_classes
        self.share_read = 1.0 / spec.n_features  # a feature meets one row
        self.input = nn.Parameter(
            torch.empty(spec.n_features, config.d_model).uniform_(-1 / config.d_model, 1 / config.d_model)
        )
        self.output = nn.Parameter(torch.zeros(n_classes, config.d_model))

    @property
    def bias(self) -> Tensor:
        """(classes,) zeros: what a label has to begin with."""
        return self.output.new_zeros(self.n_outputs)

    def feature_scores(self, features: Tensor) -> Tensor:
        """Return what each feature says of each class where it counts 1: ids (n,) -> (n, classes)."""
        return self.input[features] @ self.output.t()

    def forward(self, batch: BagBatch) -> ClassifierOutput:
        values = batch.weight.to(self.input.dtype)
        hidden = F.embedding_bag(batch.feature, self.input, batch.start, mode="sum", per_sample_weights=values)
        return ClassifierOutput(hidden @ self.output.t())
