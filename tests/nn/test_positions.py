"""Positions: the sinusoids' equation, tables that grow or say no, rotary scores that know distances alone."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from clew.errors import DataError
from clew.nn.positions import Learned, NoPositions, Sinusoidal, make_positions, rotate, sinusoids


@pytest.mark.parametrize("d", [2, 8, 7])
def test_sinusoids_by_loop(d: int) -> None:
    table, half = sinusoids(9, d), math.ceil(d / 2)
    assert table.shape == (9, d)
    for position in range(9):
        for i in range(half):
            angle = position / 10000 ** (2 * i / d)
            assert table[position, i].item() == pytest.approx(math.sin(angle), abs=1e-5)
            if half + i < d:
                assert table[position, half + i].item() == pytest.approx(math.cos(angle), abs=1e-5)


@pytest.mark.parametrize("kind", ["sinusoidal", "learned", "rotary", "none"])
def test_start_is_an_offset(kind: str) -> None:
    """Adding from position 3 on equals the tail of adding from 0, as decoding needs."""
    torch.manual_seed(0)
    module, x = make_positions(kind, 6, 10), torch.randn(2, 8, 6)
    torch.testing.assert_close(module(x)[:, 3:], module(x[:, 3:], start=3))
    assert (kind in ("rotary", "none")) is torch.equal(module(x), x)
    assert isinstance(module, {"sinusoidal": Sinusoidal, "learned": Learned}.get(kind, NoPositions))


def test_sinusoids_grow_and_are_not_saved() -> None:
    module = Sinusoidal(4, 3)
    with torch.inference_mode():
        module(torch.zeros(1, 20, 4))  # a table made here must serve training too
    x = torch.zeros(1, 20, 4, requires_grad=True)
    out = module(x)
    out.sum().backward()
    torch.testing.assert_close(out[0].detach(), sinusoids(20, 4))
    assert not module.state_dict()


def test_learned_positions_end() -> None:
    module = Learned(4, 3)
    assert module(torch.zeros(1, 3, 4)).shape == (1, 3, 4)
    with pytest.raises(DataError, match="4 tokens is longer than the 3 learned"):
        module(torch.zeros(1, 2, 4), start=2)
    module(torch.zeros(1, 2, 4), start=1).sum().backward()
    assert module.table.grad is not None
    assert module.table.grad.sum(1).tolist() == [0.0, 4.0, 4.0]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 300))
def test_rotary_scores_depend_on_the_distance_alone(i: int, j: int, shift: int) -> None:
    generator = torch.Generator().manual_seed(0)
    q, k = (torch.randn(1, 1, 1, 8, generator=generator, dtype=torch.float64) for _ in range(2))
    here = (rotate(q, i) * rotate(k, j)).sum()
    there = (rotate(q, i + shift) * rotate(k, j + shift)).sum()
    torch.testing.assert_close(here, there, atol=1e-3, rtol=0)  # the angles are float32: 600 · 2⁻²⁴ each
    torch.testing.assert_close(rotate(q, i).norm(), q.norm(), atol=1e-5, rtol=0)
    if i == j:
        torch.testing.assert_close(here, (q * k).sum(), atol=1e-5, rtol=0)


def test_rotary_by_loop() -> None:
    x = torch.randn(1, 2, 4, 6)
    out = rotate(x, start=5)
    for t in range(4):
        for i in range(3):
            angle = (5 + t) * 10000 ** (-2 * i / 6)
            turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
            expected = x[0, :, t, [i, i + 3]] @ turn.T
            torch.testing.assert_close(out[0, :, t, [i, i + 3]], expected, atol=1e-5, rtol=1e-5)
    assert nn.functional.cosine_similarity(out.flatten(), x.flatten(), dim=0) < 0.99
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(rotate(x[:, :, order], 5 + order), out[:, :, order])
