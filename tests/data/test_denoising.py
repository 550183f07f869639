"""Span corruption: what is cut out and what is left make the text again; sizes; an order that resumes."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest

from clew.batches import PairBatch
from clew.config import BatchConfig
from clew.data.denoising import Corruption, DenoisingLoader, parts
from clew.data.documents import Documents

SENTINELS = tuple(range(900, 910))
CORRUPTION = Corruption(0.15, 3.0, SENTINELS)


def restored(left: list[int], cut: list[int]) -> list[int]:
    """The text, read off both sides."""
    spans: dict[int, list[int]] = {}
    for token in cut:
        if token in SENTINELS:
            spans[token] = []
        else:
            spans[[*spans][-1]].append(token)
    assert [*spans] == [token for token in left if token in SENTINELS] == [*SENTINELS[: len(spans)]]
    assert all(spans.values())
    return [each for token in left for each in spans.get(token, [token])]


@pytest.mark.parametrize("length", [2, 3, 7, 20, 64, 128, 500])
def test_nothing_is_lost(length: int) -> None:
    rng = np.random.default_rng(length)
    text = np.arange(length)
    noise, spans = CORRUPTION.sizes(np.array([length]))
    for _ in range(20):
        left, cut = CORRUPTION(text, rng)
        assert restored(left, cut) == text.tolist()
        assert len(cut) == noise[0] + spans[0] and len(left) == length - noise[0] + spans[0]
        assert not any(a in SENTINELS and b in SENTINELS for a, b in itertools.pairwise(left))


def test_a_span_may_stand_anywhere() -> None:
    rng = np.random.default_rng(0)
    places = Counter(CORRUPTION(np.arange(12), rng)[0].index(SENTINELS[0]) for _ in range(2200))
    assert sorted(places) == [*range(11)] and max(abs(n - 200) for n in places.values()) < 60


def test_sizes() -> None:
    """15% of 100 tokens in spans of 3: 15 tokens, 5 spans; never more spans than sentinels."""
    noise, spans = CORRUPTION.sizes(np.array([100, 2, 1000]))
    assert noise.tolist() == [15, 1, 150] and spans.tolist() == [5, 1, 10]


def test_parts_are_equally_likely() -> None:
    rng = np.random.default_rng(0)
    counts = Counter(tuple(parts(5, 3, rng)) for _ in range(6000))
    assert len(counts) == 6 and all(sum(each) == 5 and min(each) >= 1 for each in counts)
    assert max(abs(n - 1000) for n in counts.values()) < 150


def documents() -> Documents:
    """Documents of 300, 1, 40 and 97 tokens; a sentence each."""
    starts = np.cumsum([0, 300, 1, 40, 97])
    return Documents(np.arange(438, dtype=np.uint16), starts, np.arange(5))


def loader(seed: int = 1) -> DenoisingLoader:
    return DenoisingLoader(
        documents(), CORRUPTION, 64, batch=BatchConfig(tokens=256), seed=seed, pad_id=950, bos_id=951, eos_id=952
    )


def texts(batch: PairBatch) -> list[list[int]]:
    out = []
    for row in range(len(batch.index)):
        source = batch.source[row][batch.source_mask[row]].tolist()
        target = batch.target_out[row][batch.target_mask[row]].tolist()
        assert source.pop() == target.pop() == 952
        out.append(restored(source, target))
    return out


def epoch(of: DenoisingLoader) -> list[PairBatch]:
    found, stream, now = [], iter(of), of.epoch
    while of.epoch == now and of.position < len(of.planned):
        found.append(next(stream))
    return found


def test_an_epoch_has_every_window_once() -> None:
    batches = epoch(loader())
    found = sorted(text for batch in batches for text in texts(batch))
    expected = [[*range(a, min(a + 64, b))] for s, b in [(0, 300), (301, 341), (341, 438)] for a in range(s, b, 64)]
    assert found == expected  # the document of one token has nothing to be left
    assert all(batch.source.numel() <= 256 for batch in batches)


def test_spans_are_drawn_anew_and_repeat_with_the_seed() -> None:
    first, again, other = loader(), loader(), loader(seed=2)
    one, two = epoch(first), epoch(again)
    assert all((a.source == b.source).all() for a, b in zip(one, two, strict=True))
    following = epoch(first) or [next(iter(first))]
    assert not any(a.source.shape == b.source.shape and (a.source == b.source).all() for a in following for b in one)
    assert [b.index.tolist() for b in epoch(other)] != [b.index.tolist() for b in one]


def test_it_goes_on_where_it_stopped() -> None:
    whole, stopped = loader(), loader()
    expected = [batch for _, batch in zip(range(20), whole, strict=False)]
    for _, _ in zip(range(7), stopped, strict=False):
        pass
    resumed = loader()
    resumed.load_state_dict(stopped.state_dict())
    for batch, wanted in zip(resumed, expected[7:], strict=False):
        assert batch.index.tolist() == wanted.index.tolist() and (batch.target_out == wanted.target_out).all()
