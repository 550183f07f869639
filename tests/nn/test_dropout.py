"""Dropout by 16-bit draws: its rate, its scale, its randomness; and the feed-forward network that uses it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from clew.nn.dropout import Dropout, dropout
from clew.nn.feedforward import FeedForward


@pytest.mark.parametrize("p", [0.1, 0.3, 0.9])
def test_rate_and_independence(p: float) -> None:
    """A million draws: the rate, and that of two elements together, within some standard errors."""
    torch.manual_seed(0)
    kept = (dropout(torch.ones(1000, 1000), p, training=True) != 0).float()
    for found, expected in (
        (kept, 1 - p),
        (kept[:, 1:] * kept[:, :-1], (1 - p) ** 2),
        (kept[:, 4:] * kept[:, :-4], (1 - p) ** 2),
        (kept[2:] * kept[:-2], (1 - p) ** 2),
    ):
        error = (expected * (1 - expected) / found.numel()) ** 0.5
        assert found.mean().item() == pytest.approx(expected, abs=8 * error + 2**-16)


@pytest.mark.parametrize("n", [0, 1, 3, 4, 5, 2047, 2048, 2049, 5000])
def test_any_number_of_elements(n: int) -> None:
    out = dropout(torch.ones(n), 0.5, training=True)
    assert out.shape == (n,)
    assert set(out.tolist()) <= {0.0, 2.0}
    assert n < 100 or 0.4 * n < out.count_nonzero() < 0.6 * n


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("kind", ["plain", "residual", "relu"])
def test_scale_and_gradient(kind: str, dtype: torch.dtype) -> None:
    """By the equation, with the mask read off the result; the transposed input is not contiguous in memory."""
    torch.manual_seed(0)
    x = (torch.rand(33, 64, dtype=dtype) + 0.5).mul_(torch.randn(33, 64).sign()).t().requires_grad_()
    residual = torch.randn(33, 64, dtype=dtype).t().requires_grad_() if kind == "residual" else None
    out = dropout(x, 0.25, training=True, residual=residual, relu=kind == "relu")
    kept = (out if residual is None else (out - residual).abs() > 0.1) != 0
    mask = kept.double() / 0.75
    assert 0.2 < kept.float().mean() < 0.8
    scaled = x.double() * mask  # and rounded once
    torch.testing.assert_close(out, (scaled if residual is None else residual + scaled).to(dtype))
    d_out = torch.randn(33, 64, dtype=dtype).t()
    inputs = [x] if residual is None else [x, residual]
    found = torch.autograd.grad(out, inputs, d_out)
    torch.testing.assert_close(found[0], (d_out * mask).to(dtype))
    if residual is not None:
        torch.testing.assert_close(found[1], d_out)


def test_what_is_not_a_number_stays_so() -> None:
    x = torch.full((4000,), torch.nan)
    for relu in (False, True):
        assert 0.4 < dropout(x, 0.5, training=True, relu=relu).isnan().float().mean() < 0.6


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


def test_relu_and_a_residual_are_refused_together() -> None:
    with pytest.raises(ValueError, match="either"):
        dropout(torch.ones(5), 0.5, training=True, residual=torch.ones(5), relu=True)


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
