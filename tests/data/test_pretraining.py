"""Documents on disk, and the examples that are cut out of them."""

from __future__ import annotations

import gzip
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from clew.config import TokenizerConfig
from clew.data.documents import Documents, pieces
from clew.data.masking import Masking
from clew.data.pretraining import PretrainingLoader, Template, fit, plan
from clew.errors import DataError
from clew.text.tokenizer import Tokenizer

TEXT = "One two three. Four five!\nSix seven eight nine ten.\n\n\nEleven twelve. Thirteen fourteen fifteen. Sixteen.\n"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLEW_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def tokenizer() -> Tokenizer:
    return Tokenizer.train([TEXT.lower()], TokenizerConfig(kind="wordpiece", vocab_size=400, lowercase=True))


def synthetic(n_documents: int = 40, seed: int = 0) -> Documents:
    """Ids that name their own place."""
    rng = np.random.default_rng(seed)
    sentences, documents, at = [0], [0], 0
    for _ in range(n_documents):
        for _ in range(int(rng.integers(1, 12))):
            at += int(rng.integers(2, 30))
            sentences.append(at)
        documents.append(len(sentences) - 1)
    return Documents(np.arange(10, 10 + at, dtype=np.int32), np.array(sentences), np.array(documents))


def loader(documents: Documents, **settings: object) -> PretrainingLoader:
    masking = Masking(0.15, 4, np.arange(10, 100))
    options = {"batch_tokens": 320, "seed": 3} | settings
    return PretrainingLoader(documents, Template(2, 3, 0, 64), masking, **options)  # type: ignore[arg-type]


def test_documents_and_sentences_as_they_stand(tmp_path: Path, tokenizer: Tokenizer) -> None:
    (tmp_path / "a.txt").write_text(TEXT)
    with gzip.open(tmp_path / "b.txt.gz", "wt") as file:
        file.write("Four five six.\n")
    found = Documents.encode([tmp_path / "a.txt", tmp_path / "b.txt.gz"], tokenizer)
    texts = tokenizer.decode(
        [found.ids[a:b].tolist() for a, b in zip(found.sentences, found.sentences[1:], strict=False)]
    )
    assert texts == [
        "one two three.", "four five!", "six seven eight nine ten.", "eleven twelve.", "thirteen fourteen fifteen.",
        "sixteen.", "four five six.",
    ]  # fmt: skip
    assert found.documents.tolist() == [0, 3, 6, 7]
    by_line = Documents.encode([tmp_path / "a.txt"], tokenizer, ends="line")
    assert by_line.documents.tolist() == [0, 2, 3, 6]


def test_they_are_encoded_once(tmp_path: Path, tokenizer: Tokenizer, cache: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text(TEXT)
    told: list[tuple[int, int]] = []
    for _ in range(2):
        Documents.encode([file], tokenizer, progress=lambda done, of: told.append((done, of)))
    assert told == [(len(TEXT), len(TEXT))]
    file.write_text(TEXT + "\nAnother one.\n")
    assert len(Documents.encode([file], tokenizer)) == 3
    assert len([*(cache / "documents").iterdir()]) == 2


def test_bad_text_is_explained(tmp_path: Path, tokenizer: Tokenizer, cache: Path) -> None:
    (tmp_path / "bad.txt").write_bytes(b"good line\n\xff\xfe\n")
    (tmp_path / "empty.txt").write_text("\n\n")
    with pytest.raises(DataError, match="UTF-8") as error:
        Documents.encode([tmp_path / "bad.txt"], tokenizer)
    assert "bad.txt:2" in str(error.value)
    with pytest.raises(DataError, match="no text"):
        Documents.encode([tmp_path / "empty.txt"], tokenizer)
    assert not [*(cache / "documents").iterdir()]  # nothing half-written is left
    assert [*pieces([tmp_path / "empty.txt"], "paragraphs")] == ["", "", ""]


def test_a_damaged_file_is_explained(tmp_path: Path) -> None:
    whole = gzip.compress(TEXT.encode() * 100)
    (tmp_path / "a.txt.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot read on"):
        list(pieces([tmp_path / "a.txt.gz"], "paragraphs"))


def test_every_sentence_comes_up_and_pairs_are_what_they_say() -> None:
    documents = synthetic()
    document_of = np.repeat(np.arange(len(documents)), np.diff(documents.sentences[documents.documents]))
    spans = plan(documents, range(len(documents)), Template(2, 3, 0, 64), True, np.random.default_rng(1))
    seen = np.zeros(len(documents.ids), dtype=bool)
    for a, a_end, b, b_end, follows in spans:
        assert 0 < a_end - a + b_end - b <= 61 and b < b_end
        assert len({*document_of[a:a_end]}) == len({*document_of[b:b_end]}) == 1
        same = document_of[a] == document_of[b]
        assert same == bool(follows)
        if follows:
            assert b >= a_end and b - a_end <= 61  # what was cut off between them
        seen[a:a_end] = True
        seen[b:b_end] = True
    assert seen.mean() > 0.8
    assert 0.3 < np.mean([span[4] for span in spans]) < 0.6


def test_without_pairs_the_whole_text_is_read() -> None:
    documents = synthetic()
    spans = plan(documents, range(len(documents)), Template(2, 3, 0, 64), False, np.random.default_rng(1))
    assert all(b == b_end == follows == 0 and 0 < a_end - a <= 62 for a, a_end, b, b_end, follows in spans)
    assert sorted(i for a, end, *_ in spans for i in range(a, end)) == [*range(len(documents.ids))]  # once


def test_a_sentence_longer_than_an_example_is_read_to_its_end() -> None:
    documents = Documents(np.arange(1000), np.array([0, 3, 1000]), np.array([0, 1, 2]))
    spans = plan(documents, range(2), Template(2, 3, 0, 64), False, np.random.default_rng(1))
    assert {i for a, end, *_ in spans for i in range(a, end)} == {*range(1000)}
    assert all(0 < end - a <= 62 for a, end, *_ in spans)


@pytest.mark.parametrize("n_sentences", [1, 2, 5])
def test_a_document_alone_in_its_shard_meets_those_of_others(n_sentences: int) -> None:
    starts = np.arange(0, 10 * (n_sentences + 3), 10)
    documents = Documents(np.arange(starts[-1]), starts, np.array([0, n_sentences, n_sentences + 2]))
    spans = plan(documents, range(1), Template(2, 3, 0, 64), True, np.random.default_rng(1))
    ends = 10 * n_sentences
    assert spans and all((b < ends) == bool(follows) for *_, b, _, follows in spans)


@pytest.mark.parametrize(
    ("a", "b"), [((0, 50), (100, 110)), ((0, 5), (20, 90)), ((0, 40), (50, 95)), ((3, 4), (9, 12))]
)
def test_the_longer_text_gives_way(a: tuple[int, int], b: tuple[int, int]) -> None:
    for seed in range(20):
        out = fit(a, b, 40, np.random.default_rng(seed))
        assert a[0] <= out[0] < out[1] <= a[1] and b[0] <= out[2] < out[3] <= b[1]
        n, m = out[1] - out[0], out[3] - out[2]
        assert n + m == min(40, a[1] - a[0] + b[1] - b[0])
        if n + m == 40:
            assert abs(n - m) <= 1 or min(n, m) == min(a[1] - a[0], b[1] - b[0])


def test_a_batch_is_framed_and_padded() -> None:
    found = loader(synthetic())
    for batch in islice(found, 30):
        text = batch.text.clone()
        assert batch.at is not None and batch.follows is not None
        text.view(-1)[batch.at] = batch.label  # as it was
        assert batch.text.numel() <= 320 or len(batch.text) == 1
        for row, mask, segment, follows in zip(text, batch.mask, batch.segment, batch.follows, strict=True):
            ids = row[mask].tolist()
            first = ids.index(3)
            assert ids[0] == 2 and ids[-1] == 3 and ids.count(3) == 2
            assert segment[mask].tolist() == [0] * (first + 1) + [1] * (len(ids) - first - 1)
            assert np.diff(ids[1:first]).tolist() == [1] * (first - 2)
            assert not row[~mask].any() and int(follows) in (0, 1)


@pytest.mark.parametrize("settings", [{}, {"next_sentence": False}, {"duplicates": 2}])
def test_the_stream_resumes_in_place(settings: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clew.data.pretraining.SHARD", 500)  # several shards
    documents = synthetic()
    whole = loader(documents, **settings)
    batches = []
    states = []
    for batch in whole:
        batches.append(batch)
        states.append(whole.state_dict())
        if whole.epochs_done >= 2.2:
            break
    assert len(whole.cuts) > 3 and len(batches) > 30
    for cut in (0, 7, len(batches) // 2, len(batches) - 2):
        again = loader(documents, **settings)
        again.load_state_dict(states[cut])
        following = next(iter(again))
        assert all(
            torch.equal(left, right) for left, right in
            ((following.text, batches[cut + 1].text), (following.label, batches[cut + 1].label))
        )  # fmt: skip


def test_static_masks_come_again_and_dynamic_ones_do_not() -> None:
    def epochs(**settings: object) -> list[list[torch.Tensor]]:
        found, out = loader(synthetic(8), **settings), []  # type: ignore[var-annotated]
        for batch in found:
            out.append((found.epoch, batch.text))
            if found.epochs_done >= 3:
                break
        return [[text for epoch, text in out if epoch == which] for which in range(3)]

    static = epochs(duplicates=2)
    assert all(torch.equal(a, b) for a, b in zip(static[0], static[2], strict=True))
    assert not all(a.shape == b.shape and torch.equal(a, b) for a, b in zip(static[0], static[1], strict=False))
    dynamic = epochs()
    assert not all(a.shape == b.shape and torch.equal(a, b) for a, b in zip(dynamic[0], dynamic[2], strict=False))
