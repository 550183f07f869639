"""Where training stands, and when it ends."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from clew.config import BudgetConfig
from clew.nn.positions import Learned


@dataclass
class Progress:
    """How much work was done so far; it is saved in checkpoints and goes on counting after a resume."""

    step: int = 0
    epoch: float = 0.0
    tokens: int = 0  # items of the objective: target tokens, pairs, …
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


def flops_per_token(model: nn.Module) -> float:
    """6 per weight that is multiplied, forward and backward (Kaplan et al. 2020, §2.1).

    Embeddings are only looked up, except a table that is also the projection: it is multiplied as an untied one is.
    """
    tables = {id(table) for table in embeddings(model)}
    projection: tuple[nn.Parameter, ...] = getattr(model, "output_table", tuple)()
    tables -= {id(part) for part in projection}
    return 6.0 * sum(parameter.numel() for parameter in model.parameters() if id(parameter) not in tables)


def embeddings(model: nn.Module) -> list[nn.Parameter]:
    """The tables whose rows are looked up, of tokens and of positions."""
    kinds = (nn.Embedding, Learned)
    return [table for module in model.modules() if isinstance(module, kinds) for table in module.parameters()]
