"""Question answering: the words of a context that answer a question, or that there are none."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from clew.config import TaskConfig
from clew.contracts import Prediction
from clew.data.batches import Texts
from clew.data.rows import Rows
from clew.errors import DataError
from clew.metrics.answers import answered, best_threshold, squad
from clew.metrics.bootstrap import Score
from clew.tasks.places import nearest
from clew.tasks.supervised import SupervisedTask, tabbed
from clew.text.labelled_tokenizer import LabelledTokenizer
from clew.text.template import with_special_tokens

CANDIDATES = 20  # first and last tokens that spans are made of, per window


class AnswerConfig(TaskConfig):
    """Which columns are the question, the context, the answers (JSON, as SQuAD has them); how long texts are read."""

    kind: str = "answer"
    question: str = "question"
    context: str = "context"
    answers: str = "answers"
    version: Literal["1.1", "2.0"] = "2.0"  # 1.1: there is always an answer
    threshold: float = 0.0  # of 2.0: no answer where score([CLS]) - score(best span) is above it
    max_length: int = Field(384, ge=16)  # tokens of question and context; longer ones are read in windows
    max_question: int = Field(64, ge=4)  # tokens
    stride: int = Field(128, ge=1)  # tokens from one window to the next
    max_answer: int = Field(30, ge=1)  # tokens
    n_best: int = Field(5, ge=1)  # answers that a prediction names

    @model_validator(mode="after")
    def windows_meet(self) -> AnswerConfig:
        if self.stride > self.max_length - self.max_question - 3:
            raise ValueError("windows that far apart would leave out tokens: lower stride or max_question")
        return self


@dataclass
class Windows(Texts):
    """offsets: of each window, where its context begins among its tokens, and the characters of each context token."""

    offsets: list[tuple[int, list[tuple[int, int]]]] = field(default_factory=list)


class Answer(SupervisedTask):
    """Read a question and a context, find the first and the last token of the answer (Devlin et al. 2019, §4.2, §4.3).

    A long context is read in overlapping windows; the best span of all windows counts, and the lowest score of [CLS].
    """

    Config = AnswerConfig
    hint = "A question, and the text that holds the answer."
    head = "answer"
    example_name = "question"
    unit = "windows"
    quality = "f1"

    @property
    def fields(self) -> tuple[str, ...]:
        return self.config.question, self.config.context

    @property
    def shortened(self) -> str:
        return f"read in windows of {self.config.max_length} tokens"

    def inputs(self, rows: Rows) -> list[str]:
        """question TAB context, any white space within them as a space."""
        return tabbed(self.text_column(rows, "question"), self.text_column(rows, "context"))

    def golds(self, rows: Rows) -> list[list[dict[str, Any]]]:
        """The answers of each question, as their contexts spell them: text and start, None where it stands nowhere.

        Raises DataError where they are not written as SQuAD's.
        """
        try:
            given = [[(str(a["text"]), int(a["answer_start"])) for a in listed(value)]
                     for value in self.column(rows, "answers")]  # fmt: skip
            contexts = self.text_column(rows, "context")
            return [[found(*answer, context) for answer in answers]
                    for answers, context in zip(given, contexts, strict=True)]  # fmt: skip
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"answers cannot be read: {error}", where=f"{rows.report.source}, column {self.config.answers}",
                fix='write [{"text": "…", "answer_start": 0}], or [] where there is none',
            ) from error  # fmt: skip

    def check(self, rows: Rows) -> None:
        """Note answers that do not stand in their contexts. Raises DataError where no answer does."""
        super().check(rows)
        golds = self.golds(rows)
        if not (lost := [i for i, answers in enumerate(golds) if answers and answers[0]["start"] is None]):
            return
        context = self.text_column(rows, "context")[lost[0]]
        first = f'row {lost[0] + 1}, "{golds[lost[0]][0]["text"][:60]}" in "{context[:60]}"'
        if len(lost) == sum(map(bool, golds)):
            raise DataError(
                f"no answer stands in its context: {first}", where=rows.report.source,
                fix="answers are pieces of the context, to the letter",
            )  # fmt: skip
        note = f"{len(lost):,} answers do not stand in their contexts, and are not trained on (first: {first})"
        if note not in rows.report.notes:
            rows.report.notes.append(note)

    def references(self, rows: Rows) -> list[str]:
        return [answers[0]["text"] if answers else "" for answers in self.golds(rows)]

    def own_labels(self) -> list[str]:
        return ["first", "last"]

    def labels(self, rows: Rows) -> list[str]:
        return self.own_labels()

    def encode(self, lines: Sequence[str], preprocessor: LabelledTokenizer) -> Windows:
        """The windows of each line. Raises DataError for a line without a tab."""
        tokenizer, config = preprocessor.tokenizer, self.config
        asked, read = self.halves(lines, "a question and a text")
        questions, contexts = tokenizer.encode(asked), tokenizer.encode_with_offsets(read)
        out = Windows([], [], [], part_of=[])
        assert out.first is not None
        for number, (question, (ids, offsets)) in enumerate(zip(questions, contexts, strict=True)):
            question = question[: config.max_question]
            room = config.max_length - len(question) - 2 - tokenizer.separators
            out.cut += len(ids) > room
            for begin in range(0, max(1, len(ids) - room + config.stride), config.stride):
                row, first = with_special_tokens(tokenizer, question, ids[begin : begin + room])
                out.text.append(row)
                out.first.append(first)
                out.offsets.append((first, offsets[begin : begin + room]))
                out.label.append((0, 0))
                out.part_of.append(number)
        return out

    def labelled(self, rows: Rows, preprocessor: LabelledTokenizer) -> Windows:
        """The first gold answer's place in each window; [CLS] where the window does not hold it whole.

        Rows whose answer does not stand in its context are left out: see `check`.
        """
        rows_of = [(line, a) for line, a in zip(self.inputs(rows), self.golds(rows), strict=True) if known(a)]
        texts, golds = self.encode([line for line, _ in rows_of], preprocessor), [answers for _, answers in rows_of]
        for window, number in enumerate(texts.part_of):
            if golds[number]:
                text, start = golds[number][0]["text"], golds[number][0]["start"]
                texts.label[window] = place(texts.offsets[window], start, start + len(text))
        return texts

    def outputs(self, out: Any, texts: Texts, rows: Sequence[int]) -> Sequence[Any]:
        """Scores of each token as first and last, (time,) each."""
        return list(zip(out.start.float().cpu(), out.end.float().cpu(), strict=True))

    def predictions(
        self, lines: Sequence[str], texts: Any, outputs: Sequence[Any], preprocessor: LabelledTokenizer
    ) -> list[Prediction]:
        """The best answer, "" where there is none; alternatives: the next, by probability among all those named."""
        spans: list[dict[str, tuple[float, int]]] = [{} for _ in lines]
        null = [math.inf] * len(lines)
        for number, window, (start, end) in zip(texts.part_of, texts.offsets, outputs, strict=True):
            null[number] = min(null[number], float(start[0] + end[0]))
            context = lines[number].partition("\t")[2]
            for text, score, first in self.spans(window, start, end, context):
                if text not in spans[number] or score > spans[number][text][0]:
                    spans[number][text] = score, first
        return [self.best(*found) for found in zip(spans, null, strict=True)]

    def spans(
        self, window: tuple[int, list[tuple[int, int]]], start: Tensor, end: Tensor, context: str
    ) -> list[tuple[str, float, int]]:
        """Texts of the likeliest spans of a window, their scores, and where in the context each begins."""
        first, offsets = window
        n = len(offsets)
        if not n:
            return []
        begin, stop = start[first : first + n], end[first : first + n]
        found = []
        for i in begin.topk(min(CANDIDATES, n)).indices.tolist():
            for j in stop.topk(min(CANDIDATES, n)).indices.tolist():
                if i <= j < i + self.config.max_answer:
                    text = context[offsets[i][0] : offsets[j][1]]
                    found.append((text, float(begin[i] + stop[j]), offsets[i][0]))
        return found

    def best(self, spans: dict[str, tuple[float, int]], null: float) -> Prediction:
        """The answer, by the threshold of 2.0; probabilities are among the n best spans and no answer."""
        ranked = sorted(((text, score) for text, (score, _) in spans.items()), key=lambda each: -each[1])
        ranked = ranked[: self.config.n_best]
        if self.config.version == "2.0" or not ranked:
            ranked.append(("", null))
        shares = torch.tensor([score for _, score in ranked]).softmax(dim=0).tolist()
        named = [(text, share) for (text, _), share in zip(ranked, shares, strict=True)]
        chosen = 0
        if named[-1][0] == "" and null - ranked[0][1] > self.config.threshold:
            chosen = len(named) - 1
        text, share = named.pop(chosen)
        named.sort(key=lambda each: -each[1])
        texts = (text, *(other for other, _ in named))
        places = [(spans[each][1], spans[each][1] + len(each)) if each else None for each in texts]
        return Prediction(text, share, alternatives=named, shown=text or "(no answer)", places=places)

    def figures(self, predictions: Sequence[Prediction], rows: Rows) -> dict[str, Score]:
        """Exact match and F1 as the official script has them; of 2.0 also F1 at the threshold that suits best."""
        golds = [[answer["text"] for answer in answers] for answers in self.golds(rows)]
        said = [prediction.text for prediction in predictions]
        found = squad(said, golds, self.config.version)
        out = {"exact": found.exact, "f1": found.f1}
        if self.config.version == "2.0":
            spans, null = [], []
            for prediction in predictions:
                options = [(prediction.text, prediction.score), *prediction.alternatives]
                text, share = max(((t, p) for t, p in options if t), key=lambda each: each[1], default=("", 1e-30))
                spans.append(text)
                none = next((p for t, p in options if not t), 1e-30)
                null.append(math.log(max(none, 1e-30)) - math.log(max(share, 1e-30)))
            best = best_threshold(spans, golds, null)
            out["f1_best_threshold"] = squad(answered(spans, null, best.threshold), golds, "2.0").f1
        return out


def found(text: str, start: int, context: str) -> dict[str, Any]:
    """Return an answer as its context spells it, and where; as it is given, and nowhere, where the context lacks it."""
    span = nearest(text, start, context)
    return {"text": context[slice(*span)], "start": span[0]} if span else {"text": text, "start": None}


def known(answers: Sequence[dict[str, Any]]) -> bool:
    """Whether there is no answer, or the first stands in its context."""
    return not answers or answers[0]["start"] is not None


def listed(answers: Any) -> Any:
    """Return answers one by one; the hub's form, {"text": […], "answer_start": […]}, has them side by side."""
    if isinstance(answers, str):
        answers = json.loads(answers)
    if not isinstance(answers, dict):
        return answers
    pairs = zip(answers["text"], answers["answer_start"], strict=True)
    return [{"text": text, "answer_start": start} for text, start in pairs]


def place(window: tuple[int, list[tuple[int, int]]], start: int, end: int) -> tuple[int, int]:
    """The first and the last token of the characters [start, end), (0, 0) where the window lacks some of them."""
    first, offsets = window
    inside = [i for i, (a, b) in enumerate(offsets) if b > start and a < end]
    if not inside or offsets[inside[0]][0] > start or offsets[inside[-1]][1] < end:
        return 0, 0
    return first + inside[0], first + inside[-1]
