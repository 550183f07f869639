"""What spans lines: sentences of CoNLL and CoNLL-U, questions of SQuAD's articles."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from clew.data.lines import Line, Record, did_you_mean, lines
from clew.data.understood import Understood
from clew.errors import DataError

DOCUMENT = "-DOCSTART-"
# The columns of CoNLL-U (universaldependencies.org/format.html); its FORM is called "words" here.
CONLLU = ("id", "words", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
NOT_A_WORD = re.compile(r"\d+[-.]\d+\t")  # a token of several words, or an empty node of the enhanced graph
SQUAD = ("id", "title", "context", "question", "answers")


def conll(file: Understood, columns: Sequence[str], limit: int) -> Iterator[Record]:
    """One token per line, a blank line after each sentence; a row is a sentence, its tokens joined by spaces.

    Columns are parted by tabs, or, where the first token has none, by white space. They are called as `data.names`
    says, else "words" (the first), "2", "3", … and "tags" (the last). White space within a token becomes "_"; a token
    of nothing else, with the tag O, is no word. Comments ("# …", not of the usual number of columns) and -DOCSTART-
    lines are left out.
    """
    path, names = file.path, file.columns
    tabs, known = False, list[str]()
    for block in _blocks(file, limit):
        tokens = []
        for line in block:
            if line.text.startswith(DOCUMENT) or (line.text.startswith("# ") and not known and "\t" not in line.text):
                continue
            tabs = tabs or (not known and "\t" in line.text)
            fields = line.text.split("\t") if tabs else line.text.split()
            if not known:
                known = _named(fields, names, f"{path}:{line.number}")
            comment = line.text.startswith("#") and len(fields) != len(known)
            white = len(fields) == len(known) and not fields[0].strip() and fields[-1].strip() == "O"
            if not (comment or white):
                tokens.append(fields)
        if tokens:
            yield _sentence(path, block, tokens, columns, known)


def conllu(file: Understood, columns: Sequence[str], limit: int) -> Iterator[Record]:
    """Universal Dependencies' CoNLL-U: ten columns parted by tabs (`CONLLU`), else as `conll`.

    A row is a sentence of syntactic words: lines of multi-word tokens ("3-4") and empty nodes ("3.1") are left out.
    """
    for block in _blocks(file, limit):
        texts = [line.text for line in block if not line.text.startswith("#")]
        tokens = [text.split("\t") for text in texts if not NOT_A_WORD.match(text)]
        if tokens:
            yield _sentence(file.path, block, tokens, columns, list(file.columns or CONLLU))


def _blocks(file: Understood, limit: int) -> Iterator[list[Line]]:
    """The lines between blank ones."""
    block: list[Line] = []
    for line in lines(file.path, limit, file.encoding):
        if line.text.strip():
            block.append(line)
        elif block:
            yield block
            block = []
    if block:
        yield block


def _named(first: Sequence[str], names: Sequence[str] | None, place: str) -> list[str]:
    """What the columns are called."""
    width = len(first)
    if names and len(names) != width:
        raise DataError(f"{width} columns in the first line for {len(names)} names ({', '.join(names)})", where=place)
    if names:
        return list(names)
    return ["words", *map(str, range(2, width)), "tags"] if width > 1 else ["words"]


def _sentence(
    path: Path, block: Sequence[Line], tokens: Sequence[Sequence[str]], columns: Sequence[str], known: Sequence[str]
) -> Record:
    """The wanted columns of a sentence, each as one text; DataError where there is no such column."""
    place = f"{path}:{block[0].number}"
    _require(columns, known, place)
    if not all(line.whole for line in block):
        return Record(place, (), "over-long")
    if any(len(fields) != len(known) for fields in tokens):
        return Record(place, (), f"with a number of columns other than {len(known)}")
    values = []
    for column in columns:
        at = known.index(column)
        texts = ["_".join(fields[at].split()) for fields in tokens]
        if not all(texts):
            return Record(place, (), f"with a token without {column}")
        values.append(" ".join(texts))
    return Record(place, values)


def _require(columns: Iterable[str], known: Sequence[str], place: str) -> None:
    for column in columns:
        if column not in known:
            raise DataError(
                f'there is no column "{column}" (columns: {", ".join(known)})', where=place,
                fix=did_you_mean(column, known),
            )  # fmt: skip


def questions(article: Any, place: str) -> Iterator[tuple[str, dict[str, str | None], str]]:
    """(place, row, fault) of every question of an article."""
    paragraphs = article.get("paragraphs") if isinstance(article, dict) else None
    if not isinstance(paragraphs, list):
        yield place, {}, "an article without paragraphs"
        return
    for number, paragraph in enumerate(paragraphs, start=1):
        where = f"{place} paragraph {number}"
        context, questions = (paragraph.get(k) for k in ("context", "qas")) if isinstance(paragraph, dict) else (0, 0)
        if not isinstance(context, str) or not isinstance(questions, list):
            yield where, {}, "a paragraph without context or qas"
            continue
        for question in questions:
            if not isinstance(question, dict):
                yield where, {}, "a question that is no object"
                continue
            answers, fault = _answers(question, context)
            yield f"{where} question {question.get('id')}", {
                "id": _text(question.get("id")),
                "title": _text(article.get("title")),
                "context": context.strip(),
                "question": _text(question.get("question")),
                "answers": json.dumps(answers, ensure_ascii=False),
            }, fault  # fmt: skip


def _answers(question: dict[str, Any], context: str) -> tuple[list[dict[str, Any]], str]:
    """The answers with their places in the stripped context, and what is wrong with them."""
    given = question.get("answers", [] if question.get("is_impossible") else None)
    if not isinstance(given, list):
        return [], "without answers"
    margin, found = len(context) - len(context.lstrip()), []
    for answer in given:
        text, start = (answer.get(k) for k in ("text", "answer_start")) if isinstance(answer, dict) else (None, None)
        if not isinstance(text, str) or not isinstance(start, int) or not text:
            return [], "whose answer lacks text or answer_start"
        found.append({"text": text, "answer_start": start - margin})
    return found, ""


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)
