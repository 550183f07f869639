"""A source of small images and an encoder of them, each named by its place, for the tests of tasks of images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor, nn

from clew.batches import ImageBatch
from clew.config import Choice
from clew.contracts import Encoder
from clew.data.images import decode
from clew.data.rows import ReadReport, Rows
from clew.data.source import Source, SourceConfig
from clew.inputs import Pixels

SIZE = 6


def stripes(n: int) -> np.ndarray:
    """(SIZE, SIZE) uint8: stripes that lie or, of odd numbers, stand; with some noise."""
    lying = np.tile(np.array([[0], [200]], np.uint8), (SIZE // 2, SIZE))
    noise = np.random.default_rng(n).integers(0, 50, (SIZE, SIZE), dtype=np.uint8)
    return (lying.T if n % 2 else lying) + noise


def write(folder: Path, n: int) -> Path:
    """An image file of stripes."""
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(stripes(n)).save(folder / f"{n}.png")
    return folder / f"{n}.png"


class Stripes(Source):
    class Config(SourceConfig):
        kind: str = "image_fakes:Stripes"
        folder: str

    @property
    def about(self) -> dict[str, Any]:
        return {"what": "stripes", "licence": "none needed", "size": 0, "columns": ["image", "label"], "url": ""}

    def _given(self) -> tuple[str, ...]:
        return ("train", "valid", "test")

    def _read(self, name: str) -> Rows:
        begin, n = {"train": (0, 40), "valid": (100, 12), "test": (200, 12)}[name]
        numbers = range(begin, begin + n)
        image = [decode(write(Path(self.config.folder) / name, i), Pixels(1, SIZE, SIZE)) for i in numbers]
        columns = {"image": image, "label": [("lying", "standing")[i % 2] for i in numbers]}
        return Rows(columns | {"height": [float(i % 2) for i in numbers]}, ReadReport(name, n, n))


class FlatConfig(Choice):
    kind: str = "image_fakes:Flat"
    width: int = 8


@dataclass
class FlatOutput:
    pooled: Tensor


class Flat(Encoder):
    """tanh(W x + b) of all pixels, with statistics that it keeps beside its weights."""

    Config = FlatConfig
    reads = Pixels
    pools_alone = True

    def __init__(self, config: FlatConfig, spec: Pixels) -> None:
        super().__init__()
        self.config, self.width = config, config.width
        self.query = nn.Linear(spec.channels * spec.height * spec.width, config.width)
        self.norm = nn.BatchNorm1d(config.width)

    def forward(self, batch: ImageBatch, at: Any = None) -> FlatOutput:
        return FlatOutput(self.norm(self.query(batch.pixels.flatten(1)).tanh()))

    def blocks(self) -> list[nn.Module]:
        return [self.query, self.norm]
