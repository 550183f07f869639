import gzip
import json

import pytest
import typer
from typer.testing import CliRunner

from clew.cli.data import data
from clew.data.entry import entries
from clew.errors import DataError

app = typer.Typer()
app.command()(data)


def run(*arguments):
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def pairs(tmp_path):
    for name in ("train", "dev"):
        with gzip.open(tmp_path / f"{name}.tsv.gz", "wt", encoding="utf-8") as file:
            file.write("".join(f"the cat {i}\tle chat {i}\n" for i in range(20)))
    return str(tmp_path)


def test_the_list_names_every_set(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    text = run()
    assert all(name in text for name in entries())
    rows = json.loads(run("--json"))
    assert [row["name"] for row in rows] == list(entries())
    assert all(row["licence"] and row["size"] for row in rows)


def test_one_set_with_its_vocabulary(pairs):
    text = run("tatoeba_enfr", "--folder", pairs, "--rows", "2", "--columns", "fr", "--tokenizer", "word")
    assert "CC BY 2.0" in text and "20 of 20 rows kept" in text and "fr: le chat 1" in text
    assert "le chat 2" not in text and "en: " not in text
    assert "word vocabulary of 26 on 20 texts" in text and "100.00%" in text


def test_for_machines(pairs):
    shown = json.loads(run("tatoeba_enfr", "--folder", pairs, "--split", "valid", "--tokenizer", "bpe", "--json"))
    assert shown["rows"] == 20 and shown["split"] == "valid" and len(shown["examples"]) == 5
    assert shown["examples"][0] == {"en": "the cat 0", "fr": "le chat 0"}
    assert shown["vocabulary"]["coverage"] == 1.0


def test_wrong_requests(pairs):
    with pytest.raises(DataError, match="catalogue"):
        run("tatoeba")
    with pytest.raises(DataError, match='no "test" split'):
        run("tatoeba_enfr", "--folder", pairs, "--split", "test")
