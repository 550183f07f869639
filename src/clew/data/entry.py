"""What the catalogue knows about one data set."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

GITHUB = "https://github.com/"
SCIBERT = GITHUB + "allenai/scibert"
TRAIN_DEV = {"train": ("train.tsv.gz",), "valid": ("dev.tsv.gz",)}


@dataclass(frozen=True)
class Entry:
    """One data set: what it is, on what terms, and how its files become columns.

    splits: split → file names in the set's folder; "{}" in a name stands for a column (parallel text, one file each).
    No columns: the files are no rows of text (images, trees, documents); the set is listed with its place and terms.
    """

    what: str
    licence: str
    url: str
    rows: str
    size: int  # bytes of its files, compressed
    columns: tuple[str, ...] = ()
    splits: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: TRAIN_DEV)
    format: str = "tsv"
    hub: str = ""  # its name on the Hugging Face hub
    folder: str = ""  # where it differs from the set's own name
    names: tuple[str, ...] = ()  # the columns of a table without a header, in order
    rename: Mapping[str, str] = field(default_factory=dict)  # our column → the file's
    convert: Mapping[str, Callable[[str], str]] = field(default_factory=dict)  # column → how its values are rewritten
    lacking: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # split → columns that it does not have
    max_characters: int = 0  # where sound texts are longer than usual


def counted_from_zero(links: str) -> str:
    """Word links "1-2 3p4", counted from 1, as "0-1 2p3", counted from 0."""
    return re.sub(r"(\d+)([-p])(\d+)", lambda m: f"{int(m[1]) - 1}{m[2]}{int(m[3]) - 1}", links)


def bio_of_iob1(tags: str) -> str:
    """Tags where B- only parts neighbours of one type (IOB1) as tags where B- begins every span (BIO)."""
    out, before = [], "O"
    for tag in tags.split(" "):
        inside = tag.startswith("I-") and before[2:] == tag[2:]
        out.append(tag if inside or not tag.startswith("I-") else "B-" + tag[2:])
        before = tag
    return " ".join(out)


def without_language(words: str) -> str:
    """WikiANN's "en:Paris en:is" as "Paris is"."""
    return " ".join(word.partition(":")[2] or word for word in words.split(" "))
