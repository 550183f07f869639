"""Perplexity by hand."""

import math

import pytest

from clew.errors import ClewError
from clew.metrics import perplexity


def test_of_sentences() -> None:
    result = perplexity([4 * math.log(2), 2 * math.log(8)], [4, 2])
    assert result.value == pytest.approx(math.exp((4 * math.log(2) + 2 * math.log(8)) / 6))
    assert 2 - 1e-9 <= result.low <= result.value <= result.high <= 8 + 1e-9
    assert result.signature == "perplexity|per:token"


def test_of_totals_per_word() -> None:
    result = perplexity(10 * math.log(3), 5, per="word")
    assert result.value == pytest.approx(9)
    assert result.low is None
    assert result.signature == "perplexity|per:word"


def test_divergence_is_infinite_and_nothing_is_an_error() -> None:
    assert perplexity(1e6, 1).value == math.inf
    with pytest.raises(ClewError, match="no word"):
        perplexity(0.0, 0, per="word")
