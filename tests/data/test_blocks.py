"""Running text: kept to the letter, cut into rows, in an order that resumes."""

from __future__ import annotations

from itertools import islice, pairwise
from pathlib import Path

import pytest
import torch

from clew.config import BatchConfig, TokenizerConfig
from clew.data.blocks import BlockLoader, Blocks
from clew.data.documents import Documents, stretches
from clew.data.text import RunningText, RunningTextConfig
from clew.errors import DataError, RecipeError
from clew.text.tokenizer import Tokenizer

TEXT = "One  fine day,\n\tA cat\nsat.\n\nTwo é\ncats!\n\n\nThree.\n"


@pytest.fixture(autouse=True)
def cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEW_CACHE", str(tmp_path / "cache"))


def characters(file: Path) -> Tokenizer:
    return Tokenizer.train([file.read_text()], TokenizerConfig(kind="characters", vocab_size=100))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


def test_text_is_kept_to_the_letter_and_parted_where_documents_end(file: Path) -> None:
    assert [*stretches([file], "file")] == [TEXT.removesuffix("\n"), ""]
    paragraphs = ["One  fine day,\n\tA cat\nsat.", "", "Two é\ncats!", "", "", "Three.", ""]
    assert [*stretches([file], "paragraphs")] == paragraphs
    assert [each for each in stretches([file], "line") if each] == [*TEXT.split("\n")[:3], "Two é", "cats!", "Three."]


@pytest.mark.parametrize("kind", ["characters", "gpt2"])
def test_documents_come_back_as_they_were(file: Path, kind: str) -> None:
    tokenizer = Tokenizer.train([TEXT], TokenizerConfig(kind=kind, vocab_size=300))
    found = Documents.encode([file], tokenizer, running=True)
    assert len(found) == 3
    starts = found.sentences[found.documents]
    rows = [found.ids[a:b].tolist() for a, b in pairwise(starts)]
    assert tokenizer.decode(rows) == ["One  fine day,\n\tA cat\nsat.", "Two é\ncats!", "Three."]
    assert all(row[-1] == tokenizer.eos_id for row in rows)
    assert tokenizer.n_bytes[found.ids].sum() == len("".join(tokenizer.decode(rows)).encode())


def test_a_long_text_is_encoded_as_if_at_once(tmp_path: Path) -> None:
    text = "".join(f"  line {n},\n\nits  words\n \n" for n in range(700)) + "the end"
    file = tmp_path / "long.txt"
    file.write_text(text)
    tokenizer = Tokenizer.train([text], TokenizerConfig(kind="gpt2", vocab_size=400))
    found = Documents.encode([file], tokenizer, ends="file", running=True)
    assert found.ids.tolist() == [*tokenizer.encode([text])[0], tokenizer.eos_id]


def test_rows_predict_the_next_token_and_know_their_documents(file: Path) -> None:
    documents = Documents.encode([file], characters(file), running=True)
    blocks = Blocks(documents, 10)
    n = blocks.count()
    batch = blocks.batch(range(n))
    assert batch.text.flatten().tolist() == documents.ids[: 10 * n].tolist()
    assert batch.target.flatten().tolist() == documents.ids[1 : 10 * n + 1].tolist()
    starts = documents.sentences[documents.documents]
    assert batch.position is not None
    for row in range(n):
        for place in range(10):
            at = 10 * row + place
            own = max(start for start in starts if start <= at)
            assert batch.position[row, place] == at - max(own, 10 * row)
    assert blocks.batch([0]).position is None  # its row is of one document


def test_an_epoch_reads_every_row_once_and_resumes(file: Path) -> None:
    documents = Documents.encode([file], characters(file), running=True)

    def loader() -> BlockLoader:
        return BlockLoader(documents, 6, batch=BatchConfig(tokens=18), seed=4)

    first = loader()
    offset = first.planned[0][0]
    n = -(-first.blocks.count(first.planned[0][0]) // 3)
    epoch = [*islice(iter(first), n)]
    assert sorted(i for batch in epoch for i in batch.index.tolist()) == [*range(first.blocks.count(offset))]
    assert first.epochs_done == 1
    rest = [*islice(iter(first), 2 * n)]
    second = loader()
    half = [*islice(iter(second), n - 1)]
    assert torch.equal(half[0].text, epoch[0].text)
    third = loader()
    third.load_state_dict(second.state_dict())
    again = [*islice(iter(third), 2 * n + 1)]
    for a, b in zip(again, [epoch[-1], *rest], strict=True):
        assert torch.equal(a.text, b.text)


def test_too_short_a_text_is_told(file: Path) -> None:
    with pytest.raises(DataError, match="a row of it takes 101"):
        Blocks(Documents.encode([file], characters(file), running=True), 100)


def test_the_last_share_of_a_text_is_held_out(tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    file.write_text("".join(f"line {n}\n" for n in range(100)))
    data = RunningText(RunningTextConfig(train=(str(file),), held_out=0.1))
    train, valid = (data.split(name) for name in ("train", "valid"))
    assert train.paths[0].read_text() + valid.paths[0].read_text() == file.read_text()
    assert valid.paths[0].read_text().startswith("line 91\n") and not valid.borrowed
    with pytest.raises(RecipeError, match="validation text already"):
        RunningText(RunningTextConfig(train=(str(file),), valid=(str(file),), held_out=0.1))
