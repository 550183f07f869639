"""AER by hand, links read strictly, and links read off the attention between words."""

import numpy as np
import pytest
import torch

from clew.errors import ClewError, DataError
from clew.metrics import aer, parse_links
from clew.metrics.alignment import align, best_map, merge_subwords


def test_by_hand() -> None:
    sure, possible = {(0, 0), (1, 1)}, {(0, 0), (1, 1), (2, 2)}
    result = aer([{(0, 0), (2, 2), (3, 3)}], [sure], [possible])
    # |A∩S| = 1, |A∩P| = 2, |A| = 3, |S| = 2
    assert result.aer == pytest.approx(1 - (1 + 2) / (3 + 2))
    assert result.precision == pytest.approx(2 / 3)
    assert result.recall == pytest.approx(1 / 2)


def test_counts_are_summed_over_the_corpus_and_sure_links_are_possible() -> None:
    result = aer([{(0, 0)}, {(0, 0), (1, 1)}], [{(0, 0)}, {(0, 1)}], [set(), {(1, 1)}])
    assert result.aer == pytest.approx(1 - (1 + 2) / (3 + 2))
    assert result.score.low <= result.aer <= result.score.high


def test_perfect_and_empty() -> None:
    gold = [{(0, 0)}, {(1, 0), (0, 1)}]
    perfect = aer(gold, gold)
    assert (perfect.aer, perfect.precision, perfect.recall) == (0, 1, 1)
    nothing = aer([set(), set()], gold)
    assert (nothing.aer, nothing.precision, nothing.recall) == (1, 0, 0)
    assert aer([set()], [set()]).aer == 0


def test_unequal_lists_are_errors() -> None:
    with pytest.raises(ClewError, match="cannot be scored"):
        aer([set()], [set(), set()])


def test_links_are_read() -> None:
    assert parse_links("0-0 1p2  3-1") == ({(0, 0), (3, 1)}, {(0, 0), (3, 1), (1, 2)})
    assert parse_links("1-1 2p1", first=1) == ({(0, 0)}, {(0, 0), (1, 0)})
    assert parse_links("") == (set(), set())


@pytest.mark.parametrize("text", ["0", "0-", "a-1", "1--2", "0x1", "0-1,2"])
def test_bad_links_are_named(text: str) -> None:
    with pytest.raises(DataError, match="not an alignment link"):
        parse_links("0-0 " + text)


def test_links_before_the_first_word_are_errors() -> None:
    with pytest.raises(DataError, match="before word 1"):
        parse_links("0-1", first=1)


def test_subwords_are_summed_over_the_source_and_averaged_over_the_target() -> None:
    weights = torch.tensor(
        [
            [0.1, 0.2, 0.3, 0.4],  # target word 0
            [0.5, 0.1, 0.2, 0.2],  # target word 1, two sub-words
            [0.1, 0.1, 0.1, 0.7],
            [0.0, 0.0, 0.0, 1.0],  # </s>
        ]
    )
    merged = merge_subwords(weights, [0, 1, 1], [0, 0, 1])  # source: word of two sub-words, word, </s>
    np.testing.assert_allclose(merged, [[0.3, 0.3], [0.4, 0.15]], rtol=1e-6)


def test_merging_keeps_mass_and_shape_when_every_token_is_a_word() -> None:
    weights = torch.rand(5, 6).softmax(-1)
    np.testing.assert_allclose(merge_subwords(weights.tolist(), range(5), range(6)), weights, rtol=1e-6)
    assert merge_subwords(weights, [], [0]).shape == (0, 1)


def test_merging_rejects_maps_that_are_too_small() -> None:
    with pytest.raises(ClewError, match="too small for 3 target"):
        merge_subwords(torch.ones(2, 2), [0, 1, 2], [0, 1])


def test_alignment_is_the_largest_weight_or_nothing() -> None:
    weights = torch.tensor([[0.7, 0.2], [0.1, 0.9], [0.2, 0.1], [0.0, 0.0]])  # the third gives 0.7 to </s>
    assert align(weights) == {(0, 0), (1, 1), (0, 2)}
    assert align(weights, least=0.25) == {(0, 0), (1, 1)}
    assert align(torch.ones(2, 0)) == set()


def test_best_map_is_the_one_that_aligns_best() -> None:
    diagonal, reverse = torch.eye(3), torch.eye(3).flip(0)
    gold = [{(0, 0), (1, 1), (2, 2)}] * 2
    name, alignment = best_map([{"a[0]": reverse, "a[1]": diagonal}, {"a[0]": diagonal, "a[1]": diagonal}], gold)
    assert (name, alignment.aer) == ("a[1]", 0)
    with pytest.raises(ClewError, match="no attention"):
        best_map([{}], gold[:1])
