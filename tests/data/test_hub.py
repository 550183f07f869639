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


def glue(tmp_path, **splits):
    """A set like those of GLUE: numbered labels with names, test labels kept secret."""
    label = datasets.ClassLabel(names=["not_duplicate", "duplicate"])
    features = datasets.Features({"question1": datasets.Value("string"), "label": label})
    tables = {
        name: datasets.Dataset.from_dict({"question1": [f"{name} {i}" for i in range(len(labels))], "label": labels},
                                         features=features)
        for name, labels in splits.items()
    }  # fmt: skip
    datasets.DatasetDict(tables).save_to_disk(str(tmp_path / "glue"))
    return str(tmp_path / "glue")


PAIRS = {"text": "question1", "label": "label"}


def test_labels_are_named_and_a_split_of_secret_labels_is_not_there(tmp_path):
    name = glue(tmp_path, train=[0, 1, -1], validation=[1, 0], test=[-1, -1])
    source = Hub(HubConfig(name=name, columns=PAIRS))
    assert source.splits == ("train", "valid")
    assert source.split("valid")["label"] == ["duplicate", "not_duplicate"]
    assert source.split("train")["label"] == ["not_duplicate", "duplicate"]
    assert source.split("train").report.skipped == {"with empty label": 1}
    assert Hub(HubConfig(name=name, columns={"text": "question1"})).splits == ("train", "valid", "test")


def test_splits_of_other_names(tmp_path):
    name = glue(tmp_path, train=[0] * 40, validation_matched=[1], validation_mismatched=[0, 1])
    splits = {"train": "train", "valid": "validation_matched", "odd": "validation_mismatched"}
    source = Hub(HubConfig(name=name, columns=PAIRS, splits=splits))
    assert source.splits == ("train", "valid", "odd")
    assert (source.split("valid")["label"], len(source.split("odd"))) == (["duplicate"], 2)
    held = Hub(HubConfig(name=name, columns=PAIRS, splits={"train": "train", "odd": "validation_mismatched"}))
    assert held.splits == ("train", "valid", "odd")
    assert [len(held.split(each)) for each in held.splits] == [38, 2, 2]
    with pytest.raises(DataError, match=r"no split dev[\s\S]+there are: train, validation_matched"):
        _ = Hub(HubConfig(name=name, columns=PAIRS, splits={"valid": "dev"})).splits
