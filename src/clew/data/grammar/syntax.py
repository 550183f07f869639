"""Clauses and sentences of the synchronous grammar; see `phrases` for how the two languages are written together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from clew.data.grammar.english import takes_an
from clew.data.grammar.french import Token, conjugate, sandhi
from clew.data.grammar.lexicon import Lexicon, Verb, Weighted
from clew.data.grammar.phrases import ETRE, NEGATIONS, PRONOUN, PRONOUNS, Matrix, Np, Phrases, VerbGroup

Both = tuple[list[int], list[Token]]  # a constituent in English and in French

MATRICES = Weighted(
    [
        Matrix(("want", "wants", "wanted"), ("to",), "vouloir", state=True),
        Matrix(("can", "can", ""), (), "pouvoir"),
        Matrix(("must", "must", ""), (), "devoir"),
        Matrix(("like", "likes", "liked"), ("to",), "aimer", state=True),
        Matrix(("try", "tries", "tried"), ("to",), "essayer", "de"),
        Matrix(("begin", "begins", "began"), ("to",), "commencer", "à"),
        Matrix(("hope", "hopes", "hoped"), ("to",), "espérer", state=True),
        Matrix(("decide", "decides", "decided"), ("to",), "décider", "de"),
        Matrix(("forget", "forgets", "forgot"), ("to",), "oublier", "de"),
        Matrix(("refuse", "refuses", "refused"), ("to",), "refuser", "de"),
        Matrix(("learn", "learns", "learned"), ("to",), "apprendre", "à"),
        Matrix(("continue", "continues", "continued"), ("to",), "continuer", "à"),
        Matrix(("promise", "promises", "promised"), ("to",), "promettre", "de"),
        Matrix(("hesitate", "hesitates", "hesitated"), ("to",), "hésiter", "à"),
    ]
)
SAYING = Weighted(
    [
        Matrix(("think", "thinks", "thought"), ("that",), "penser", state=True),
        Matrix(("say", "says", "said"), ("that",), "dire"),
        Matrix(("know", "knows", "knew"), ("that",), "savoir", state=True),
        Matrix(("believe", "believes", "believed"), ("that",), "croire", state=True),
        Matrix(("hope", "hopes", "hoped"), ("that",), "espérer", state=True),
        Matrix(("claim", "claims", "claimed"), ("that",), "affirmer"),
        Matrix(("imagine", "imagines", "imagined"), ("that",), "imaginer", state=True),
    ]
)
# English, French word:places, class of the noun phrase
PLACES = Weighted(
    [
        (("in",), (("dans", (0,)),), "i"),
        (("near",), (("près", (0,)), ("de", (0,))), "L"),
        (("on",), (("sur", (0,)),), "s"),
        (("behind",), (("derrière", (0,)),), "LUN"),
        (("in", "front", "of"), (("devant", (0, 1, 2)),), "LU"),
        (("next", "to"), (("à", (0,)), ("côté", (0,)), ("de", (1,))), "LUN"),
        (("far", "from"), (("loin", (0,)), ("de", (1,))), "L"),
    ]
)
WITH = Weighted([(("with",), "avec"), (("for",), "pour"), (("without",), "sans"), (("like",), "comme")], [8, 5, 2, 1])
DAYS = (("Monday", "lundi"), ("Tuesday", "mardi"), ("Wednesday", "mercredi"), ("Thursday", "jeudi"))
DAYS += (("Friday", "vendredi"), ("Saturday", "samedi"), ("Sunday", "dimanche"))
MONTHS = "January janvier,February février,March mars,April avril,May mai,June juin,July juillet,August août,"
MONTHS += "September septembre,October octobre,November novembre,December décembre"
# tense → times, as English words, French words with the places of the English ones
TIMES: dict[str, list[tuple[str, str]]] = {
    "past": [
        ("yesterday", "hier:0"),
        ("last week", "la:0 semaine:1 dernière:0"),
        ("last year", "l':0 année:1 dernière:0"),
    ],
    "future": [
        ("tomorrow", "demain:0"),
        ("next week", "la:0 semaine:1 prochaine:0"),
        ("next year", "l':0 année:1 prochaine:0"),
    ],
    "present": [("now", "maintenant:0"), ("today", "aujourd'hui:0"), ("every day", "chaque:0 jour:1")],
    "imperfect": [("that day", "ce:0 jour-là:0,1"), ("this morning", "ce:0 matin:1")],
}
TIMES["present"] += [(f"on {english}", f"le:0 {french}:1") for english, french in DAYS]
for _tense in ("past", "future"):
    TIMES[_tense] += [(f"in {m.split()[0]}", f"en:0 {m.split()[1]}:1") for m in MONTHS.split(",")]
TIME = {tense: Weighted(times) for tense, times in TIMES.items()}
WHERE = Weighted([("where", "où"), ("why", "pourquoi"), ("when", "quand"), ("how", "comment")])
LINKS = Weighted(
    [
        (("and",), (("et", (0,)),)),
        (("but",), (("mais", (0,)),)),
        (("because",), (("parce", (0,)), ("que", (0,)))),
        (("when",), (("quand", (0,)),)),
        (("while",), (("pendant", (0,)), ("que", (0,)))),
        (("or",), (("ou", (0,)),)),
    ]
)
TENSE = Weighted(["present", "past", "future", "imperfect"], [45, 30, 14, 11])
NEGATION = Weighted(["not", "never", "no longer", "nothing"], [70, 14, 10, 6])
FRAMES = Weighted([("direct",), ("none",), ("à", "de"), ("dative",), ("place",)], [58, 20, 9, 8, 5])


@dataclass(slots=True)
class Clause:
    """A clause in pieces, so that a question can move them."""

    subject: Np
    group: VerbGroup
    tail: Both
    obj: Np | None
    tense: str


class Writer(Phrases):
    """Writes one sentence."""

    # ---- subjects, objects, adjuncts

    def subject(self, classes: str) -> Np:
        """A subject of one of these classes: pronoun, name, noun phrase, or two of them."""
        random = self.random
        if "P" in classes and random() < 0.72:
            choice = random()
            if choice < 0.34:
                return self.pronoun(PRONOUNS.index(PRONOUN.draw(random)))
            if choice < 0.5:
                return self.name()
            if choice < 0.56:
                return self.both(self.name(), "and", self.noun_phrase("P"))
            return self.modified(self.noun_phrase("P"))
        return self.modified(self.noun_phrase(classes))

    def both(self, first: Np, english: str, second: Np) -> Np:
        """Two noun phrases joined: plural, and feminine only where both are. `first` must have been written first."""
        link = self.word(english)
        fr = [*first.fr, ({"and": "et", "or": "ou"}[english], tuple(link)), *second.fr]
        en = first.en + link + second.en
        return Np(en, fr, first.feminine and second.feminine, True, 5, "P", first.nouns + second.nouns)

    def modified(self, np: Np) -> Np:
        """Perhaps with a possessor, a complement or a relative clause."""
        choice = self.random()
        if choice < 0.05 and np.classes[0] in "OCVA":
            return self.possessed(np.classes[0])
        if choice < 0.12 and np.classes in ("R", "I"):
            of, owner = self.word("of"), self.noun_phrase("P", determiners="plain", bare=True)
            return Np(
                np.en + of + owner.en, [*np.fr, ("de", tuple(of)), *owner.fr],
                np.feminine, np.plural, np.person, np.classes, np.nouns,
            )  # fmt: skip
        if choice > 0.86 and not self.nested and np.classes[0] in "PAORVCIF":
            self.nested = True
            return self.relative(np)
        return np

    def possessed(self, classes: str) -> Np:
        """The teacher 's book: le livre du professeur."""
        owner = self.name() if self.random() < 0.5 else self.noun_phrase("P", determiners="plain", bare=True)
        mark = self.word("'" if self.words[owner.en[-1]].endswith("s") and owner.plural else "'s")
        noun = self.lex.nouns_of(classes).draw(self.random)
        is_plural = self.random() < 0.3
        head = self.word(*noun.en[is_plural])
        article = "les" if is_plural else "la" if noun.feminine else "le"
        fr = [(article, tuple(mark)), (noun.fr[is_plural], tuple(head)), ("de", tuple(mark)), *owner.fr]
        person = 5 if is_plural else 2
        return Np(owner.en + mark + head, fr, noun.feminine, is_plural, person, noun.classes, (noun,))

    def relative(self, np: Np) -> Np:
        """who sees / that Mary sees: qui voit / que Marie voit, where the participle agrees with the antecedent."""
        if self.random() < 0.55 and np.classes[0] in "PA":
            who = self.word("who" if np.classes[0] == "P" else "that")
            gap = Np([], [], np.feminine, np.plural, np.person, np.classes[0], np.nouns)
            clause = self.clause(gap, light=True)
            pronoun = "qui"
        elif self.lex.verbs_of(("direct",), "P", np.classes[0]) is None:
            return np
        else:
            who, pronoun = self.word("that"), "que"
            clause = self.clause(None, moved=np, light=True)
        en, fr = self.statement(clause)
        return Np(
            np.en + who + en, [*np.fr, (pronoun, tuple(who)), *fr],
            np.feminine, np.plural, np.person, np.classes, np.nouns,
        )  # fmt: skip

    def place(self) -> Both:
        """in the garden, near the station …"""
        words, french, classes = PLACES.draw(self.random)
        en = self.word(*words)
        np = self.noun_phrase(
            classes, determiners="plain" if self.random() < 0.75 else "all", many=None if self.random() < 0.2 else False
        )
        return en + np.en, [*((text, tuple(en[at] for at in places)) for text, places in french), *np.fr]

    def companion(self) -> Both:
        """with him, for the girl …"""
        words, french = WITH.draw(self.random)
        en = self.word(*words)
        row = PRONOUNS.index(PRONOUN.draw(self.random))
        if self.random() < 0.35 and french != "comme":
            number = self.word(PRONOUNS[row][1])
            return en + number, [(french, tuple(en)), (PRONOUNS[row][5], tuple(number))]
        np = self.name() if self.random() < 0.3 else self.noun_phrase("P", determiners="plain")
        return en + np.en, [(french, tuple(en)), *np.fr]

    def time(self, tense: str) -> Both:
        english, french = TIME[tense].draw(self.random)
        en = self.word(*english.split())
        pairs = (item.split(":") for item in french.split())
        return en, [(text, tuple(en[int(i)] for i in at.split(","))) for text, at in pairs]

    # ---- clauses

    def clause(
        self, subject: Np | None, *, moved: Np | None = None, tense: str = "", ask: str = "", light: bool = False,
        classes: str = "PA",
    ) -> Clause:  # fmt: skip
        """A clause; `moved` is a direct object that stands before it, `light` leaves adjuncts out."""
        random = self.random
        verb = self._verb(subject, moved, classes)
        if subject is None:
            subject = self.noun_phrase(verb.subjects) if light and random() < 0.5 else self.subject(verb.subjects)
        matrix = MATRICES.draw(random) if subject.classes[0] == "P" and not light and random() < 0.12 else None
        tense = self._tense(verb, tense, matrix)
        negation = NEGATION.draw(random) if random() < (0.12 if light else 0.2) else ""
        if negation == "nothing" and (verb.frame != "direct" or moved or ask or matrix or verb.particle):
            negation = "not"
        clitic = self._clitic(verb, subject) if not moved and negation != "nothing" and random() < 0.22 else None
        agreement = (moved.feminine, moved.plural) if moved else None
        token, number = None, []
        if clitic is not None:
            row, text = clitic
            number = self.word(PRONOUNS[row][1])
            token = (text, tuple(number))
            if verb.frame == "direct":
                agreement = (PRONOUNS[row][7], row > 2)
        adverb = not negation and random() < 0.1
        group = self.verb_group(
            verb,
            subject,
            tense,
            negation=negation,
            adverb=adverb,
            clitic=token,
            agreement=agreement,
            ask=ask,
            matrix=matrix,
        )
        if moved:
            self.pair(verb.fr.infinitive, moved.nouns)
        obj, tail = (
            (None, ([], [])) if moved or negation == "nothing" else self._object(verb, bool(negation), number, group)
        )
        if not light:
            self._adjuncts(subject, verb, tail)
        return Clause(subject, group, tail, obj, tense)

    def _verb(self, subject: Np | None, moved: Np | None, classes: str) -> Verb:
        """A verb for the subject (or its classes) and for the moved object."""
        kinds = subject.classes[0] if subject else classes
        if moved:
            return self.lex.verbs_of(("direct",), "P", moved.classes[0]).draw(self.random)
        while True:
            choice = self.lex.verbs_of(FRAMES.draw(self.random), kinds, "")
            if choice is not None:
                return choice.draw(self.random)

    def _tense(self, verb: Verb, tense: str, matrix: Matrix | None) -> str:
        """A tense that the verb has, and that English shows: not the past of "put"."""
        if matrix and matrix.modal:
            return "present"
        past_is_base = not matrix and verb.en[2] == verb.en[0]
        while True:
            chosen = tense or TENSE.draw(self.random)
            if (chosen == "imperfect" and (matrix or verb.stative)) or (chosen == "past" and past_is_base):
                tense = ""
                continue
            return chosen

    def _clitic(self, verb: Verb, subject: Np) -> tuple[int, str] | None:
        """An object pronoun (row, French form) that this verb and subject allow."""
        if verb.frame not in ("direct", "à", "dative"):
            return None
        if verb.frame == "direct" and "P" not in verb.objects:
            rows = [5]
        else:
            rows = [row for row in range(6) if PRONOUNS[row][6] != subject.person or subject.person in (2, 5)]
            if subject.person in (0, 3):
                rows = [row for row in rows if row not in (0, 3)]
        row = rows[int(self.random() * len(rows))]
        return row, PRONOUNS[row][3 if verb.frame == "direct" else 4]

    def _object(self, verb: Verb, negated: bool, clitic: list[int], group: VerbGroup) -> tuple[Np | None, Both]:
        """What follows the verb."""
        if verb.frame == "none":
            return None, ([], [])
        if clitic and verb.frame in ("direct", "à"):
            return None, (list(clitic), [])
        direct = verb.frame in ("direct", "dative")
        np = self.noun_phrase(verb.objects, determiners="plain" if not direct else "negated" if negated else "all")
        if verb.frame == "direct" and not negated:  # a relative clause under a negation would want the subjunctive
            np = self.modified(np)
        self.pair(verb.fr.infinitive, np.nouns)
        if direct and self.random() < 0.05 and np.classes[0] == "P":
            np = self.both(np, "and", self.noun_phrase("P"))
        if verb.frame == "dative":
            to = self.word("to")
            if clitic:
                group.before, group.after = (
                    self._link_to(group.before, clitic, to),
                    self._link_to(group.after, clitic, to),
                )
                return np, (np.en + to + clitic, np.fr)
            person = self.name() if self.random() < 0.3 else self.noun_phrase("P", determiners="plain", bare=True)
            return np, (np.en + to + person.en, [*np.fr, ("à", tuple(to)), *person.fr])
        if direct:
            return np, (np.en, np.fr)
        preposition = "de" if verb.frame == "de" else "à"
        words = [n for n in group.rest if self.words[n] in verb.particle]
        return np, (np.en, [(preposition, tuple(words)), *np.fr])

    @staticmethod
    def _link_to(tokens: list[Token], clitic: list[int], to: list[int]) -> list[Token]:
        """Let the dative clitic (lui, leur) translate "to" as well."""
        return [(text, links + tuple(to)) if links == tuple(clitic) else (text, links) for text, links in tokens]

    def _adjuncts(self, subject: Np, verb: Verb, tail: Both) -> None:
        """Perhaps a manner adverb, a place, a companion at the end."""
        en, fr = tail
        random = self.random
        choice = random()
        if choice < 0.1 and verb.frame in ("none", "direct", "à") and not verb.stative:
            adverb = self.lex.final_adverbs.draw(random)
            number = self.word(adverb.en)
            addition: Both = (number, [(adverb.fr, tuple(number))])
        elif choice < 0.28 and verb.frame in ("none", "direct") and not verb.stative:
            addition = self.place()
        elif choice < 0.36 and subject.classes[0] == "P" and verb.frame != "dative" and not verb.stative:
            addition = self.companion()
        else:
            return
        tail[0][:] = en + addition[0]
        tail[1][:] = fr + addition[1]

    def statement(self, clause: Clause) -> Both:
        """subject auxiliary not verb object: sujet ne clitique verbe pas objet."""
        group, (en, fr) = clause.group, clause.tail
        return (
            clause.subject.en + group.aux + group.middle + group.rest + en,
            [*clause.subject.fr, *group.before, group.finite, *group.after, *fr],
        )

    def question(self, clause: Clause, *, ask: str) -> Both:
        """auxiliary subject verb …: by est-ce que, or by inversion where `ask` says so."""
        subject, group, (en, fr) = clause.subject, clause.group, clause.tail
        english = group.aux + subject.en + group.middle + group.rest + en
        if ask == "est-ce":
            do = tuple(group.aux)
            french = [("est-ce", do), ("que", do), *subject.fr, *group.before, group.finite, *group.after, *fr]
        else:
            french = [*group.before, inverted(group.finite, subject.fr[0]), *group.after, *fr]
        return english, french

    def manner(self, subject: Np) -> str:
        """How French asks: by inversion of a pronoun, except je; otherwise by est-ce que."""
        return "inversion" if subject.is_pronoun and subject.person else "est-ce"

    # ---- sentences

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
            forms = (
                ("am", "are", "is", "are", "are", "are")
                if tense == "present"
                else ("was", "were", "was", *["were"] * 3)
            )
            aux, rest = self.word(forms[person]), []
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
        first: Both
        if self.random() < 0.5:
            antecedent = self.noun_phrase("AOULCVRIN", bare=True)
            (en, fr), (pred_en, pred_fr), aux = self.be(antecedent)
            first = (antecedent.en + aux + en + pred_en, [*antecedent.fr, *fr, *pred_fr])
        else:
            while True:
                clause = self.clause(None, classes="P", light=True)
                antecedent = clause.obj
                if (
                    antecedent
                    and antecedent.classes[0] not in "PA"
                    and not antecedent.plural
                    and clause.tail[0] == antecedent.en
                ):
                    break
                self.words.clear()
                self.novel = self.nested = False
            first = self.statement(clause)
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

    def existential(self) -> Both:
        """there is a cat in the garden: il y a un chat dans le jardin."""
        tense = TENSE.draw(self.random)
        tense = "imperfect" if tense == "past" else tense
        there = self.word("there")
        np = self.noun_phrase("AOPVUN", determiners="indefinite", many=self.random() < 0.4)
        verb = self.word(*{"present": ("are" if np.plural else "is",), "future": ("will", "be")}.get(
            tense, ("were" if np.plural else "was",)))  # fmt: skip
        avoir = getattr(conjugate("avoir"), tense)[2]
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
            return word + first[0] + comma + second[0], [
                ("si", tuple(word)),
                *first[1],
                (",", tuple(comma)),
                *second[1],
            ]
        first = self.statement(self.clause(None, tense=tense, light=True))
        words, french = LINKS.draw(self.random)
        link = self.word(*words)
        second = self.statement(self.clause(None, tense=tense, light=True))
        return first[0] + link + second[0], [*first[1], *((text, tuple(link)) for text, _ in french), *second[1]]

    def reported(self) -> Both:
        """Mary thinks that …"""
        verb = SAYING.draw(self.random)
        subject = self.subject("P")
        person, is_past = subject.person, self.random() < 0.3
        number = self.word(verb.en[2] if is_past else verb.en[int(person == 2)])
        that = self.word(*verb.to)
        forms = conjugate(verb.fr)
        if is_past and not verb.state:
            said = [(conjugate("avoir").present[person], tuple(number)), (forms.participle, tuple(number))]
        else:
            said = [((forms.imperfect if is_past else forms.present)[person], tuple(number))]
        inner = self.clause(None, tense="imperfect" if is_past else "", light=True)
        en, fr = self.statement(inner)
        return subject.en + number + that + en, [*subject.fr, *said, ("que", tuple(that)), *fr]


def inverted(verb: Token, pronoun: Token) -> Token:
    """mange-t-il, vont-ils: one word, which translates verb and pronoun."""
    text, links = verb
    joint = "-t-" if text[-1] in "aec" and pronoun[0] in ("il", "elle") else "-"
    return text + joint + pronoun[0], links + pronoun[1]


SENTENCES = Weighted(
    [
        (Writer.simple, "."), (Writer.copula, "."), (Writer.copula_question, "?"), (Writer.yes_no, "?"), (Writer.joined, "."), (Writer.coreference, "."),
        (Writer.existential, "."), (Writer.reported, "."), (Writer.where, "?"), (Writer.who, "?"), (Writer.what, "?"),
        (Writer.how_many, "?"),
    ],
    [46, 9, 3, 8, 10, 6, 4, 6, 3, 2, 2, 3],
)  # fmt: skip


def sentence(lex: Lexicon, random: Callable[[], float]) -> tuple[str, str, str, bool]:
    """One pair: English, French, alignment "i-j …" (English word first), and whether it holds a held-out combination."""
    writer = Writer(lex, random)
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
