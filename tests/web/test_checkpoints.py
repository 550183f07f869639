"""A run as it was at a checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from clew.config import KINDS
from clew.errors import RecipeError, RunError
from clew.recipe_file import load_recipe
from clew.runs import Run
from clew.runs.training import train
from clew.web.folder import Runs
from clew.web.model_cache import ModelCache

# These have no blocks below a head, and a model that writes has no head that would learn alone.
NOT_TUNED = {(name, kind) for name in ("lstm", "film") for kind in KINDS["tuning"]} | {("gpt", "frozen")}


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


@pytest.mark.parametrize("tuning", [kind for kind in KINDS["tuning"] if kind != "full"])
@pytest.mark.parametrize("name", ["lstm", "transformer", "bert", "gpt", "t5", "film", "pairs", "answers", "tags"])
def test_a_run_under_any_tuning_opens_at_any_kept_step(
    runs: Path, word_runs: Path, reading_runs: Path, tmp_path: Path, name: str, tuning: str
) -> None:
    recipe = next(file for each in (runs, word_runs, reading_runs) if (file := each.parent / f"{name}.toml").is_file())
    settings = [f"train.tuning.kind={tuning}", "train.budget.steps=4", "train.save_every=2", "train.keep=2"]
    if (name, tuning) in NOT_TUNED:
        with pytest.raises(RecipeError) as refused:
            [*train(load_recipe(recipe, settings)[0], tmp_path / name)]
        assert refused.value.where.startswith("train.tuning")
        return
    for _ in train(load_recipe(recipe, settings)[0], tmp_path / name):
        pass
    run = Run(tmp_path / name)
    final, last, before = (run.model(step=step).state_dict() for step in (None, 4, 2))
    assert final.keys() == last.keys() == before.keys()
    assert all(torch.allclose(final[key], last[key], atol=1e-6) for key in final)
    assert any(not torch.equal(final[key], before[key]) for key in final)
    with ModelCache(Runs(tmp_path)).use(name, 2) as opened:  # as the page opens it
        assert opened.model.state_dict().keys() == final.keys()
