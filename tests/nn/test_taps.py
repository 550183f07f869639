"""Capture: what it hears, for how long, and what it says when there is nothing to hear."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from clew.errors import ClewError
from clew.nn.attention import MultiHeadAttention
from clew.nn.recurrent import Recurrent
from clew.nn.taps import Tap, capture


def two() -> nn.ModuleDict:
    torch.manual_seed(0)
    return nn.ModuleDict({"a": MultiHeadAttention(4, 2), "b": MultiHeadAttention(4, 2)})


def test_only_what_matches_is_heard_and_only_inside() -> None:
    model, x = two(), torch.randn(1, 3, 4)
    with capture(model, "a.weights") as seen:
        assert model["a"].weights.heard
        assert not model["b"].weights.heard
        for _ in range(2):
            model["b"](model["a"](x, x), x)
    assert list(seen) == ["a.weights"]
    assert len(seen["a.weights"]) == 2
    assert not model["a"].weights.heard
    model["a"](x, x)
    assert len(seen["a.weights"]) == 2


def test_patterns_and_other_modules() -> None:
    """Several patterns, a name that both match heard once, modules that are no taps, and tuples' first part."""
    model, x = two(), torch.randn(1, 3, 4, requires_grad=True)
    with capture(model, "*.weights", "a.*") as seen:
        model["a"](x, x)
    assert sorted(seen) == ["a.key", "a.output", "a.query", "a.score", "a.value", "a.weights"]
    assert all(len(values) == 1 for values in seen.values())
    assert not any(value.requires_grad for values in seen.values() for value in values)
    model = nn.Sequential(Recurrent("gru", 4, 5))
    with capture(model, "0") as seen:
        model(x)
    assert seen["0"][0].shape == (1, 3, 5)


def test_a_pattern_that_matches_nothing() -> None:
    with (
        pytest.raises(ClewError, match=r'no module matches "decoder\.\*"') as caught,
        capture(two(), "a.*", "decoder.*"),
    ):
        pass
    assert "a.weights, b.weights" in str(caught.value)
    assert not any(tap.heard for tap in two().modules() if isinstance(tap, Tap))


def test_listening_ends_when_the_block_fails() -> None:
    model = two()
    with pytest.raises(RuntimeError, match="inside"), capture(model, "*.weights"):
        raise RuntimeError("inside")
    assert not model["a"].weights.heard
