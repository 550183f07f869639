"""Readers of files whose rows span lines: sentences of CoNLL and CoNLL-U, questions of SQuAD's JSON."""

from __future__ import annotations

import json
import lzma
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from clew.data.lines import OPENERS, Line, Record, did_you_mean, lines
from clew.errors import DataError

DOCUMENT = "-DOCSTART-"
# The columns of CoNLL-U (universaldependencies.org/format.html); its FORM is called "words" here.
CONLLU = ("id", "words", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
NOT_A_WORD = re.compile(r"\d+[-.]\d+\t")  # a token of several words, or an empty node of the enhanced graph
SQUAD = ("id", "title", "context", "question", "answers")
SQUAD_BEGINS = re.compile(r'\s*\{[^\[{]*"data"\s*:\s*\[\s*')
BETWEEN = re.compile(r"[\s,]*")


def conll(path: Path, columns: Sequence[str], names: Sequence[str] | None, limit: int) -> Iterator[Record]:
    """One token per line, a blank line after each sentence; a row is a sentence, its tokens joined by spaces.

    Columns are parted by tabs, or, where the first token has none, by white space. They are called `names`, or, where
    those are not known, "words" (the first), "2", "3", … and "tags" (the last). White space within a token becomes
    "_". Comments ("# …", not of the usual number of columns) and -DOCSTART- lines are left out.
    """
    tabs, known = False, list[str]()
    for block in _blocks(path, limit):
        tokens = []
        for line in block:
            if line.text.startswith(DOCUMENT) or (line.text.startswith("# ") and not known and "\t" not in line.text):
                continue
            tabs = tabs or (not known and "\t" in line.text)
            fields = line.text.split("\t") if tabs else line.text.split()
            if not known:
                known = _named(fields, names, f"{path}:{line.number}")
            if not (line.text.startswith("#") and len(fields) != len(known)):
                tokens.append(fields)
        if tokens:
            yield _sentence(path, block, tokens, columns, known)


def conllu(path: Path, columns: Sequence[str], names: Sequence[str] | None, limit: int) -> Iterator[Record]:
    """Universal Dependencies' CoNLL-U: ten columns parted by tabs (`CONLLU`), else as `conll`.

    A row is a sentence of syntactic words: lines of multi-word tokens ("3-4") and empty nodes ("3.1") are left out.
    """
    for block in _blocks(path, limit):
        texts = [line.text for line in block if not line.text.startswith("#")]
        tokens = [text.split("\t") for text in texts if not NOT_A_WORD.match(text)]
        if tokens:
            yield _sentence(path, block, tokens, columns, list(names or CONLLU))


def _blocks(path: Path, limit: int) -> Iterator[list[Line]]:
    """The lines between blank ones."""
    block: list[Line] = []
    for line in lines(path, limit):
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


def is_squad(path: Path) -> bool:
    """Whether a JSON file begins as SQuAD's do: an object with a list called "data"."""
    beginning = "\n".join(line.text for line in islice(lines(path, 4096), 20))
    return SQUAD_BEGINS.match(beginning) is not None


def squad(path: Path, columns: Sequence[str], names: Sequence[str] | None, limit: int) -> Iterator[Record]:
    """SQuAD 1.1 and 2.0 (Rajpurkar et al. 2016, 2018): a row per question, with the columns `SQUAD`.

    `answers` is JSON text, [{"text": …, "answer_start": …}, …], in characters of the context; [] where the question
    has no answer. The file is read as a whole, its articles are decoded one by one.
    """
    _require(columns, SQUAD, str(path))
    try:
        with OPENERS.get(path.suffix, open)(path, "rb") as file:
            text = file.read().decode("utf-8-sig", errors="surrogateescape")
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise DataError(f"cannot read on: {error or 'the file ends too early'}", where=str(path)) from error
    begin = SQUAD_BEGINS.match(text)
    at, number, decoder = begin.end() if begin else 0, 0, json.JSONDecoder()
    while not text.startswith("]", at):
        number += 1
        place = f"{path} article {number}"
        try:
            article, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            yield Record(place, (), "not JSON from here to the end of the file")
            return
        for where, row, fault in _questions(article, place):
            yield Record(where, () if fault else [row[column] for column in columns], fault)
        between = BETWEEN.match(text, end)
        at = between.end() if between else end


def _questions(article: Any, place: str) -> Iterator[tuple[str, dict[str, str | None], str]]:
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
    stripped = context.strip()
    for answer in given:
        text, start = (answer.get(k) for k in ("text", "answer_start")) if isinstance(answer, dict) else (None, None)
        if not isinstance(text, str) or not isinstance(start, int) or not text:
            return [], "whose answer lacks text or answer_start"
        start -= margin
        if start < 0 or not stripped.startswith(text, start):
            return [], "whose answer does not stand at answer_start"
        found.append({"text": text, "answer_start": start})
    return found, ""


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)
