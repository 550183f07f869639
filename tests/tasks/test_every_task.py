"""Every task keeps its contract, and columns of rows may hold lists and numbers."""

from typing import Any

import pytest
import torch

from clew.config import KINDS, DecodeConfig, TokenizerConfig, resolve
from clew.contracts import Task
from clew.data.rows import ReadReport, Rows
from clew.errors import DataError, RecipeError
from clew.inputs import Preprocessor
from clew.tasks.answer import Answer, AnswerConfig
from clew.tasks.choose import Choose, ChooseConfig
from clew.tasks.classify import Classify, ClassifyConfig
from clew.tasks.regress import Regress, RegressConfig
from clew.tasks.tag import Tag, TagConfig
from clew.tasks.translate import Translate, TranslateConfig

REQUIRED: dict[str, dict[str, Any]] = {
    "translate": {"source": "a", "target": "b"},
    "classify": {"text": "a", "label": "b"},
    "regress": {"text": "a", "score": "b"},
    "choose": {"text": "a", "choices": ["b", "c"], "label": "d"},
    "text_to_text": {"metrics": {"part": "bleu"}},
    "ppo": {"reward": {"run": "runs/reward"}},
    "ask": {"prompt": "{a}", "choices": ["b", "c"], "label": "d", "labels": ["0", "1"]},
}
WORDS = TokenizerConfig(kind="word")


def rows(**columns: list[Any]) -> Rows:
    return Rows(columns, ReadReport("made here"))


@pytest.mark.parametrize("kind", KINDS["task"])
def test_every_task_says_what_others_rely_on(kind: str) -> None:
    made = resolve("task", kind)
    task = made(made.Config(**REQUIRED.get(kind, {})))
    assert isinstance(task, Task)
    assert task.hint.endswith(".") and task.example_name and task.unit and task.quality and task.compared
    assert 1 <= task.n_fields <= len(task.fields) == len(task.field_names)
    assert task.progress("reading") is None  # nobody watches
    if kind == "ask":
        with pytest.raises(RecipeError, match="nothing to train"):
            task.check_recipe(None)
    else:
        assert issubclass(task.preprocessor_class, Preprocessor)


def test_lists_are_taken_as_words() -> None:
    task = Tag(TagConfig())
    listed = rows(words=[["New York", "sleeps"], ["cats", "sleep", "."]], tags=[["N", "V"], ["N", "V", "P"]])
    spaced = rows(words=["New sleeps", "cats sleep ."], tags=["N V", "N V P"])
    task.check(listed)
    assert task.labels(listed) == task.labels(spaced) == ["N", "P", "V"]
    assert task.references(listed) == ["N V", "N V P"]
    preprocessor = task.preprocessor(listed, WORDS)
    texts = task.labelled(listed, preprocessor)
    assert texts.label == [[0, 2], [0, 2, 1]] and [len(at) for at in texts.at or []] == [2, 3]
    outputs = [torch.eye(3)[classes] for classes in texts.label]
    found = task.predictions(task.inputs(listed), texts, outputs, preprocessor)
    assert [each.text for each in found] == ["N V", "N V P"] and found[0].tagged[0][0] == "New York"
    assert task.figures(found, listed)["accuracy"].value == 100
    assert task.line(listed["words"][0]) == "New York sleeps"  # a list is never printed as one


def test_a_wrong_number_of_tags_is_told_with_its_row() -> None:
    with pytest.raises(DataError, match="1 tags for 2 words: cats sleep") as told:
        Tag(TagConfig()).check(rows(words=[["a"], ["cats", "sleep"]], tags=[["N"], ["N"]]))
    assert "row 2" in told.value.where


def test_numbers_are_scores_and_classes() -> None:
    regress = Regress(RegressConfig(text="text", score="score"))
    numbers = rows(text=["a", "b"], score=[1, 2.5])
    regress.check(numbers)
    assert regress.numbers(numbers) == [1.0, 2.5] and regress.references(numbers) == ["1", "2.5"]
    with pytest.raises(DataError, match="no number"):
        regress.check(rows(text=["a"], score=[None]))
    classify = Classify(ClassifyConfig(text="text", label="label"))
    classes = rows(text=["a b", "c"], label=[1, 0])
    preprocessor = classify.preprocessor(classes, WORDS)
    assert preprocessor.labels == ["0", "1"] and classify.labelled(classes, preprocessor).label == [1, 0]
    choose = Choose(ChooseConfig(text="text", choices=("x", "y"), label="label"))
    assert choose.references(rows(text=["a"], x=["b"], y=["c"], label=[1])) == ["y"]


def test_answers_may_be_lists_already() -> None:
    answers = [[{"text": "York", "answer_start": 4}], {"text": ["cat"], "answer_start": [0]}, "[]"]
    given = rows(question=["q"] * 3, context=["New York", "cat", "dog"], answers=answers)
    assert Answer(AnswerConfig()).references(given) == ["York", "cat", ""]


@pytest.mark.parametrize(
    ("task", "columns", "place"),
    [
        (Classify(ClassifyConfig(text="text", label="label")), {"text": ["a", 3], "label": ["x", "y"]}, "text, row 2"),
        (Classify(ClassifyConfig(text="text", label="label")), {"text": ["a"], "label": [["x"]]}, "label, row 1"),
        (Translate(TranslateConfig(source="a", target="b")), {"a": ["x"], "b": [None]}, "b, row 1"),
        (Choose(ChooseConfig(text="t", choices=("x", "y"), label="l")),
         {"t": ["a"], "x": ["b"], "y": [1.5], "l": ["x"]}, "y, row 1"),
    ],
)  # fmt: skip
def test_a_column_that_holds_no_text_is_told_with_its_row(task: Any, columns: dict[str, Any], place: str) -> None:
    with pytest.raises(DataError, match="a text was expected") as told:
        task.check(rows(**columns))
    assert f"column {place}" in told.value.where


def test_a_task_is_told_how_it_is_decoded() -> None:
    assert not Classify(ClassifyConfig(text="t", label="l")).searches(None, DecodeConfig())
