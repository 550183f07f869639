"""Preferences without a reward model: DPO (Rafailov et al. 2023) and IPO (Azar et al. 2023)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


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
