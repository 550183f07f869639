"""Sentences of CoNLL and CoNLL-U, questions of SQuAD's JSON."""

import gzip
import json
import os
from pathlib import Path

import pytest

from clew.data.catalogue import Catalogue, CatalogueConfig
from clew.data.entry import bio_of_iob1, without_language
from clew.data.files import Files, FilesConfig
from clew.data.readers import read
from clew.errors import DataError

CONLLU = """\
# sent_id = 1
# text = Don't go to New York.
1-2\tDon't\t_\t_\t_\t_\t_\t_\t_\t_
1\tDo\tdo\tAUX\tVB\tMood=Imp\t3\taux\t_\t_
2\tn't\tnot\tPART\tRB\t_\t3\tadvmod\t_\t_
3\tgo\tgo\tVERB\tVB\t_\t0\troot\t_\t_
3.1\tthere\tthere\tADV\tRB\t_\t_\t_\t3:x\t_
4\t#\t#\tSYM\tNN\t_\t3\tobl\t_\t_
5\t1 000\t1 000\tNUM\tCD\t_\t3\tobl\t_\t_

# sent_id = 2
1\tYes\tyes\tINTJ\tUH\t_\t0\troot\t_\t_
"""


def write(path, text):
    path.write_text(text, encoding="utf-8", newline="")
    return path


def test_conllu_by_the_names_of_its_columns(tmp_path):
    rows = read([write(tmp_path / "a.conllu", CONLLU)], ["words", "upos", "head", "lemma"])
    assert rows["words"] == ["Do n't go # 1_000", "Yes"] and rows["upos"] == ["AUX PART VERB SYM NUM", "INTJ"]
    assert rows["head"] == ["3 3 0 3 3", "0"] and rows["lemma"] == ["do not go # 1_000", "yes"]
    with pytest.raises(DataError, match=r'no column "uppos" \(columns: id, words, lemma.*\n.*a.conllu:1\n.*"upos"'):
        read([tmp_path / "a.conllu"], ["words", "uppos"])


@pytest.mark.parametrize("text", [
    "# id 1\n-DOCSTART- -X- O\n\nEU\tNN\tB-ORG\n#\tNN\tO\n \t\n\nnew\u00a0york\tNN\tB-LOC\r\n# note\n",
    "-DOCSTART- -X- O\n\n# about x\nEU NN B-ORG\n# NN O\n\n\nnew_york  NN B-LOC\n# one more note\n",
])  # fmt: skip
def test_conll_by_tabs_or_spaces(tmp_path, text):
    rows = read([write(tmp_path / "a.conll", text)], ["tags", "words", "2"])
    assert rows.columns == {"tags": ["B-ORG O", "B-LOC"], "words": ["EU #", "new_york"], "2": ["NN NN", "NN"]}


def test_unsound_sentences_are_counted(tmp_path):
    text = "a\tO\nb\tO\n\nc\n\nd\tO\te\n\n\tO\n\nx\tO\n\n" + "w\tO\n" * 30 + "\nlast\tB-X\n\ncut"
    rows = read([write(tmp_path / "a.conll", text)], ["words", "tags"], max_characters=50)
    assert rows["words"] == ["a b", "x", "last"] and (rows.report.read, rows.report.kept) == (7, 3)
    assert rows.report.skipped == {
        "with a number of columns other than 2": 3, "longer than 50 characters": 1,
    }  # fmt: skip
    assert rows.report.examples["with a number of columns other than 2"].endswith("a.conll:4")
    with pytest.raises(DataError, match="unusable row: with a number of columns"):
        read([tmp_path / "a.conll"], ["words"], on_bad="stop")
    with pytest.raises(DataError, match="2 columns in the first line for 3 names"):
        read([tmp_path / "a.conll"], ["words"], names=["words", "pos", "tags"])
    with pytest.raises(DataError, match="there is no row in it"):
        read([write(tmp_path / "b.conll", "# nothing\n")], ["words"])


def test_one_column_is_words(tmp_path):
    assert read([write(tmp_path / "a.conll", "a\nb\n\nc\n")], ["words"])["words"] == ["a b", "c"]


def test_tags_where_b_parts_neighbours():
    assert bio_of_iob1("I-A I-A B-A I-A O I-B I-A I-A") == "B-A I-A B-A I-A O B-B B-A I-A"
    assert bio_of_iob1("B-A I-A O B-B B-A") == "B-A I-A O B-B B-A"
    assert without_language("en:Paris en:: fr:a:b en:") == "Paris : a:b en:"


def test_the_catalogue_reads_tagged_words(tmp_path):
    for split in ("train", "dev"):
        with gzip.open(tmp_path / f"bc5cdr_{split}.conll.gz", "wt") as file:
            file.write("-DOCSTART- (1)\n\nA\tN\tO\tI-Entity\nb\tN\tO\tB-Entity\n\n")
        with gzip.open(tmp_path / f"de_{split}.conll.gz", "wt") as file:
            file.write("de:Bonn\tB-LOC\nde:.\tO\n")
    own = Catalogue(CatalogueConfig(name="bc5cdr_ner", folder=str(tmp_path)))
    assert own.split("train").columns == {"words": ["A b"], "tags": ["B-Entity B-Entity"]}
    german = Catalogue(CatalogueConfig(name="wikiann_ner_de", folder=str(tmp_path)))
    assert german.split("valid").columns == {"words": ["Bonn ."], "tags": ["B-LOC O"]}


def squad(*paragraphs, **more):
    return json.dumps({"version": "1.1", "data": [{"title": "T", "paragraphs": list(paragraphs)}]} | more)


def asked(text="Paris", start=0, **more):
    return {"id": "q1", "question": "Where?", "answers": [{"text": text, "answer_start": start}]} | more


def test_squad_questions(tmp_path):
    none = {"id": "q2", "question": "Why?", "is_impossible": True, "plausible_answers": [{"text": "x"}]}
    path = write(tmp_path / "a.json", squad({"context": "  Paris, 🙂 here. ", "qas": [asked(start=2), none]}))
    rows = read([path], ["id", "title", "context", "question", "answers"])
    assert rows["id"] == ["q1", "q2"] and rows["title"] == ["T", "T"] and rows["question"] == ["Where?", "Why?"]
    assert rows["context"] == ["Paris, 🙂 here."] * 2
    assert [json.loads(text) for text in rows["answers"]] == [[{"text": "Paris", "answer_start": 0}], []]
    pretty = write(tmp_path / "b.json", json.dumps(json.loads(path.read_text()), indent=4))
    with gzip.open(tmp_path / "c.json.gz", "wt") as file:
        file.write(path.read_text())
    assert read([pretty], ["id"])["id"] == read([tmp_path / "c.json.gz"], ["id"])["id"] == ["q1", "q2"]
    with pytest.raises(DataError, match=r'no column "contxt".*\n.*\n.*"context"'):
        read([path], ["contxt"])


def test_unsound_questions_are_counted(tmp_path):
    questions = [
        asked(), asked(start=1), asked(start=-1), asked(text=""), asked(start="0"), asked(answers=None), asked(id=7),
        asked(question=" "), "no object", asked(answers=[{}]),
    ]  # fmt: skip
    text = squad({"context": "Paris", "qas": questions}, {"context": 3, "qas": []}, {"qas": 1}, "x")
    rows = read([write(tmp_path / "a.json", text)], ["id", "question", "context", "answers"])
    assert rows["id"] == ["q1", "q1", "q1", "7"] and rows.report.read == 13  # the task finds where an answer stands
    assert rows.report.skipped == {
        "whose answer lacks text or answer_start": 3,
        "without answers": 1, "with empty question": 1, "a question that is no object": 1,
        "a paragraph without context or qas": 3,
    }  # fmt: skip
    assert rows.report.examples["without answers"].endswith("a.json article 1 paragraph 1 question q1")


def test_a_truncated_squad_file_gives_what_is_whole(tmp_path):
    article = {"title": "T", "paragraphs": [{"context": "Paris", "qas": [asked()]}]}
    whole = json.dumps({"data": [article, article, {"title": "no paragraphs"}]})
    assert len(read([write(tmp_path / "a.json", whole)], ["id"])) == 2
    for end in (len(whole) - 40, whole.index("}, {") + 1, whole.index("}, {") + 3):
        rows = read([write(tmp_path / "a.json", whole[:end])], ["id"])
        assert 1 <= len(rows) <= 2
        assert list(rows.report.skipped) == ["not a JSON object from here to the end of the file"]
    with pytest.raises(DataError, match=r"no rows kept(.|\n)*not a JSON"):
        read([write(tmp_path / "a.json", whole[:60])], ["id"])
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(whole.encode())[:-30])
    with pytest.raises(DataError, match="cannot read on"):
        read([tmp_path / "a.json.gz"], ["id"])


def test_json_lines_may_still_be_called_json(tmp_path):
    rows = read([write(tmp_path / "a.json", '{"text": "a", "data": {"x": [1]}}\n{"text": "b"}\n')], ["text"])
    assert rows["text"] == ["a", "b"]


def test_own_files(tmp_path):
    train = write(tmp_path / "train.conllu", CONLLU)
    source = Files(FilesConfig(train=(str(train),), columns=("words", "upos"), hold_out=0))
    assert source.split("train")["upos"][1] == "INTJ"


@pytest.mark.data
@pytest.mark.parametrize(("name", "column", "values"), [
    ("ud_english_ewt", "upos", 17), ("wnut17_ner", "tags", 13), ("wikiann_ner", "tags", 7), ("bc5cdr_ner", "tags", 3),
    ("ncbi_disease_ner", "tags", 3), ("sciie_ner", "tags", 13),
])  # fmt: skip
def test_real_tags_fit_their_words(name, column, values):
    folder = Path(os.environ.get("CLEW_DATA", "../shared/data"))
    if not folder.is_dir():
        pytest.skip(f"no data at {folder} (set CLEW_DATA)")
    source = Catalogue(CatalogueConfig(name=name, columns=("words", column)))
    rows = source.split("train")
    assert not rows.report.skipped and f"{len(rows):,}" == source.entry.rows.split(" / ")[0]
    for words, tags in zip(rows["words"], rows[column], strict=True):
        assert words.count(" ") == tags.count(" ") and len(words.split()) == len(words.split(" "))
    assert len({tag for tags in rows[column] for tag in tags.split()}) == values
    if column == "tags":  # every span begins with B-
        pairs = {(a, b) for tags in rows[column] for a, b in zip(["O", *tags.split()], tags.split(), strict=False)}
        assert all(a[2:] == b[2:] for a, b in pairs if b.startswith("I-")) or name == "wnut17_ner"
