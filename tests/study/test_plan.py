"""Plans: grids, equal budgets, and a folder that remembers."""

import pytest
from study_fakes import recipe

from clew.config import BudgetConfig
from clew.errors import RecipeError, RunError
from clew.study.plan import Plan, describe, make_plan, parse_budget

KEY = "model.attention.score"


def test_one_setting_varied_gives_its_values_as_labels(tmp_path) -> None:
    plan = make_plan([recipe()], {KEY: ["none", "additive"]}, 2, tmp_path)
    assert [variant.label for variant in plan.variants] == ["none", "additive"]
    assert [variant.recipe.model.attention.score for variant in plan.variants] == ["none", "additive"]
    assert plan.variants[1].settings == {KEY: "additive"}
    assert [(run.variant.id, run.seed, run.recipe.seed) for run in plan.runs] == [
        ("none", 1, 1),
        ("additive", 1, 1),
        ("none", 2, 2),
        ("additive", 2, 2),
    ]


def test_a_grid_names_its_settings(tmp_path) -> None:
    plan = make_plan([recipe(seed=5)], {KEY: ["dot", "cosine"], "model.d_model": ["16", "32"]}, 1, tmp_path)
    assert [variant.label for variant in plan.variants] == [
        "score=dot, d_model=16",
        "score=dot, d_model=32",
        "score=cosine, d_model=16",
        "score=cosine, d_model=32",
    ]
    assert plan.variants[3].recipe.model.d_model == 32
    assert plan.seeds == [5]
    assert len({run.folder for run in plan.runs}) == 4


def test_a_key_varies_the_recipes_that_have_it(tmp_path) -> None:
    transformer = recipe("transformer", model={"kind": "transformer"})
    plan = make_plan([recipe(), transformer], {KEY: ["dot", "cosine"]}, 1, tmp_path)
    assert [variant.label for variant in plan.variants] == ["lstm, dot", "lstm, cosine", "transformer"]


def test_varying_a_kind_replaces_the_choice(tmp_path) -> None:
    plan = make_plan([recipe()], {"model.kind": ["seq2seq", "transformer"]}, 1, tmp_path)
    assert [variant.recipe.model.kind for variant in plan.variants] == ["seq2seq", "transformer"]
    assert plan.variants[0].recipe.model.d_model == 16


def test_unknown_keys_values_and_repeated_names_are_errors(tmp_path) -> None:
    with pytest.raises(RecipeError, match="no recipe has the key"):
        make_plan([recipe()], {"model.attention.sore": ["dot"]}, 1, tmp_path)
    with pytest.raises(RecipeError, match="score"):
        make_plan([recipe()], {KEY: ["dots"]}, 1, tmp_path)
    with pytest.raises(RecipeError, match="share the name"):
        make_plan([recipe(), recipe()], {}, 1, tmp_path)


def test_budgets_must_be_equal_or_given(tmp_path) -> None:
    long = recipe("long", train={"budget": {"epochs": 20}})
    with pytest.raises(RecipeError, match='"lstm" may spend 10 epochs, "long" 20 epochs'):
        make_plan([recipe(), long], {}, 1, tmp_path)
    plan = make_plan([recipe(), long], {}, 1, tmp_path, budget=parse_budget("10m"))
    assert {v.recipe.train.budget for v in plan.variants} == {BudgetConfig(cpu_minutes=10)}
    with pytest.raises(RecipeError, match="may spend"):
        make_plan([recipe()], {"train.budget.epochs": ["1", "2"]}, 1, tmp_path)


def test_data_must_be_equal_unless_it_is_what_varies(tmp_path) -> None:
    other = recipe("other", data={"kind": "study_fakes:FakeData", "size": 9})
    with pytest.raises(RecipeError, match="different data"):
        make_plan([recipe(), other], {}, 1, tmp_path)
    assert len(make_plan([recipe()], {"data.size": ["5", "9"]}, 1, tmp_path).variants) == 2


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("10m", BudgetConfig(cpu_minutes=10)),
        ("90s", BudgetConfig(cpu_minutes=1.5)),
        ("1.5h", BudgetConfig(cpu_minutes=90)),
        ("30 min", BudgetConfig(cpu_minutes=30)),
        ("2000steps", BudgetConfig(steps=2000)),
        ("2k steps", BudgetConfig(steps=2000)),
        ("5Mtokens", BudgetConfig(tokens=5_000_000)),
        ("1epoch", BudgetConfig(epochs=1)),
        ("2Tflops", BudgetConfig(flops=2e12)),
    ],
)
def test_budgets_are_read(text: str, budget: BudgetConfig) -> None:
    assert parse_budget(text) == budget


@pytest.mark.parametrize("text", ["", "10", "m", "10 parsecs", "10ms", "-5m", "0steps", "1..2m", "10M"])
def test_unreadable_budgets_are_errors(text: str) -> None:
    with pytest.raises(RecipeError, match="budget"):
        parse_budget(text)


def test_budgets_in_words() -> None:
    assert describe(BudgetConfig(tokens=5_000_000)) == "5,000,000 tokens"
    assert describe(BudgetConfig(cpu_minutes=1 / 3)) == "20 CPU-seconds"
    assert describe(BudgetConfig(cpu_minutes=1.5, steps=10)) == "10 steps or 1.5 CPU-minutes (whichever ends first)"


def test_a_plan_is_saved_and_loaded(tmp_path) -> None:
    plan = make_plan([recipe()], {KEY: ["none", "dot"]}, 2, tmp_path, command="clew compare lstm.toml")
    plan.save()
    assert Plan.load(tmp_path) == plan
    plan.save()
    with pytest.raises(RunError, match="not the folder of a comparison"):
        Plan.load(tmp_path / "none")


def test_a_folder_takes_more_variants_and_seeds_but_no_other_recipe(tmp_path) -> None:
    make_plan([recipe()], {KEY: ["dot"]}, 1, tmp_path).save()
    (tmp_path / "dot/seed-1").mkdir()
    more = make_plan([recipe()], {KEY: ["dot", "cosine"]}, 2, tmp_path)
    more.save()
    assert Plan.load(tmp_path) == more
    other = make_plan([recipe(decode={"beam": 1})], {KEY: ["dot"]}, 1, tmp_path)
    with pytest.raises(RunError, match='a "dot" that another recipe trained'):
        other.save()
