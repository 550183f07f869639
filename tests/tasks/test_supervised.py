"""How the tasks of reading cut, part and label what they are given; no model is trained here."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from clew.config import DecodeConfig, TokenizerConfig
from clew.data.rows import ReadReport, Rows
from clew.data.text import Text
from clew.errors import ClewError, DataError, RecipeError
from clew.models.bert import BertConfig
from clew.tasks.answer import Answer, AnswerConfig
from clew.tasks.choose import Choose, ChooseConfig
from clew.tasks.classify import Classify, ClassifyConfig
from clew.tasks.pretrain import Pretrain, PretrainConfig
from clew.tasks.regress import Regress, RegressConfig
from clew.tasks.tag import Tag, TagConfig
from clew.text.labelled_tokenizer import LabelledTokenizer
from clew.text.tokenizer import Tokenizer

WORDS = "anna bert carl reads eats drives a book apple car"
TINY = BertConfig(d_model=8, d_ff=8, n_heads=2, n_layers=1, max_length=16)
LONG = " ".join(["anna drives a car"] * 30)


@pytest.fixture(scope="module")
def labelled() -> LabelledTokenizer:
    config = TokenizerConfig(kind="wordpiece", vocab_size=80, lowercase=True)
    return LabelledTokenizer(Tokenizer.train([WORDS] * 5, config), ["no", "yes"])


def table(**columns: list[str]) -> Rows:
    return Rows(columns, ReadReport("rows.tsv"))


def test_windows_hold_every_token_and_what_stands_in_the_context(labelled: LabelledTokenizer) -> None:
    task = Answer(AnswerConfig(max_length=16, max_question=4, stride=3))
    for n in range(40):
        context = " ".join((WORDS.split() * 4)[:n])
        found = task.encode([f"who reads\t{context}"], labelled)
        places = {place for _, offsets in found.offsets for place in offsets}
        assert len(places) == len(labelled.tokenizer.encode([context])[0])
        assert max(map(len, found.text)) <= 16 and found.cut == (len(found.text) > 1)


@pytest.mark.parametrize("answers", [
    [{"text": "car", "answer_start": 14}], {"text": ["car"], "answer_start": [14]},
    [{"text": " car ", "answer_start": 13}], [{"text": "car", "answer_start": 16}],
])  # fmt: skip
def test_answers_as_files_and_the_hub_have_them(labelled: LabelledTokenizer, answers: Any) -> None:
    rows = table(question=["what"], context=["anna drives a car"], answers=[json.dumps(answers)])
    task = Answer(AnswerConfig(max_length=32, max_question=4, stride=8))
    found = task.labelled(rows, labelled)
    (first, last), (begin, offsets) = found.label[0], found.offsets[0]
    assert (offsets[first - begin][0], offsets[last - begin][1]) == (14, 17)


def test_an_answer_that_is_not_in_its_context(labelled: LabelledTokenizer) -> None:
    book, car = '[{"text": "book", "answer_start": 3}]', '[{"text": "car", "answer_start": 14}]'
    task, context = Answer(AnswerConfig()), "anna drives a car"
    with pytest.raises(DataError, match='no answer stands in its context: row 1, "book"'):
        task.check(table(question=["what"], context=[context], answers=[book]))
    rows = table(question=["what"] * 3, context=[context] * 3, answers=[car, book, "[]"])
    for _ in range(2):  # said once
        task.check(rows)
    assert rows.report.notes == [
        f'1 answers do not stand in their contexts, and are not trained on (first: row 2, "book" in "{context}")'
    ]
    found = task.labelled(rows, labelled)
    assert len(found.label) == 2 and found.label[0] != (0, 0) and found.label[1] == (0, 0)


def test_parts_of_a_sentence_hold_all_words(labelled: LabelledTokenizer) -> None:
    task = Tag(TagConfig(max_length=7))
    for words in (WORDS.split() * 3, ["reads" * 9, "a"], ["a"], []):
        found = task.encode([" ".join(words)], labelled)
        assert sum(map(len, found.at or [])) == len(words) and max(map(len, found.text), default=0) <= 7
        assert found.cut == (len(found.text) > 1)


@pytest.mark.parametrize("tags", ["yes", "yes no yes"])
def test_a_tag_for_each_word(tags: str) -> None:
    with pytest.raises(DataError, match="for 2 words"):
        Tag(TagConfig()).check(table(words=["anna reads"], tags=[tags]))


def test_tabs_within_texts_part_nothing(labelled: LabelledTokenizer) -> None:
    pair = Classify(ClassifyConfig(text="a", pair="b", label="l"))
    assert pair.inputs(table(a=["x\ty"], b=["z\n"], l=["0"])) == ["x y\tz "]
    choose = Choose(ChooseConfig(text="a", choices=("b", "c"), label="l"))
    line = choose.inputs(table(a=["anna\treads"], b=["a\tbook"], c=["a car"], l=["b"]))
    assert len(choose.encode(line, labelled).text) == 2


TASKS = [
    (Classify(ClassifyConfig(text="a", pair="b", label="l", max_length=12)), ["no", "yes"]),
    (Answer(AnswerConfig(max_length=16, max_question=4, stride=4)), ["first", "last"]),
    (Choose(ChooseConfig(text="a", choices=("b", "c"), label="l", max_length=12)), ["b", "c"]),
]


@pytest.mark.parametrize(("task", "labels"), TASKS, ids=["classify", "answer", "choose"])
def test_a_line_without_its_tab_is_named_by_its_number(
    labelled: LabelledTokenizer, task: Any, labels: list[str]
) -> None:
    given = LabelledTokenizer(labelled.tokenizer, labels)
    lines = ["anna\ta book\ta car"] * 70 + ["anna reads"]  # behind the first chunk
    with pytest.raises(DataError, match="line 71: anna reads"):
        list(task.predict(task.model(TINY, given), given, lines, DecodeConfig(batch_size=1)))


@pytest.mark.parametrize("score", ["nan", "inf", "two"])
def test_a_score_is_a_finite_number(labelled: LabelledTokenizer, score: str) -> None:
    task = Regress(RegressConfig(text="a", score="b"))
    with pytest.raises(DataError, match="no number"):
        task.labelled(table(a=["anna"], b=[score]), labelled)


def test_what_was_shortened_is_said(labelled: LabelledTokenizer) -> None:
    task = Choose(ChooseConfig(text="a", choices=("b", "c"), label="l", max_length=12))
    rows = table(a=[LONG, "anna"], b=["book", "car"], c=["car", "a"], l=["b", "c"])
    torch.manual_seed(0)
    found = task.evaluate(
        task.model(TINY, LabelledTokenizer(labelled.tokenizer, ["b", "c"])), labelled, rows, DecodeConfig()
    )
    assert task.n_shortened == found["shortened"] == 1


def test_a_pair_for_a_model_without_frames_is_no_longer_than_said() -> None:
    bare = Tokenizer.train([WORDS] * 5, TokenizerConfig(kind="word", vocab_size=40))
    task = Classify(ClassifyConfig(text="a", pair="b", label="l", max_length=10))
    found = task.encode([f"{LONG}\t{LONG}"], LabelledTokenizer(bare, ["0", "1"]))
    assert len(found.text[0]) == 10 and found.cut == 1


def filler(max_length: int = 16) -> Pretrain:
    return Pretrain(PretrainConfig(max_length=max_length))


@pytest.mark.parametrize("kind", ["wordpiece", "bpe"])
def test_masks_are_filled_in_texts_of_any_length(kind: Any) -> None:
    config = TokenizerConfig(kind=kind, vocab_size=80, lowercase=True)
    tokenizer, task = Tokenizer.train([WORDS] * 5, config, mask=True), filler()
    model = task.model(TINY, tokenizer)
    texts = [f"{LONG} [MASK]", f"[MASK] {LONG}", f"{LONG} [MASK] reads [MASK] {LONG}", "a [MASK]", "[MASK]"]
    found = list(task.predict(model, tokenizer, texts, DecodeConfig()))
    assert [LONG in p.text for p in found] == [True, True, True, False, False]
    assert found[0].text.startswith(LONG) and found[1].text.endswith(LONG)
    for text, said in ((f"[MASK] {LONG} [MASK]", "too far apart"), ("", "an empty line")):
        with pytest.raises(ClewError, match=said):
            list(task.predict(model, tokenizer, [text], DecodeConfig()))


def test_examples_longer_than_the_model_are_refused(labelled: LabelledTokenizer) -> None:
    with pytest.raises(RecipeError, match="17 tokens do not fit a model of 16"):
        filler(17).model(TINY, labelled.tokenizer)


def test_training_text_is_measured_in_part(labelled: LabelledTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    task, limits = filler(), []
    monkeypatch.setattr(Pretrain, "figures", lambda *given: limits.append(given[-1]) or {})
    for borrowed in (True, False):
        task.evaluate(None, labelled.tokenizer, Text((), "", borrowed), DecodeConfig())
    assert limits[0] and limits[1] is None


def test_inputs_without_answers(labelled: LabelledTokenizer) -> None:
    task, lines = Classify(ClassifyConfig(text="text", label="label")), ["anna reads a book", "carl", "a car", ""]
    batches = list(task.unanswered(lines, labelled, batch_size=3))
    assert [len(batch.index) for batch in batches] == [3, 1]
    assert sorted(i for batch in batches for i in batch.row_numbers()) == [0, 1, 2, 3]
    for batch in batches:
        for row, ids, mask in zip(batch.row_numbers(), batch.text, batch.mask, strict=True):
            assert ids[mask].tolist() == task.encode([lines[row]], labelled).text[0]
    assert task.classes(labelled) == ["no", "yes"] and not Tag(TagConfig()).classes(labelled)
    with pytest.raises(RecipeError, match="one by one"):
        Tag(TagConfig()).unanswered(lines, labelled, batch_size=3)
