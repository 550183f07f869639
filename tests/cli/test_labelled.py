"""`clew train TABLE` where the table holds texts with labels: told, asked, and trained with one command."""

from __future__ import annotations

import random
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from click.testing import Result
from typer.testing import CliRunner

from clew import cli
from clew.cli import labelled
from clew.runs import Run

WORDS = ["the", "delivery", "was", "and", "staff", "service", "order", "arrived", "by", "shop", "Müller"]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def rows(n: int = 200) -> list[tuple[int, str, str]]:
    rng = random.Random(1)
    found = []
    for number in range(n):
        label = rng.choices(["good", "bad"], [0.8, 0.2])[0]
        said = [*rng.choices(WORDS, k=rng.randint(3, 9)), {"good": "lovely", "bad": "broken"}[label]]
        rng.shuffle(said)
        found.append((number, " ".join(said), label))
    return found


def clew(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.app, ["train", *map(str, arguments)])


def table(place: Path, delimiter: str, header: str, encoding: str, *, numbered: bool = True) -> Path:
    lines = [header] if header else []
    lines += [delimiter.join([str(n), f'"{text}"', label][not numbered :]) for n, text, label in rows()]
    (place / "reviews.csv").write_bytes(("\r\n".join(lines) + "\r\n").encode(encoding))
    return place / "reviews.csv"


KINDS = {
    "a spreadsheet's": (";", "Nr;Kommentar;Bewertung", "utf-8-sig", True),
    "tabs": ("\t", "id\ttext\tlabel", "utf-16", True),
    "no header": (",", "", "utf-8", False),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_that_it_tells_trains_a_classifier(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    delimiter, header, encoding, numbered = KINDS[kind]
    file = table(tmp_path, delimiter, header, encoding, numbered=numbered)
    told = clew(file)
    assert told.exit_code == 2 and "looks like texts with labels" in told.stderr
    assert "2 labels: good (" in told.stderr and "of 200 rows" in told.stderr
    command = told.stderr.partition("where it is: clew train ")[2].partition("; to translate")[0]
    done = clew(*shlex.split(command), "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    run = Run.open(tmp_path / "run")
    assert run.recipe.task.kind == "classify" and run.recipe.model.kind == "linear"
    assert run.results()["splits"]["valid"]["accuracy"]["value"] > 90
    said = CliRunner().invoke(cli.app, ["predict", str(run.path), "the broken order"])
    assert said.stdout.startswith("bad")


def test_at_a_terminal_it_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labelled, "agreed", lambda *_: True)
    monkeypatch.chdir(tmp_path)
    done = clew(table(tmp_path, ",", "id,text,label", "utf-8"))
    assert done.exit_code == 0 and (tmp_path / "runs" / "reviews" / "results.json").is_file()


def test_what_does_not_look_so_is_not_asked() -> None:
    texts = [text for _, text, _ in rows()]
    assert labelled.look({"a": texts, "b": [text[::-1] for text in texts]}) is None  # pairs
    assert labelled.look({"a": texts, "b": ["x"] * len(texts)}) is None  # one label
    few = {"a": texts, "b": [label for _, _, label in rows()], "c": ["x", "y"] * 100}
    assert labelled.look(few) is None  # which of two?


def test_a_table_in_another_encoding_is_told_first(tmp_path: Path) -> None:
    file = table(tmp_path, ";", "Nr;Kommentar;Bewertung", "cp1252")
    told = clew(file)
    assert told.exit_code == 2 and 'data.encoding="cp1252"' in told.stderr
    told = clew(file, "data.encoding=cp1252")
    assert "of 200 rows" in told.stderr and "--label Bewertung data.encoding=cp1252" in told.stderr
