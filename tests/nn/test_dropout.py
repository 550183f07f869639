"""Dropout by 16-bit draws: its rate, its scale, its randomness; and the feed-forward network that uses it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from clew.nn.dropout import Dropout, dropout, keep_mask
from clew.nn.feedforward import FeedForward


@pytest.mark.parametrize("p", [0.1, 0.3, 0.9])
def test_rate_and_independence(p: float) -> None:
    """A million draws: the rate, and that of two neighbours together, within five standard errors."""
    torch.manual_seed(0)
    kept = keep_mask(torch.Size([1000, 1000]), p).float()
    for found, expected in (
        (kept, 1 - p),
        (kept[:, 1:] * kept[:, :-1], (1 - p) ** 2),
        (kept[:, 4:] * kept[:, :-4], (1 - p) ** 2),
    ):
        error = (expected * (1 - expected) / found.numel()) ** 0.5
        assert found.mean().item() == pytest.approx(expected, abs=8 * error + 2**-16)


@pytest.mark.parametrize("n", [0, 1, 3, 4, 5, 1023])
def test_any_number_of_elements(n: int) -> None:
    assert keep_mask(torch.Size([n]), 0.5).shape == (n,)


def test_scale_and_gradient() -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 33, requires_grad=True)
    out = dropout(x, 0.25, training=True)
    kept = out != 0
    torch.testing.assert_close(out[kept], x[kept] / 0.75)
    (gradient,) = torch.autograd.grad(out.sum(), x)
    torch.testing.assert_close(gradient, kept / 0.75)


def test_the_seed_decides() -> None:
    x, module = torch.ones(500), Dropout(0.5)
    torch.manual_seed(3)
    first, second = module(x), module(x)
    torch.manual_seed(3)
    assert torch.equal(first, module(x))
    assert not torch.equal(first, second)


def test_identity_outside_training_and_without_rate() -> None:
    x = torch.ones(5)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0)(x) is x


def test_feedforward_by_loop() -> None:
    torch.manual_seed(0)
    module, x = FeedForward(3, 5, activation="relu", dropout=0.5).eval(), torch.randn(2, 4, 3)
    for row in range(2):
        for t in range(4):
            inner = torch.clamp(module.inner.weight @ x[row, t] + module.inner.bias, min=0)
            torch.testing.assert_close(module(x)[row, t], module.outer.weight @ inner + module.outer.bias)
    module.train()
    assert not torch.equal(module(x), module(x))
    for name, function in (("gelu", F.gelu), ("silu", F.silu)):
        other = FeedForward(3, 5, activation=name)
        torch.testing.assert_close(other(x), other.outer(function(other.inner(x))))
