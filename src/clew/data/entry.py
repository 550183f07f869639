"""What the catalogue knows about each data set; known.toml holds it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files

from clew.config import Config


class Entry(Config):
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
    splits: Mapping[str, tuple[str, ...]] = {"train": ("train.tsv.gz",), "valid": ("dev.tsv.gz",)}
    format: str = "tsv"
    hub: str = ""  # its name on the Hugging Face hub
    folder: str = ""  # where it differs from the set's own name
    names: tuple[str, ...] = ()  # the columns of a table without a header, in order
    rename: Mapping[str, str] = {}  # our column → the file's
    convert: Mapping[str, str] = {}  # column → which of CONVERSIONS rewrites its values
    lacking: Mapping[str, tuple[str, ...]] = {}  # split → columns that it does not have
    max_characters: int = 0  # where sound texts are longer than usual


@cache
def entries() -> Mapping[str, Entry]:
    """Return the known data sets by name, in the order of known.toml."""
    tables = tomllib.loads(files("clew.data").joinpath("known.toml").read_text(encoding="utf-8"))
    found: dict[str, Entry] = {}
    for name, table in tables.items():
        like = table.pop("like", None)
        found[name] = Entry(**(found[like].model_dump() if like else {}) | table)
    return found


def counted_from_zero(links: str) -> str:
    """Return word links "1-2 3p4", counted from 1, as "0-1 2p3", counted from 0."""
    return re.sub(r"(\d+)([-p])(\d+)", lambda m: f"{int(m[1]) - 1}{m[2]}{int(m[3]) - 1}", links)


def bio_of_iob1(tags: str) -> str:
    """Return tags where B- only parts neighbours of one type (IOB1) as tags where B- begins every span (BIO)."""
    out, before = [], "O"
    for tag in tags.split(" "):
        inside = tag.startswith("I-") and before[2:] == tag[2:]
        out.append(tag if inside or not tag.startswith("I-") else "B-" + tag[2:])
        before = tag
    return " ".join(out)


def without_language(words: str) -> str:
    """Return WikiANN's "en:Paris en:is" as "Paris is"."""
    return " ".join(word.partition(":")[2] or word for word in words.split(" "))


CONVERSIONS: dict[str, Callable[[str], str]] = {
    "counted_from_zero": counted_from_zero,
    "bio_of_iob1": bio_of_iob1,
    "without_language": without_language,
}
