"""`clew compare` on the command line."""

import json

import pytest
from study_fakes import PREPROCESSOR, recipe, train
from typer.testing import CliRunner

from clew.cli import app
from clew.cli.compare import parse_vary
from clew.errors import RecipeError
from clew.recipe_file import dump_recipe
from clew.runs.folder import Run
from clew.study import compare as module
from clew.study import report


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs `clew compare` on a recipe, with fakes for the training, the model and the page."""
    monkeypatch.setattr(module, "_training", lambda: train)
    monkeypatch.setattr(Run, "model", lambda self, device="cpu": self.recipe.model.attention.score)
    monkeypatch.setattr(Run, "preprocessor", lambda self: PREPROCESSOR)
    monkeypatch.setattr(report, "single_file", lambda view, data: "<html>")

    def invoke(*arguments: str, **changes):
        file = tmp_path / "lstm.toml"
        file.write_text(dump_recipe(recipe(**changes)))
        return CliRunner().invoke(app, ["compare", str(file), "--out", str(tmp_path / "out"), *arguments])

    return invoke


VARY = ("--vary", "model.attention.score=none,cosine")


def test_trains_and_reports(run, tmp_path) -> None:
    result = run(*VARY, "--budget", "10m", "--seeds", "2")
    assert result.exit_code == 0, result.output
    assert "“cosine” has the best BLEU" in result.stdout
    assert "[4/4] cosine, seed 2: finished" in result.stderr
    view = json.loads((tmp_path / "out/report.json").read_text())
    assert view["budget"] == "10 CPU-minutes for each training"
    assert view["command"].startswith("clew")  # a test worker has no arguments of its own


def test_json_is_all_that_is_printed(run) -> None:
    result = run(*VARY, "--json")
    assert [model["label"] for model in json.loads(result.stdout)["models"]] == ["none", "cosine"]


def test_a_failed_variant_is_exit_code_1_with_a_report(run, tmp_path) -> None:
    result = run(*VARY, about="cosine fails")
    assert result.exit_code == 1
    assert "cosine: failed" in result.stderr
    assert (tmp_path / "out/report.html").exists()


def test_settings_are_for_all_and_the_folder_has_a_default(run, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gru.toml").write_text(dump_recipe(recipe("gru")))
    (tmp_path / "rnn.toml").write_text(dump_recipe(recipe("rnn")))
    result = CliRunner().invoke(app, ["compare", "gru.toml", "rnn.toml", "seed=4", "model.d_model=32"])
    assert result.exit_code == 0, result.output
    for name in ("gru", "rnn"):
        trained = Run(tmp_path / "runs/compare-gru-rnn" / name / "seed-4").recipe
        assert (trained.name, trained.model.d_model) == (name, 32)


def test_all_failed_is_exit_code_1(run) -> None:
    result = run("--vary", "model.attention.score=cosine", about="cosine fails")
    assert result.exit_code == 1
    assert "every training failed" in result.stderr


@pytest.mark.parametrize("arguments", [("--vary", "model.sore=1,2"), ("--budget", "ten"), ("--vary", "dot")])
def test_wrong_requests_are_exit_code_2(run, arguments: tuple[str, str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert "error" in result.stderr


def test_values_to_vary_are_parted_at_commas_outside_brackets() -> None:
    assert parse_vary("a.b=1, 2,x") == ("a.b", ["1", "2", "x"])
    assert parse_vary('a=[1,2],{b = "c,d"},"e,f"') == ("a", ["[1,2]", '{b = "c,d"}', '"e,f"'])


@pytest.mark.parametrize("text", ["a", "=1", "a=", "a=1,,2", "a=1,1"])
def test_unreadable_variations_are_errors(text: str) -> None:
    with pytest.raises(RecipeError):
        parse_vary(text)
