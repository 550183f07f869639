"""The lexicon: tab-separated tables of words beside this file, inflected once when read.

Semantic classes are letters: P person, A animal, F food, D drink, O object, U furniture and parts of a house,
C clothing, L place, V vehicle, R text, M musical instrument, N nature, I abstract, H proper name; small letters say
which preposition a place takes (i: in, s: on), and what
opens (o) or is cooked (k). The order of a table is the rank of its words in Zipf's law.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from itertools import accumulate
from typing import Generic, TypeVar

from clew.data.grammar import english, french

T = TypeVar("T")


class Weighted(Generic[T]):
    """Items drawn in proportion to their weights; by Zipf–Mandelbrot, 1 / (rank + 2.7), where none are given."""

    def __init__(self, items: Iterable[T], weights: Sequence[float] | None = None) -> None:
        self.items = list(items)
        weights = weights or [1 / (rank + 2.7) for rank in range(1, len(self.items) + 1)]
        total = sum(weights)
        self.bounds = [bound / total for bound in accumulate(weights)][:-1]

    def draw(self, random: Callable[[], float]) -> T:
        return self.items[bisect(self.bounds, random())]


@dataclass(frozen=True, slots=True)
class Noun:
    """`en` and `fr` hold the singular and the plural; an English form may be several words."""

    en: tuple[tuple[str, ...], tuple[str, ...]]
    fr: tuple[str, str]
    feminine: bool
    classes: str
    mass: bool


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb, its frame (direct, à, de, place, dative, none) and the classes of its subject and object."""

    en: tuple[str, str, str, str]  # base, third person, past, present participle
    particle: tuple[str, ...]  # look *for*, get *up*
    fr: french.Conjugation
    reflexive: bool
    frame: str
    subjects: str
    objects: str
    stative: bool  # no progressive
    state: bool  # its English past is a French imperfect: had, avait


@dataclass(frozen=True, slots=True)
class Adjective:
    """`fr[feminine][plural]`; `before` is the token written before a masculine singular noun."""

    en: str
    fr: tuple[tuple[str, str], tuple[str, str]]
    precedes: bool
    classes: str
    gradable: bool

    def form(self, is_feminine: bool, is_plural: bool, *, attributive: bool = False) -> str:
        form = self.fr[is_feminine][is_plural]
        return "+" + form if attributive and "+" + form in french.SANDHI and not is_plural else form


@dataclass(frozen=True, slots=True)
class Adverb:
    en: str
    fr: str
    final: bool


def _table(name: str) -> list[dict[str, str]]:
    """The rows of one table: column → text."""
    lines = files(__package__).joinpath(name).read_text("utf-8").splitlines()
    head = lines[0].split("\t")
    return [dict(zip(head, line.split("\t"), strict=True)) for line in lines[1:]]


def _noun(row: dict[str, str]) -> Noun:
    *first, last = row["en"].split()
    plural = row["en_plural"].split() or [*first, english.plural(last)]
    return Noun(
        ((*first, last), tuple(plural)),
        (row["fr"], row["fr_plural"] or french.plural(row["fr"])),
        row["gender"] == "f",
        row["classes"],
        row["mass"] == "mass",
    )


def _verb(row: dict[str, str]) -> Verb:
    base = row["en"]
    reflexive = row["fr"].startswith("se ")
    return Verb(
        (base, english.third_person(base), row["en_past"] or english.past(base), english.participle(base)),
        tuple(row["particle"].split()),
        french.conjugate(row["fr"].removeprefix("se ")),
        reflexive,
        row["frame"],
        row["subjects"],
        row["objects"],
        row["stative"] != "",
        row["stative"] == "state",
    )


def _adjective(row: dict[str, str]) -> Adjective:
    masculine = row["fr"]
    feminine = row["fr_feminine"] or french.feminine(masculine)
    forms = ((masculine, french.plural(masculine)), (feminine, french.plural(feminine)))
    return Adjective(row["en"], forms, row["position"] == "before", row["classes"], row["gradable"] == "yes")


class Lexicon:
    """All words, and weighted choices among those that fit a place in a sentence."""

    def __init__(self) -> None:
        self.nouns = [_noun(row) for row in _table("nouns.tsv")]
        self.verbs = [_verb(row) for row in _table("verbs.tsv")]
        self.adjectives = [_adjective(row) for row in _table("adjectives.tsv")]
        adverbs = [Adverb(row["en"], row["fr"], row["position"] == "end") for row in _table("adverbs.tsv")]
        self.middle_adverbs = Weighted(a for a in adverbs if not a.final)
        self.final_adverbs = Weighted(a for a in adverbs if a.final)
        self.nouns_of = cache(self._nouns_of)
        self.verbs_of = cache(self._verbs_of)
        self.adjectives_of = cache(self._adjectives_of)

    def _nouns_of(self, classes: str) -> Weighted[Noun]:
        """Nouns of any of the classes; each class keeps its own ranks, so that none crowds out the others."""
        pools = [[n for n in self.nouns if letter in n.classes] for letter in classes]
        ranked = [(1 / (rank + 2.7), noun) for pool in pools for rank, noun in enumerate(pool, 1)]
        return Weighted([noun for _, noun in ranked], [weight for weight, _ in ranked])

    def _verbs_of(self, frames: tuple[str, ...], subjects: str, objects: str) -> Weighted[Verb] | None:
        """Verbs of these frames that any of the subjects can do (to any of the objects, where some are given)."""
        found = [
            v
            for v in self.verbs
            if v.frame in frames and set(v.subjects) & set(subjects) and (not objects or set(v.objects) & set(objects))
        ]
        return Weighted(found) if found else None

    def _adjectives_of(self, classes: str, precedes: bool | None) -> Weighted[Adjective] | None:
        """Adjectives that suit a noun of these classes, standing before it, after it, or either (None)."""
        found = [
            a
            for a in self.adjectives
            if (not a.classes or set(a.classes) & set(classes)) and precedes in (None, a.precedes)
        ]
        return Weighted(found) if found else None


@lru_cache(maxsize=1)
def lexicon() -> Lexicon:
    """The lexicon, read once."""
    return Lexicon()
