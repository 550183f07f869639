"""Your own images: a folder of classes, each a folder of images."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from clew.data.images import Picture, decode
from clew.data.lines import did_you_mean
from clew.data.rows import ReadReport, Rows
from clew.data.source import SPLITS, Source, SourceConfig
from clew.errors import DataError
from clew.inputs import Pixels

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}
ALSO_CALLED = {"val": "valid", "validation": "valid", "dev": "valid"}


class ImageFolderConfig(SourceConfig):
    """A folder of class folders; or of `train`, and `valid` and `test` where there are any, which hold them."""

    kind: str = "image_folder"
    folder: str
    size: int = Field(64, ge=1)  # height and width to which all images are brought
    channels: Literal[1, 3] = 3  # 1: in grey


class ImageFolder(Source):
    """Rows of an image and its label, the name of its class folder; each image is decoded once, into memory."""

    Config = ImageFolderConfig

    def __init__(self, config: ImageFolderConfig) -> None:
        super().__init__(config)
        self.root = Path(config.folder)

    @property
    def about(self) -> dict[str, Any]:
        return {
            "what": "your own images",
            "licence": "yours to know",
            "size": sum(path.stat().st_size for folder in self.folders.values() for _, path in images(folder)),
            "columns": ["image", "label"],
            "url": self.config.folder,
        }

    @cached_property
    def folders(self) -> dict[str, Path]:
        """Where each split is. Raise DataError where there is no such folder."""
        if not self.root.is_dir():
            near = [each.name for each in self.root.parent.iterdir()] if self.root.parent.is_dir() else []
            raise DataError("there is no such folder", where=self.config.folder, fix=did_you_mean(self.root.name, near))
        inside = {ALSO_CALLED.get(each.name, each.name): each for each in sorted(self.root.iterdir()) if each.is_dir()}
        return {name: inside[name] for name in SPLITS if name in inside} if "train" in inside else {"train": self.root}

    def _given(self) -> tuple[str, ...]:
        return tuple(self.folders)

    def _read(self, name: str) -> Rows:
        config, folder = self.config, self.folders[name]
        spec = Pixels(config.channels, config.size, config.size)
        report, pictures, labels = ReadReport(str(folder)), list[Picture](), list[str]()
        for label, path in images(folder):
            report.read += 1
            try:
                pictures.append(decode(path, spec))
            except DataError:
                if config.on_bad == "stop":
                    raise
                report.skip("that cannot be read as an image", str(path))
                continue
            labels.append(label)
        report.kept = len(labels)
        if not pictures:
            raise DataError(
                f"no image in it: {report}", where=str(folder),
                fix="put images into folders named after their classes: photos/cat/1.jpg, photos/dog/2.jpg",
            )  # fmt: skip
        if resized := sum(picture.size != (config.size, config.size) for picture in pictures):
            report.notes.append(f"{resized:,} resized to {config.size} × {config.size}")
        return Rows({"image": pictures, "label": labels}, report)


def images(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield class and path of every image below a folder, in the order of their names; hidden files are left out."""
    for kind in sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith(".")):
        for path in sorted(kind.rglob("*")):
            if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
                yield kind.name, path
