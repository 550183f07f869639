"""Several processes end with the same step, however their clocks differ."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# A model of one weight and an optimizer that does nothing, which import little: what is tested is the end.
ONE = """
import sys
from itertools import count
from types import SimpleNamespace
from unittest.mock import Mock
import torch
from torch import distributed
from clew.batches import Batch
from clew.config import BudgetConfig
from clew.contracts import Loader, Loss, Model, Objective
from clew.train import loop
from clew.train.budget import Progress

class Weight(Model):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

class Its(Objective):
    def __call__(self, model, batch):
        return Loss(model.weight.sum(), 1, 1)

class Empty(Loader):
    def plan(self, epoch):
        return range(8)

    def collate(self, rows, rng):
        return Batch()

rank = int(sys.argv[1])
distributed.init_process_group("gloo", init_method=f"file://{sys.argv[2]}", rank=rank, world_size=2)
clock = count(0, 3 if rank else 1)  # to the second, a step takes three times as long
loop.time = SimpleNamespace(process_time=lambda: 0.0, perf_counter=lambda: float(next(clock)))
model, loader, progress = Weight(), Empty(seed=1), Progress()
loader.shard(rank, 2)
optimizer = Mock(param_groups=[{"params": [model.weight], "lr": 1.0}])
steps = loop.fit(model, Its(None), loader, optimizer, lambda step, done: 1.0 - done,
                 BudgetConfig(wall_minutes=10 / 60), progress=progress)
print(*(f"{step.done:.12f}/{step.lr:.12f}" for step in steps), progress.wall_seconds)
"""


def test_a_budget_in_time_ends_all_at_one_step(tmp_path: Path) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", ONE, str(rank), f"{tmp_path}/meet"], env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) for rank in (0, 1)
    ]  # fmt: skip
    said = [process.communicate(timeout=240) for process in processes]
    assert all(process.returncode == 0 for process in processes), said
    first, second = (out.split() for out, _ in said)
    assert first[:-1] == second[:-1] and len(first) == 11
    assert (first[-1], second[-1]) == ("10.0", "30.0")
