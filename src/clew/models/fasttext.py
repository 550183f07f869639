"""fastText's classifier: the mean of vectors of words and n-grams, and a linear layer (Joulin et al. 2017)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from clew.batches import BagBatch
from clew.inputs import Bag
from clew.models.heads import ClassifierOutput
from clew.models.linear import BagClassifier
from clew.text.hashed import HashedConfig


class FastTextConfig(HashedConfig):
    """Which rows a text has, and how wide they are; left open, objective, rate and schedule are fastText's."""

    kind: str = "fasttext"
    d_model: int = Field(16, ge=1)
    brings: ClassVar[dict[str, Any]] = {
        "objective": {"kind": "bag_classification"},
        "train": {"optimizer": {"kind": "sgd", "lr": 0.5}, "schedule": {"kind": "linear", "warmup": 0}},
    }


class FastText(BagClassifier):
    """Scores W h of a text, with h = Σ_f x_f v_f the mean of the rows of its features.

    input v: (features, d), uniform in ±1/d at the beginning; output W: (classes, d), zeros; no bias.
    """

    Config = FastTextConfig
    exports = frozenset({"fasttext-classifier"})
    own_preprocessor = "clew.text.labelled_bag:LabelledHashed"

    def __init__(self, config: FastTextConfig, spec: Bag, n_classes: int) -> None:
        super().__init__()
        self.config, self.n_outputs = config, n_classes
        self.share_read = 1.0 / spec.n_features  # a feature meets one row
        self.input = nn.Parameter(
            torch.empty(spec.n_features, config.d_model).uniform_(-1 / config.d_model, 1 / config.d_model)
        )
        self.output = nn.Parameter(torch.zeros(n_classes, config.d_model))
        self.register_buffer("bias", torch.zeros(n_classes), persistent=False)  # there is none

    def feature_scores(self, features: Tensor) -> Tensor:
        return self.input[features] @ self.output.t()

    def forward(self, batch: BagBatch) -> ClassifierOutput:
        values = batch.weight.to(self.input.dtype)
        hidden = F.embedding_bag(batch.feature, self.input, batch.start, mode="sum", per_sample_weights=values)
        return ClassifierOutput(hidden @ self.output.t())
