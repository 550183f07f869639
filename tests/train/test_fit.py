"""What is fitted to small data, what is never changed, and what is said of a run before its first step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clew import presets
from clew.config import BudgetConfig, Recipe, build
from clew.recipe_file import load_recipe
from clew.train.fit import (
    Fitted,
    Length,
    applied,
    as_begun,
    doubts,
    fit_batch,
    fit_sizes,
    fit_steps,
    get,
    length,
)


@pytest.fixture
def preset() -> Any:
    """Reads the preset of `clew train PAIRS`, with overrides."""
    file = Path(presets.__file__).with_name("translate.toml")

    def read(*overrides: str) -> Recipe:
        return load_recipe(file, [*overrides])[0]

    return read


def values(found: list[Fitted]) -> dict[str, Any]:
    return {each.key: each.value for each in found}


def test_few_words_get_a_small_vocabulary_and_a_narrow_model(preset: Any) -> None:
    assert values(fit_sizes(preset(), 5_000)) == {
        "tokenizer.vocab_size": 500, "model.d_model": 128, "model.d_ff": 512
    }  # fmt: skip
    assert values(fit_sizes(preset(), 200_000)) == {"tokenizer.vocab_size": 4000}
    assert fit_sizes(preset(), 1_000_000) == []
    assert fit_sizes(preset(), 0) == []  # not counted


def test_what_was_written_is_never_changed(preset: Any) -> None:
    recipe = preset(
        "tokenizer.vocab_size=3000", "model.d_ff=900", "train.batch.tokens=1000", "train.schedule.warmup=77"
    )
    assert values(fit_sizes(recipe, 5_000)) == {"model.d_model": 128}
    assert fit_batch(recipe, Length(1, 60)) == []
    assert "train.schedule.warmup" not in values(fit_steps(recipe, Length(1, 60)))
    whole = preset("train.schedule={kind='inverse_sqrt', warmup=400}")
    assert "train.schedule.warmup" not in whole.fit
    assert preset("fit=[]").fit == ()


def test_batches_are_halved_until_there_are_steps_enough_to_learn_in(preset: Any) -> None:
    assert values(fit_batch(preset(), Length(7, 420))) == {"train.batch.tokens": 512}
    assert values(fit_batch(preset(), Length(1, 60))) == {"train.batch.tokens": 256}  # the least
    assert fit_batch(preset(), Length(100, 1000)) == []
    assert fit_batch(preset(), Length(100, None)) == []


def test_what_counts_in_steps_follows_the_length_of_the_run(preset: Any) -> None:
    found = values(fit_steps(preset(), Length(4, 240)))
    assert found == {"train.schedule.warmup": 24, "train.evaluate_every": 25, "train.patience": 12}
    assert fit_steps(preset(), Length(500, 20_000)) == []


def test_length_is_that_of_the_tightest_limit() -> None:
    assert length(BudgetConfig(epochs=3), 10) == Length(10, 30)
    assert length(BudgetConfig(epochs=3, steps=12), 10, accumulate=2) == Length(5, 12)
    assert length(BudgetConfig(tokens=1000), 10, tokens=100) == Length(10, 10, about=True)
    assert length(BudgetConfig(cpu_minutes=1), 10, tokens=100, flops=2e10) == Length(10, 60, about=True)
    assert length(BudgetConfig(cpu_minutes=1), 10).steps is None


def test_fitted_values_are_applied_and_a_run_that_has_begun_keeps_its_own(preset: Any) -> None:
    recipe = preset()
    fitted = applied(recipe, [*fit_sizes(recipe, 5_000), *fit_steps(recipe, Length(4, 240))])
    assert (fitted.model.d_model, get(fitted, "train.schedule.warmup"), fitted.train.patience) == (128, 24, 12)
    begun = fitted.model_copy(update={"fit": ()})
    assert as_begun(recipe, begun) == begun
    assert as_begun(preset("train.patience=30"), begun).train.patience == 30


def said(recipe: Recipe, run: Length, examples: int | None = None) -> str:
    return "\n".join(doubts(recipe, run, build("schedule", recipe.train.schedule), examples))


def test_doubts_are_said_before_the_first_step(preset: Any) -> None:
    assert "the warm-up of 400 steps is longer than the run of 78 steps" in said(preset(), Length(26, 78))
    decays = preset("train.schedule={kind='inverse_sqrt', warmup=1}")
    assert "half-way through its 10,000 steps the rate has fallen to 1.4% of its highest" in said(
        decays, Length(100, 10_000)
    )
    short = preset("train.schedule.warmup=5")
    assert "ends before the training data was read once (300 steps)" in said(short, Length(300, 50))
    assert "the validation split has 15 examples" in said(short, Length(10, 50), 15)
    assert said(short, Length(10, 50), 500) == ""


def test_a_size_that_is_nearer_wins_over_the_sizes_below_it(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text(
        'name = "x"\ntask = { kind = "language_model", max_length = 32 }\ndata = { kind = "text", train = ["x"] }\n'
        'tokenizer.kind = "characters"\n'
        'model = { kind = "gpt2", d_model = 64, n_heads = 2, n_layers = 2, dropout = 0.3 }\n'
        'objective.kind = "language_model"\n'
    )
    (tmp_path / "above.toml").write_text('extends = "base.toml"\n[model]\nsize = "medium"\n')
    for recipe in (
        load_recipe(tmp_path / "above.toml")[0],
        load_recipe(tmp_path / "base.toml", ["model.size=medium"])[0],
    ):
        assert (recipe.model.d_model, recipe.model.n_layers, recipe.model.dropout) == (1024, 24, 0.3)
    nearer = load_recipe(tmp_path / "above.toml", ["model.n_layers=3"])[0]
    assert (nearer.model.d_model, nearer.model.n_layers) == (1024, 3)
