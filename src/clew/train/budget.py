"""Where training stands, and when it ends."""

from __future__ import annotations

from dataclasses import dataclass

from clew.config import BudgetConfig
from clew.contracts import Model
from clew.nn.work import multiplied


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


def flops_per_token(model: Model) -> float:
    """Return the operations of one token that is read, forward and backward (Kaplan et al. 2020, §2.1).

    6 for each weight that it is multiplied by and that learns, as often as it is (`Model.times_used`): 2 forward, 2 for
    the gradient of what came in, 2 for its own. A weight that does not learn has no gradient of its own (4), and none
    goes through it (2) where nothing below it learns, as in a frozen encoder.
    """
    weights, times = multiplied(model, model.output_table()), model.times_used()
    blocks = [*model.blocks()]
    place = {id(p): n for n, block in enumerate(blocks) for p in block.parameters()}
    learning = [place.get(id(p), len(blocks)) for p in model.parameters() if p.requires_grad]
    lowest = min(learning, default=len(blocks) + 1)
    total = 0.0
    for parameter in weights:
        through = place.get(id(parameter), len(blocks)) >= lowest
        work = parameter.numel() * times.get(id(parameter), 1.0)
        total += work * (6.0 if parameter.requires_grad else 4.0 if through else 2.0)
    return total * model.share_read
