"""How good a text is, by a run that says so; and the probabilities that a model gives to what was written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clew.config import Config, DecodeConfig
from clew.contracts import Opened
from clew.errors import RecipeError
from clew.objectives.language_model import log_p_of


class RewardSource(Config):
    """A run that says how good a text is: a reward model, or a classifier, of which one label's probability counts."""

    run: str
    label: str = ""


class RewardOfTexts:
    """The reward of each text, (n,)."""

    def __init__(self, opened: Opened, source: RewardSource) -> None:
        self.opened, self.source = opened, source
        labels = opened.preprocessor.labels
        if source.label and source.label not in labels:
            raise RecipeError(
                f'that run knows no label "{source.label}"', where="task.reward.label",
                fix=f"its labels: {', '.join(labels) or 'none'}",
            )  # fmt: skip

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        run = self.opened
        predictions = run.task.predict(run.model, run.preprocessor, texts, DecodeConfig())
        if not self.source.label:
            return np.array([each.score for each in predictions])
        return np.array([dict([(p.text, p.score), *p.alternatives])[self.source.label] for p in predictions])


@torch.no_grad()
def log_p(model: Any, text: Tensor, batch_size: int = 64) -> Tensor:
    """Return log P of each next token of text (n, time), in evaluation mode: (n, time - 1)."""
    model.eval()
    device = next(model.parameters()).device
    rows = [rows.to(device) for rows in text.split(batch_size)]
    return torch.cat([log_p_of(model, model(each).hidden, each).cpu() for each in rows])


def decoded(tokenizer: Any, text: Tensor) -> list[str]:
    """Return the texts, without </s>."""
    return list(tokenizer.decode([[i for i in row if i != tokenizer.eos_id] for row in text.tolist()]))
