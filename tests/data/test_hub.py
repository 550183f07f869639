import json
import sys

import pytest

from clew.data.hub import Hub, HubConfig
from clew.errors import DataError, MissingExtra

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()


def folder_of(tmp_path, **splits):
    folder = tmp_path / "set"
    folder.mkdir()
    for name, n in splits.items():
        rows = (
            {"translation": {"de": f"{name} de {i}", "en": f"{name} en {i}" if i != 1 else ""}, "id": i}
            for i in range(n)
        )
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder)


COLUMNS = {"de": "translation.de", "en": "translation.en", "number": "id"}


def test_a_folder_of_files(tmp_path):
    source = Hub(HubConfig(name=folder_of(tmp_path, train=10, validation=3), columns=COLUMNS))
    assert source.splits == ("train", "valid")
    valid = source.split("valid")
    assert valid.columns == {
        "de": ["validation de 0", "validation de 2"],
        "en": ["validation en 0", "validation en 2"],
        "number": ["0", "2"],
    }
    assert valid.report.skipped == {"with empty en": 1} and "row 2" in valid.report.examples["with empty en"]
    assert len(source.split("train")) == 9
    assert source.about["columns"] == ["de", "en", "number"]


def test_saved_to_disk_and_held_out(tmp_path):
    table = datasets.Dataset.from_dict({"a": [f"x{i}" for i in range(100)]})
    datasets.DatasetDict({"train": table}).save_to_disk(str(tmp_path / "dict"))
    table.save_to_disk(str(tmp_path / "one"))
    for name in ("dict", "one"):
        source = Hub(HubConfig(name=str(tmp_path / name), columns={"text": "a"}))
        assert source.splits == ("train", "valid")
        assert (len(source.split("train")), len(source.split("valid"))) == (95, 5)


def test_wrong_requests(tmp_path, monkeypatch):
    name = folder_of(tmp_path, train=4)
    with pytest.raises(DataError, match=r'no column "translation.fr" \(columns: translation.de, translation.en\)'):
        Hub(HubConfig(name=name, columns={"fr": "translation.fr"})).split("train")
    with pytest.raises(DataError, match='no "test" split'):
        Hub(HubConfig(name=name, columns=COLUMNS)).split("test")
    with pytest.raises(DataError, match="cannot load this data set"):
        Hub(HubConfig(name=str(tmp_path / "absent"), columns=COLUMNS)).split("train")
    table = datasets.Dataset.from_dict({"a": ["x"]})
    datasets.DatasetDict({"odd": table}).save_to_disk(str(tmp_path / "odd"))
    with pytest.raises(DataError, match="none of its splits is a known one: odd"):
        _ = Hub(HubConfig(name=str(tmp_path / "odd"), columns={"a": "a"})).splits
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtra, match=r"clew\[data\]"):
        Hub(HubConfig(name=name, columns=COLUMNS)).split("train")
