"""Which layers of two models, or of one, hold the same: linear centred kernel alignment, whole and by minibatches.

CKA(X, Y) = HSIC(XXᵀ, YYᵀ) / √(HSIC(XXᵀ, XXᵀ) HSIC(YYᵀ, YYᵀ)) for the states X (n, d₁) and Y (n, d₂) of the same n
examples (Kornblith et al. 2019, eq. 3). 1 where one is a rotation and scaling of the other, whatever their widths.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from clew.contracts import Model
from clew.errors import DataError
from clew.inspect.reading import read_together
from clew.inspect.states import layers, states


def cka(x: Tensor, y: Tensor) -> float:
    """Linear CKA of all examples at once: ‖YᵀX‖² / (‖XᵀX‖ ‖YᵀY‖), columns centred (Kornblith et al. 2019, §2.3).

    x: (n, d₁), y: (n, d₂); in double precision. 0 where one of them does not vary.
    """
    if len(x) != len(y):
        raise DataError(f"{len(x)} and {len(y)} states are not of the same examples")
    x, y = (each.double() - each.double().mean(dim=0) for each in (x, y))
    size = float((x.T @ x).norm() * (y.T @ y).norm())
    return float((y.T @ x).square().sum()) / size if size else 0.0


def hsic(K: Tensor, L: Tensor) -> Tensor:
    """The unbiased estimate of HSIC from n ≥ 4 examples (Song et al. 2012; Nguyen et al. 2021, eq. 3).

    [tr(K̃L̃) + 1ᵀK̃1 1ᵀL̃1 / ((n-1)(n-2)) - 2 / (n-2) 1ᵀK̃L̃1] / (n(n-3)), K̃ and L̃ without their diagonals.
    K, L: (…, n, n) symmetric -> (…).
    """
    n = K.shape[-1]
    eye = torch.eye(n, dtype=torch.bool)
    K, L = K.masked_fill(eye, 0.0), L.masked_fill(eye, 0.0)
    both = K.sum(dim=(-2, -1)) * L.sum(dim=(-2, -1)) / ((n - 1) * (n - 2))
    across = (K.sum(dim=-1) * L.sum(dim=-1)).sum(dim=-1) * 2 / (n - 2)
    return ((K * L).sum(dim=(-2, -1)) + both - across) / (n * (n - 3))


class MinibatchCKA:
    """CKA of every layer of one model with every layer of another, from minibatches (Nguyen et al. 2021, eq. 2).

    The means over batches of unbiased HSIC are put into CKA, so that the size of a batch does not matter; only one
    batch of states is ever in memory. May come out a little below 0, or above 1.
    """

    def __init__(self) -> None:
        self.sums: list[Tensor] = []
        self.examples = 0

    def add(self, xs: Sequence[Tensor], ys: Sequence[Tensor]) -> None:
        """The states of one batch, layer by layer: each (n, d), of the same n examples. Batches under 4 are errors."""
        n = len(xs[0])
        if n < 4 or any(len(each) != n for each in (*xs, *ys)):
            raise DataError(f"a batch of {n} examples: CKA needs the same four or more of every layer")
        K, L = (torch.stack([each.double() @ each.double().T for each in layers]) for layers in (xs, ys))
        found = [torch.stack([hsic(k, L) for k in K]), hsic(K, K), hsic(L, L)]
        self.sums = [a + b for a, b in zip(self.sums, found, strict=True)] if self.sums else found
        self.examples += n

    def value(self) -> Tensor:
        """(layers of one, layers of the other). Raises DataError where no batch was added."""
        if not self.sums:
            raise DataError("there are no states to compare", fix="give four texts or more")
        across, x, y = self.sums
        sizes = (x.clamp(min=0)[:, None] * y.clamp(min=0)).sqrt()
        return torch.where(sizes > 0, across / sizes.clamp(min=1e-300), 0.0)


@dataclass(frozen=True)
class CKAMap:
    """values[i][j]: CKA of layer rows[i] of one model with layer columns[j] of the other, on so many examples."""

    rows: list[str]
    columns: list[str]
    values: list[list[float]]
    examples: int


def cka_map(
    one: Model, other: Model, batches: Iterable[tuple[Any, Any]], *, per: Literal["token", "text"] = "text"
) -> CKAMap:
    """Compare all layers of two models (or of one with themselves) on batches of the same texts, as each reads them.

    per = "token" compares token by token, which needs one and the same vocabulary. Batches of fewer than four
    examples are left out; raises DataError where none is left.
    """
    total, rows, columns = MinibatchCKA(), layers(one), layers(other)
    for first, second in batches:
        x = states(one, first, per)
        y = x if other is one and second is first else states(other, second, per)
        if len(next(iter(x.values()))) >= 4:
            total.add([*x.values()], [*y.values()])
    return CKAMap(rows, columns, total.value().tolist(), total.examples)


def cka_of_texts(one: tuple[Model, Any], other: tuple[Model, Any], texts: Sequence[str]) -> CKAMap:
    """Compare all layers of two models, each with its own tokenizers, on texts by their tokens' means.

    Raises DataError for fewer than four texts, or one without a token.
    """
    same = one[0] is other[0]
    first = [each.batch for each in read_together(*one, texts)]
    second = first if same else [each.batch for each in read_together(*other, texts)]
    return cka_map(one[0], other[0], zip(first, second, strict=True))
