"""What is hidden: how much, what stands in its place, whole words."""

from __future__ import annotations

import numpy as np
import pytest

from clew.data.masking import Masking, choose

PLAIN = np.arange(5, 1000)


def texts(rows: int = 400, time: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    text = rng.integers(5, 1000, (rows, time))
    lengths = rng.integers(4, time, rows)
    open = (np.arange(time) > 0) & (np.arange(time) < lengths[:, None] - 1)
    return text, open


@pytest.mark.parametrize("share", [0.15, 0.4])
def test_the_share_of_each_text_is_chosen_and_nothing_closed(share: float) -> None:
    text, open = texts()
    chosen = choose(text, open, share, None, np.random.default_rng(2))
    assert not (chosen & ~open).any()
    assert (chosen.sum(1) == np.maximum(1, np.rint(share * open.sum(1)))).all()
    places = chosen.sum(0)[1:20]
    assert places.std() < 0.35 * places.mean()  # no place is favoured


def test_eighty_ten_ten() -> None:
    text, open = texts()
    read, chosen = Masking(0.15, 4, PLAIN)(text, open, np.random.default_rng(3))
    assert (read[~chosen] == text[~chosen]).all()
    n = chosen.sum()
    masked, kept = (read[chosen] == 4).sum() / n, (read[chosen] == text[chosen]).sum() / n
    assert masked == pytest.approx(0.8, abs=0.03) and kept == pytest.approx(0.1, abs=0.03)
    assert np.isin(read[chosen & (read != 4)], PLAIN).all()


def test_words_are_chosen_whole() -> None:
    text, open = texts()
    continues = np.zeros(1000, dtype=bool)
    continues[500:] = True
    chosen = choose(text, open, 0.15, continues, np.random.default_rng(4))
    goes_on = continues[text[:, 1:]] & open[:, 1:] & open[:, :-1]
    assert (chosen[:, 1:][goes_on] == chosen[:, :-1][goes_on]).all()
    wanted = np.maximum(1, np.rint(0.15 * open.sum(1)))
    starts = open & ~(continues[text] & np.roll(open, 1, axis=1))
    words = (chosen & starts).sum(1)
    assert ((chosen.sum(1) <= wanted) | (words == 1)).all() and (chosen.sum(1) > 0).all()
    assert chosen.sum() > 0.7 * wanted.sum()


def test_the_same_draws_give_the_same_mask() -> None:
    text, open = texts()
    first, second, other = (Masking(0.15, 4, PLAIN)(text, open, np.random.default_rng(s))[0] for s in (5, 5, 6))
    assert (first == second).all() and (first != other).any()
