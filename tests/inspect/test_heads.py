"""What sums up a head: entropy, distance in a line and between patches, and how two heads differ."""

from __future__ import annotations

import math

import torch

from clew.inspect.heads import differences, distance, entropy, received

HEADS = torch.tensor([
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]],
    [[0.0, 0.0, 1.0], [0.5, 0.0, 0.5]],
    [[1 / 3, 1 / 3, 1 / 3], [1 / 3, 1 / 3, 1 / 3]],
])  # (heads, rows, columns)  # fmt: skip


def test_entropy_in_bits() -> None:
    torch.testing.assert_close(entropy(HEADS), torch.tensor([[0.0, 0.0], [0.0, 1.0], [math.log2(3)] * 2]))


def test_distance_in_a_line() -> None:
    torch.testing.assert_close(distance(HEADS), torch.tensor([[0.0, 0.0], [2.0, 1.0], [1.0, 2 / 3]]))


def test_distance_between_patches() -> None:
    """A grid of 2 × 2 patches, 16 pixels wide: the neighbour is 16 away, the opposite corner 16 √2."""
    at = torch.cartesian_prod(torch.arange(2), torch.arange(2)) * 16
    weights = torch.tensor([[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.5, 0.0, 0.5, 0.0]])
    expected = [16.0, 16 * math.sqrt(2), 0.0, 8 * math.sqrt(2) + 8]
    torch.testing.assert_close(distance(weights, at), torch.tensor(expected))


def test_differences() -> None:
    found = differences(HEADS)
    expected = torch.tensor([[0.0, 1.0, 2 / 3], [1.0, 0.0, 0.5], [2 / 3, 0.5, 0.0]])
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(received(HEADS[1]), torch.tensor([0.25, 0.0, 0.75]))
