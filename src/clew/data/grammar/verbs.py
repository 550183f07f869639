"""Verb groups: auxiliaries, negation, adverb and clitics around a verb, in both languages."""

from __future__ import annotations

from dataclasses import dataclass

from clew.data.grammar.french import Conjugation, Token, agree, conjugate
from clew.data.grammar.lexicon import Verb
from clew.data.grammar.phrases import Np, Phrases

REFLEXIVE = ("me", "te", "se", "nous", "vous", "se")
NEGATIONS = {
    "not": (("not",), "pas"),
    "never": (("never",), "jamais"),
    "no longer": (("no", "longer"), "plus"),
    "nothing": ((), "rien"),  # its English follows the verb
}
AVOIR, ETRE = conjugate("avoir"), conjugate("être")


@dataclass(frozen=True, slots=True)
class Matrix:
    """A verb that takes an infinitive: can, must, want to, try to …"""

    en: tuple[str, str, str]  # base, third person, past; the past is empty for a modal
    to: tuple[str, ...]
    fr: Conjugation
    link: str = ""  # à or de before the infinitive
    state: bool = False  # its English past is a French imperfect

    @property
    def modal(self) -> bool:
        return not self.en[2]


@dataclass(slots=True)
class VerbGroup:
    """A verb with its auxiliaries, negation, adverb and clitics, in pieces that statements and questions order."""

    aux: list[int]
    middle: list[int]
    rest: list[int]
    before: list[Token]  # ne, clitics
    finite: Token
    after: list[Token]  # pas, adverb, participle or infinitive


class VerbPhrases(Phrases):
    """Verbs with what stands around them."""

    def verb_group(
        self,
        verb: Verb,
        subject: Np,
        tense: str,
        *,
        negation: str = "",
        adverb: bool = False,
        clitic: Token | None = None,
        agreement: tuple[bool, bool] = (False, False),
        ask: str = "",
        matrix: Matrix | None = None,
    ) -> VerbGroup:
        """Put a verb into a tense, with what stands around it.

        agreement: gender and number of a direct object that precedes; ask: "" for a statement, "est-ce", "inversion".
        """
        aux, form = self._auxiliary(matrix, subject.person, tense, negation, bool(ask))
        middle = self.word(*NEGATIONS[negation][0]) if negation and self.words[-1] != "cannot" else []
        negative = tuple(middle) or tuple(aux)  # cannot: ne peut pas
        mid: list[Token] = []
        if adverb:
            chosen = self.lex.middle_adverbs.draw(self.random)
            number = self.word(chosen.en)
            middle, mid = middle + number, [(chosen.fr, tuple(number))]
        if matrix:
            head = [] if matrix.modal else self.word(matrix.en[form])
            to = self.word(*matrix.to)
            inner = self.word(verb.en[0], *verb.particle)
            rest = head + to + inner
        else:
            rest = head = inner = self.word(verb.en[form], *verb.particle)
        if negation == "nothing":
            negative = tuple(self.word("nothing"))
            rest = rest + list(negative)
        if verb.frame in ("à", "de", "place"):  # the particle is translated by the preposition, not by the verb
            particle, inner = inner[1:], inner[:1]
            head = head if matrix else inner
            clitic = clitic and (clitic[0], clitic[1] + tuple(particle))
        clitics = [(REFLEXIVE[subject.person], tuple(inner))] if verb.reflexive else [clitic] if clitic else []
        finite, tail = self._finite(matrix or verb, subject, tense, agreement, tuple(aux), tuple(head), ask == "est-ce")
        before = [("ne", negative)] if negation else []
        if matrix:
            link = [(matrix.link, tuple(to))] if matrix.link else []
            tail += [*link, *clitics, (verb.fr.infinitive, tuple(inner if link else to + inner))]
        else:
            before += clitics
        after = ([(NEGATIONS[negation][1], negative)] if negation else []) + mid + tail
        return VerbGroup(aux, middle, rest, before, finite, after)

    @staticmethod
    def _finite(
        head: Verb | Matrix,
        subject: Np,
        tense: str,
        agreement: tuple[bool, bool],
        aux: tuple[int, ...],
        words: tuple[int, ...],
        est_ce: bool,
    ) -> tuple[Token, list[Token]]:
        """The finite verb, and the participle of a passé composé: with être it agrees with the subject."""
        forms = head.fr
        if tense == "past" and not head.state:
            reflexive = isinstance(head, Verb) and head.reflexive
            with_etre = reflexive or forms.with_etre
            gender = (subject.feminine, subject.plural) if with_etre else agreement
            if isinstance(head, Matrix):
                gender = (False, False)  # the object belongs to the infinitive
            auxiliary = (ETRE if with_etre else AVOIR).present[subject.person]
            return (auxiliary, aux or words), [(agree(forms.participle, *gender), words)]
        text = getattr(forms, "imperfect" if tense == "past" else tense)[subject.person]
        # "does" is est-ce que where that stands; without it, does and the verb are one French word.
        links = words if est_ce and words and tense in ("present", "past") else aux + words
        return (text, links), []

    def _auxiliary(
        self, matrix: Matrix | None, person: int, tense: str, negation: str, asks: bool
    ) -> tuple[list[int], int]:
        """The English auxiliary, and which form of the head follows: 0 base, 1 third person, 2 past, 3 -ing."""
        third = person == 2
        if matrix and matrix.modal:
            cannot = negation == "not" and matrix.en[0] == "can" and not asks
            return self.word("cannot" if cannot else matrix.en[0]), 0
        if tense == "future":
            return self.word("will"), 0
        if tense == "imperfect":
            return self.word("was" if person in (0, 2) else "were"), 3
        if negation == "not" or asks:
            return self.word("did" if tense == "past" else "does" if third else "do"), 0
        return [], 2 if tense == "past" else int(third)
