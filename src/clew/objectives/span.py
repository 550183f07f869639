"""Maximum likelihood of an answer's first and last token."""

from __future__ import annotations

import torch.nn.functional as F

from clew.batches import TextBatch
from clew.config import Choice
from clew.contracts import Loss, Objective
from clew.models.heads import SpanAnswering


class SpanConfig(Choice):
    kind: str = "span"


class Span(Objective):
    """Σ over windows of -½ (log P(first token) + log P(last token)), counted per window (Devlin et al. 2019, §4.2).

    Both are softmaxes over the tokens of the window. part: `exact`, how often both are the likeliest.
    """

    Config = SpanConfig

    def __call__(self, model: SpanAnswering, batch: TextBatch) -> Loss:
        out = model(batch)
        start, end = out.start.float(), out.end.float()
        first, last = batch.label.unbind(dim=1)
        total = (F.cross_entropy(start, first, reduction="sum") + F.cross_entropy(end, last, reduction="sum")) / 2
        exact = (start.detach().argmax(dim=1) == first) & (end.detach().argmax(dim=1) == last)
        return Loss(total, len(batch.label), batch.n_read, {"exact": exact.float().sum()})
