"""Clauses: subjects, objects, adjuncts, statements and questions; `phrases` says how the languages go together."""

from __future__ import annotations

from dataclasses import dataclass

from clew.data.grammar.french import Token, conjugate
from clew.data.grammar.lexicon import Verb, Weighted
from clew.data.grammar.phrases import PRONOUN, PRONOUNS, Np, Pronoun
from clew.data.grammar.verbs import Matrix, VerbGroup, VerbPhrases

Both = tuple[list[int], list[Token]]  # a constituent in English and in French

MATRICES = Weighted(
    [
        Matrix(("want", "wants", "wanted"), ("to",), conjugate("vouloir"), state=True),
        Matrix(("can", "can", ""), (), conjugate("pouvoir")),
        Matrix(("must", "must", ""), (), conjugate("devoir")),
        Matrix(("like", "likes", "liked"), ("to",), conjugate("aimer"), state=True),
        Matrix(("try", "tries", "tried"), ("to",), conjugate("essayer"), "de"),
        Matrix(("begin", "begins", "began"), ("to",), conjugate("commencer"), "à"),
        Matrix(("hope", "hopes", "hoped"), ("to",), conjugate("espérer"), state=True),
        Matrix(("decide", "decides", "decided"), ("to",), conjugate("décider"), "de"),
        Matrix(("forget", "forgets", "forgot"), ("to",), conjugate("oublier"), "de"),
        Matrix(("refuse", "refuses", "refused"), ("to",), conjugate("refuser"), "de"),
        Matrix(("learn", "learns", "learned"), ("to",), conjugate("apprendre"), "à"),
        Matrix(("continue", "continues", "continued"), ("to",), conjugate("continuer"), "à"),
        Matrix(("promise", "promises", "promised"), ("to",), conjugate("promettre"), "de"),
        Matrix(("hesitate", "hesitates", "hesitated"), ("to",), conjugate("hésiter"), "à"),
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
DAYS = "Monday lundi,Tuesday mardi,Wednesday mercredi,Thursday jeudi,Friday vendredi,Saturday samedi,Sunday dimanche"
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
TIMES["present"] += [(f"on {d.split()[0]}", f"le:0 {d.split()[1]}:1") for d in DAYS.split(",")]
for _tense in ("past", "future"):
    TIMES[_tense] += [(f"in {m.split()[0]}", f"en:0 {m.split()[1]}:1") for m in MONTHS.split(",")]
TIME = {tense: Weighted(times) for tense, times in TIMES.items()}
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
    negated: bool


class Clauses(VerbPhrases):
    """Writes clauses."""

    # ---- subjects, objects, adjuncts

    def subject(self, classes: str) -> Np:
        """A subject of one of these classes: pronoun, name, noun phrase, or two of them."""
        random = self.random
        if "P" in classes and random() < 0.72:
            choice = random()
            if choice < 0.34:
                return self.pronoun(PRONOUN.draw(random))
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
        if self.random() < 0.35 and french != "comme":
            pronoun = PRONOUN.draw(self.random)
            number = self.word(pronoun.en_object)
            return en + number, [(french, tuple(en)), (pronoun.tonic, tuple(number))]
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
        if matrix and matrix.modal and tense not in ("", "present"):
            matrix = None  # can and must have the present only
        tense = self._tense(verb, tense, matrix)
        negation = NEGATION.draw(random) if random() < (0.12 if light else 0.2) else ""
        if negation == "nothing" and (verb.frame != "direct" or moved or ask or matrix or verb.particle):
            negation = "not"
        agreement = (moved.feminine, moved.plural) if moved else (False, False)
        clitic: Token | None = None
        pronoun: list[int] = []
        if not moved and negation != "nothing" and verb.frame in ("direct", "à", "dative") and random() < 0.22:
            chosen = self._object_pronoun(verb, subject)
            pronoun = self.word(*(["to"] if verb.frame == "dative" else []), chosen.en_object)
            clitic = (chosen.direct if verb.frame == "direct" else chosen.dative, tuple(pronoun))
            if verb.frame == "direct":
                agreement = (chosen.feminine, chosen.person > 2)
        adverb = not negation and random() < 0.1
        group = self.verb_group(
            verb,
            subject,
            tense,
            negation=negation,
            adverb=adverb,
            clitic=clitic,
            agreement=agreement,
            ask=ask,
            matrix=matrix,
        )
        if moved:
            self.pair(verb.fr.infinitive, moved.nouns)
        obj: Np | None = None
        tail: Both = ([], [])
        if not moved and negation != "nothing":
            within = bool(negation) and not (
                matrix and matrix.link
            )  # n'essaie pas de voir une maison, but ne voit pas de …
            obj, tail = self._object(verb, within, pronoun, group)
        if not light:
            en, fr = self._adjunct(subject, verb)
            tail = (tail[0] + en, tail[1] + fr)
        return Clause(subject, group, tail, obj, bool(negation))

    def _verb(self, subject: Np | None, moved: Np | None, classes: str) -> Verb:
        """A verb for the subject (or its classes) and for the moved object."""
        kinds = subject.classes[0] if subject else classes
        while True:
            choice = (
                self.lex.verbs_of(("direct",), "P", moved.classes[0])
                if moved
                else self.lex.verbs_of(FRAMES.draw(self.random), kinds, "")
            )
            if choice is not None:
                return choice.draw(self.random)

    def _tense(self, verb: Verb, wanted: str, matrix: Matrix | None) -> str:
        """The tense wanted (or any), as far as the verb has it, and English shows it: not the past of "cut"."""
        if matrix and matrix.modal:
            return "present"
        tense = wanted or TENSE.draw(self.random)
        if tense == "imperfect" and (matrix or verb.stative):
            return "past"
        if tense == "past" and not matrix and verb.en[2] == verb.en[0]:
            return "imperfect"
        return tense

    def _object_pronoun(self, verb: Verb, subject: Np) -> Pronoun:
        """An object pronoun that this verb and subject allow: things are "them", and I see neither me nor us."""
        if verb.frame == "direct" and "P" not in verb.objects:
            return PRONOUNS[-1]
        mine = {0: (0, 3), 3: (0, 3), 4: (4,)}.get(subject.person, ())
        allowed = [pronoun for pronoun in PRONOUNS if pronoun.person not in mine]
        return allowed[int(self.random() * len(allowed))]

    def _object(self, verb: Verb, negated: bool, pronoun: list[int], group: VerbGroup) -> tuple[Np | None, Both]:
        """What follows the verb."""
        if verb.frame == "none":
            return None, ([], [])
        if pronoun and verb.frame != "dative":
            return None, (pronoun, [])
        direct = verb.frame in ("direct", "dative")
        np = self.noun_phrase(verb.objects, determiners="plain" if not direct else "negated" if negated else "all")
        if verb.frame == "direct" and not negated:  # a relative clause under a negation would want the subjunctive
            np = self.modified(np)
        self.pair(verb.fr.infinitive, np.nouns)
        if direct and self.random() < 0.05 and np.classes[0] == "P":
            np = self.both(np, "and", self.noun_phrase("P"))
        if verb.frame == "dative":
            if pronoun:
                return np, (np.en + pronoun, np.fr)
            to = self.word("to")
            person = self.name() if self.random() < 0.3 else self.noun_phrase("P", determiners="plain", bare=True)
            return np, (np.en + to + person.en, [*np.fr, ("à", tuple(to)), *person.fr])
        if direct:
            return np, (np.en, np.fr)
        preposition = "de" if verb.frame == "de" else "à"
        particle = group.rest[-max(1, len(verb.particle)) :]  # talk *to*, or the whole verb: answer, répondre à
        return np, (np.en, [(preposition, tuple(particle)), *np.fr])

    def _adjunct(self, subject: Np, verb: Verb) -> Both:
        """Perhaps a manner adverb, a place or a companion, after everything else."""
        choice = self.random()
        if verb.stative:
            return [], []
        if choice < 0.1 and verb.frame in ("none", "direct", "à"):
            adverb = self.lex.final_adverbs.draw(self.random)
            number = self.word(adverb.en)
            return number, [(adverb.fr, tuple(number))]
        if choice < 0.28 and verb.frame in ("none", "direct"):
            return self.place()
        if choice < 0.36 and subject.classes[0] == "P" and verb.frame != "dative":
            return self.companion()
        return [], []

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


def inverted(verb: Token, pronoun: Token) -> Token:
    """mange-t-il, vont-ils: one word, which translates verb and pronoun."""
    text, links = verb
    joint = "-t-" if text[-1] in "aec" and pronoun[0] in ("il", "elle") else "-"
    return text + joint + pronoun[0], links + pronoun[1]
