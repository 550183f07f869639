"""Tagging: a label for every word of a sentence, such as its part of speech, or where a name begins and goes on."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from pydantic import Field

from clew.config import TaskConfig
from clew.contracts import Prediction
from clew.data.annotations import Tagged, are_spans, as_bio, of_spans
from clew.data.batches import Texts
from clew.data.rows import Rows
from clew.errors import ClewError, DataError
from clew.metrics.bootstrap import Score
from clew.metrics.spans import span_f1, spans, tag_accuracy
from clew.tasks.agreement import labels_agree
from clew.tasks.supervised import SupervisedTask
from clew.text.labelled_tokenizer import LabelledTokenizer
from clew.text.template import with_special_tokens


class TagConfig(TaskConfig):
    """Which columns are the words and their tags, lists or with spaces in between; `spans`: the tags are B-, I-, O.

    Instead of tags also spans of characters, as annotation tools write them: [[0, 4, "PER"], …].
    """

    kind: str = "tag"
    text: str = "words"
    tags: str = "tags"
    spans: bool = False
    max_length: int = Field(256, ge=4)  # tokens; longer sentences are read in parts


class Tag(SupervisedTask):
    """Tag the words of column `text` as column `tags` does.

    A word's tag is read off its first piece (Devlin et al. 2019, §5.3). A sentence of more than `max_length` tokens is
    read in parts of whole words.
    """

    Config = TagConfig
    hint = "A sentence."
    head = "tag"
    example_name = "sentence"
    unit = "words"

    @property
    def quality(self) -> str:
        return "span_f1" if self.config.spans else "accuracy"

    @property
    def shortened(self) -> str:
        return f"read in parts of {self.config.max_length} tokens"

    def inputs(self, rows: Rows) -> list[Any]:
        """Return sentences as the rows have them: a list is taken as words, whatever spaces are within them."""
        return self.column(rows, "text")

    def line(self, given: Any) -> str:
        return " ".join(words_of(given))

    def tags(self, rows: Rows) -> list[list[str]]:
        """Return the tags of each sentence; where spans are asked, those of BIOES as BIO."""
        column = self.column(rows, "tags")
        if are_spans(column):
            return [each.tags for each in self.annotated(rows)]
        found = [words_of(tags) for tags in column]
        return [[as_bio(tag) for tag in tags] for tags in found] if self.config.spans else found

    def annotated(self, rows: Rows) -> list[Tagged]:
        """Return the tags that spans of characters are. Raise DataError where one is none, or leaves its text."""
        texts = self.text_column(rows, "text")
        return [
            of_spans(text, value, f"{rows.report.source}, row {number}")
            for number, (text, value) in enumerate(zip(texts, self.column(rows, "tags"), strict=True), start=1)
        ]

    def note_spans(self, rows: Rows) -> None:
        """Say how spans of characters were read, and which of them are no spans of words."""
        found = self.annotated(rows)
        cut, lost = sum(each.cut for each in found), sum(each.lost for each in found)
        note = "spans of characters are read as tags of the words between spaces"
        if cut:
            note += f"; {cut:,} of them begin or end within a word, which is tagged as a whole"
        if lost:
            note += f"; {lost:,} overlap a longer one, and are left out"
        if note not in rows.report.notes:
            rows.report.notes.append(note)

    def references(self, rows: Rows) -> list[str]:
        return [" ".join(tags) for tags in self.tags(rows)]

    def labels(self, rows: Rows) -> list[str]:
        return LabelledTokenizer.classes((tag for tags in self.tags(rows) for tag in tags), rows.report.source)

    def encode(self, lines: Sequence[Any], preprocessor: LabelledTokenizer) -> Texts:
        """Each part of a sentence is an example; `part_of` says of which line. A line without words has no part."""
        tokenizer, room = preprocessor.tokenizer, self.config.max_length - 2
        texts = Texts([], [], [], [], part_of=[])
        assert texts.first is not None and texts.at is not None
        for number, (ids, word) in enumerate(tokenizer.encode_words([*map(words_of, lines)])):
            starts = [i for i in range(len(ids)) if i == 0 or word[i] != word[i - 1]]
            starts, n_words, begin = [*starts, len(ids)], len(starts), 0
            while begin < n_words:
                end = max(begin + 1, bisect_right(starts, starts[begin] + room) - 1)  # as many words as fit, or one
                texts.cut += begin == 0 and end < n_words
                row, n = with_special_tokens(tokenizer, ids[starts[begin] : starts[end]][:room], None)
                texts.text.append(row)
                texts.first.append(n)
                texts.at.append([1 + starts[i] - starts[begin] for i in range(begin, end)])
                texts.label.append([0] * (end - begin))
                texts.part_of.append(number)
                begin = end
        return texts

    def check(self, rows: Rows) -> None:
        """Raise DataError where words and tags differ in number, or tags of spans are no BIO tags."""
        if are_spans(self.column(rows, "tags")):
            self.note_spans(rows)
        for number, (given, tags) in enumerate(zip(self.inputs(rows), self.tags(rows), strict=True), start=1):
            words, where = words_of(given), f"{rows.report.source}, row {number}"
            if len(words) != len(tags):
                raise DataError(
                    f"{len(tags)} tags for {len(words)} words: {self.line(given)[:60]}", where=where,
                    fix="give one tag for each word, in a list or with spaces in between",
                )  # fmt: skip
            if self.config.spans:
                try:
                    spans(tags)
                except ClewError as error:
                    raise DataError(
                        f"{error.what}: {self.line(given)[:60]}", where=where,
                        fix=f"{error.fix}; numbers get their names by data.labels.{self.config.tags}="
                        '["O", "B-PER", …]; labels of single words: task.spans=false',
                    ) from error  # fmt: skip

    def compare(self, rows: Rows, others: Mapping[str, Rows]) -> list[str]:
        """Also the tags of each side."""
        train, *measured = ([tag for tags in self.tags(each) for tag in tags] for each in (rows, *others.values()))
        labels = dict(zip(others, measured, strict=True))
        return labels_agree(train, labels, self.config.tags) + super().compare(rows, others)

    def labelled(self, rows: Rows, preprocessor: LabelledTokenizer) -> Texts:
        texts = self.encode(self.inputs(rows), preprocessor)
        tags = [[preprocessor.index[tag] for tag in line] for line in self.tags(rows)]
        taken = [0] * len(tags)
        for part, number in enumerate(texts.part_of):
            n = len(texts.label[part])
            texts.label[part] = tags[number][taken[number] : taken[number] + n]
            taken[number] += n
        return texts

    def outputs(self, out: Any, texts: Texts, rows: Sequence[int]) -> Sequence[Any]:
        """(words, classes) of each part."""
        assert texts.at is not None
        parts: Sequence[Any] = out.logits.float().cpu().split([len(texts.at[i]) for i in rows])
        return parts

    def predictions(
        self, lines: Sequence[Any], texts: Texts, outputs: Sequence[Any], preprocessor: LabelledTokenizer
    ) -> list[Prediction]:
        """Tags with spaces in between; score: the mean probability of the tags; shown: word/tag."""
        parts = iter(outputs)
        found = []
        for line in lines:
            words = words_of(line)
            logits = torch.zeros(0, len(preprocessor.labels))
            while len(logits) < len(words):
                logits = torch.cat([logits, next(parts)])
            best = logits.softmax(dim=-1).max(dim=-1)
            tags = [preprocessor.labels[i] for i in best.indices]
            shown = " ".join(f"{word}/{tag}" for word, tag in zip(words, tags, strict=True))
            score = float(best.values.mean()) if words else 0.0
            tagged = [*zip(words, tags, best.values.tolist(), strict=True)]
            found.append(Prediction(" ".join(tags), score, shown=shown, tagged=tagged))
        return found

    def figures(self, predictions: Sequence[Prediction], rows: Rows) -> dict[str, Score]:
        said, true = [[tag for _, tag, _ in each.tagged] for each in predictions], self.tags(rows)
        out = {"span_f1": span_f1(said, true).f1} if self.config.spans else {}
        return out | {"accuracy": tag_accuracy(said, true)}


def words_of(given: Any) -> list[str]:
    """Return the words of a sentence, or its tags: those of a list, or what stands between spaces."""
    return given.split() if isinstance(given, str) else [str(word) for word in given]
