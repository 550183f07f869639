"""A run as it was at a checkpoint; every task under every tuning: tests/runs/test_every_tuning.py."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from clew.errors import RunError
from clew.runs import Run
from clew.web.folder import Runs
from clew.web.model_cache import ModelCache


def test_the_last_checkpoint_is_the_model_and_the_one_before_it_is_not(runs: Path) -> None:
    run = Run(runs / "lstm")
    assert run.steps() == [2, 4]
    final, last, before = (run.model(step=step).state_dict() for step in (None, 4, 2))
    assert all(torch.equal(final[name], last[name]) for name in final)
    assert any(not torch.equal(final[name], before[name]) for name in final)


def test_a_room_knows_them_apart_and_what_is_not_kept_is_told(runs: Path) -> None:
    cache = ModelCache(Runs(runs))
    with cache.use("lstm", 2) as opened:
        early = opened.model
    with cache.use("lstm") as opened:
        assert opened.model is not early
    with pytest.raises(RunError, match="no checkpoint of step 3") as told, cache.use("lstm", 3):
        pass
    assert "2, 4" in told.value.fix
