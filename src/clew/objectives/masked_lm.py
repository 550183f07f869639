"""Masked language modelling, and next-sentence prediction where the batch has pairs."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field

from clew.config import Choice
from clew.data.batches import TextBatch
from clew.data.pretraining import PretrainingLoader
from clew.models.heads import Pretraining
from clew.nn.vocabulary import linear_cross_entropy
from clew.objectives.loss import Loss

COUNTED = 1 << 24  # tokens by which shares are judged


class MaskedLMConfig(Choice):
    kind: str = "masked_lm"
    next_sentence_weight: float = Field(1.0, ge=0)  # less in batches of few pairs, whose gradient is mostly noise


class MaskedLM:
    """Σ over hidden tokens of -log P(token | the rest), counted per hidden token (Devlin et al. 2019, §3.1).

    Where the batch has `follows`, the mean cross-entropy of next-sentence prediction is added to the mean of these:
    with a weight of 1 the loss is the paper's sum of two means. parts: `mlm` and `nsp`, those means.
    """

    Config = MaskedLMConfig

    def __init__(self, config: MaskedLMConfig) -> None:
        self.config = config

    @torch.no_grad()
    def begin(self, model: Pretraining, batches: PretrainingLoader) -> None:
        """Set the bias of a new model to the logarithm of each token's share of the text.

        Its states then need not learn which words are frequent, which makes them all alike before they learn the rest.
        """
        bias = model.masked_lm.bias
        if not bias.any():  # else the model has learned it elsewhere
            counts = np.bincount(batches.documents.ids[:COUNTED], minlength=len(bias)) + 0.5
            bias.copy_(torch.from_numpy(np.log(counts / counts.sum())))

    def __call__(self, model: Pretraining, batch: TextBatch) -> Loss:
        out = model(batch)
        total, nll = linear_cross_entropy(out.hidden, *model.vocabulary_table(), batch.label, 0.0)
        parts = {"mlm": nll}
        if batch.follows is not None:
            nsp = F.cross_entropy(out.next.float(), batch.follows) * len(batch.label)
            total, parts["nsp"] = total + self.config.next_sentence_weight * nsp, nsp.detach()
        return Loss(total, len(batch.label), parts)
