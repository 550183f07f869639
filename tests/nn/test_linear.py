"""The linear map by oneDNN in float32: torch's own, and its derivatives."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import clew.nn.linear
from clew.nn.linear import LARGE, Linear, linear


@pytest.fixture(autouse=True)
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Taken for small products too, on any processor that has it; counts its calls."""
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("this torch is built without oneDNN")
    calls: list[int] = []
    real = clew.nn.linear._Linear.apply
    monkeypatch.setattr(clew.nn.linear, "LARGE", 0)
    monkeypatch.setattr(clew.nn.linear, "mkl_is_slow", lambda: True)
    monkeypatch.setattr(clew.nn.linear._Linear, "apply", lambda *inputs: (calls.append(1), real(*inputs))[1])
    yield calls


def inputs(*shape: int, d_out: int = 5, bias: bool = True) -> list[Tensor]:
    torch.manual_seed(0)
    parts = [torch.randn(*shape), torch.randn(d_out, shape[-1]), torch.randn(d_out)]
    return [part.requires_grad_() for part in parts[: 2 + bias]]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("shape", "d_out"), [((7, 3), 5), ((2, 4, 9), 5), ((1, 1), 1), ((6,), 4), ((2, 3, 4, 8), 2)])
def test_values_and_gradients_are_torchs(shape: tuple[int, ...], d_out: int, bias: bool, engine: list[int]) -> None:
    parts = inputs(*shape, d_out=d_out, bias=bias)
    found, expected = linear(*parts), F.linear(*parts)
    torch.testing.assert_close(found, expected)
    d_y = torch.randn_like(expected)
    for ours, torchs in zip(
        torch.autograd.grad(found, parts, d_y), torch.autograd.grad(expected, parts, d_y), strict=True
    ):
        torch.testing.assert_close(ours, torchs)
    assert engine


def test_second_derivatives() -> None:
    parts = inputs(7, 3)
    seconds = []
    for function in (linear, F.linear):
        (first,) = torch.autograd.grad(function(*parts).square().sum(), parts[:1], create_graph=True)
        seconds.append(torch.autograd.grad(first.square().sum(), parts[:2]))
    for ours, torchs in zip(*seconds, strict=True):
        torch.testing.assert_close(ours, torchs, rtol=1e-4, atol=1e-3)


def test_what_is_frozen_gets_no_gradient() -> None:
    x, module = torch.randn(4, 3, requires_grad=True), Linear(3, 2)
    module.weight.requires_grad_(False)
    module(x).sum().backward()
    assert x.grad is not None
    assert module.weight.grad is None
    assert module.bias.grad is not None


def test_torch_does_the_rest(engine: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Other precisions, autocast, and small products."""
    x, weight, bias = (part.detach() for part in inputs(7, 3))
    assert linear(x.double(), weight.double()).dtype == torch.float64
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(x, weight, bias).dtype == torch.bfloat16
    monkeypatch.setattr(clew.nn.linear, "LARGE", LARGE)
    torch.testing.assert_close(linear(x, weight), x @ weight.T)
    assert not engine
