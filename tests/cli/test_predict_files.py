"""What `clew predict` and `clew train` make of files: tables by their columns, blank lines, pipes, folders."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from clew.cli.own_files import own_files
from clew.cli.predict import Source, but_blank
from clew.contracts import Prediction
from clew.errors import DataError, RecipeError

TASK = SimpleNamespace(fields=("question", "context"), n_fields=2)
TEXT = SimpleNamespace(fields=("text",), n_fields=1)


def read(task: SimpleNamespace, path: Path, columns: Iterable[str] = (), encoding: str = "") -> list[str]:
    return [*Source(task, [*columns], encoding, files=False).lines(str(path))]  # type: ignore[arg-type]


def test_a_table_is_read_by_its_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.csv"
    path.write_text('id;context;question\n1;"a; b";who?\n2;;\n3;c;"two\nlines"\n')
    assert read(TASK, path) == ["who?\ta; b", "", "two lines\tc"]  # a row without a text: a blank line
    assert "semicolons" in capsys.readouterr().err
    assert read(TEXT, path, ["context"]) == ["a; b", "", "c"]
    with pytest.raises(DataError, match='no column "text"') as caught:
        read(TEXT, path)
    assert "--column NAME_OF_TEXT" in str(caught.value)
    with pytest.raises(DataError, match="1 columns for 2 texts"):
        read(TASK, path, ["context"])


def test_json_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "one", "n": 1}\n{"text": "", "n": 2}\n{"text": ["a", "b"], "n": 3}\n')
    assert read(TEXT, tmp_path / "a.jsonl") == ["one", "", "a b"]
    (tmp_path / "b.json").write_text(json.dumps([{"text": "one"}, {"text": "two"}]))
    assert read(TEXT, tmp_path / "b.json") == ["one", "two"]
    (tmp_path / "c.jsonl").write_text('{"text": "one"}\nno json\n')
    with pytest.raises(DataError, match="not a JSON object") as caught:
        read(TEXT, tmp_path / "c.jsonl")
    assert "c.jsonl:2" in str(caught.value.where)


def test_a_text_a_line_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one, two\n\nwhat?\tthis\n")
    assert read(TEXT, tmp_path / "a.txt") == read(TASK, tmp_path / "a.txt") == ["one, two", "", "what?\tthis"]
    (tmp_path / "b.txt").write_bytes("fílm\n".encode("cp1252"))
    assert read(TEXT, tmp_path / "b.txt", encoding="cp1252") == ["fílm"]
    with pytest.raises(DataError, match="not UTF-8") as caught:
        read(TEXT, tmp_path / "b.txt")
    assert '--encoding "cp1252"' in caught.value.fix


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO("\ufeffone\r\n\ntwo".encode())))
    assert [*Source(TEXT, [], "", files=False).lines("-")] == ["one", "", "two"]  # type: ignore[arg-type]


@pytest.mark.parametrize("texts", [[], [""], ["a"], ["", "a", " ", "", "b", ""], ["a", "b", ""]])
@pytest.mark.parametrize("at_once", [1, 2, 10])
def test_a_blank_line_for_a_blank_line(texts: list[str], at_once: int) -> None:
    def predict(stream: Iterator[str]) -> Iterator[Prediction]:
        while chunk := [text for _, text in zip(range(at_once), stream, strict=False)]:
            yield from (Prediction(text.upper(), 1.0) for text in chunk)

    assert [each.text for each in but_blank(texts, predict)] == [text.strip().upper() for text in texts]


def settings(found: tuple[str, list[str]]) -> dict[str, str]:
    return dict(each.split("=", 1) for each in found[1])


def test_columns_of_a_table_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\na fine film,pos\na poor one,neg\n")
    with pytest.raises(RecipeError, match=r"which of its columns \(text, label\)") as caught:
        own_files([str(path)])
    assert "task.source=text task.target=label" in caught.value.fix
    told = own_files([str(path)], ["task.source=text", "task.target=label"])
    assert told[0] == "translate.toml" and settings(told)["data.columns"] == '["text", "label"]'
    with pytest.raises(RecipeError, match='no column "txt"'):
        own_files([str(path)], ["task.source=txt"])
    three = tmp_path / "b.txt"
    three.write_text("Go now.\tGeh jetzt.\tCC-BY 1.\nRun.\tLauf.\tCC-BY 2.\n")
    with pytest.raises(RecipeError, match="3 columns and no header") as caught:
        own_files([str(three)])
    assert 'data.names=["source", "target", "column3"]' in caught.value.fix
    assert own_files([str(three)], ['data.names=["source", "target", "x"]'])[0] == "translate.toml"
    (tmp_path / "rows.jsonl").write_text('{"de": "a", "en": "b"}\n')
    with pytest.raises(RecipeError, match=r"\(de, en\)"):
        own_files([str(tmp_path / "rows.jsonl")])


def test_two_texts_are_parallel_and_more_are_a_corpus(tmp_path: Path) -> None:
    for name in ("a.de", "a.en", "c.txt"):
        (tmp_path / name).write_text("a line of text.\nanother one.\n")
    paths = [str(tmp_path / name) for name in ("a.de", "a.en", "c.txt")]
    found = own_files(paths[:2])
    assert found[0] == "translate.toml" and settings(found)["task.source"] == '"de"'
    for given in (paths, [str(tmp_path)], [str(tmp_path / "*")], paths[2:]):
        found = own_files(given)
        assert found[0] == "words.toml" and json.loads(settings(found)["data.train"]) == given
    (tmp_path / "t.tsv").write_text("source\ttarget\na\tb\n")
    with pytest.raises(RecipeError, match="is a table, and"):
        own_files([str(tmp_path)])
