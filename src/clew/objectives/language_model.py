"""Maximum likelihood of running text: each token from those before it."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from clew.batches import Block
from clew.config import Choice
from clew.contracts import Loss, Objective
from clew.nn.vocabulary import linear_cross_entropy


class LanguageModelConfig(Choice):
    kind: str = "language_model"


class LanguageModel(Objective):
    """Σ -log P(x_t | x_<t), counted per token (Radford et al. 2019, eq. 1); of the tokens that are `counted`.

    Needs a model with `forward(text, position).hidden` and `output_table()`. The vocabulary is projected a few rows at
    a time.
    """

    Config = LanguageModelConfig

    def __call__(self, model: Any, batch: Block) -> Loss:
        hidden, target = model(batch.text, batch.position).hidden.flatten(0, 1), batch.target.flatten()
        if batch.counted is not None:
            hidden, target = hidden[batch.counted.flatten()], target[batch.counted.flatten()]
        weight, bias = model.output_table()
        total, _ = linear_cross_entropy(hidden, weight, bias, target, 0.0)
        return Loss(total, len(target), batch.n_read)


def log_p_of(model: Any, hidden: Tensor, text: Tensor) -> Tensor:
    """log P(x_(t+1) | x_1 … x_t) from the states of text (batch, time): (batch, time - 1)."""
    logits = model.logits(hidden[:, :-1]).float()  # (batch, time - 1, V)
    return logits.log_softmax(dim=-1).gather(2, text[:, 1:, None]).squeeze(2)
