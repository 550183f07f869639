"""A folder of classes: where splits are found, what is left out and said, and what is wrong with a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clew.config import build
from clew.data.image_folder import ImageFolder, ImageFolderConfig
from clew.errors import DataError


def photo(path: Path, shade: int = 0, size: tuple[int, int] = (8, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (shade, 2 * shade, 0)).save(path)


def source(folder: Path, **settings: object) -> ImageFolder:
    found: ImageFolder = build("data", ImageFolderConfig(folder=str(folder), size=8, **settings))  # type: ignore[arg-type]
    return found


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for n in range(20):
        photo(tmp_path / "photos" / ("cat", "dog")[n % 2] / f"{n:02d}.PNG", n)
    return tmp_path / "photos"


def test_classes_are_folders_and_some_images_are_held_out(photos: Path) -> None:
    data = source(photos, hold_out=0.2)
    assert data.splits == ("train", "valid")
    train, valid = data.split("train"), data.split("valid")
    assert (len(train), len(valid)) == (16, 4) and {*train["label"]} == {"cat", "dog"}
    assert all(
        Path(str(image)).parent.name == label for image, label in zip(train["image"], train["label"], strict=True)
    )
    assert train["image"][0].pixels.shape == (3, 8, 8) and "20 of 20 rows kept" in str(train.report)
    assert source(photos, channels=1).split("train")["image"][0].pixels.shape == (1, 8, 8)


@pytest.mark.parametrize(("name", "split"), [("valid", "valid"), ("val", "valid"), ("dev", "valid"), ("test", "test")])
def test_splits_are_folders_too(photos: Path, tmp_path: Path, name: str, split: str) -> None:
    photos.rename(tmp_path / "train")
    photo(tmp_path / name / "cat" / "deeper" / "1.jpg")
    photo(tmp_path / "more" / "cat" / "1.jpg")  # no split is called so
    data = source(tmp_path)
    assert [*data.splits] == ["train", "valid", *(["test"] if split == "test" else [])]
    assert data.split(split)["label"] == ["cat"]


def test_what_is_no_image_is_counted_named_and_left_out(photos: Path) -> None:
    (photos / "cat" / "broken.jpg").write_bytes(b"no image")
    (photos / "cat" / "notes.txt").write_text("no image by its name")
    (photos / "cat" / ".hidden.png").write_bytes(b"")
    data = source(photos, hold_out=0)
    assert data.about["columns"] == ["image", "label"] and data.about["size"] > 100
    report = str(data.split("train").report)
    assert "20 of 21 rows kept; skipped 1 that cannot be read as an image" in report and "broken.jpg" in report
    with pytest.raises(DataError, match="cannot be read as an image") as told:
        source(photos, on_bad="stop").split("train")
    assert told.value.where.endswith("broken.jpg")


def test_images_of_another_size_are_resized_and_that_is_said(photos: Path) -> None:
    photo(photos / "dog" / "large.jpg", 200, (80, 40))
    train = source(photos, hold_out=0.1).split("train")
    assert str(train.report).endswith("; 1 resized to 8 × 8")
    assert {image.pixels.shape for image in train["image"]} == {(3, 8, 8)}


def test_a_wrong_folder_is_told(tmp_path: Path, photos: Path) -> None:
    with pytest.raises(DataError, match="there is no such folder") as told:
        source(tmp_path / "photo").split("train")
    assert 'did you mean "photos"?' in told.value.fix
    (tmp_path / "flat").mkdir()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "flat" / "1.png")  # in no folder of a class
    with pytest.raises(DataError, match="no image in it") as told:
        source(tmp_path / "flat").split("train")
    assert "photos/cat/1.jpg" in told.value.fix
