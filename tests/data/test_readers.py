import bz2
import gzip
import lzma
import sys
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clew.data.opened import NOT_TEXT, PACKED
from clew.data.readers import lines, read
from clew.errors import DataError, MissingExtra


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def pair(folder, source, target):
    return [write(folder / "a.en", source), write(folder / "a.fr", target)]


def test_parallel_files_line_by_line(tmp_path):
    rows = read(pair(tmp_path, "one\ntwo\n", "un\ndeux"), ["en", "fr"])
    assert rows.columns == {"en": ["one", "two"], "fr": ["un", "deux"]}
    assert (rows.report.read, rows.report.kept, rows.report.skipped) == (2, 2, {})


def test_lines_end_at_newlines_only(tmp_path):
    strange = "a\u2028b\x0bc\x0cd\x85e\x1cf\rg"
    rows = read(pair(tmp_path, f"\ufeff{strange}\r\nx\r\n", "1\r\n\ufeff2"), ["en", "fr"])
    assert rows["en"] == [strange, "x"]
    assert rows["fr"] == ["1", "\ufeff2"]  # a BOM is one at the very beginning only


def test_carriage_returns_belong_to_line_ends(tmp_path):
    path = write(tmp_path / "a.txt", b"a\r\nb\rc\r\r\n\r\nd\r")
    assert [line.text for line in lines(path, 100)] == ["a", "b\rc\r", "", "d"]


def test_unequal_line_counts_name_both(tmp_path):
    paths = pair(tmp_path, "1\n2\n3\n", "1\n")
    with pytest.raises(DataError, match=r"a\.en has 3, .*a\.fr has 1"):
        read(paths, ["en", "fr"])
    with pytest.raises(DataError, match=r"a\.en has 1, .*a\.fr has 3"):
        read(pair(tmp_path, "1\n", "1\n2\n3\n"), ["en", "fr"])


def test_bad_lines_are_counted_with_their_place(tmp_path):
    source = b"good\n\xff\xfe bad\n \nnul\0\n" + b"x" * 30 + b"\nempty other\nlast\n"
    target = "1\n2\n3\n4\n5\n\t\n7\n"
    rows = read(pair(tmp_path, source, target), ["en", "fr"], max_characters=20)
    assert rows["en"] == ["good", "last"] and rows["fr"] == ["1", "7"]
    report = rows.report
    assert (report.read, report.kept, report.skipped.total()) == (7, 2, 5)
    place = str(tmp_path / "a.en")
    assert report.examples == {
        "not valid UTF-8": f"{place}:2",
        "with empty en": f"{place}:3",
        "with a NUL character": f"{place}:4",
        "longer than 20 characters": f"{place}:5",
        "with empty fr": f"{place}:6",
    }
    assert "2 of 7 rows kept" in str(report) and f"{place}:4" in str(report)


def test_on_bad_stop_names_the_line(tmp_path):
    with pytest.raises(DataError, match=r"empty fr") as caught:
        read(pair(tmp_path, "1\n2\n", "1\n\n"), ["en", "fr"], on_bad="stop")
    assert caught.value.where.endswith("a.en:2")


@pytest.mark.parametrize("content", ["", "\n", "\n\n \n"])
def test_zero_rows_is_an_error(tmp_path, content):
    with pytest.raises(DataError, match="no row"):
        read(pair(tmp_path, content, content), ["en", "fr"])


def test_a_missing_file_an_empty_folder_and_utf16(tmp_path):
    write(tmp_path / "train.en", "a\n")
    with pytest.raises(DataError, match=r'did you mean "train\.en"'):
        read([tmp_path / "trian.en"], ["en"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no file in it"):
        read([tmp_path / "empty"], ["en"])
    assert read([write(tmp_path / "wide.txt", "a\nb\n".encode("utf-16"))], ["en"])["en"] == ["a", "b"]
    with pytest.raises(DataError, match="3 parallel files for 2 columns"):
        read([tmp_path / "train.en"] * 3, ["en", "fr"])


@pytest.mark.parametrize(("suffix", "module"), [(".gz", gzip), (".bz2", bz2), (".xz", lzma)])
def test_compressed(tmp_path, suffix, module):
    path = tmp_path / f"pairs.tsv{suffix}"
    text = "en\tfr\n" + "".join(f"l{i}\tr{i}\n" for i in range(5000))
    whole = module.compress(text.encode())
    rows = read([write(path, whole)], ["en", "fr"])
    assert len(rows) == 5000 and rows["fr"][-1] == "r4999"
    with pytest.raises(DataError, match="cannot read on") as caught:
        read([write(path, whole[: len(whole) // 2])], ["en", "fr"])
    assert f"pairs.tsv{suffix}:" in caught.value.where
    assert len(read([write(path, text)], ["en", "fr"])) == 5000  # packed is what begins so, whatever it is called
    middle = len(whole) // 2
    damaged = whole[:middle] + bytes([whole[middle] ^ 0xFF, whole[middle + 1] ^ 0xFF]) + whole[middle + 2 :]
    with pytest.raises(DataError):
        read([write(path, damaged)], ["en", "fr"])


def test_tsv_with_header_by_name(tmp_path):
    path = write(tmp_path / "t.tsv", 'id\tfr\ten\n1\t"un\tone\n2\tdeux\ttwo\n')
    assert read([path], ["en", "fr"]).columns == {"en": ["one", "two"], "fr": ['"un', "deux"]}


def test_tsv_without_header_by_position(tmp_path):
    path = write(tmp_path / "t.txt", "one\tun\tCC-BY\ntwo\tdeux\tCC-BY\nthree\ttrois\n")
    with pytest.raises(DataError, match='no column "en" or "fr": the first line has "one", "un", "CC-BY"'):
        read([path], ["en", "fr"])  # it may be a header, or a row
    rows = read([path], ["en", "fr"], names=["en", "fr", "licence"])
    assert rows.columns == {"en": ["one", "two"], "fr": ["un", "deux"]}
    assert rows.report.skipped == {"with a number of fields other than 3": 1}


def test_names_of_a_table_without_header(tmp_path):
    path = write(tmp_path / "t.tsv", "one\tun\ntwo\tdeux\n")
    assert read([path], ["fr"], names=["en", "fr"]).columns == {"fr": ["un", "deux"]}


def test_missing_columns_say_which_there_are(tmp_path):
    path = write(tmp_path / "t.tsv", "source\ttarget\na\tb\n")
    with pytest.raises(DataError, match=r'no column "targte" \(columns: source, target\)\n.*\n.*did you mean "target"'):
        read([path], ["source", "targte"])
    with pytest.raises(DataError, match='did you mean "source"'):
        read([path], ["Source", "target"])
    with pytest.raises(DataError, match="1 fields in the first line for 2 columns"):
        read([write(tmp_path / "one.tsv", "only\n")], ["en", "fr"])


def test_csv_quotes_commas_and_line_ends(tmp_path):
    path = write(tmp_path / "t.csv", 'en,fr\r\n"a, ""b""","c\nd"\r\ne,f\r\n')
    assert read([path], ["fr", "en"]).columns == {"fr": ["c\nd", "f"], "en": ['a, "b"', "e"]}


def test_long_sound_fields_are_read(tmp_path):
    path = write(tmp_path / "t.csv", 'en\n"' + "a" * 150_000 + '"\n')  # the csv module's own limit is 131,072
    assert len(read([path], ["en"], max_characters=150_000)["en"][0]) == 150_000


def test_csv_counts_every_line_that_an_open_quote_swallows(tmp_path):
    path = write(tmp_path / "t.csv", 'en,fr\na,b\n"open,c\n' + "x,y\n" * 10)
    rows = read([path], ["en", "fr"])
    assert rows["en"] == ["a"]
    assert (rows.report.read, rows.report.skipped.total()) == (12, 11)
    broken = write(tmp_path / "u.csv", b"en,fr\na,b\n\xff,c\nd\ne,f\n")
    rows = read([broken], ["en", "fr"])
    assert rows["en"] == ["a", "e"] and rows.report.skipped.total() == 2


def test_jsonl_nested_numbers_and_bad_lines(tmp_path):
    path = write(
        tmp_path / "t.jsonl",
        '{"t": {"en": "a", "fr": "b"}, "n": 1}\n[1]\n{broken\n{"t": {"en": "c"}, "n": 2}\n'
        '{"t": {"en": "d", "fr": null}, "n": 2}\n{"t": {"en": "\\ud800", "fr": "x"}, "n": 2}\n'
        '{"t": {"en": "e", "fr": "f"}, "n": 2.5}\n',
    )
    rows = read([path], ["t.en", "t.fr", "n"])
    assert rows.columns == {"t.en": ["a", "e"], "t.fr": ["b", "f"], "n": ["1", "2.5"]}
    assert rows.report.skipped == {"not a JSON object": 2, "with empty t.fr": 2, "not valid UTF-8": 1}
    with pytest.raises(DataError, match=r'no column "t.de" \(columns: t.en, t.fr\)'):
        read([path], ["t.de"])


def test_parquet(tmp_path, monkeypatch):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "t.parquet"
    values = [{"en": f"a{i}", "fr": f"b{i}" if i else None} for i in range(3000)]
    pq.write_table(pa.table({"translation": values, "label": list(range(3000))}), path)
    rows = read([path], ["translation.fr", "label"])
    assert rows["translation.fr"][:2] == ["b1", "b2"] and rows["label"][-1] == "2999"
    assert rows.report.examples == {"with empty translation.fr": f"{path} row 1"}
    with pytest.raises(DataError, match='did you mean "label"'):
        read([path], ["labels"])
    with pytest.raises(DataError, match="cannot read this as Parquet"):
        read([write(tmp_path / "no.parquet", "text\n")], ["a"])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"clew\[data\]"):
        read([path], ["label"])


def test_tables_follow_one_another_and_texts_of_one_column_too(tmp_path):
    tables = [write(tmp_path / "1.tsv", "en\tfr\na\tb\n"), write(tmp_path / "2.csv", "fr,en\nd,c\n")]
    assert read(tables, ["en", "fr"]).columns == {"en": ["a", "c"], "fr": ["b", "d"]}
    texts = [write(tmp_path / "1.txt", "a\nb\n"), write(tmp_path / "2.txt", "c\n")]
    assert read(texts, ["text"])["text"] == ["a", "b", "c"]


@pytest.mark.parametrize("name", ["a.txt", "a.tsv", "a.csv", "a.jsonl"])
def test_a_huge_line_takes_no_memory(tmp_path, name):
    path = tmp_path / (name + ".gz")
    row = '{"a": "x"}\n' if name.endswith("jsonl") else "x\n"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(row.encode())
        for _ in range(64):
            file.write(b"y" * (1 << 20))
        file.write(b"\n" + row.encode())
    tracemalloc.start()
    rows = read([path], ["a"], names=["a"], max_characters=1000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows["a"] == ["x", "x"] and rows.report.examples == {"over-long": f"{path}:2"}
    assert peak < 16 << 20


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=200), limit=st.integers(1, 50))
def test_lines_agree_with_a_plain_split(tmp_path_factory, content, limit):
    path = write(tmp_path_factory.getbasetemp() / "any.txt", content)
    if content.startswith((b"\xff\xfe", b"\xfe\xff", *NOT_TEXT, *PACKED)) or b"\0" in content:
        return  # UTF-16, or what looks like it, and other files than texts
    if b"\n" not in content.rstrip(b"\r\n") and b"\r" in content.rstrip(b"\r\n"):
        content = content.replace(b"\r", b"\n")  # an old Mac's
    expected = content.split(b"\n")
    if expected[-1] == b"":
        expected.pop()
    found = list(lines(path, limit))
    assert [line.number for line in found] == list(range(1, len(expected) + 1))
    for line, raw in zip(found, expected, strict=True):
        raw = raw.removeprefix(b"\xef\xbb\xbf") if line.number == 1 else raw
        if line.whole:
            assert line.text == raw.removesuffix(b"\r").decode(errors="surrogateescape")
        else:
            assert len(raw) + 3 >= limit


@settings(max_examples=60, deadline=None)
@given(
    table=st.lists(
        st.tuples(*[st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff"), max_size=10)] * 2),
        max_size=8,
    )
)
def test_csv_agrees_with_its_writer(tmp_path_factory, table):
    import csv
    import io

    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows([("en", "fr"), *table])
    path = write(tmp_path_factory.getbasetemp() / "any.csv", buffer.getvalue())
    kept = [(a.strip(), b.strip()) for a, b in table if a.strip() and b.strip()]
    if not kept:
        with pytest.raises(DataError):
            read([path], ["en", "fr"])
    else:
        rows = read([path], ["en", "fr"])
        # a carriage return before a line end is part of the line end
        assert list(zip(rows["en"], rows["fr"], strict=True)) == [
            (a.replace("\r\n", "\n"), b.replace("\r\n", "\n")) for a, b in kept
        ]
