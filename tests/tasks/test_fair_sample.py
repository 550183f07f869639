"""What validation rows are worth is said before the first step; what a figure is without a model stands beside it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from clew import cli
from clew.config import build
from clew.recipe_file import dump_recipe, load_recipe
from clew.runs import Run
from clew.runs.start import complete
from clew.runs.training import open_training, train


def recipe(folder: Path, counts: dict[str, int], *settings: str) -> Any:
    """Reviews that go from label to label, in one file."""
    rows = [f"{label}\tthe film {i} is {label}" for label, n in counts.items() for i in range(n)]
    (folder / "rows.tsv").write_text("\n".join(["label\ttext", *rows]) + "\n")
    (folder / "recipe_of_mine.toml").write_text(f"""
name = "mine"
task = {{kind = "classify", text = "text", label = "label"}}
data = {{kind = "files", train = ["{folder}/rows.tsv"], columns = ["label", "text"]}}
model = {{kind = "linear"}}
train = {{budget = {{epochs = 1}}, threads = 1}}
""")
    return load_recipe(folder / "recipe_of_mine.toml", settings)[0]


SKEWED = {"positive": 250, "negative": 45, "neutral": 5}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("fair")
    for _ in train(recipe(folder, SKEWED), folder / "run"):
        pass
    return Run.open(folder / "run")


def test_the_labels_of_the_task_are_sampled_and_the_run_says_so(run: Run) -> None:
    assert run.recipe.data.model_dump()["stratify"] == "label"
    rows = build("data", run.recipe.data).split("valid")
    assert Counter(rows["label"]) == {"positive": 50, "negative": 9, "neutral": 1}
    assert any("60 rows held out, a fair sample by label" in line for line in run.results()["data"])
    assert 'validation: always answering "positive" is right for 83.3% of the texts' in run.results()["data"]


def test_the_commonest_label_stands_beside_every_figure(run: Run) -> None:
    figures = run.results()["splits"]["valid"]
    assert figures["accuracy"]["baseline"] == pytest.approx(100 * 50 / 60)
    assert figures["macro_f1"]["baseline"] == pytest.approx(100 * (2 * 50 / 110) / 3)
    assert "(commonest answer: 83.33)" in (run.path / "README.md").read_text()
    out = CliRunner().invoke(cli.app, ["evaluate", str(run.path)]).stdout
    assert "(commonest answer: 83.33)" in out and "(commonest answer: 30.30)" in out


def test_a_comparison_says_it_too(run: Run) -> None:
    folder = run.path.parent
    file = str(folder / "recipe_of_mine.toml")
    asked = ["compare", file, "--vary", "objective.C=1e-6,5", "--out", str(folder / "both"), "--json"]
    view = json.loads(CliRunner().invoke(cli.app, asked).stdout)
    assert view["metrics"]["accuracy"]["baseline"] == pytest.approx(100 * 50 / 60)
    said = next(line for line in view["summary"] if "commonest" in line)
    assert said.startswith("Always giving the commonest answer has Accuracy, validation 83.3; the interval of “1e-6”")
    assert "83.3 for the commonest answer" in (folder / "both" / "report.md").read_text()
    held = {*build("data", run.recipe.data).split("valid")["text"]}
    assert {each["source"] for each in view["sentences"]} <= held  # what it shows, no model has learned


def test_a_run_of_before_keeps_its_split(run: Run, tmp_path: Path) -> None:
    """Recipes that say nothing of labels part rows as they did: what was trained on is not validated on."""
    old = run.recipe.model_copy(update={"data": run.recipe.data.model_copy(update={"stratify": None})})
    former = build("data", old.data).split("valid")
    assert Counter(former["label"]) == {"positive": 250}  # rows alike in their first column, here the label, together
    Run(tmp_path).path.joinpath("recipe.toml").write_text(dump_recipe(old))
    assert complete(old, Run(tmp_path)).data == old.data
    assert complete(old).data.model_dump()["stratify"] == "label"
    chosen = recipe(run.path.parent, SKEWED, "data.stratify=''")
    assert complete(chosen).data == chosen.data


@pytest.mark.parametrize(
    ("valid", "said"),
    [
        (["good"] * 40, 'every validation text has the label "good": no figure can say'),
        (["good"] * 30 + ["bad"] * 10, "right for 75.0% of the texts; it has none of so-so"),
        (["good", "bad"], "validation has 2 texts: a share of right ones is known to within ±69 points at best"),
    ],
)
def test_what_validation_rows_are_worth_is_said_before_training(tmp_path: Path, valid: list[str], said: str) -> None:
    (tmp_path / "valid.tsv").write_text("label\ttext\n" + "".join(f"{label}\ta film\n" for label in valid))
    counts = {"good": 9, "bad": 9, "so-so": 9}
    training = open_training(recipe(tmp_path, counts, f"data.valid=['{tmp_path}/valid.tsv']"), tmp_path / "run")
    assert training is not None
    assert any(said in line for line in training.report)
