import gzip
import os
from pathlib import Path

import pytest

from clew.data.catalogue import Catalogue, CatalogueConfig, locate, places
from clew.data.entry import CONVERSIONS, counted_from_zero, entries
from clew.errors import DataError

FOLDER = Path(os.environ.get("CLEW_DATA", "../shared/data"))


def here(name):
    if not FOLDER.is_dir():
        pytest.skip(f"no data at {FOLDER} (set CLEW_DATA)")
    return Catalogue(CatalogueConfig(name=name))


def test_every_entry_is_whole():
    for name, entry in entries().items():
        assert entry.what and entry.licence and entry.rows and entry.size > 0, name
        assert entry.url.startswith("https://"), name
        if entry.columns:
            assert set(entry.splits) <= {"train", "valid", "test"} and all(entry.splits.values()), name
            assert {*entry.rename, *entry.convert, *(c for cs in entry.lacking.values() for c in cs)} <= {
                *entry.columns
            }
            assert set(entry.convert.values()) <= CONVERSIONS.keys(), name
            assert not entry.names or set(entry.columns) <= {*entry.names}, name
            parallel = any("{}" in p for ps in entry.splits.values() for p in ps)
            assert parallel == (entry.format == "parallel text"), name


def test_a_folder_of_its_own(tmp_path):
    for split in ("train", "val", "test_2016_flickr"):
        for language in ("en", "de", "fr"):
            with gzip.open(tmp_path / f"{split}.{language}.gz", "wt", encoding="utf-8") as file:
                file.write(f"{split} {language} 1\n{split} {language} 2\n")
    source = Catalogue(CatalogueConfig(name="multi30k", columns=("de", "en"), folder=str(tmp_path)))
    assert source.splits == ("train", "valid", "test")
    assert source.split("valid").columns == {"de": ["val de 1", "val de 2"], "en": ["val en 1", "val en 2"]}
    assert source.split("test")["en"][0] == "test_2016_flickr en 1"
    only = Catalogue(CatalogueConfig(name="multi30k", columns=("fr",), folder=str(tmp_path)))
    assert only.split("train")["fr"] == ["train fr 1", "train fr 2"]
    assert source.about["licence"] and source.about["columns"] == ["en", "de", "fr"]


def test_gold_alignments_count_from_zero(tmp_path):
    assert counted_from_zero("1-1 12p3") == "0-0 11p2"
    with gzip.open(tmp_path / "hansards_enfr_dev.tsv.gz", "wt", encoding="utf-8") as file:
        file.write("source\ttarget\tgold\n2 .\t2 .\t2-2 1p1\n")
    with gzip.open(tmp_path / "hansards_enfr_unaligned.tsv.gz", "wt", encoding="utf-8") as file:
        file.write("source\ttarget\n" + "".join(f"a {i}\tb {i}\n" for i in range(40)))
    source = Catalogue(CatalogueConfig(name="hansards", folder=str(tmp_path)))
    assert source.split("test").columns == {"en": ["2 ."], "fr": ["2 ."], "alignment": ["1-1 0p0"]}
    assert list(source.split("train").columns) == ["en", "fr"] and source.splits == ("train", "valid", "test")
    with pytest.raises(DataError, match='"train" split of hansards has no alignment'):
        Catalogue(CatalogueConfig(name="hansards", columns=("alignment",), folder=str(tmp_path))).split("train")


def test_where_it_is_looked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "checkout").mkdir()
    monkeypatch.chdir(tmp_path / "checkout")
    monkeypatch.setenv("CLEW_DATA", str(tmp_path / "env"))
    with pytest.raises(DataError, match="not on this machine") as caught:
        locate("hansards")
    text = str(caught.value)
    assert entries()["hansards"].licence in text and entries()["hansards"].url in text
    looked = places("hansards")
    assert all(str(place) in text for place in looked)
    assert [p.name for p in looked] == ["word_alignment"] * 3
    for place in reversed(looked):
        place.mkdir(parents=True)
        assert locate("hansards") == place
    assert places("hansards", "mine") == [Path("mine")]
    monkeypatch.delenv("CLEW_DATA")
    assert places("hansards") == looked[1:]
    with pytest.raises(DataError, match='name = "bentrevett/multi30k"'):
        locate("multi30k")


def test_wrong_requests():
    with pytest.raises(DataError, match='did you mean "multi30k"'):
        Catalogue(CatalogueConfig(name="multi30"))
    with pytest.raises(DataError, match=r'no column "eng" \(columns: en, de, fr\)\n.*\n.*did you mean "en"'):
        Catalogue(CatalogueConfig(name="multi30k", columns=("eng",)))
    with pytest.raises(DataError, match='its format is "idx images"'):
        Catalogue(CatalogueConfig(name="mnist"))


@pytest.mark.data
def test_multi30k_as_published():
    source = here("multi30k")
    assert [len(source.split(name)) for name in source.splits] == [29_000, 1_014, 1_000]
    assert source.split("test")["en"][0] == "A man in an orange hat starring at something."
    assert not source.split("train").report.skipped


@pytest.mark.data
@pytest.mark.parametrize(
    "name", [n for n, e in entries().items() if e.columns and e.size < 500_000 and n != "multi30k"]
)
def test_small_sets_have_the_rows_they_promise(name):
    source = here(name)
    for split in source.splits:
        report = source.split(split).report
        assert report.kept >= 0.6 * report.read, str(report)  # running text has empty lines
    if "lines" not in source.entry.rows:
        counts = [part for part in source.entry.rows.replace(",", "").split(" / ") if part != "–"]
        own = [source.split(s).report.read for s in source.splits if s in source.entry.splits]
        assert own == list(map(int, counts))


@pytest.mark.data
def test_every_set_has_its_files():
    if not FOLDER.is_dir():
        pytest.skip(f"no data at {FOLDER} (set CLEW_DATA)")
    for name, entry in entries().items():
        folder = locate(name)
        for pattern in (p for patterns in entry.splits.values() for p in patterns if entry.columns):
            assert (folder / pattern.format(entry.columns[0])).is_file(), name
