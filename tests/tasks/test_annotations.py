"""Spans of characters as tags of words; what splits have in common; answers in other Unicode forms."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import pytest

from clew.data.annotations import of_spans
from clew.data.rows import ReadReport, Rows
from clew.data.text import Text
from clew.errors import DataError, RecipeError
from clew.tasks.agreement import labels_agree, shared_text
from clew.tasks.classify import Classify, ClassifyConfig
from clew.tasks.places import nearest
from clew.tasks.regress import Regress, RegressConfig
from clew.tasks.tag import Tag, TagConfig


def table(**columns: list[Any]) -> Rows:
    return Rows(columns, ReadReport("rows"))


@pytest.mark.parametrize(("spans", "tags", "cut", "lost"), [
    ('[[0, 8, "PER"], [17, 21, "LOC"]]', "B-PER I-PER O O B-LOC", 1, 0),  # doccano's; "Lima." is one word
    ('[{"start": 0, "end": 8, "label": "PER"}]', "B-PER I-PER O O O", 0, 0),  # Prodigy's
    ('[{"start_offset": 0, "end_offset": 3, "type": "PER"}]', "B-PER O O O O", 0, 0),
    ('[[0, 3, "GIVEN"], [0, 8, "PER"]]', "B-PER I-PER O O O", 0, 1),
    ([], "O O O O O", 0, 0),
])  # fmt: skip
def test_spans_of_annotation_tools(spans: Any, tags: str, cut: int, lost: int) -> None:
    found = of_spans("Ana Diaz flew to Lima.", spans, "row 1")
    assert (" ".join(found.tags), found.cut, found.lost) == (tags, cut, lost)


@pytest.mark.parametrize(("spans", "said"), [
    ('[[0, 80, "PER"]]', "0 to 80 in a text of 3"), ('[["PER", 0, 1]]', "no span"), ('[{"start": 0}]', "no span"),
])  # fmt: skip
def test_what_is_no_span(spans: str, said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        of_spans("Ana", spans, "row 7")
    assert caught.value.where == "row 7" and caught.value.fix


def test_a_task_reads_spans_and_says_so() -> None:
    rows = table(text=["Ana flew", "nobody did"], label=['[[0, 3, "PER"]]', []])
    task = Tag(TagConfig(text="text", tags="label", spans=True))
    task.check(rows)
    assert task.tags(rows) == [["B-PER", "O"], ["O", "O"]] and "spans of characters" in str(rows.report)
    other = Tag(TagConfig(spans=True))
    assert other.tags(table(words=["a b c d"], tags=["S-X B-Y M-Y E-Y"])) == [["B-X", "B-Y", "I-Y", "I-Y"]]
    with pytest.raises(DataError, match="no BIO tag") as caught:
        other.check(table(words=["Ana flew"], tags=[["1", "0"]]))
    assert "data.labels.tags=" in caught.value.fix


def test_labels_of_both_sides_are_said() -> None:
    said = labels_agree(["yes", "no", "-"], {"valid": ["yes", "maybe", "maybe"], "test": ["no", "yes", "-"]}, "gold")
    assert said[0] == "labels: yes (1), no (1), - (1)" and "maybe (2)" in said[1]
    assert said[2] == "no valid row has the label no, -" and 'data.leave_out.gold=["-"]' in said[3] and len(said) == 4
    with pytest.raises(DataError, match=r"none of the labels of the valid rows .* 0\.0 \(1\); 0 \(1\), 1 \(1\)"):
        labels_agree(["0", "1"], {"valid": ["0.0"]}, "gold")


def test_the_label_whose_f1_is_asked_is_there() -> None:
    task = Classify(ClassifyConfig(text="text", label="label", metrics="f1,accuracy"))
    rows = table(text=["a", "b"], label=["yes", "no"])
    with pytest.raises(RecipeError, match=r'no training row has the label "1", whose F1 is asked: yes \(1\), no \(1\)'):
        task.compare(rows, {"valid": rows})
    task = Classify(ClassifyConfig(text="text", label="label", metrics=("f1",), positive="yes"))
    assert "2 of 2 valid texts are training texts too" in task.compare(rows, {"valid": rows})[-1]
    assert len(task.compare(rows, {"valid": table(text=["c"], label=["yes"])})) == 2


def test_a_text_that_is_training_text_too(tmp_path: Path) -> None:
    train, other = tmp_path / "train.txt", tmp_path / "other.txt"
    train.write_text("".join(f"line {i} of the text\n" for i in range(50)))
    other.write_text("".join(f"line {i} of the text\n" for i in range(45, 60)))
    text = Text((train,), "train.txt")
    assert "is training text too" in shared_text(text, {"valid": text})[0]
    assert "5 of the first 15 lines" in shared_text(text, {"valid": Text((other,), "")})[0]
    assert shared_text(text, {"valid": Text((train,), "", borrowed=True)}) == []


def test_numbers_with_a_comma_are_named() -> None:
    task = Regress(RegressConfig(text="text", score="score"))
    with pytest.raises(DataError, match="'0,5'") as caught:
        task.check(table(text=["a", "b"], score=["1.5", "0,5"]))
    assert "row 2" in caught.value.where and "point" in caught.value.fix


@pytest.mark.parametrize(
    "context", ["Zoé Müller habite à Genève.", "서울은 한국의 수도다.", "It costs 10\u00a0000 €, İzmir."]
)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("other", ["NFC", "NFD", "NFKC"])
def test_an_answer_in_another_unicode_form(context: str, form: str, other: str) -> None:
    context = unicodedata.normalize(form, context)
    for word in context.rstrip(".").split(" "):
        word = word.rstrip(",")
        found = nearest(unicodedata.normalize(other, word), context.index(word), context)
        assert found is not None and context[slice(*found)] == word


def test_where_an_answer_stands() -> None:
    assert nearest("a", 3, "a b a b a") == (4, 5) and nearest("a", 0, "a b a") == (0, 1)
    assert nearest("e", 0, unicodedata.normalize("NFD", "é")) == (0, 1)  # as it was before: to the letter
    assert nearest("x", 0, "a b") is None and nearest(" ", 0, "a b") is None
