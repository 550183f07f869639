"""Images: whatever a file holds becomes the same few numbers, in batches that are drawn alike again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clew.config import BatchConfig
from clew.data.images import ImagePreprocessor, Picture, decode, pictures
from clew.data.rows import ReadReport, Rows
from clew.data.source import hold_out
from clew.errors import DataError, RecipeError, RunError
from clew.inputs import Pixels

GREY, COLOUR = Pixels(1, 4, 4), Pixels(3, 4, 4)
RAMP = np.arange(16, dtype=np.uint8).reshape(4, 4) * 16


def saved(image: Image.Image, path: Path, **how: object) -> Path:
    image.save(path, **how)
    return path


def made(n: int, seed: int = 0) -> list[Picture]:
    rng = np.random.default_rng(seed)
    return [Picture(f"{i}.png", rng.integers(0, 256, (3, 5, 6), dtype=np.uint8), (5, 6)) for i in range(n)]


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp"])
def test_what_is_stored_exactly_is_read_exactly(tmp_path: Path, suffix: str) -> None:
    colour = np.random.default_rng(1).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    how = {"lossless": True} if suffix == "webp" else {}
    read = decode(saved(Image.fromarray(colour), tmp_path / f"a.{suffix}", **how), COLOUR)
    assert np.array_equal(read.pixels, colour.transpose(2, 0, 1)) and read.size == (4, 4)
    assert read.pixels.dtype == np.uint8 and read.pixels.flags.c_contiguous and str(read).endswith(f"a.{suffix}")


def test_grey_and_colour_become_each_other(tmp_path: Path) -> None:
    grey = saved(Image.fromarray(RAMP), tmp_path / "grey.png")
    assert np.array_equal(decode(grey, GREY).pixels, RAMP[None])
    assert np.array_equal(decode(grey, COLOUR).pixels, np.stack([RAMP] * 3))
    red = saved(Image.new("RGB", (4, 4), (255, 0, 0)), tmp_path / "red.png")
    assert (decode(red, GREY).pixels == 76).all()  # ITU-R 601: 0.299 of red


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    deep = saved(Image.fromarray(RAMP.astype(np.uint16) * 256 + 99), tmp_path / "deep.png")
    assert np.array_equal(decode(deep, GREY).pixels[0], RAMP)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_white(tmp_path: Path, mode: str) -> None:
    if mode == "P":
        image = Image.fromarray(np.array([[0, 1]] * 2, np.uint8), mode=None).convert("P")
        image.putpalette([0, 0, 0, 0, 0, 255] + [0] * 762)
        path = saved(image, tmp_path / "a.png", transparency=0)
    else:
        image = Image.new("RGBA", (2, 2), (0, 0, 0, 0))
        for y in range(2):
            image.putpixel((1, y), (0, 0, 255, 255))
        path = saved(image.convert(mode), tmp_path / "a.png")
    found = decode(path, Pixels(3, 2, 2)).pixels
    assert (found[:, :, 0] == 255).all()
    assert (found[:, :, 1] == (29 if mode == "LA" else np.array([[0], [0], [255]]))).all()


def test_a_camera_held_sideways(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be seen, it is turned by 90° clockwise
    path = saved(Image.fromarray(RAMP), tmp_path / "a.png", exif=exif)
    assert np.array_equal(decode(path, GREY).pixels[0], np.rot90(RAMP, -1))


def test_another_shape_loses_its_margins_and_is_resized(tmp_path: Path) -> None:
    wide = np.zeros((4, 12), np.uint8)
    wide[:, 4:8] = 200  # the middle is what is kept, by a filter that sees a little of its neighbours
    read = decode(saved(Image.fromarray(wide), tmp_path / "wide.png"), Pixels(1, 2, 2))
    assert (read.pixels > 180).all() and read.size == (4, 12)
    large = saved(Image.new("RGB", (800, 600), (10, 200, 30)), tmp_path / "large.jpg", quality=95)
    read = decode(large, Pixels(3, 16, 16))
    assert read.size == (600, 800) and abs(read.pixels[:, 8, 8].astype(int) - [10, 200, 30]).max() <= 2


@pytest.mark.parametrize("fault", ["missing", "cut", "text", "empty", "folder"])
def test_a_damaged_file_is_named(tmp_path: Path, fault: str) -> None:
    path = tmp_path / "a.png"
    if fault == "folder":
        path.mkdir()
    elif fault == "cut":
        noise = np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        path.write_bytes(saved(Image.fromarray(noise), path).read_bytes()[:700])
    elif fault != "missing":
        path.write_text("no image" if fault == "text" else "")
    with pytest.raises(DataError, match="image") as told:
        decode(path, GREY)
    assert told.value.where == str(path) and told.value.fix


def test_a_column_of_something_else_is_refused() -> None:
    assert len(pictures(made(2), "here")) == 2
    with pytest.raises(DataError, match="an image was expected, and this is str") as told:
        pictures([*made(1), "a.png"], "here")
    assert told.value.where == "here, row 2"


def test_equal_images_are_held_out_together() -> None:
    once = made(30)
    twice = [Picture("copy of " + each.path, each.pixels.copy(), each.size) for each in once]
    train, valid = hold_out(Rows({"image": [*once, *twice]}, ReadReport("made")), 0.3, 1)
    assert len(valid) >= 18 and not {*train["image"]} & {*valid["image"]}


def test_values_are_normalised_by_the_training_images(tmp_path: Path) -> None:
    some = made(7)
    preprocessor = ImagePreprocessor.of(some, ["a", "b"])
    stacked = np.stack([each.pixels for each in some]) / 255
    assert preprocessor.mean == pytest.approx(stacked.mean(axis=(0, 2, 3)).tolist())
    assert preprocessor.std == pytest.approx(stacked.std(axis=(0, 2, 3)).tolist())
    encoded = preprocessor.encode(some)
    encoded.label = [0, 1, 0, 1, 0, 1, 1]
    batch = encoded.batch([5, 2])
    mean, std = (each(axis=(0, 2, 3))[:, None, None] for each in (stacked.mean, stacked.std))
    wanted = (stacked[[5, 2]] - mean) / std
    assert batch.pixels.dtype == torch.float32 and batch.pixels.numpy() == pytest.approx(wanted, abs=1e-5)
    assert batch.label.tolist() == [1, 0] and batch.row_numbers() == [5, 2] and batch.n_read == 2
    flat = ImagePreprocessor.of([Picture("0", np.zeros((1, 2, 2), np.uint8), (2, 2))] * 2, ["a", "b"])
    assert flat.std == [1.0]  # nothing is divided by nothing


def test_it_is_kept_and_read_again(tmp_path: Path) -> None:
    preprocessor = ImagePreprocessor.of(made(3), ["a", "ü"])
    preprocessor.save(tmp_path)
    assert ImagePreprocessor.load(tmp_path) == preprocessor and preprocessor.spec == Pixels(3, 5, 6)
    assert preprocessor.describe()["id2label"] == {0: "a", 1: "ü"} and preprocessor.index == {"a": 0, "ü": 1}
    (tmp_path / "preprocessor_config.json").write_text('{"size": 3}')
    with pytest.raises(RunError, match="how images are read"):
        ImagePreprocessor.load(tmp_path)


def test_it_reads_no_text() -> None:
    preprocessor = ImagePreprocessor.of(made(3), ["a", "b"])
    with pytest.raises(DataError, match="images, not texts"):
        preprocessor.source.encode(["a text"])
    with pytest.raises(DataError, match="3 × 5 × 6"):
        preprocessor.encode([Picture("other.png", np.zeros((1, 5, 6), np.uint8), (5, 6))])


def test_batches_are_drawn_alike_again_from_any_place() -> None:
    images = ImagePreprocessor.of(made(10), ["a", "b"]).encode(made(10))
    one, other = (images.loader(BatchConfig(examples=4), 3) for _ in range(2))
    first = [batch.row_numbers() for batch, _ in zip(one, range(6), strict=False)]
    assert [len(rows) for rows in first] == [4, 4, 2] * 2 and sorted(row for rows in first[:3] for row in rows) == [
        *range(10)
    ]
    assert first[:3] != first[3:]
    stream = iter(other)
    for _ in range(2):
        next(stream)
    again = images.loader(BatchConfig(examples=4), 3)
    again.load_state_dict(other.state_dict())
    assert [batch.row_numbers() for batch, _ in zip(again, range(4), strict=False)] == first[2:]
    assert one.labels() == [0] * 10
    with pytest.raises(RecipeError, match="comes in examples"):
        images.loader(BatchConfig(tokens=100), 3)
