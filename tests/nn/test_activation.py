"""GELU by its tanh approximation in one pass: torch's; and the rounding of what is held in 16 bits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from clew.nn.activation import gelu_tanh
from clew.nn.elementwise import drop, numbers


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_and_gradients_are_torchs(dtype: torch.dtype) -> None:
    x = torch.cat([torch.linspace(-12, 12, 5001), torch.tensor([0.0, -0.0, 1e4, -1e4])]).to(dtype).view(5, -1)
    x = x.t().requires_grad_()  # not in order in memory
    wide = x.detach().double().requires_grad_()
    found, expected = gelu_tanh(x), F.gelu(wide, approximate="tanh")
    torch.testing.assert_close(found, expected.to(dtype), rtol=None, atol=None)
    d_y = torch.randn(x.shape).to(dtype)
    (ours,), (theirs,) = torch.autograd.grad(found, x, d_y), torch.autograd.grad(expected, wide, d_y.double())
    torch.testing.assert_close(ours, theirs.to(dtype), atol=1e-5, rtol=1.6e-2 if dtype == torch.bfloat16 else 1e-5)


def test_what_is_not_a_number_stays_so() -> None:
    assert gelu_tanh(torch.tensor([torch.nan, 1.0])).isnan().tolist() == [True, False]


def test_rounding_to_16_bits_is_torchs() -> None:
    """Random bits: ordinary numbers, infinities, those below the least normal one, ties; NaN stays NaN."""
    bits = torch.randint(-(2**31), 2**31, (100_000,), generator=torch.Generator().manual_seed(0), dtype=torch.int64)
    special = [0x7F800000, -0x800000, 0x7FFFFFFF, -1, 0x3F808000, 0x3F818000, 0x7F7FFFFF, 1, 0, -(2**31)]
    x = torch.cat([bits, torch.tensor(special)]).to(torch.int32).view(torch.float32)
    expected, found = x.bfloat16(), torch.empty(len(x), dtype=torch.bfloat16)
    drop(numbers(x), None, numbers(found), 1, 0, np.float32(1), False)
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
    back = torch.empty(len(x))
    drop(numbers(expected), None, numbers(back), 1, 0, np.float32(1), False)
    torch.testing.assert_close(back, expected.float(), rtol=0, atol=0, equal_nan=True)
