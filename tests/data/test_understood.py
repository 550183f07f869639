"""Files as people have them: what they are is found out from their contents, said, and never guessed."""

from __future__ import annotations

import bz2
import gzip
import json
import os
import threading
from pathlib import Path

import pytest

from clew.data.files import Files, FilesConfig
from clew.data.hub import place
from clew.data.lines import expand
from clew.data.readers import read
from clew.data.text import RunningText, RunningTextConfig
from clew.data.understood import sniff
from clew.errors import DataError

ROWS = [(f"film {i} was {'fine' if i % 2 else 'poor'}, they say", "pos" if i % 2 else "neg") for i in range(20)]


def written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def table(mark: str, *, head: str = "text{0}label", end: str = "\n", quote: str = '"') -> str:
    return "".join([head.format(mark) + end, *(f"{quote}{t}{quote}{mark}{label}{end}" for t, label in ROWS)])


@pytest.mark.parametrize(("name", "text", "encoding", "said"), [
    ("excel.csv", table(";"), "utf-8-sig", "semicolons"),
    ("excel_says.csv", "sep=;\n" + table(";"), "utf-8", "semicolons"),
    ("bars.txt", table("|"), "utf-8", "bars"),
    ("wide.csv", table("\t"), "utf-16", "UTF-16"),
    ("old_mac.csv", table(",", end="\r"), "utf-8", "ended by CR"),
    ("index.csv", "".join(f"{i},{line}\n" if i else f",{line}\n" for i, line in enumerate(table(",").splitlines())),
     "utf-8", "(no name), text, label"),
    ("swapped.tsv", "label\ttext\n" + "".join(f"{label}\t{t}\n" for t, label in ROWS), "utf-8", "label, text"),
])  # fmt: skip
def test_tables_of_other_programs(tmp_path: Path, name: str, text: str, encoding: str, said: str) -> None:
    rows = read([written(tmp_path / name, text, encoding)], ["text", "label"])
    assert rows.columns == {"text": [t for t, _ in ROWS], "label": [label for _, label in ROWS]}
    assert said in rows.seen[0] and rows.seen[1].startswith("first row: text = 'film 0") and len(rows.seen) == 2
    assert str(rows.report) == f"{tmp_path / name}: 20 of 20 rows kept"  # which is published: it quotes no row


def test_quotes_as_each_program_writes_them(tmp_path: Path) -> None:
    backslash = "text,label\n" + "".join(f'"a \\"nice\\" film, {i}",pos\n' for i in range(9))
    assert read([written(tmp_path / "spark.csv", backslash)], ["text"])["text"][0] == 'a "nice" film, 0'
    doubled = 'text\tlabel\n"he said ""hm"""\tpos\n"two\nlines"\tneg\nplain\tpos\n'
    assert read([written(tmp_path / "pandas.tsv", doubled)], ["text"])["text"] == [
        'he said "hm"',
        "two\nlines",
        "plain",
    ]
    letters = 'text\tlabel\n"open\tpos\n5" wide\tneg\n'
    assert read([written(tmp_path / "letters.tsv", letters)], ["text"])["text"] == ['"open', '5" wide']


def test_columns_are_never_guessed(tmp_path: Path) -> None:
    other = written(tmp_path / "other.csv", "review,sentiment\na fine film,pos\na poor one,neg\n")
    with pytest.raises(
        DataError, match='no column "text" or "label": the first line has "review", "sentiment"'
    ) as caught:
        read([other], ["text", "label"])
    assert 'data.names=["text", "label"]' in caught.value.fix
    assert read([other], ["review", "sentiment"])["sentiment"] == ["pos", "neg"]
    bare = written(tmp_path / "bare.tsv", "A fine film, they say.\tpos\nA poor one.\tneg\n")
    rows = read([bare], ["text", "label"])  # a sentence is no name
    assert rows["label"] == ["pos", "neg"] and "no header: its columns are taken, in their order" in rows.seen[0]
    three = written(tmp_path / "three.tsv", "A fine film, they say.\tpos\t7\nA poor one.\tneg\t8\n")
    with pytest.raises(DataError, match="no column"):
        read([three], ["text", "label"])
    assert read([three], ["text", "label"], names=["text", "n", "label"])["label"] == ["7", "8"]
    with pytest.raises(DataError, match="two columns"):
        read([written(tmp_path / "twice.csv", "text,text\na,b\n")], ["text"])


def test_commas_that_nobody_quoted_are_no_accident(tmp_path: Path) -> None:
    text = "text,label\n" + "fine,pos\n" * 50 + "good, cheap,pos\n" * 10
    path = written(tmp_path / "a.csv", text)
    settings = {"train": [str(path)], "columns": ["text", "label"]}
    with pytest.raises(DataError, match="10 of 60 rows cannot be read") as caught:
        Files(FilesConfig(**settings)).split("train")
    assert "quote fields" in caught.value.fix and f"{path}:52" in str(caught.value)
    assert Files(FilesConfig(**settings, on_bad="skip", hold_out=0)).split("train").report.kept == 50


@pytest.mark.parametrize(("encoding", "word"), [
    ("cp1252", "fílm"), ("shift_jis", "映画を見た"), ("cp1251", "фильм"), ("euc_kr", "영화를"),
    ("gb18030", "我们看了电影"),
])  # fmt: skip
def test_another_encoding_is_told_and_asked_for(tmp_path: Path, encoding: str, word: str) -> None:
    path = written(tmp_path / "a.csv", "text,label\n" + f"{word},pos\n" * 40, encoding)
    settings = {"train": [str(path)], "columns": ["text", "label"], "hold_out": 0}
    with pytest.raises(DataError, match="40 of 40 rows cannot be read") as caught:
        Files(FilesConfig(**settings)).split("train")
    assert f'data.encoding="{encoding}"' in caught.value.fix
    assert Files(FilesConfig(**settings, encoding=encoding)).split("train")["text"] == [word] * 40
    with pytest.raises(DataError, match="no encoding"):
        Files(FilesConfig(**settings, encoding="cp12345")).split("train")


def test_advice_names_no_script_that_is_mixed_within_a_word(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "text,label\n" + "the fílm,pos\n" * 40, "cp1252")
    with pytest.raises(DataError) as caught:
        Files(FilesConfig(train=(str(path),), columns=("text",))).split("train")
    assert "cp1251" not in caught.value.fix


def test_rows_of_json(tmp_path: Path) -> None:
    rows = [{"text": t, "label": i % 2, "tags": ["B-X", "O"]} for i, (t, _) in enumerate(ROWS)]
    flat, lines = json.dumps({"version": 1, "data": rows}), "\n".join(map(json.dumps, rows))
    files = {
        "list.json": json.dumps(rows, indent=1),
        "flat.json": flat,
        "lines.json": lines,
        "list.txt": json.dumps(rows),
    }
    for name, text in files.items():
        found = read([written(tmp_path / name, text)], ["text", "label", "tags"])
        assert found["label"][:2] == ["0", "1"] and found["tags"][0] == ["B-X", "O"] and len(found) == 20, name
    named = {"train": [str(tmp_path / "list.json")], "columns": ["label", "tags"], "hold_out": 0}
    found = Files(FilesConfig(**named, labels={"label": ["neg", "pos"]})).split("train")
    assert found["label"][:2] == ["neg", "pos"]
    with pytest.raises(DataError, match='"2" is none of the numbers 0 to 0'):
        read_labels = written(tmp_path / "two.jsonl", '{"label": 2, "tags": []}\n')
        Files(FilesConfig(**named | {"train": [str(read_labels)]}, labels={"label": ["neg"]})).split("train")
    with pytest.raises(DataError, match="whole columns") as caught:
        read([written(tmp_path / "pandas.json", '{"text": {"0": "a", "1": "b"}, "label": {"0": 1, "1": 0}}')], ["text"])
    assert 'orient="records"' in caught.value.fix


def test_names_of_classes_in_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    features = {"label": {"names": ["neg", "pos"], "_type": "ClassLabel"},
                "tags": {"feature": {"names": ["O", "B-X"], "_type": "ClassLabel"}, "_type": "Sequence"}}  # fmt: skip
    found = pyarrow.table({"label": [0, 1, -1], "tags": [[0, 1], [0], [1]]})
    path = tmp_path / "hub.parquet"
    parquet.write_table(
        found.replace_schema_metadata({b"huggingface": json.dumps({"info": {"features": features}}).encode()}), path
    )
    rows = read([path], ["label", "tags"])
    assert rows.columns == {"label": ["neg", "pos"], "tags": [["O", "B-X"], ["O"]]}
    assert rows.report.skipped == {"with empty label": 1}  # -1: it is secret


@pytest.mark.parametrize("name", ["a.txt", "a.bio", "a", "a.conll"])
@pytest.mark.parametrize("between", ["\n", " \t \n", "\r\n"])
def test_tagged_words_whatever_the_file_is_called(tmp_path: Path, name: str, between: str) -> None:
    sentences = ["Ana\tB-PER\nflew\tO\n", "Bath\tB-LOC\nwaits\tO\n"] * 3
    rows = read([written(tmp_path / name, between.join(sentences))], ["words", "tags"])
    assert len(rows) == 6 and rows["tags"][0] == "B-PER O" and "CoNLL" in rows.seen[0]


def test_a_packed_file_by_its_contents(tmp_path: Path) -> None:
    path = tmp_path / "no_suffix"
    path.write_bytes(gzip.compress(table("\t").encode()))
    assert len(read([path], ["text", "label"])) == 20
    (tmp_path / "other.txt").write_bytes(bz2.compress(b"one\ntwo\n"))
    assert read([tmp_path / "other.txt"], ["text"])["text"] == ["one", "two"]
    with pytest.raises(DataError, match="a zip archive or a spreadsheet"):
        read([written(tmp_path / "sheet.csv", "PK\x03\x04xx")], ["text"])


def test_folders_and_patterns(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for i in range(3):
        written(tmp_path / "in" / f"part-{i}.csv", f"text,label\nt{i},l{i}\n")
    written(tmp_path / ".hidden", "no")
    assert read([tmp_path / "in"], ["text"])["text"] == ["t0", "t1", "t2"]
    assert read([tmp_path / "in" / "part-[02].csv"], ["label"])["label"] == ["l0", "l2"]
    assert [path.name for path in expand([tmp_path])] == ["part-0.csv", "part-1.csv", "part-2.csv"]
    with pytest.raises(DataError, match="no file in it"):
        expand([tmp_path / "x*.csv"])


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_text(table("\t")))
    writer.start()
    assert len(read([pipe], ["text", "label"])) == len(read([pipe], ["label"])) == 20
    writer.join()


def test_the_first_rows(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tsv", table("\t", quote=""))
    source = Files(FilesConfig(train=(str(path),), columns=("text", "label"), first=10, hold_out=3))
    assert (len(source.split("train")), len(source.split("valid"))) == (7, 3)
    assert "the first 10 are taken" in str(source.split("train").report)
    text = written(tmp_path / "b.txt", "one\ntwo\nthree\n")
    (found,) = RunningText(RunningTextConfig(train=(str(text),), first=2)).split("train").paths
    assert found.read_text() == "one\ntwo\n"


def test_rows_of_some_labels_are_left_out(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tsv", "text\tlabel\nx\tyes\ny\t-\nz\tno\n")
    settings = FilesConfig(train=(str(path),), columns=("text", "label"), leave_out={"label": ("-",)}, hold_out=0)
    rows = Files(settings).split("train")
    assert rows["label"] == ["yes", "no"] and rows.report.skipped == {'whose label is "-"': 1}


def test_running_text_of_many_files_and_encodings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEW_CACHE", str(tmp_path / "cache"))
    books = tmp_path / "books"
    books.mkdir()
    written(books / "a.txt", "plain\n")
    written(books / "b.txt", "Ärger\n", "utf-16")
    written(books / "c.txt", "one\rtwo\r")
    paths = RunningText(RunningTextConfig(train=(str(books),))).split("train").paths
    assert [path.read_text("utf-8-sig") for path in paths] == ["plain\n", "Ärger\n", "one\ntwo\n"]
    seen = RunningText(RunningTextConfig(train=(str(books),))).split("train").seen
    assert seen == ("b.txt: UTF-16", "c.txt: UTF-8, lines ended by CR")
    assert paths[0] == books / "a.txt"  # what can be read as it lies there is not copied
    written(books / "b.txt", "Ärger\n", "cp1252")
    config = RunningTextConfig(train=(str(books / "b.txt"),), encoding="cp1252")
    assert RunningText(config).split("train").paths[0].read_text() == "Ärger\n"


@pytest.mark.parametrize(("name", "text", "found"), [
    ("a.txt", "Some text, with commas, of a book.\nAnd more.\n", ("lines", (), True)),
    ("a.txt", "Go.\tGeh.\nRun!\tLauf!\n", ("table", ("Go.", "Geh."), False)),
    ("a.csv", "text,label\na,b\n", ("table", ("text", "label"), True)),
    ("a", '{"source": "a", "target": "b"}\n', ("jsonl", (), True)),
])  # fmt: skip
def test_what_a_file_is_by_itself(
    tmp_path: Path, name: str, text: str, found: tuple[str, tuple[str, ...], bool]
) -> None:
    sniffed = sniff(written(tmp_path / name, text))
    assert (sniffed.format, sniffed.names, sniffed.header) == found


def test_parts_of_a_split() -> None:
    assert [place(text, 200) for text in ("10", "10%", "-5", None, "")] == [10, 20, -5, None, None]
