"""A small convolutional network (LeCun et al. 1998) as networks of today have it: 3 × 3 filters (Simonyan and Zisserman
2015), batch normalisation (Ioffe and Szegedy 2015), and the mean over all places at the end (Lin et al. 2014)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from pydantic import Field
from torch import Tensor, nn

from clew.batches import ImageBatch
from clew.config import Choice
from clew.contracts import Encoder
from clew.errors import RecipeError
from clew.inputs import Pixels


class CNNConfig(Choice):
    """Sizes; each block halves height and width."""

    kind: str = "cnn"
    channels: tuple[int, ...] = Field((16, 64, 128), min_length=1)  # filters of each block
    kernel: int = Field(3, ge=1)  # places on a side that a filter sees; odd
    dropout: float = Field(0.2, ge=0, lt=1)  # of what the head reads


@dataclass
class CNNOutput:
    """pooled: (batch, width), one vector an image."""

    pooled: Tensor


class Block(nn.Sequential):
    """max over 2 × 2 places of relu(norm(W ∗ x)): (batch, inputs, h, w) -> (batch, outputs, h // 2, w // 2).

    ReLU comes after the maximum, which is the same at a quarter of the work.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)  # norm has its own bias
        super().__init__(convolution, nn.BatchNorm2d(outputs), nn.MaxPool2d(2), nn.ReLU())
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")  # He et al. 2015, eq. 10


class CNN(Encoder):
    """Blocks of convolution, normalisation, ReLU and max-pooling, then the mean over the places that are left.

    Raise RecipeError for an even kernel, and for images that as many halvings leave nothing of.
    """

    Config = CNNConfig
    reads = Pixels
    pools_alone = True

    def __init__(self, config: CNNConfig, spec: Pixels) -> None:
        super().__init__()
        self.config, self.spec = config, spec
        self.width, self.head_dropout = config.channels[-1], config.dropout
        if config.kernel % 2 == 0:
            raise RecipeError(
                "an even kernel has no middle place", where="model.kernel", fix=f"set it to {config.kernel + 1}"
            )
        if min(spec.height, spec.width) < 2 ** len(config.channels):
            raise RecipeError(
                f"images of {spec.height} × {spec.width} cannot be halved {len(config.channels)} times",
                where="model.channels", fix="name fewer blocks, or set data.size to more",
            )  # fmt: skip
        sizes = [spec.channels, *config.channels]
        self.layers = nn.ModuleList(Block(a, b, config.kernel) for a, b in pairwise(sizes))

    def forward(self, batch: ImageBatch, at: Any = None) -> CNNOutput:
        x = batch.pixels  # (batch, channels, height, width)
        for layer in self.layers:
            x = layer(x)
        return CNNOutput(x.mean(dim=(2, 3)))

    def blocks(self) -> Sequence[nn.Module]:
        return [*self.layers]

    def times_used(self) -> Mapping[int, float]:
        """Return the places of each block: the first sees every pixel, the next a quarter as many, …"""
        places = {n: (self.spec.height >> n) * (self.spec.width >> n) for n in range(len(self.layers))}
        return {id(p): float(places[n]) for n, layer in enumerate(self.layers) for p in layer.parameters()}
