"""An objective of clew's whose batches a meter counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clew.contracts import Loss, Objective


class Counted(Objective):
    """Another objective's loss; `count` is told of every batch before it is learned from."""

    def __init__(self, objective: Objective, count: Callable[[Any], None]) -> None:
        super().__init__(objective.config)
        self.objective, self.count = objective, count

    def __call__(self, model: Any, batch: Any) -> Loss:
        self.count(batch)
        return self.objective(model, batch)
