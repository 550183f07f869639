"""Images: decoded once, made alike in size and colour, and given to a model in batches."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from clew.batches import ImageBatch
from clew.config import BatchConfig
from clew.contracts import Loader
from clew.data.batches import Examples
from clew.errors import DataError, RunError
from clew.inputs import Pixels, Preprocessor
from clew.text.labelled_tokenizer import load_labels, save_labels

CONFIG = "preprocessor_config.json"  # transformers' name for the file, and its names for what is in it


@dataclass(frozen=True, eq=False)
class Picture:
    """An image in memory: what `task.image` finds in a row. pixels: (channels, height, width) uint8; size: the file's
    own (height, width). Two of them are equal where their pixels are, whatever their files are called."""

    path: str
    pixels: np.ndarray
    size: tuple[int, int]

    def __str__(self) -> str:
        return self.path

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Picture) and np.array_equal(self.pixels, other.pixels)

    def __hash__(self) -> int:
        return hash(self.pixels.tobytes())

    def digest(self) -> str:
        """Return the SHA-256 of what can be seen."""
        return hashlib.sha256(repr(self.pixels.shape).encode() + self.pixels.tobytes()).hexdigest()


def decode(path: Path, spec: Pixels) -> Picture:
    """Return an image file as `spec` has it.

    It is turned as its EXIF data says and laid on white where it is transparent; of several frames the first counts.
    An image of another shape loses its margins, equally on both sides, and is resized (bicubic). Raise DataError naming
    a file that is missing, is no image, or is cut short.
    """
    from PIL import Image, ImageOps

    if not path.is_file():
        raise DataError("there is no such image", where=str(path), fix="give the path of an image")
    try:
        with Image.open(path) as file:
            height, width = file.height, file.width
            file.draft(None, (2 * spec.width, 2 * spec.height))  # a large JPEG is decoded at an eighth, a quarter, half
            image = ImageOps.exif_transpose(file)
            image = coloured(image, spec.channels)
            pixels = np.asarray(ImageOps.fit(image, (spec.width, spec.height)))
    except Exception as error:  # decoders raise whatever they please at damaged files
        raise DataError(
            f"this cannot be read as an image: {str(error) or type(error).__name__}", where=str(path),
            fix="save it again as PNG or JPEG, or take it away",
        ) from error  # fmt: skip
    pixels = pixels[None] if spec.channels == 1 else pixels.transpose(2, 0, 1)
    return Picture(str(path), np.ascontiguousarray(pixels), (height, width))


def pictures(values: Sequence[Any], where: str) -> list[Picture]:
    """Return a column of pictures. Raise DataError where a row holds something else."""
    for number, value in enumerate(values):
        if not isinstance(value, Picture):
            raise DataError(
                f"an image was expected, and this is {type(value).__name__}: {str(value)[:60]}",
                where=f"{where}, row {number + 1}", fix="name a column of images, of data that has some",
            )  # fmt: skip
    return list(values)


def coloured(image: Any, channels: int) -> Any:
    """Return an image of any mode as grey (1) or red, green and blue (3), 8 bits each."""
    from PIL import Image

    if image.mode.startswith("I"):  # 16 bits of grey
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("L" if channels == 1 else "RGB")


@dataclass
class Images(Examples):
    """Pictures and what is to be learned of each; what a batch holds is (pixels / 255 - mean) / std.

    mean, std: (channels,) float32.
    """

    pictures: Sequence[Picture]
    label: list[Any]
    mean: np.ndarray
    std: np.ndarray
    cut: int = 0
    part_of: list[int] = field(default_factory=list)

    @property
    def lengths(self) -> np.ndarray:
        return np.ones(len(self), np.int64)

    def batch(self, rows: Sequence[int]) -> ImageBatch:
        """Return some of the pictures as one batch."""
        pixels = np.stack([self.pictures[i].pixels for i in rows])  # (batch, channels, height, width)
        scaled = (pixels / np.float32(255) - self.mean[:, None, None]) / self.std[:, None, None]
        return ImageBatch(torch.from_numpy(scaled), torch.tensor([self.label[i] for i in rows]), torch.tensor(rows))

    def loader(self, batch: BatchConfig, seed: int) -> ImageLoader:
        """Return batches in a new order each epoch. Raise RecipeError where `train.batch` does not count examples."""
        return ImageLoader(self, batch.of_examples("a batch of images"), seed)


class ImageLoader(Loader):
    """Batches of so many images, the last of an epoch smaller."""

    by_rows = True

    def __init__(self, images: Images, size: int, seed: int) -> None:
        super().__init__(seed)
        self.images, self.size = images, size

    def plan(self, epoch: int) -> list[np.ndarray]:
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.images))
        return [order[start : start + self.size] for start in range(0, len(order), self.size)]

    def collate(self, rows: np.ndarray, rng: np.random.Generator) -> ImageBatch:
        return self.images.batch(rows.tolist())

    def labels(self) -> Sequence[Any]:
        return self.images.label


@dataclass
class ImagePreprocessor(Preprocessor):
    """The size and channels of images, their mean and standard deviation, and labels in the order of classes.

    mean, std: of each channel over the training images, whose values go from 0 to 1.
    """

    pixels: Pixels
    mean: list[float]
    std: list[float]
    labels: list[str]
    files: ClassVar[bool] = True  # type: ignore[misc]

    @classmethod
    def of(cls, pictures: Sequence[Picture], labels: Sequence[str]) -> ImagePreprocessor:
        """Return the one for these training images, which are of one size."""
        sums = np.zeros((2, len(pictures[0].pixels)))
        for picture in pictures:
            values = picture.pixels / 255.0
            sums += values.mean(axis=(1, 2)), np.square(values).mean(axis=(1, 2))
        mean, square = sums / len(pictures)
        std = np.sqrt(np.maximum(square - mean**2, 0.0))
        std = np.where(std > 0, std, 1.0)
        return cls(Pixels(*pictures[0].pixels.shape), mean.tolist(), std.tolist(), [*labels])

    @property
    def spec(self) -> Pixels:
        return self.pixels

    @property
    def source(self) -> Any:
        raise DataError("this run reads images, not texts", fix="choose a run that reads texts")

    target = source

    def parse(self, line: str, base: Path) -> Picture:
        """Return the image at a path. Raise DataError where there is none that can be read."""
        return decode(base / line, self.pixels)

    def encode(self, pictures: Sequence[Picture]) -> Images:
        """Return images as a model reads them, without labels. Raise DataError for one of another size or colour."""
        for picture in pictures:
            if picture.pixels.shape != (shape := (self.pixels.channels, self.pixels.height, self.pixels.width)):
                raise DataError(
                    f"an image of {times(picture.pixels.shape)} for a model of {times(shape)}", where=picture.path,
                    fix="leave data.size and data.channels as the run has them",
                )  # fmt: skip
        return Images(pictures, [0] * len(pictures), *np.array([self.mean, self.std], np.float32))

    def describe(self) -> dict[str, Any]:
        """Return the size, how many channels there are, and the labels."""
        size = {"image_size": [self.pixels.height, self.pixels.width], "num_channels": self.pixels.channels}
        return {**size, "id2label": dict(enumerate(self.labels))}

    def __str__(self) -> str:
        return f"images of {self.pixels.height} × {self.pixels.width}, {len(self.labels)} labels"

    def save(self, folder: Path) -> None:
        """Write `preprocessor_config.json` and `labels.json`."""
        size = {"height": self.pixels.height, "width": self.pixels.width}
        settings = {"num_channels": self.pixels.channels, "size": size, "rescale_factor": 1 / 255}
        settings |= {"image_mean": self.mean, "image_std": self.std}
        (folder / CONFIG).write_text(json.dumps(settings, indent=1), encoding="utf-8")
        save_labels(self.labels, folder)

    @classmethod
    def load(cls, folder: Path) -> ImagePreprocessor:
        """Return what `save` wrote. Raise RunError where it is missing or damaged."""
        try:
            found = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
            spec = Pixels(int(found["num_channels"]), int(found["size"]["height"]), int(found["size"]["width"]))
            mean, std = ([float(value) for value in found[name]] for name in ("image_mean", "image_std"))
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise RunError(
                f"how images are read cannot be read: {error}", where=str(folder / CONFIG), fix="train it again"
            ) from error
        return cls(spec, mean, std, load_labels(folder))


def times(shape: Sequence[int]) -> str:
    """Return a shape as people write it."""
    return " × ".join(map(str, shape))
