"""The softmax of attention in one pass: the equation's, and its gradient."""

from __future__ import annotations

import math

import pytest
import torch

from clew.nn.attention import MultiHeadAttention
from clew.nn.softmax import scaled_softmax
from clew.nn.taps import capture


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 5, 5), (3, 2, 70, 70), (2, 3, 7), (1, 33, 64)])
def test_values_and_gradients(shape: tuple[int, ...], causal: bool, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    scores = (20 * torch.randn(shape)).to(dtype).requires_grad_()
    wide = scores.detach().double().requires_grad_()
    hidden = torch.ones(shape[-2:], dtype=torch.bool).triu(shape[-1] - shape[-2] + 1)
    masked = wide.masked_fill(hidden, -torch.inf) if causal else wide
    found, expected = scaled_softmax(scores, 0.25, causal), (0.25 * masked).softmax(dim=-1)
    torch.testing.assert_close(found, expected.to(dtype), check_dtype=True)
    d_weights = torch.randn(shape).to(dtype)
    (ours,) = torch.autograd.grad(found, scores, d_weights)
    (theirs,) = torch.autograd.grad(expected, wide, d_weights.double())
    torch.testing.assert_close(ours.double(), theirs, rtol=0, atol=1e-6 if dtype == torch.float32 else 2e-2)
    if causal:
        assert not found[..., hidden].count_nonzero()
        assert not ours[..., hidden].count_nonzero()


def test_what_is_not_a_number_stays_so() -> None:
    for broken in (math.nan, -math.nan):
        scores = torch.zeros(1, 3, 3)
        scores[0, 1, 0] = broken
        found = scaled_softmax(scores, 1.0, True)
        assert found[0].isnan().any(dim=-1).tolist() == [False, True, False]


@pytest.mark.parametrize("causal", [True, False])
def test_attention_in_training_is_the_equation(causal: bool) -> None:
    """In bfloat16 with gradients the engine is taken, unless someone listens."""
    torch.manual_seed(0)
    module, x = MultiHeadAttention(16, 4), torch.randn(2, 9, 16)
    found = []
    for listen in (False, True):
        module.zero_grad()
        with torch.autocast("cpu", torch.bfloat16), capture(module, *["weights"][:listen]):
            out = module(x, x, causal=causal)
        out.float().square().sum().backward()
        found.append((out.float(), module.query.weight.grad, module.value.weight.grad))
    for engine, equation in zip(*found, strict=True):
        assert equation is not None
        assert (engine - equation).norm() < 0.02 * equation.norm()
