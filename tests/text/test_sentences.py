"""Where sentences end, and where they do not."""

import lzma
import os
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clew.text.sentences import sentences

# "|" marks where one sentence ends and the next begins
EXAMPLES = [
    "The cat sat. | It purred! | Did it? | Yes… | It did.",
    "Mr. Smith met Dr. Jones at St. Mary's. | They spoke of Gen. Lee vs. Grant, i.e. War.",
    "J. R. R. Tolkien wrote it, cf. Fig. 3 in Vol. 2, No. 5. | He said no. | The end.",
    "The U.S. Army left the U.S. | The army came back to Washington, D.C. | In 1990. | 1991 was warm.",
    "Apples, pears, etc. | They all fell, e.g. Cox, etc. Smith said so.",
    "Apple Inc. Chief Cook spoke. | He was hired by Apple Inc. | The rest is known.",
    'He said, "Go away." | She left. | "Why?" she asked. | (Nobody knew.) | [Not even he.] | \'Well\' was all.',
    "Pi is 3.14 or so. | Version 2.0 costs $3.50. | See www.example.com for more.",
    "It closed at 5 p.m. on Friday. | It opened at 9 a.m. | The queue was long.",
    "1. First the rice is washed. | 2. Then it is boiled.",
    "Wait... | What? | no, nothing. | Never mind!! | Good.".replace("What? | no", "What? no"),
    "Die Sitzung am 3. Oktober war z. B. Dr. Müller zu lang, bzw. Prof. Maier. | Er ging. | 1990 kam Nr. 5.",
    "„Komm!“ | Er kam nicht. | »Warum?« | Das weiß keiner, vgl. Abs. 3, usw. | Die Frage bleibt.",
    "M. Dupont est venu. | « Vraiment ? » | Il est parti, p. ex. Paris. | C'est fini.",
    "Élan vital. | Ça va. | Über allem.",
    "日本語です。 | これは本です！ | 本当？",
    "He lives in St. Louis, Mo. | Next year he moves.",
    "To T. S. Eliot he wrote. | One vitamin is C. | This is known. | Bush is no Kennedy Jr. | He told me. | Yes.",
    "Published in Jan. 1990 by him. | It ended in Dec. | Snow fell.",
]


@pytest.mark.parametrize("marked", EXAMPLES)
def test_sentences_end_where_they_do(marked):
    parts = marked.split(" | ")
    assert sentences("".join(part if part.endswith(("。", "！")) else part + " " for part in parts)) == parts


def test_nothing_to_part():
    assert sentences("") == sentences(" \n ") == []
    assert sentences("no end at all") == ["no end at all"]
    assert sentences("One.Two. three.") == ["One.Two. three."]
    assert sentences("...") == ["..."] and sentences(". . A. ") == [". . A."]


@settings(max_examples=300, deadline=None)
@given(
    st.text(
        st.one_of(st.sampled_from("AbéÉ1. .!?…\"'»«)(。 \n"), st.characters(exclude_categories=["Cs"])), max_size=80
    )
)
def test_only_white_space_is_lost(text):
    parts = sentences(text)
    assert "".join("".join(parts).split()) == "".join(text.split())
    assert all(part and part == part.strip() for part in parts)


@pytest.fixture(scope="module")
def paragraphs():
    path = Path(os.environ.get("CLEW_DATA", "../shared/data")) / "wikipedia_en" / "valid.txt.xz"
    if not path.is_file():
        pytest.skip(f"{path} is not on this machine")
    with lzma.open(path, "rt", encoding="utf-8") as file:
        return [line.strip() for line in file if not line.startswith("= ")]


@pytest.mark.data
def test_real_paragraphs(paragraphs):
    found = [sentence for paragraph in paragraphs for sentence in sentences(paragraph)]
    lengths = [len(sentence.split()) for sentence in found]
    assert 15 < sum(lengths) / len(lengths) < 30  # English prose
    assert sum(length > 100 for length in lengths) < 0.01 * len(found)
    starts = [s for s in found if s.lstrip("\"'“‘([«—–-")[:1].islower()]
    assert len(starts) < 0.01 * len(found)
    text = "\n".join(paragraphs)
    start = time.process_time()
    for paragraph in paragraphs:
        sentences(paragraph)
    assert len(text.encode()) / (time.process_time() - start) > 2e6  # bytes; about 10e6 on an idle core
