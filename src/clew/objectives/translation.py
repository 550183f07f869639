"""Maximum likelihood of the target sentence, given the source, with label smoothing."""

from __future__ import annotations

from pydantic import Field

from clew.batches import PairBatch
from clew.config import Choice
from clew.contracts import Loss, Objective
from clew.models.translator import Translator
from clew.nn.vocabulary import linear_cross_entropy


class TranslationConfig(Choice):
    kind: str = "translation"
    label_smoothing: float = Field(0.1, ge=0, lt=1)


class Translation(Objective):
    """Σ over real target tokens of the smoothed cross-entropy (teacher forcing).

    Needs a model with `forward(batch).hidden` and `output_table()`, the projection onto the vocabulary. With
    label_smoothing 0 it is the plain negative log-likelihood; `parts["nll"]` is that in any case, from which
    perplexity follows. The vocabulary is projected at real positions alone, a few rows at a time.
    """

    Config = TranslationConfig

    def __call__(self, model: Translator, batch: PairBatch) -> Loss:
        hidden = model(batch).hidden[batch.target_mask]  # (tokens, D)
        target = batch.target_out[batch.target_mask]  # (tokens,)
        weight, bias = model.output_table()
        total, nll = linear_cross_entropy(hidden, weight, bias, target, self.config.label_smoothing)
        return Loss(total, len(target), batch.n_read, {"nll": nll})
