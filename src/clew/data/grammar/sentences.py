"""Kinds of sentence, and how one is finished: word order, sandhi, a/an, alignment."""

from __future__ import annotations

from collections.abc import Callable

from clew.data.grammar.clauses import NEGATION, TENSE, Both, Clauses, inverted
from clew.data.grammar.english import takes_an
from clew.data.grammar.french import conjugate, sandhi
from clew.data.grammar.lexicon import Lexicon, Weighted
from clew.data.grammar.phrases import Np
from clew.data.grammar.verbs import AVOIR, ETRE, NEGATIONS, Matrix

SAYING = Weighted(
    [
        Matrix(("think", "thinks", "thought"), ("that",), conjugate("penser"), state=True),
        Matrix(("say", "says", "said"), ("that",), conjugate("dire")),
        Matrix(("know", "knows", "knew"), ("that",), conjugate("savoir"), state=True),
        Matrix(("believe", "believes", "believed"), ("that",), conjugate("croire"), state=True),
        Matrix(("hope", "hopes", "hoped"), ("that",), conjugate("espérer"), state=True),
        Matrix(("claim", "claims", "claimed"), ("that",), conjugate("affirmer")),
        Matrix(("imagine", "imagines", "imagined"), ("that",), conjugate("imaginer"), state=True),
    ]
)
WHERE = Weighted([("where", "où"), ("why", "pourquoi"), ("when", "quand"), ("how", "comment")])
LINKS = Weighted(
    [
        ("and", "et"),
        ("but", "mais"),
        ("because", "parce que"),
        ("when", "quand"),
        ("while", "pendant que"),
        ("or", "ou"),
    ]
)


class Sentences(Clauses):
    """One method for each kind of sentence."""

    def simple(self) -> Both:
        """A statement, perhaps after an expression of time."""
        if self.random() < 0.18:
            tense = TENSE.draw(self.random)
            en, fr = self.time(tense)
            comma = self.word(",")
            more = self.statement(self.clause(None, tense=tense, light=self.random() < 0.5))
            return en + comma + more[0], [*fr, (",", tuple(comma)), *more[1]]
        classes = "PA" if self.random() < 0.95 else "VN"
        return self.statement(self.clause(None, classes=classes))

    def yes_no(self) -> Both:
        subject = self.subject("PA" if self.random() < 0.4 else "P")
        ask = self.manner(subject)
        return self.question(self.clause(subject, ask=ask, light=self.random() < 0.5), ask=ask)

    def where(self) -> Both:
        english, french = WHERE.draw(self.random)
        word = self.word(english)
        subject = self.subject("P")
        ask = self.manner(subject)
        en, fr = self.question(self.clause(subject, ask=ask, light=True), ask=ask)
        return word + en, [(french, tuple(word)), *fr]

    def who(self) -> Both:
        word = self.word("who")
        return self.statement(self.clause(Np(word, [("qui", tuple(word))], False, False, 2, "P")))

    def what(self) -> Both:
        """what does the man eat: qu' est-ce que l' homme mange."""
        word = self.word("what")
        subject = self.subject("P")
        thing = Np([], [], False, False, 2, "FORC"[int(self.random() * 4)])
        en, fr = self.question(self.clause(subject, moved=thing, ask="est-ce", light=True), ask="est-ce")
        return word + en, [("que", tuple(word)), *fr]

    def how_many(self) -> Both:
        """how many apples did Mary eat: combien de pommes est-ce que Marie a mangées."""
        words = self.word("how", "many")
        noun = self.lex.nouns_of("FOAPCRV").draw(self.random)
        while noun.mass:
            noun = self.lex.nouns_of("FOAPCRV").draw(self.random)
        head = self.word(*noun.en[1])
        moved = Np([], [], noun.feminine, True, 5, noun.classes, (noun,))
        subject = self.subject("P")
        ask = self.manner(subject)
        en, fr = self.question(self.clause(subject, moved=moved, ask=ask, light=True), ask=ask)
        front = [("combien", tuple(words)), ("de", (words[1],)), (noun.fr[1], tuple(head))]
        return words + head + en, [*front, *fr]

    def be(self, subject: Np) -> tuple[Both, Both, list[int]]:
        """The copula: (verb and negation in both languages), (predicate in both), the English verb alone."""
        random = self.random
        person = subject.person
        tense = ("present", "imperfect", "future")[(random() > 0.6) + (random() > 0.85)]
        if tense == "future":
            aux, rest = self.word("will"), self.word("be")
        else:
            forms = "am are is are are are" if tense == "present" else "was were was were were were"
            aux, rest = self.word(forms.split()[person]), []
        negation = NEGATION.draw(random) if random() < 0.15 else ""
        negation = "not" if negation == "nothing" else negation
        middle = self.word(*NEGATIONS[negation][0]) if negation else []
        finite = (getattr(ETRE, tense)[person], tuple(aux + rest))
        en, fr = self.predicate(subject)
        before = [("ne", tuple(middle))] if negation else []
        after = [(NEGATIONS[negation][1], tuple(middle))] if negation else []
        return (middle + rest, [*before, finite, *after]), (en, fr), aux

    def predicate(self, subject: Np) -> Both:
        """old, very old, too old, as old as the king."""
        adjective, token, number = self.predicate_adjective(subject)
        choice = self.random() if adjective.gradable else 1.0
        if choice < 0.25:
            english, french = (("very", "très"), ("too", "trop"), ("so", "si"))[int(choice * 12)]
            degree = self.word(english)
            return degree + number, [("+si" if french == "si" else french, tuple(degree)), token]
        if choice < 0.42:
            english, french = ("as", "aussi") if choice < 0.34 else ("less", "moins")
            degree = self.word(english)
            than = self.word("as" if english == "as" else "than")
            other = (
                self.name() if "P" in subject.classes and self.random() < 0.4 else self.noun_phrase(subject.classes[0])
            )
            return degree + number + than + other.en, [(french, tuple(degree)), token, ("que", tuple(than)), *other.fr]
        return number, [token]

    def copula(self) -> Both:
        """the house is old: la maison est vieille."""
        subject = self._topic()
        (en, fr), (pred_en, pred_fr), aux = self.be(subject)
        return subject.en + aux + en + pred_en, [*subject.fr, *fr, *pred_fr]

    def copula_question(self) -> Both:
        """is the house old: est-ce que la maison est vieille; is she old: est-elle vieille."""
        subject = self._topic()
        (en, fr), (pred_en, pred_fr), aux = self.be(subject)
        english = aux + subject.en + en + pred_en
        if self.manner(subject) == "inversion":
            at = next(i for i, (_, links) in enumerate(fr) if aux[0] in links)
            return english, [*fr[:at], inverted(fr[at], subject.fr[0]), *fr[at + 1 :], *pred_fr]
        return english, [("est-ce", tuple(aux)), ("que", tuple(aux)), *subject.fr, *fr, *pred_fr]

    def _topic(self) -> Np:
        return self.subject("P") if self.random() < 0.35 else self.modified(self.noun_phrase("AOULCVRINFDM"))

    def coreference(self) -> Both:
        """Mary bought a dress but it is old: Marie a acheté une robe mais elle est vieille."""
        if self.random() < 0.5:
            antecedent = self.noun_phrase("AOULCVRIN", bare=True)
            (en, fr), (pred_en, pred_fr), aux = self.be(antecedent)
            first = (antecedent.en + aux + en + pred_en, [*antecedent.fr, *fr, *pred_fr])
        else:
            antecedent, first = self._mention()
        link_en, link_fr = (("but", "mais"), ("and", "et"), ("because", "parce que"))[int(self.random() * 3)]
        link = self.word(link_en)
        word = self.word("they" if antecedent.plural else "it")
        french = (
            ("elles" if antecedent.plural else "elle")
            if antecedent.feminine
            else ("ils" if antecedent.plural else "il")
        )
        again = Np(word, [(french, tuple(word))], antecedent.feminine, antecedent.plural, antecedent.person,
                   antecedent.classes, antecedent.nouns)  # fmt: skip
        (en, fr), (pred_en, pred_fr), aux = self.be(again)
        links = [(text, tuple(link)) for text in link_fr.split()]
        return first[0] + link + word + aux + en + pred_en, [*first[1], *links, *again.fr, *fr, *pred_fr]

    def _mention(self) -> tuple[Np, Both]:
        """A statement whose object "it" can take up: one thing, not "no thing", with nothing after it."""
        while True:
            clause = self.clause(None, classes="P", light=True)
            np = clause.obj
            if np and np.classes[0] not in "PA" and not np.plural and clause.tail[0] == np.en and not clause.negated:
                return np, self.statement(clause)
            self.words.clear()
            self.novel = self.nested = False

    def existential(self) -> Both:
        """there is a cat in the garden: il y a un chat dans le jardin."""
        tense = TENSE.draw(self.random)
        tense = "imperfect" if tense == "past" else tense
        there = self.word("there")
        np = self.noun_phrase("AOPVUN", determiners="indefinite", many=self.random() < 0.4)
        forms = {"present": ("is", "are"), "imperfect": ("was", "were"), "future": ("will be", "will be")}
        verb = self.word(*forms[tense][np.plural].split())
        avoir = getattr(AVOIR, tense)[2]
        place_en, place_fr = self.place()
        fr = [("il", tuple(there)), ("y", tuple(there)), (avoir, tuple(verb)), *np.fr, *place_fr]
        return there + verb + np.en + place_en, fr

    def joined(self) -> Both:
        """Two clauses with a conjunction, or if …, …"""
        tense = TENSE.draw(self.random)
        if self.random() < 0.2:
            word = self.word("if")
            first = self.statement(self.clause(None, tense="present", light=True))
            comma = self.word(",")
            second = self.statement(self.clause(None, tense="future", light=True))
            fr = [("si", tuple(word)), *first[1], (",", tuple(comma)), *second[1]]
            return word + first[0] + comma + second[0], fr
        english, french = LINKS.draw(self.random)
        if english in ("when", "while") and tense == "future":  # English would not say "when he will come"
            tense = "present"
        first = self.statement(self.clause(None, tense=tense, light=True))
        link = self.word(english)
        second = self.statement(self.clause(None, tense=tense, light=True))
        return first[0] + link + second[0], [*first[1], *((text, tuple(link)) for text in french.split()), *second[1]]

    def reported(self) -> Both:
        """Mary thinks that …"""
        verb = SAYING.draw(self.random)
        subject = self.subject("P")
        person, is_past = subject.person, self.random() < 0.3
        number = self.word(verb.en[2] if is_past else verb.en[int(person == 2)])
        that = self.word(*verb.to)
        if is_past and not verb.state:
            said = [(AVOIR.present[person], tuple(number)), (verb.fr.participle, tuple(number))]
        else:
            said = [((verb.fr.imperfect if is_past else verb.fr.present)[person], tuple(number))]
        inner = self.clause(None, tense="imperfect" if is_past else "", light=True)
        en, fr = self.statement(inner)
        return subject.en + number + that + en, [*subject.fr, *said, ("que", tuple(that)), *fr]


SENTENCES = Weighted(
    [
        (Sentences.simple, "."),
        (Sentences.copula, "."),
        (Sentences.copula_question, "?"),
        (Sentences.yes_no, "?"),
        (Sentences.joined, "."),
        (Sentences.coreference, "."),
        (Sentences.existential, "."),
        (Sentences.reported, "."),
        (Sentences.where, "?"),
        (Sentences.who, "?"),
        (Sentences.what, "?"),
        (Sentences.how_many, "?"),
    ],
    [46, 9, 3, 8, 10, 6, 4, 6, 3, 2, 2, 3],
)


def sentence(lex: Lexicon, random: Callable[[], float]) -> tuple[str, str, str, bool]:
    """One pair: English, French, alignment "i-j …", and whether it holds a held-out combination."""
    writer = Sentences(lex, random)
    rule, mark = SENTENCES.draw(random)
    en, fr = rule(writer)
    end = writer.word(mark)
    en = en + end
    fr = sandhi([*fr, (mark, tuple(end))])
    words = [writer.words[number] for number in en]
    for at, word in enumerate(words):
        if word == "a" and takes_an(words[at + 1]):
            words[at] = "an"
    place = {number: at for at, number in enumerate(en)}
    links = sorted({(place[number], at) for at, (_, numbers) in enumerate(fr) for number in numbers})
    alignment = " ".join(f"{i}-{j}" for i, j in links)
    return " ".join(words), " ".join(text.lstrip("+") for text, _ in fr), alignment, writer.novel
