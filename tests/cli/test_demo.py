"""`clew demo`: five trainings and their report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clew import cli
from clew.page.single_file import STATIC


@pytest.mark.slow
def test_from_nothing_to_the_report(tmp_path: Path) -> None:
    if not (STATIC / "clew.js").is_file():
        pytest.skip("the browser page has not been built (python web/build.py)")
    arguments = ["demo", "--budget", "3steps", "--jobs", "1", "--out", str(tmp_path / "demo")]
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == 0, result.output
    assert result.stderr.count("finished") == 5
    assert result.stdout.endswith(f"Open the report in a browser: {tmp_path / 'demo' / 'report.html'}\n")
    view = json.loads((tmp_path / "demo" / "report.json").read_text(encoding="utf-8"))
    labels = [model["label"] for model in view["models"]]
    assert labels == ["LSTM, none", "LSTM, additive", "LSTM, cosine", "LSTM, scaled_dot", "Transformer"]
    for model in view["models"]:
        assert {"bleu", "combinations_bleu", "perplexity"} <= set(model["results"])
        assert ("aer" in model["results"]) == (model["label"] != "LSTM, none")
    for name in ("report.html", "report.md"):
        text = (tmp_path / "demo" / name).read_text(encoding="utf-8")
        assert all(label in text for label in labels)
    again = CliRunner().invoke(cli.app, arguments)  # nothing is trained twice
    assert again.exit_code == 0
    assert json.loads((tmp_path / "demo" / "report.json").read_text(encoding="utf-8"))["models"] == view["models"]


def test_a_budget_that_cannot_be_read(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli.app, ["demo", "--budget", "soon", "--out", str(tmp_path / "demo")])
    assert result.exit_code == 2 and "soon" in result.stderr
    assert not (tmp_path / "demo").exists()


def test_nothing_to_report_where_every_training_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clew.cli.compare.show", lambda plan, events: len(plan.runs))
    result = CliRunner().invoke(cli.app, ["demo", "--out", str(tmp_path / "demo")])
    assert result.exit_code == 1 and "every training failed" in result.stderr
