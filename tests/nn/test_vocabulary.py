"""Cross-entropy over a vocabulary: the engine in chunks equals the equation equals torch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from clew.errors import VocabularyError
from clew.nn.vocabulary import BYTES_AT_ONCE, linear_cross_entropy, smoothed_cross_entropy

ROWS_AT_ONCE = BYTES_AT_ONCE // 8


def inputs(rows: int, dtype: torch.dtype = torch.float64, d: int = 5, size: int = 7) -> tuple[Tensor, ...]:
    torch.manual_seed(rows)
    hidden, weight, bias = torch.randn(rows, d), torch.randn(size, d), torch.randn(size)
    parts = [part.to(dtype).requires_grad_() for part in (hidden, weight, bias)]
    return (*parts, torch.randint(size, (rows,)))


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("rows", [1, ROWS_AT_ONCE - 1, ROWS_AT_ONCE, ROWS_AT_ONCE + 1, 2 * ROWS_AT_ONCE + 3])
def test_engine_equation_and_torch_agree(rows: int, smoothing: float) -> None:
    *parts, target = inputs(rows)
    hidden, weight, bias = parts
    logits = hidden @ weight.T + bias
    total, nll = linear_cross_entropy(hidden, weight, bias, target, smoothing)
    equation, equation_nll = smoothed_cross_entropy(logits, target, smoothing)
    theirs = F.cross_entropy(logits, target, label_smoothing=smoothing, reduction="sum")
    torch.testing.assert_close(total, equation)
    torch.testing.assert_close(total, theirs)
    torch.testing.assert_close(nll, F.cross_entropy(logits, target, reduction="sum"))
    torch.testing.assert_close(nll, equation_nll)
    assert not nll.requires_grad
    assert not equation_nll.requires_grad
    gradients = [torch.autograd.grad(3.0 * loss, parts, retain_graph=True) for loss in (total, equation, theirs)]
    for ours, by_equation, torchs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, by_equation)
        torch.testing.assert_close(ours, torchs)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_finite_differences(smoothing: float) -> None:
    *parts, target = inputs(6)
    assert torch.autograd.gradcheck(lambda h, w, b: linear_cross_entropy(h, w, b, target, smoothing)[0], parts)


def test_by_loop() -> None:
    *parts, target = inputs(3)
    hidden, weight, bias = (part.detach() for part in parts)
    expected = torch.zeros((), dtype=torch.float64)
    for h, y in zip(hidden, target, strict=True):
        p = (weight @ h + bias).softmax(0)
        expected += 0.8 * -p[y].log() + sum(0.2 / len(p) * -value.log() for value in p)
    torch.testing.assert_close(linear_cross_entropy(hidden, weight, bias, target, 0.2)[0], expected)


def test_large_logits_do_not_overflow() -> None:
    hidden, weight, bias, target = inputs(4, torch.float32)
    total, _ = linear_cross_entropy(hidden * 1e4, weight, bias, target, 0.1)
    (gradient,) = torch.autograd.grad(total, hidden)
    assert total.isfinite()
    assert gradient.isfinite().all()


def test_autocast_is_close_and_softmax_is_wide() -> None:
    *parts, target = inputs(ROWS_AT_ONCE + 7, torch.float32)
    exact, _ = linear_cross_entropy(*parts, target, 0.1)
    wanted = torch.autograd.grad(exact, parts)
    with torch.autocast("cpu", torch.bfloat16):
        lower, nll = linear_cross_entropy(*parts, target, 0.1)
    assert lower.dtype == nll.dtype == torch.float32
    torch.testing.assert_close(lower, exact, rtol=0.01, atol=0)
    for found, gradient in zip(torch.autograd.grad(lower, parts), wanted, strict=True):
        assert found.dtype == torch.float32
        assert F.cosine_similarity(found.flatten(), gradient.flatten(), dim=0) > 0.999


def test_second_derivatives_are_refused() -> None:
    *parts, target = inputs(3)
    squared = linear_cross_entropy(*parts, target, 0.1)[0].square()
    (first,) = torch.autograd.grad(squared, parts[0], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def test_values_without_gradients() -> None:
    *parts, target = inputs(ROWS_AT_ONCE + 2)
    with torch.no_grad():
        total, nll = linear_cross_entropy(*parts, target, 0.1)
    assert not total.requires_grad
    expected, expected_nll = linear_cross_entropy(*parts, target, 0.1)
    torch.testing.assert_close(total, expected.detach())
    torch.testing.assert_close(nll, expected_nll)


@pytest.mark.parametrize("size", [1, 63, 64, 65, 1000])
def test_compiled_softmax_in_float32(size: int) -> None:
    """The loss and its gradients beside the equation in float64; logits from -300 to 300."""
    *parts, target = inputs(ROWS_AT_ONCE + 5, torch.float32, d=16, size=size)
    with torch.no_grad():
        parts[0][:7] *= 20
    exact = [part.detach().double().requires_grad_() for part in parts]
    total, nll = linear_cross_entropy(*parts, target, 0.1)
    expected, expected_nll = smoothed_cross_entropy(exact[0] @ exact[1].T + exact[2], target, 0.1)
    torch.testing.assert_close(total.double(), expected, rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(nll.double(), expected_nll, rtol=1e-5, atol=1e-3)
    for found, gradient in zip(torch.autograd.grad(total, parts), torch.autograd.grad(expected, exact), strict=True):
        torch.testing.assert_close(found.double(), gradient, rtol=1e-4, atol=5e-4)


def test_what_is_not_a_number_reaches_the_loss() -> None:
    hidden, weight, bias, target = inputs(6, torch.float32, size=130)
    for part in (hidden, weight, bias):
        broken = [p.detach().clone() for p in (hidden, weight, bias)]
        broken[[hidden is part, weight is part, bias is part].index(True)][3] = torch.nan
        assert linear_cross_entropy(*broken, target, 0.0)[0].isnan()


@pytest.mark.parametrize("wrong", [-1, 130])
def test_a_target_outside_the_vocabulary_is_refused(wrong: int) -> None:
    hidden, weight, bias, target = inputs(6, torch.float32, size=130)
    target[2] = wrong
    with pytest.raises(VocabularyError, match=f"target id {wrong} "):
        linear_cross_entropy(hidden, weight, bias, target, 0.0)
