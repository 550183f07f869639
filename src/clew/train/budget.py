"""Where training stands, and when it ends."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import distributed

from clew.config import BudgetConfig


@dataclass
class Progress:
    """How much work was done so far; it is saved in checkpoints and goes on counting after a resume."""

    step: int = 0
    epoch: float = 0.0
    tokens: int = 0  # what the objective counts: target tokens, pairs, …
    read: int = 0  # tokens (or words, images) that the model read: the work that speed and FLOPs count
    cpu_seconds: float = 0.0  # of training alone: validation and saving are not counted
    wall_seconds: float = 0.0
    flops: float = 0.0

    def share(self, budget: BudgetConfig) -> float:
        """The used share of the budget: training ends at 1. The tightest limit counts."""
        limits = [
            (self.step, budget.steps),
            (self.epoch, budget.epochs),
            (self.tokens, budget.tokens),
            (self.cpu_seconds, budget.cpu_minutes and 60 * budget.cpu_minutes),
            (self.wall_seconds, budget.wall_minutes and 60 * budget.wall_minutes),
            (self.flops, budget.flops),
        ]
        return max((used / limit for used, limit in limits if limit), default=0.0)


def agreed(share: float, device: torch.device) -> float:
    """Return the share of the first of several processes, whose clocks differ, so that all end with the same step."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return share
    told = torch.tensor(share, dtype=torch.float64, device=device)
    distributed.broadcast(told, src=0)
    return told.item()
