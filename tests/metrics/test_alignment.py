"""AER by hand, and links read strictly."""

import pytest

from clew.errors import ClewError, DataError
from clew.metrics import aer, parse_links


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
