"""Words that a tokenizer takes in beside those of its text."""

from __future__ import annotations

from pathlib import Path

from clew.config import TokenizerConfig
from clew.text.tokenizer import Tokenizer
from clew.text.widen import widened

TEXTS = ["A fine film, well made", "a dull film"]
MORE = ["film", "superb", "Superb", "self-made", "n't", "two words", "", "dire"]


def trained(**settings: object) -> Tokenizer:
    return Tokenizer.train(TEXTS, TokenizerConfig.model_validate({"kind": "word", "lowercase": True, **settings}))


def test_words_are_understood_and_ids_stay(tmp_path: Path) -> None:
    old = trained()
    new = widened(old, MORE, 1000)
    assert new.encode(TEXTS) == old.encode(TEXTS) and len(old) < len(new)
    assert new.words[: len(old)] == old.words
    text = "Superb (dire) film-superb"
    assert new.unk_id in old.encode([text])[0]
    assert new.tokens([i for i in new.encode([text])[0] if i != new.unk_id]) == ["▁superb", "dire", "▁film", "superb"]
    assert {*new.words[len(old) :]} == {"film", "superb", "dire"}  # "film" after a mark, as "well-film"
    new.save(tmp_path / "tokenizer.json")
    assert Tokenizer.load(tmp_path / "tokenizer.json").encode([text]) == new.encode([text])


def test_the_first_come_first_and_after_spaces_before_marks() -> None:
    old = trained()
    assert len(widened(old, MORE, len(old))) == len(old)
    assert widened(old, MORE, len(old) + 1).words[len(old) :] == ["superb"]
    three = widened(old, MORE, len(old) + 3)
    assert three.tokens(range(len(old), len(old) + 3)) == ["▁superb", "▁dire", "film"]


def test_without_marks_parted_only_spaces_part() -> None:
    old = trained(punctuation=False)
    new = widened(old, MORE, 1000)
    assert new.tokens(range(len(old), len(new))) == ["▁superb", "▁self-made", "▁n't", "▁dire"]
