"""Masked language modelling, and next-sentence prediction where the batch has pairs."""

from __future__ import annotations

import torch.nn.functional as F
from pydantic import Field

from clew.batches import TextBatch
from clew.config import Choice
from clew.contracts import Loss, Objective
from clew.models.heads import Pretraining
from clew.nn.vocabulary import linear_cross_entropy


class MaskedLMConfig(Choice):
    kind: str = "masked_lm"
    next_sentence_weight: float = Field(1.0, ge=0)  # less in batches of few pairs, whose gradient is mostly noise


class MaskedLM(Objective):
    """Σ over hidden tokens of -log P(token | the rest), counted per hidden token (Devlin et al. 2019, §3.1).

    Where the batch has `follows`, the mean cross-entropy of next-sentence prediction is added to the mean of these:
    with a weight of 1 the loss is the paper's sum of two means. parts: `mlm` and `nsp`, those means.
    """

    Config = MaskedLMConfig

    def __call__(self, model: Pretraining, batch: TextBatch) -> Loss:
        out = model(batch)
        total, nll = linear_cross_entropy(out.hidden, *model.output_table(), batch.label, 0.0)
        parts = {"mlm": nll}
        if batch.follows is not None:
            nsp = F.cross_entropy(out.next.float(), batch.follows) * len(batch.label)
            total, parts["nsp"] = total + self.config.next_sentence_weight * nsp, nsp.detach()
        return Loss(total, len(batch.label), batch.n_read, parts)
