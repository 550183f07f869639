"""Additive attention: the engine equals the equation."""

from __future__ import annotations

import pytest
import torch

from clew.nn import additive
from clew.nn.additive import FusedAdditive, _AdditiveScores
from clew.nn.attention import Additive


@pytest.mark.parametrize("at_once", [1, 150, 2**18], ids=["a row", "two rows", "all rows"])
def test_engine_equals_equation(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values and gradients; 3 × 4 × 6 = 72 elements of tanh to a row."""
    monkeypatch.setitem(additive.AT_ONCE, "cpu", at_once)
    torch.manual_seed(0)
    engine = FusedAdditive(5, 7, 6).double()
    query = torch.randn(5, 3, 5, dtype=torch.float64, requires_grad=True)
    key = torch.randn(5, 4, 7, dtype=torch.float64, requires_grad=True)
    wrt = (query, key, *engine.parameters())
    found = []
    for forward in (engine.forward, lambda q, k: Additive.forward(engine, q, k)):
        scores = forward(query, engine.prepare(key))
        found.append((scores, *torch.autograd.grad((scores * torch.linspace(-1, 1, 60).view(5, 3, 4)).sum(), wrt)))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-9)


def test_gradients_by_finite_differences() -> None:
    torch.manual_seed(0)
    tensors = [torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((2, 3, 4), (2, 2, 4), (4,))]
    assert torch.autograd.gradcheck(_AdditiveScores.apply, tensors)
