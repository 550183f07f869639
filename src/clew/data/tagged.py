"""Known data sets of words with tags, and of questions on paragraphs."""

from __future__ import annotations

from clew.data.entry import GITHUB, SCIBERT, Entry, bio_of_iob1, without_language

CONLL = {"train": ("train.conll.gz",), "valid": ("dev.conll.gz",)}


def _squad(what: str, version: str, rows: str, size: int, hub: str) -> Entry:
    return Entry(
        what=what,
        licence="CC BY-SA 4.0",
        url="https://rajpurkar.github.io/SQuAD-explorer/",
        rows=rows,
        size=size,
        columns=("id", "title", "context", "question", "answers"),
        splits={"train": (f"squad{version}_train.json.gz",), "valid": (f"squad{version}_dev.json.gz",)},
        format="SQuAD JSON",
        hub=hub,
        folder="squad",
    )


def _wikiann(languages: tuple[str, ...], what: str, rows: str, size: int) -> Entry:
    splits = {ours: tuple(f"{language}_{theirs}.conll.gz" for language in languages) for ours, theirs in
              (("train", "train"), ("valid", "dev"))}  # fmt: skip
    return Entry(
        what=f"named entities in {what}",
        licence="not stated (Wikipedia text)",
        url=GITHUB + "davidsbatista/NER-datasets",
        rows=rows,
        size=size,
        columns=("words", "tags"),
        splits=splits,
        format="CoNLL",
        hub="unimelb-nlp/wikiann",
        folder="wikiann_ner",
        convert={"words": without_language},
    )


def _entities(what: str, name: str, rows: str, size: int) -> Entry:
    return Entry(
        what=what,
        licence="Apache-2.0 (repository); the corpus under its own terms",
        url=SCIBERT,
        rows=rows,
        size=size,
        columns=("words", "tags"),
        splits={"train": (f"{name}_train.conll.gz",), "valid": (f"{name}_dev.conll.gz",)},
        format="CoNLL",
        folder="scientific_ner",
        names=("words", "pos", "chunk", "tags"),
        convert={"tags": bio_of_iob1},
    )


TAGGED: dict[str, Entry] = {
    "squad": _squad("questions on paragraphs (SQuAD 1.1)", "1.1", "6,358 / 2,133", 827_170, "rajpurkar/squad"),
    "squad2": _squad(
        "questions on paragraphs, half without an answer (SQuAD 2.0)",
        "2.0",
        "7,388 / 1,325",
        550_070,
        "rajpurkar/squad_v2",
    ),
    "ud_english_ewt": Entry(
        what="web text with parts of speech, lemmas and dependency trees",
        licence="CC BY-SA 4.0 (annotations)",
        url="https://universaldependencies.org/treebanks/en_ewt/",
        rows="12,544 / 2,001",
        size=2_946_396,
        columns=("words", "upos", "xpos", "lemma", "feats", "head", "deprel"),
        splits={"train": ("train.conllu.gz",), "valid": ("dev.conllu.gz",)},
        format="CoNLL-U",
        hub="universal-dependencies/universal_dependencies",
    ),
    "wnut17_ner": Entry(
        what="emerging named entities in posts",
        licence="CC BY 4.0",
        url=GITHUB + "leondz/emerging_entities_17",
        rows="3,394 / 1,009",
        size=221_120,
        columns=("words", "tags"),
        splits=CONLL,
        format="CoNLL",
        hub="leondz/wnut_17",
    ),
    "wikiann_ner": _wikiann(("en", "de", "fr"), "English, German and French", "14,000 / 4,500", 521_317),
    "wikiann_ner_en": _wikiann(("en",), "English", "8,000 / 1,500", 257_165),
    "wikiann_ner_de": _wikiann(("de",), "German", "3,000 / 1,500", 154_393),
    "wikiann_ner_fr": _wikiann(("fr",), "French", "3,000 / 1,500", 105_663),
    "bc5cdr_ner": _entities("chemicals and diseases in abstracts", "bc5cdr", "3,942 / 3,949", 514_411),
    "ncbi_disease_ner": _entities("diseases in abstracts", "NCBI-disease", "5,424 / 923", 358_719),
    "sciie_ner": _entities("tasks, methods, … in computer-science abstracts (6)", "sciie", "1,861 / 275", 144_695),
}
