"""The text as slices: whole sentences, every word once an epoch, an exact position; and how pairs are drawn of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from clew.batches import CorpusBatch
from clew.data.corpus import CorpusLoader, keep_probability, noise, windows
from clew.data.text import RunningText, RunningTextConfig
from clew.errors import DataError, RecipeError


def corpus(sentences: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    lengths = np.random.default_rng(seed).integers(1, 9, sentences)
    return np.arange(lengths.sum(), dtype=np.int32), np.cumsum(lengths)


@pytest.mark.parametrize("batch_tokens", [1, 7, 30, 10_000])
def test_an_epoch_is_the_text_in_whole_sentences(batch_tokens: int) -> None:
    ids, ends = corpus()
    loader = CorpusLoader(ids, ends, batch_tokens=batch_tokens, seed=1)
    seen, stream = [], iter(loader)
    while loader.epochs_done < 1:
        batch = next(stream)
        assert batch.ends[-1] == len(batch.ids) > 0
        assert len(batch.ids) <= max(batch_tokens, 8) + 8
        before = len(np.concatenate(seen)) if seen else 0
        assert set((batch.ends + before).tolist()) <= set(ends.tolist())
        seen.append(batch.ids.numpy())
    assert np.array_equal(np.concatenate(seen), ids)
    assert loader.epochs_done == 1


def test_a_position_is_restored_with_its_draws() -> None:
    ids, ends = corpus()
    loader = CorpusLoader(ids, ends, batch_tokens=20, seed=3)
    stream = iter(loader)
    for _ in range(9):
        next(stream)
    other = CorpusLoader(ids, ends, batch_tokens=20, seed=3)
    other.load_state_dict(loader.state_dict())
    for ours, theirs in zip((next(stream) for _ in range(9)), iter(other), strict=False):
        assert ours.seed == theirs.seed and torch.equal(ours.ids, theirs.ids) and torch.equal(ours.ends, theirs.ends)


def test_the_same_slice_draws_anew_each_epoch() -> None:
    ids, ends = corpus()
    stream = iter(CorpusLoader(ids, ends, batch_tokens=10_000, seed=3))
    assert next(stream).seed != next(stream).seed


def test_frequent_words_are_kept_less() -> None:
    counts = np.array([900, 90, 9, 1])
    keep = keep_probability(counts, 1e-2)
    f = 0.9
    assert keep[0] == pytest.approx((np.sqrt(f / 1e-2) + 1) * 1e-2 / f)
    assert keep[3] == 1 and (np.diff(keep) >= 0).all()
    assert (keep_probability(counts, 0) == 1).all()
    assert noise(counts) == pytest.approx(counts**0.75 / (counts**0.75).sum())


def test_windows_by_a_loop() -> None:
    """Against nested loops over the words that stay, with the same draws."""
    generator = torch.Generator().manual_seed(5)
    ids, ends = torch.randint(20, (60,), generator=generator).int(), torch.tensor([13, 14, 40, 60])
    keep = torch.linspace(0.2, 1, 20, dtype=torch.float64)
    centre, context, mask = windows(CorpusBatch(ids, ends, 0), keep, 3, torch.Generator().manual_seed(7))
    draw = torch.Generator().manual_seed(7)
    kept = [i for i, chance in enumerate(torch.rand(60, generator=draw)) if chance < keep[ids[i].long()]]
    reach = torch.randint(1, 4, (len(kept), 1), generator=draw).squeeze(1).tolist()
    sentence = [int((ends <= i).sum()) for i in kept]
    expected = [
        [int(ids[kept[j]]) for j in range(len(kept)) if 0 < abs(i - j) <= reach[i] and sentence[i] == sentence[j]]
        for i in range(len(kept))
    ]
    assert centre.tolist() == [int(ids[i]) for i in kept]
    assert [row[inside].tolist() for row, inside in zip(context, mask, strict=True)] == expected


def test_nothing_left_is_no_pairs() -> None:
    batch = CorpusBatch(torch.tensor([1, 2]).int(), torch.tensor([2]), 0)
    centre, context, mask = windows(batch, torch.zeros(3), 2, torch.Generator())
    assert centre.shape == (0,) and context.shape == mask.shape == (0, 4)


def test_running_text_from_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one two\n")
    (tmp_path / "b.txt").write_text("three\n")
    source = RunningText(RunningTextConfig(train=(str(tmp_path / "a.txt"),)))
    assert source.splits == ("train",)
    assert "a part of it" in source.split("valid").report and source.split("valid").paths == source.split("train").paths
    both = RunningText(RunningTextConfig(train=(str(tmp_path / "a.txt"),), valid=(str(tmp_path / "b.txt"),)))
    assert both.splits == ("train", "valid") and both.split("valid").paths == (tmp_path / "b.txt",)
    assert both.about["size"] == 14
    with pytest.raises(DataError, match="no such file"):
        RunningText(RunningTextConfig(train=("nowhere.txt",))).split("train")


def test_running_text_is_files_or_a_set() -> None:
    for config in (RunningTextConfig(), RunningTextConfig(train=("a",), name="novels_en")):
        with pytest.raises(RecipeError, match="files or a known set"):
            RunningText(config)
    with pytest.raises(DataError, match="not running text"):
        RunningText(RunningTextConfig(name="sst2"))
