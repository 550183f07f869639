"""The reward model's loss: of two answers, the preferred one is to score higher (Bradley and Terry)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from clew.batches import TextBatch
from clew.config import Choice
from clew.contracts import Loss, Model, Objective


def bradley_terry(chosen: Tensor, rejected: Tensor) -> Tensor:
    """-log σ(r_chosen - r_rejected), since P(chosen ≻ rejected) = σ(that difference) (Ouyang et al. 2022, eq. 1).

    Rewards (n,), (n,) -> (n,). Adding a number to all rewards changes nothing: only differences are learned.
    """
    return -F.logsigmoid(chosen - rejected)


class RewardConfig(Choice):
    kind: str = "reward"


class Reward(Objective):
    """Σ over pairs of -log σ(r_chosen - r_rejected), counted per pair.

    Needs a model with `forward(batch).logits`, a reward of each text, where the preferred text of each pair stands
    before the other one. parts: `accuracy`, how often it scores higher, and `margin`, by how much.
    """

    Config = RewardConfig

    def __call__(self, model: Model, batch: TextBatch) -> Loss:
        chosen, rejected = model(batch).logits.float().view(-1, 2).unbind(dim=1)  # (pairs,) each
        margin = (chosen - rejected).detach()
        parts = {"accuracy": (margin > 0).float().sum(), "margin": margin.sum()}
        return Loss(bradley_terry(chosen, rejected).sum(), len(chosen), batch.n_read, parts)
