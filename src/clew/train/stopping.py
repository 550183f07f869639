"""Which weights are kept, when patience ends a training, and the words for both."""

from __future__ import annotations

import math
from dataclasses import dataclass

from clew.config import BudgetConfig
from clew.train.budget import Progress

STILL_FALLING = 0.01  # of the loss, at the last validation: where it falls by more, the training was too short


@dataclass
class EarlyStopping:
    """What early stopping remembers; saved with every checkpoint.

    A quality at or below its floor (what guessing reaches) judges nothing: until one rises above it, the weights with
    the lowest validation loss are kept; from then on those of the best quality, and of two alike the lower loss.
    """

    best: float = -math.inf  # the quality of the weights that are kept; higher is better
    best_step: int = 0
    since_best: int = 0  # validations that patience counts
    best_loss: float | None = None  # of the weights that are kept
    lowest_loss: float | None = None  # of all validations
    lr: float = 0.0  # at the last validation
    by_quality: bool = False  # a quality has risen above its floor
    falling: bool = False  # the loss of the last validation was clearly the lowest

    def see(self, step: int, lr: float, quality: float, loss: float | None, floor: float) -> bool:
        """Take a validation into account, and return whether its weights are to be kept.

        Patience counts neither while the rate rises (warm-up) nor while the loss falls.
        """
        keep = self._better(quality, loss, floor)
        best, lowest = self.best, self.lowest_loss
        lower = loss is not None and (lowest is None or loss < lowest)
        self.falling = loss is not None and lowest is not None and loss < (1 - STILL_FALLING) * lowest
        if lower:
            self.lowest_loss = loss
        improved = lower or (keep and (loss is None or self.by_quality) and quality > best)
        rising = lr > self.lr
        self.lr = lr
        self.since_best = 0 if improved or rising else self.since_best + 1
        if keep:
            self.best, self.best_step, self.best_loss = quality, step, loss
        return keep

    def _better(self, quality: float, loss: float | None, floor: float) -> bool:
        above, first = quality > floor, self.best_step == 0
        if above and not self.by_quality:
            self.by_quality = True
            return True
        lower = loss is not None and (self.best_loss is None or loss < self.best_loss)
        if self.by_quality:
            return above and (quality > self.best or (quality == self.best and (lower or loss is None)))
        return first or lower or (loss is None and quality >= self.best)

    def kept(self, name: str, floor: float) -> str:
        """Say which step was kept, and why; name: of the quality."""
        loss = "" if self.best_loss is None else f"{self.best_loss:.4g}"
        if self.by_quality:
            return f"step {self.best_step:,}, by its {name} on the validation split, {abs(self.best):.4g}, the best"
        if not loss:
            return f"step {self.best_step:,}, the newest of those with the best {name} on the validation split"
        above = f" {floor:.4g}, what guessing reaches" if math.isfinite(floor) and floor else " 0"
        return f"step {self.best_step:,}, by its validation loss, {loss}, the lowest: no {name} rose above{above}"


def ending(budget: BudgetConfig, progress: Progress, patience: int | None, standing: EarlyStopping) -> tuple[str, str]:
    """Return what ended a training (budget, patience or data), and the same in words with what goes on from there."""
    used = [
        f"{value:,.10g} {name.replace('_', ' ')}"
        for name, value in budget.model_dump().items()
        if value is not None and progress.share(BudgetConfig(**{name: value})) >= 1
    ]
    if used:
        still = ", while the validation loss was still falling: a larger train.budget would give a better model"
        return "budget", f"its budget was used ({', '.join(used)}){still if standing.falling else ''}"
    if patience is not None and standing.since_best >= patience:
        return "patience", (
            f"patience: {standing.since_best} validations in a row were no better; to go on nevertheless, "
            f"--resume with train.patience=none or a larger one, or another train.budget"
        )
    return "data", "the training data gave no more batches"
