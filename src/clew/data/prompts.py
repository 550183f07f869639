"""Beginnings of texts, which a policy goes on with."""

from __future__ import annotations

import numpy as np

from clew.batches import Batch
from clew.contracts import Loader
from clew.errors import RecipeError


class PromptLoader(Loader):
    """Prompts (n, tokens). What is learned from is written after them: in themselves they teach nothing."""

    def __init__(self, prompts: np.ndarray, seed: int) -> None:
        super().__init__(seed)
        self.prompts = prompts

    def plan(self, epoch: int) -> range:
        return range(len(self.prompts))

    def collate(self, rows: int, rng: np.random.Generator) -> Batch:
        raise RecipeError("prompts alone teach nothing", where="objective.kind", fix='set objective.kind="ppo"')
