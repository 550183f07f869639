"""Noun phrases, written in English and French at once.

An English phrase is a list of word numbers (the sentence keeps number → word); a French phrase is a list of tokens,
each with the numbers of the English words that it translates. So order is free and the alignment follows by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple
from zlib import crc32

from clew.data.grammar.french import Token
from clew.data.grammar.lexicon import Adjective, Lexicon, Noun, Weighted

# A determiner: its English words and, by [feminine][plural], French words with the places of the English ones.
Determiner = tuple[tuple[str, ...], dict[tuple[bool, bool], tuple[Token, ...]]]


def _determiner(english: str, masculine: str, feminine: str, plural_m: str = "", plural_f: str = "") -> Determiner:
    """Read the notation `word:0 word:0,1`; without places, a word translates all of the English."""
    words = tuple(english.split())
    forms = {(False, False): masculine, (True, False): feminine, (False, True): plural_m, (True, True): plural_f}

    def tokens(text: str) -> tuple[Token, ...]:
        pairs = (item.partition(":") for item in text.split())
        return tuple((w, tuple(map(int, at.split(","))) if at else tuple(range(len(words)))) for w, _, at in pairs)

    return words, {key: tokens(text) for key, text in forms.items() if text}


def _any(english: str, french: str) -> Determiner:
    return _determiner(english, french, french, french, french)


THE = _determiner("the", "le", "la", "les", "les")
A = _determiner("a", "un", "une")
SOME_MASS = _determiner("some", "de le", "de la")
ANY = _determiner("any", "de", "de")
NOT_A = _determiner("a", "de", "de")
OWN = [
    _determiner("my", "mon", "ma", "mes", "mes"),
    _determiner("his", "son", "sa", "ses", "ses"),
    _determiner("her", "son", "sa", "ses", "ses"),
    _determiner("our", "notre", "notre", "nos", "nos"),
    _determiner("your", "votre", "votre", "vos", "vos"),
    _determiner("their", "leur", "leur", "leurs", "leurs"),
]
THIS = _determiner("this", "ce", "cette")
THESE = _determiner("these", "", "", "ces", "ces")
_NUMBERS = """two deux, three trois, four quatre, five cinq, six six, ten dix, seven sept, eight huit, nine neuf,
twelve douze, twenty vingt, eleven onze, thirty trente, fifteen quinze, fifty cinquante, forty quarante, sixteen seize,
thirteen treize, fourteen quatorze, sixty soixante"""
NUMBERS = [_any(*pair.split()) for pair in _NUMBERS.split(",")]
QUANTITIES = [_any("some", "quelques"), _any("several", "plusieurs"), _any("many", "beaucoup de"), *NUMBERS]
SINGULAR = Weighted([THE, A, THIS, *OWN, _determiner("every", "chaque", "chaque")], [40, 20, 6, 4, 3, 3, 2, 2, 1, 3])
INDEFINITE = Weighted([A])
INDEFINITE_MASS = Weighted([SOME_MASS])
MASS = Weighted([THE, SOME_MASS, THIS, *OWN], [40, 30, 5, 4, 3, 3, 2, 2, 1])
PLURAL = Weighted(
    [THE, THESE, *OWN, _determiner("all the", "", "", "tous:0 les:1", "toutes:0 les:1"), *QUANTITIES],
    [40, 7, 4, 3, 3, 2, 2, 1, 3, 6, 4, 4, *(7 / (rank + 3) for rank in range(len(NUMBERS)))],
)
INDEFINITE_PLURAL = Weighted(QUANTITIES)
PLAIN = Weighted([THE, THIS, *OWN], [40, 5, 4, 3, 3, 2, 2, 1])  # also where a negation or a preposition restricts
PLAIN_PLURAL = Weighted([THE, THESE, *OWN], [40, 5, 4, 3, 3, 2, 2, 1])

# which determiners → those of a singular, a mass noun, a plural
DETERMINERS = {
    "all": (SINGULAR, MASS, PLURAL),
    "plain": (PLAIN, PLAIN, PLAIN_PLURAL),
    "negated": (PLAIN, PLAIN, PLAIN_PLURAL),
    "indefinite": (INDEFINITE, INDEFINITE_MASS, INDEFINITE_PLURAL),
}


class Pronoun(NamedTuple):
    """English subject and object; French subject, direct and indirect object, and the form after a preposition."""

    en: str
    en_object: str
    fr: str
    direct: str
    dative: str
    tonic: str
    person: int
    feminine: bool = False


# Conventions that make English decide the French: I and me are masculine; we, you, they and them are masculine plural.
PRONOUNS = [
    Pronoun("I", "me", "je", "me", "me", "moi", 0),
    Pronoun("he", "him", "il", "+le", "lui", "lui", 2),
    Pronoun("she", "her", "elle", "+la", "lui", "elle", 2, True),
    Pronoun("we", "us", "nous", "nous", "nous", "nous", 3),
    Pronoun("you", "you", "vous", "vous", "vous", "vous", 4),
    Pronoun("they", "them", "ils", "+les", "leur", "eux", 5),
]
PRONOUN = Weighted(PRONOUNS, [6, 5, 4, 3, 3, 3])
HELD_OUT_SHARE = 8  # one pair of words in so many is kept out of training


def held_out(first: str, second: str) -> bool:
    """Whether this pair of French words is one that training never shows together."""
    return crc32(f"{first} {second}".encode()) % HELD_OUT_SHARE == 0


@dataclass(slots=True)
class Np:
    """A noun phrase with what agreement needs: gender, number, person; the head nouns, where it has any."""

    en: list[int]
    fr: list[Token]
    feminine: bool
    plural: bool
    person: int
    classes: str = "P"
    nouns: tuple[Noun, ...] = ()
    is_pronoun: bool = False


@dataclass
class Phrases:
    """One sentence in the making: its English words so far, and the held-out pairs that it contains."""

    lex: Lexicon
    random: Callable[[], float]
    words: list[str] = field(default_factory=list)
    novel: bool = False
    nested: bool = False  # a relative clause has been opened; one is enough

    def word(self, *words: str) -> list[int]:
        """Write English words; their numbers."""
        start = len(self.words)
        self.words.extend(words)
        return list(range(start, len(self.words)))

    def pair(self, first: str, nouns: tuple[Noun, ...]) -> None:
        """Note the use of a word with these nouns."""
        for noun in nouns:
            if held_out(first, noun.fr[0]):
                self.novel = True

    def pronoun(self, chosen: Pronoun) -> Np:
        en = self.word(chosen.en)
        return Np(en, [(chosen.fr, tuple(en))], chosen.feminine, chosen.person > 2, chosen.person, is_pronoun=True)

    def name(self) -> Np:
        noun = self.lex.nouns_of("H").draw(self.random)
        en = self.word(*noun.en[0])
        return Np(en, [(noun.fr[0], tuple(en))], noun.feminine, False, 2, "P")

    def noun_phrase(
        self, classes: str, *, determiners: str = "all", many: bool | None = None, bare: bool = False
    ) -> Np:
        """Determiner, adjectives and noun; bare: no adjective.

        determiners: "all"; "plain": the, this, my …; "negated": those, and "de" for "a"; "indefinite": a, some, two …
        """
        random = self.random
        noun = self.lex.nouns_of(classes).draw(random)
        is_plural = not noun.mass and (random() < 0.3 if many is None else many)
        words, forms = self._determiner(noun, is_plural, determiners)
        start = self.word(*words)[0]
        fr = [(text, tuple(start + at for at in places)) for text, places in forms[noun.feminine, is_plural]]
        en = list(range(start, len(self.words)))
        adjectives_before: list[Token] = []
        adjectives_after: list[Token] = []
        if not bare and random() < 0.38:
            both = random() < 0.1
            for precedes in (True, False) if both else (None,):
                self._adjective(noun, is_plural, precedes, adjectives_before, adjectives_after, en)
        head = self.word(*noun.en[is_plural])
        en += head
        fr += adjectives_before
        fr.append((noun.fr[is_plural], tuple(head)))
        fr += adjectives_after
        return Np(en, fr, noun.feminine, is_plural, 5 if is_plural else 2, noun.classes, (noun,))

    def _determiner(self, noun: Noun, is_plural: bool, which: str) -> Determiner:
        if which == "negated" and not is_plural and self.random() < 0.4:
            return ANY if noun.mass else NOT_A
        return DETERMINERS[which][2 if is_plural else int(noun.mass)].draw(self.random)

    def _adjective(
        self, noun: Noun, is_plural: bool, precedes: bool | None, before: list[Token], after: list[Token], en: list[int]
    ) -> None:
        choice = self.lex.adjectives_of(noun.classes, precedes)
        if choice is None:
            return
        adjective = choice.draw(self.random)
        target = before if adjective.precedes else after
        if adjective.gradable and self.random() < 0.06:
            very = self.word("very")
            en += very
            target.append(("très", tuple(very)))
        number = self.word(adjective.en)
        en += number
        self.pair(adjective.fr[0][0], (noun,))
        form = adjective.form(noun.feminine, is_plural, attributive=adjective.precedes)
        target.append((form, tuple(number)))

    def predicate_adjective(self, subject: Np) -> tuple[Adjective, Token, list[int]]:
        """An adjective that agrees with the subject: the adjective, its French token, its English word."""
        choice = self.lex.adjectives_of(subject.classes, None)
        assert choice is not None  # big, small … suit everything
        while True:
            adjective = choice.draw(self.random)
            if adjective.classes and (adjective.gradable or not adjective.precedes):  # "the house is first" is odd
                break
        number = self.word(adjective.en)
        self.pair(adjective.fr[0][0], subject.nouns)
        return adjective, (adjective.form(subject.feminine, subject.plural), tuple(number)), number
