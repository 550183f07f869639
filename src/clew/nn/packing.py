"""Unpadded batches: the real tokens of a padded batch side by side, so that no work is done for padding."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor


@dataclass(frozen=True)
class Packing:
    """Where the real tokens of a padded batch stand. mask: (batch, time) bool, True = real, padding on the right.

    Everything but attention treats tokens one by one: it works on (tokens, d), which `pack` makes of (batch, time, d).
    Shorter rows come first there, so that rows of one length are neighbours.
    """

    mask: Tensor
    padded: ClassVar[bool] = False

    @cached_property
    def index(self) -> Tensor:
        """(tokens,) where each real token stands among the batch · time places."""
        order = self.mask.sum(dim=1).argsort(stable=True)
        places = torch.arange(self.mask.numel(), device=self.mask.device).view(self.mask.shape)
        return places[order][self.mask[order]]

    @cached_property
    def position(self) -> Tensor:
        """(tokens,) the place of each within its row."""
        return self.index % self.mask.shape[1]

    @cached_property
    def runs(self) -> list[tuple[int, int]]:
        """(rows, length) of the rows of each length: each run is a dense block of the packed tokens."""
        lengths, rows = self.mask.sum(dim=1).unique(return_counts=True)
        return [*zip(rows.tolist(), lengths.tolist(), strict=True)]

    @cached_property
    def token(self) -> Tensor:
        """(batch · time,) which packed token stands at each place; of no meaning where there is padding."""
        out = torch.zeros_like(self.mask, dtype=torch.long).flatten()
        return out.index_copy_(0, self.index, torch.arange(len(self.index), device=out.device))

    @property
    def first(self) -> Tensor:
        """(batch,) which packed token each row begins with."""
        return self.token[:: self.mask.shape[1]]

    def mean(self, x: Tensor) -> Tensor:
        """(tokens, d) -> (batch, d): the mean over each row's tokens."""
        out = x.new_zeros(len(self.mask), *x.shape[1:]).index_add_(0, self.index // self.mask.shape[1], x)
        return out / self.mask.sum(dim=1, keepdim=True)

    def pack(self, x: Tensor) -> Tensor:
        """(batch, time, …) -> (tokens, …)."""
        return x.flatten(0, 1).index_select(0, self.index)

    def unpack(self, x: Tensor) -> Tensor:
        """(tokens, …) -> (batch, time, …), zeros where there is padding."""
        out = x.new_zeros(self.mask.numel(), *x.shape[1:])
        return out.index_copy(0, self.index, x).unflatten(0, self.mask.shape)


@dataclass(frozen=True)
class Padded(Packing):
    """The padded batch itself: every place is a token, so that one graph does for all batches (exports)."""

    padded: ClassVar[bool] = True

    @cached_property
    def index(self) -> Tensor:
        return torch.arange(self.mask.numel(), device=self.mask.device)

    @property
    def position(self) -> Tensor:
        rows, time = self.mask.shape
        return torch.arange(time, device=self.mask.device).repeat(rows)

    @property
    def token(self) -> Tensor:
        return self.index

    @property
    def first(self) -> Tensor:
        return torch.arange(self.mask.shape[0], device=self.mask.device) * self.mask.shape[1]

    def pack(self, x: Tensor) -> Tensor:
        return x.flatten(0, 1)

    def unpack(self, x: Tensor) -> Tensor:
        return x.unflatten(0, self.mask.shape)


def chosen(x: Tensor, only: Tensor | None) -> Tensor:
    """These rows of x, or all."""
    return x if only is None else x.index_select(0, only)
