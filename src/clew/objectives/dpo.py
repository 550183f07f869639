"""Preferences without a reward model: DPO (Rafailov et al. 2023) and IPO (Azar et al. 2023)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from clew.batches import PreferenceBatch
from clew.config import Choice
from clew.contracts import Context, Loss, Objective
from clew.data.preferences import Answers
from clew.nn.work import Work
from clew.objectives.language_model import log_p_of


def dpo(chosen: Tensor, rejected: Tensor, beta: float) -> Tensor:
    """-log σ(β (h_chosen - h_rejected)), h = log π(y|x) - log π_ref(y|x) (Rafailov et al. 2023, eq. 7).

    h of both answers (n,), (n,) -> (n,). It is `bradley_terry` of the rewards β h, which the policy implies (eq. 5).
    """
    return -F.logsigmoid(beta * (chosen - rejected))


def ipo(chosen: Tensor, rejected: Tensor, beta: float) -> Tensor:
    """((h_chosen - h_rejected) - 1 / 2β)² (Azar et al. 2023, eq. 17, whose τ is β here): (n,), (n,) -> (n,).

    The margin has an aim: where one answer always wins, DPO would drive it to infinity. Here h is the mean over the
    answer's tokens, which the paper leaves open, so that the aim means the same for answers of all lengths.
    """
    return (chosen - rejected - 1 / (2 * beta)).square()


class DPOConfig(Choice):
    kind: str = "dpo"
    beta: float = Field(0.1, gt=0)  # the higher, the nearer to the reference


class DPO(Objective):
    """Σ over pairs of `dpo`, counted per pair.

    Needs a model that writes; what it starts from is the reference. parts:
    `accuracy`, how often the preferred answer gained more on the reference than the other, and `margin`, by how much.
    """

    Config: type[Choice] = DPOConfig
    by_token = False  # h is the sum over the answer's tokens; True: the mean

    def bind(self, context: Context) -> None:
        self.context, self.flops = context, 0.0

    def loader(self, loader: Any, train: Any) -> Any:
        """Return the batches with the log-probability of each answer under the reference, which no training changes."""
        reference = self.context.reference.model
        if not self.context.resumed:  # what goes on has paid for it
            self.flops = sum(map(len, loader.answers.text)) * Work(reference).forward()
        return loader.with_reference(likelihood(reference, loader.answers)[0])

    def extra_flops(self) -> float:
        """Return what the reference cost, once."""
        done, self.flops = self.flops, 0.0
        return done

    def pairwise(self, chosen: Tensor, rejected: Tensor) -> Tensor:
        return dpo(chosen, rejected, self.config.beta)

    def __call__(self, model: Any, batch: PreferenceBatch) -> Loss:
        h = (log_p_of(model, model(batch.text).hidden, batch.text) * batch.written).sum(
            dim=1
        ) - batch.reference  # (2 pairs,)
        if self.by_token:
            h = h / batch.written.sum(dim=1).clamp(min=1)
        chosen, rejected = h.view(-1, 2).unbind(dim=1)
        margin = (chosen - rejected).detach()
        parts = {"accuracy": (margin > 0).float().sum(), "margin": margin.sum()}
        return Loss(self.pairwise(chosen, rejected).sum(), len(chosen), batch.n_read, parts)


@torch.no_grad()
def likelihood(model: Any, answers: Answers) -> tuple[np.ndarray, np.ndarray]:
    """Return log P of each answer after its prompt, in nats, and the tokens of each answer: (2 pairs,) both."""
    model.eval()
    device, found = next(model.parameters()).device, []
    for start in range(0, len(answers), 16):
        batch = answers.batch(range(start, min(start + 16, len(answers))), 0).to(device)
        each = log_p_of(model, model(batch.text).hidden, batch.text) * batch.written
        found.append(torch.stack([each.sum(dim=1), batch.written.sum(dim=1)]).double().cpu().numpy())
    both = np.concatenate(found, axis=1)
    return both[0], both[1]


class IPOConfig(DPOConfig):
    kind: str = "ipo"


class IPO(DPO):
    """Σ over pairs of `ipo` of means over the answers' tokens, counted per pair."""

    Config = IPOConfig
    by_token = True

    def pairwise(self, chosen: Tensor, rejected: Tensor) -> Tensor:
        return ipo(chosen, rejected, self.config.beta)
