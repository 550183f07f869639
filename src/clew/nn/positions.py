"""Where a token stands: sinusoidal and learned encodings added to the embeddings, and rotary ones inside attention."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from clew.errors import DataError


def sinusoids(length: int, d_model: int) -> Tensor:
    """PE(pos, i) = sin(pos / 10000^(2i/d)), PE(pos, d/2 + i) = cos(the same) (Vaswani et al. 2017, §3.5).

    Returns (length, d_model). The paper interleaves sines and cosines; like its own code (and Marian's) the halves
    stand side by side here, which is a permutation of the dimensions.
    """
    frequencies = torch.exp(-math.log(10000.0) * torch.arange(0, d_model, 2) / d_model)  # (d/2,)
    angles = torch.arange(length)[:, None] * frequencies  # (length, d/2)
    return torch.cat([angles.sin(), angles.cos()[:, : d_model // 2]], dim=-1)


class Sinusoidal(nn.Module):
    """Adds the fixed sinusoids to (B, T, d_model); the table grows as longer inputs come."""

    table: Tensor

    def __init__(self, d_model: int, max_length: int) -> None:
        super().__init__()
        self.register_buffer("table", sinusoids(max_length, d_model), persistent=False)

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        end = start + x.shape[1]
        if end > len(self.table):
            self.table = sinusoids(2 * end, self.table.shape[1]).to(self.table)
        return x + self.table[start:end].to(x.dtype)


class Learned(nn.Module):
    """Adds one learned vector per position to (B, T, d_model). Raises DataError past `max_length`."""

    def __init__(self, d_model: int, max_length: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(max_length, d_model) * 0.02)

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        end = start + x.shape[1]
        if end > len(self.table):
            raise DataError(
                f"a sequence of {end} tokens is longer than the {len(self.table)} learned positions",
                fix="raise model.max_length, or shorten the text",
            )
        return x + self.table[start:end].to(x.dtype)


class NoPositions(nn.Module):
    """Adds nothing: rotary attention carries the positions, or the model is to be blind to order."""

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        return x


def make_positions(kind: str, d_model: int, max_length: int) -> nn.Module:
    """The encoding of that name: sinusoidal, learned, or (rotary, none) nothing to add."""
    if kind == "sinusoidal":
        return Sinusoidal(d_model, max_length)
    if kind == "learned":
        return Learned(d_model, max_length)
    return NoPositions()


def rotate(x: Tensor, start: int | Tensor = 0, base: float = 10000.0) -> Tensor:
    """Rotary encoding (Su et al. 2021, eq. 34): turn each pair of dimensions by pos · base^(-2i/d).

    x: (…, T, d_head); the pairs are (i, i + d/2). start: pos of the first of the T, which count up, or of each.
    Dot products of turned queries and keys depend on the distance of their positions alone.
    """
    half = x.shape[-1] // 2
    frequencies = torch.exp(-math.log(base) * torch.arange(half, device=x.device) / half)
    places = start if torch.is_tensor(start) else torch.arange(start, start + x.shape[-2], device=x.device)
    angles = places[:, None] * frequencies  # (T, d/2)
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
