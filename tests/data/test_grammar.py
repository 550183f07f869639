"""The embedded corpus: morphology against hand-checked forms, alignments, splits and held-out combinations."""

from __future__ import annotations

import random
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import pytest

from clew.config import build, resolve
from clew.data.grammar import Grammar, english, french
from clew.data.grammar.clauses import Clause, Clauses
from clew.data.grammar.lexicon import lexicon
from clew.data.grammar.phrases import PRONOUNS, held_out
from clew.data.grammar.sentences import sentence
from clew.errors import DataError, RecipeError

PERSONS = ["je", "tu", "il", "nous", "vous", "ils"]


@pytest.fixture(scope="module")
def grammar() -> Grammar:
    return Grammar(Grammar.Config(size=6000, seed=3, valid=300, test=300, combinations=300))


def links(text: str) -> list[tuple[int, int]]:
    return [(int(i), int(j)) for i, _, j in (pair.partition("-") for pair in text.split())]


# ---- French forms


@pytest.mark.parametrize(
    ("infinitive", "tense", "person", "form"),
    [
        ("être", "present", "nous", "sommes"),
        ("être", "imperfect", "il", "était"),
        ("avoir", "present", "ils", "ont"),
        ("avoir", "future", "je", "aurai"),
        ("aller", "present", "je", "vais"),
        ("aller", "future", "ils", "iront"),
        ("faire", "present", "vous", "faites"),
        ("faire", "imperfect", "je", "faisais"),
        ("prendre", "present", "ils", "prennent"),
        ("comprendre", "present", "nous", "comprenons"),
        ("voir", "future", "il", "verra"),
        ("voir", "present", "ils", "voient"),
        ("venir", "present", "il", "vient"),
        ("revenir", "future", "vous", "reviendrez"),
        ("pouvoir", "present", "je", "peux"),
        ("vouloir", "present", "ils", "veulent"),
        ("devoir", "present", "ils", "doivent"),
        ("savoir", "present", "nous", "savons"),
        ("connaître", "present", "il", "connaît"),
        ("reconnaître", "imperfect", "je", "reconnaissais"),
        ("lire", "present", "ils", "lisent"),
        ("dire", "present", "vous", "dites"),
        ("écrire", "present", "nous", "écrivons"),
        ("décrire", "present", "il", "décrit"),
        ("boire", "present", "ils", "boivent"),
        ("recevoir", "present", "il", "reçoit"),
        ("traduire", "present", "ils", "traduisent"),
        ("courir", "future", "je", "courrai"),
        ("mourir", "present", "il", "meurt"),
        ("peindre", "imperfect", "je", "peignais"),
        ("craindre", "present", "ils", "craignent"),
        ("endormir", "present", "il", "endort"),
        ("ouvrir", "present", "je", "ouvre"),
        ("découvrir", "present", "ils", "découvrent"),
        ("manger", "present", "nous", "mangeons"),
        ("manger", "imperfect", "nous", "mangions"),
        ("manger", "imperfect", "il", "mangeait"),
        ("commencer", "present", "nous", "commençons"),
        ("acheter", "present", "il", "achète"),
        ("acheter", "future", "il", "achètera"),
        ("appeler", "present", "ils", "appellent"),
        ("jeter", "present", "nous", "jetons"),
        ("préférer", "present", "je", "préfère"),
        ("préférer", "future", "je", "préférerai"),
        ("nettoyer", "present", "ils", "nettoient"),
        ("envoyer", "future", "il", "enverra"),
        ("emballer", "present", "il", "emballe"),  # not like aller
        ("finir", "present", "ils", "finissent"),
        ("finir", "imperfect", "nous", "finissions"),
        ("vendre", "present", "il", "vend"),
        ("vendre", "future", "nous", "vendrons"),
    ],
)
def test_conjugation(infinitive: str, tense: str, person: str, form: str) -> None:
    assert getattr(french.conjugate(infinitive), tense)[PERSONS.index(person)] == form


@pytest.mark.parametrize(
    ("infinitive", "participle"),
    [
        ("avoir", "eu"), ("prendre", "pris"), ("mettre", "mis"), ("vivre", "vécu"), ("mourir", "mort"),
        ("construire", "construit"), ("souffrir", "souffert"), ("choisir", "choisi"), ("perdre", "perdu"),
        ("naître", "né"), ("recevoir", "reçu"), ("éteindre", "éteint"),
    ],
)  # fmt: skip
def test_participle(infinitive: str, participle: str) -> None:
    assert french.conjugate(infinitive).participle == participle


def test_what_is_no_verb_is_refused() -> None:
    with pytest.raises(ValueError, match="infinitive"):
        french.conjugate("maison")


@pytest.mark.parametrize(
    ("masculine", "forms"),
    [
        ("petit", "petit petits petite petites"),
        ("heureux", "heureux heureux heureuse heureuses"),
        ("actif", "actif actifs active actives"),
        ("italien", "italien italiens italienne italiennes"),
        ("premier", "premier premiers première premières"),
        ("naturel", "naturel naturels naturelle naturelles"),
        ("royal", "royal royaux royale royales"),
        ("beau", "beau beaux belle belles"),
        ("vieux", "vieux vieux vieille vieilles"),
        ("blanc", "blanc blancs blanche blanches"),
        ("doux", "doux doux douce douces"),
        ("frais", "frais frais fraîche fraîches"),
        ("grec", "grec grecs grecque grecques"),
        ("long", "long longs longue longues"),
        ("bleu", "bleu bleus bleue bleues"),
        ("discret", "discret discrets discrète discrètes"),
    ],
)
def test_adjective(masculine: str, forms: str) -> None:
    adjective = next(a for a in lexicon().adjectives if a.fr[0][0] == masculine)
    assert [form for gender in adjective.fr for form in gender] == forms.split()


@pytest.mark.parametrize(
    ("singular", "plural"),
    [
        ("cheval", "chevaux"), ("oiseau", "oiseaux"), ("jeu", "jeux"), ("souris", "souris"), ("nez", "nez"),
        ("bijou", "bijoux"), ("clou", "clous"), ("hibou", "hiboux"), ("chat", "chats"), ("arc-en-ciel", "arcs-en-ciel"),
    ],
)  # fmt: skip
def test_french_plural(singular: str, plural: str) -> None:
    listed = {noun.fr[0]: noun.fr[1] for noun in lexicon().nouns}
    assert listed.get(singular, french.plural(singular)) == plural


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (english.plural("box"), "boxes"), (english.plural("city"), "cities"), (english.plural("boy"), "boys"),
        (english.third_person("watch"), "watches"), (english.third_person("carry"), "carries"),
        (english.third_person("have"), "has"), (english.third_person("go"), "goes"), (english.past("stop"), "stopped"),
        (english.past("carry"), "carried"), (english.past("open"), "opened"), (english.past("travel"), "travelled"),
        (english.participle("lie"), "lying"), (english.participle("write"), "writing"),
        (english.participle("see"), "seeing"), (english.participle("run"), "running"),
        (english.participle("begin"), "beginning"), (english.participle("visit"), "visiting"),
    ],
)  # fmt: skip
def test_english_form(form: str, expected: str) -> None:
    assert form == expected


def test_one_english_verb_has_one_past_whatever_its_particle() -> None:
    pasts: dict[str, set[str]] = defaultdict(set)
    for verb in lexicon().verbs:
        pasts[verb.en[0]].add(verb.en[2])
    assert {base: forms for base, forms in pasts.items() if len(forms) > 1} == {}
    irregular = {"go": "went", "grow": "grew", "lose": "lost", "think": "thought", "teach": "taught", "swim": "swam"}
    assert all(pasts[base] in ({past}, set()) for base, past in irregular.items())


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("le homme", "l' homme"), ("le héros", "le héros"), ("la héroïne", "l' héroïne"), ("la hache", "la hache"),
        ("le haricot", "le haricot"), ("le hôtel", "l' hôtel"), ("de le jardin", "du jardin"),
        ("de le hôpital", "de l' hôpital"), ("de les amis", "des amis"), ("à le roi", "au roi"),
        ("à les rois", "aux rois"), ("à la école", "à l' école"), ("de le hibou", "du hibou"), ("je ai", "j' ai"),
        ("je ne ai pas", "je n' ai pas"), ("que il", "qu' il"), ("si il", "s' il"), ("si elle", "si elle"),
        ("ce oiseau", "cet oiseau"), ("ce hibou", "ce hibou"), ("ma amie", "mon amie"), ("sa hache", "sa hache"),
        ("+vieux ami", "vieil ami"), ("+nouveau hôtel", "nouvel hôtel"), ("+beau héros", "beau héros"),
        ("il est vieux et", "il est vieux et"), ("de +le voir", "de le voir"), ("de onze", "de onze"),
        ("le yaourt", "le yaourt"),
    ],
)  # fmt: skip
def test_sandhi(written: str, spoken: str) -> None:
    tokens = french.sandhi([(word, (at,)) for at, word in enumerate(written.split())])
    assert " ".join(text.lstrip("+") for text, _ in tokens) == spoken


def test_contraction_keeps_both_alignments() -> None:
    assert french.sandhi([("de", (4,)), ("le", (5,)), ("roi", (6,))]) == [("du", (4, 5)), ("roi", (6,))]


# ---- whole clauses, hand-checked


def say(verb: str, subject: str, tense: str, *, ask: str = "", clitic: str = "", negation: str = "") -> tuple[str, str]:
    """A clause without an object noun, in both languages."""
    writer = Clauses(lexicon(), random.Random(0).random)
    np = writer.pronoun(next(pronoun for pronoun in PRONOUNS if pronoun.en == subject))
    chosen = next(v for v in writer.lex.verbs if v.fr.infinitive == verb)
    token, number, agreement = None, [], (False, False)
    if clitic:
        pronoun = next(p for p in PRONOUNS if p.en_object == clitic)
        number = writer.word(clitic)
        token, agreement = (pronoun.direct, tuple(number)), (pronoun.feminine, pronoun.person > 2)
    group = writer.verb_group(
        chosen, np, tense, negation=negation, clitic=token, agreement=agreement, ask="inversion" if ask else ""
    )
    clause = Clause(np, group, (number, []), None, bool(negation))
    en, fr = writer.question(clause, ask="inversion") if ask else writer.statement(clause)
    return " ".join(writer.words[n] for n in en), " ".join(text.lstrip("+") for text, _ in french.sandhi(fr))


@pytest.mark.parametrize(
    ("verb", "subject", "tense", "options", "en", "fr"),
    [
        ("voir", "he", "past", {"clitic": "her"}, "he saw her", "il l' a vue"),
        ("voir", "they", "past", {"clitic": "us", "negation": "not"}, "they did not see us", "ils ne nous ont pas vus"),
        ("aider", "I", "future", {"clitic": "you"}, "I will help you", "je vous aiderai"),
        ("aider", "she", "present", {"clitic": "them"}, "she helps them", "elle les aide"),
        ("chercher", "we", "imperfect", {"clitic": "him"}, "we were looking for him", "nous le cherchions"),
        ("partir", "she", "past", {}, "she left", "elle est partie"),
        ("tomber", "they", "past", {}, "they fell", "ils sont tombés"),
        ("lever", "she", "past", {}, "she got up", "elle s' est levée"),
        ("reposer", "you", "present", {"ask": True}, "do you rest", "vous reposez-vous"),
        ("dormir", "he", "present", {"negation": "never"}, "he never sleeps", "il ne dort jamais"),
        ("travailler", "you", "present", {"negation": "no longer"}, "you no longer work", "vous ne travaillez plus"),
        ("manger", "I", "past", {"negation": "nothing"}, "I ate nothing", "je n' ai rien mangé"),
        ("danser", "he", "present", {"ask": True}, "does he dance", "danse-t-il"),
        ("dormir", "they", "present", {"ask": True}, "do they sleep", "dorment-ils"),
        ("danser", "she", "past", {"ask": True, "negation": "not"}, "did she not dance", "n' a-t-elle pas dansé"),
        ("aimer", "she", "past", {"clitic": "them"}, "she loved them", "elle les aimait"),
        ("avoir", "I", "past", {"clitic": "them"}, "I had them", "je les avais"),
    ],
)
def test_clause(verb: str, subject: str, tense: str, options: dict, en: str, fr: str) -> None:
    assert say(verb, subject, tense, **options) == (en, fr)


# ---- the corpus


def test_built_by_its_kind() -> None:
    config = resolve("data", "grammar").Config(kind="grammar", size=10)
    assert isinstance(build("data", config), Grammar)


def test_same_seed_same_corpus_and_other_seed_other_corpus() -> None:
    def train(seed: int) -> list[str]:
        return Grammar(Grammar.Config(size=200, seed=seed, valid=20, test=20)).split("train")["en"]

    assert train(5) == train(5)
    assert train(5) != train(6)


def test_a_larger_train_begins_with_the_smaller(grammar: Grammar) -> None:
    small = Grammar(grammar.config.model_copy(update={"size": 500}))
    assert small.split("train")["fr"] == grammar.split("train")["fr"][:500]
    assert small.split("test").columns == grammar.split("test").columns


def test_sizes_and_about(grammar: Grammar) -> None:
    sizes = {name: len(grammar.split(name)) for name in grammar.splits}
    assert sizes == {"train": 6000, "valid": 300, "test": 300, "combinations": 300} == grammar.about["size"]
    assert list(grammar.split("train").columns) == grammar.about["columns"]
    report = grammar.split("train").report
    assert report.kept == 6000 and report.read == report.kept + sum(report.skipped.values())


def test_no_two_rows_share_a_sentence(grammar: Grammar) -> None:
    for column in ("en", "fr"):
        lines = [line for name in grammar.splits for line in grammar.split(name)[column]]
        assert len(set(lines)) == len(lines)


def test_english_decides_french() -> None:
    """Without the filter on repeated sentences: the same English never has two translations."""
    draw, lex = random.Random(11).random, lexicon()
    french_of: dict[str, str] = {}
    repeated = 0
    for _ in range(12_000):
        en, fr, _, _ = sentence(lex, draw)
        repeated += en in french_of
        assert french_of.setdefault(en, fr) == fr
    assert repeated > 10


def test_every_token_is_aligned_and_in_range(grammar: Grammar) -> None:
    for name in grammar.splits:
        rows = grammar.split(name)
        for en, fr, alignment in zip(rows["en"], rows["fr"], rows["alignment"], strict=True):
            pairs = links(alignment)
            assert pairs == sorted(set(pairs))
            assert {i for i, _ in pairs} == set(range(len(en.split()))), en
            assert {j for _, j in pairs} == set(range(len(fr.split()))), fr


def test_the_examples_in_the_documentation_are_fully_aligned() -> None:
    page = Path(__file__).parents[2] / "docs" / "corpus.md"
    cells = [[cell.strip().strip("`") for cell in line.split("|")] for line in page.read_text("utf-8").splitlines()]
    examples = [row[2:5] for row in cells if len(row) == 6 and row[4].startswith("0-0")]
    assert len(examples) >= 15
    for en, fr, alignment in examples:
        assert {i for i, _ in links(alignment)} == set(range(len(en.split()))), en
        assert {j for _, j in links(alignment)} == set(range(len(fr.split()))), fr


def test_nouns_are_aligned_to_their_translations(grammar: Grammar) -> None:
    """Words that the lexicon translates in one way are aligned so: an independent reading of the alignment."""
    translations: dict[str, set[str]] = defaultdict(set)
    for noun in lexicon().nouns:
        for number in (0, 1):
            translations[noun.en[number][-1]].add(noun.fr[number])
    clear = {
        "apple",
        "castle",
        "nephew",
        "squirrel",
        "cupboard",
        "orchard",
        "novel",
        "hypothesis",
        "tulip",
        "hats",
        "sisters",
    }
    seen = 0
    rows = grammar.split("train")
    for en, fr, alignment in zip(rows["en"], rows["fr"], rows["alignment"], strict=True):
        source, target = en.split(), fr.split()
        for i, j in links(alignment):
            if source[i] in clear:
                seen += 1
                assert target[j] in translations[source[i]], (en, fr)
    assert seen > 100


def test_lengths_and_order(grammar: Grammar) -> None:
    rows = grammar.split("train")
    lengths = [len(line.split()) for column in ("en", "fr") for line in rows[column]]
    assert min(lengths) >= 4 and max(lengths) <= 20
    assert 8 <= sum(map(len, map(str.split, rows["en"]))) / len(rows) <= 11
    crossing = sum([j for _, j in links(a)] != sorted(j for _, j in links(a)) for a in rows["alignment"])
    assert crossing > len(rows) / 3


def test_elision_and_contraction_everywhere(grammar: Grammar) -> None:
    """No le, la, de, ne … before a vowel or a mute h; and no l', d', n' … before a consonant or an aspirated h."""
    elided = {"l'", "d'", "n'", "j'", "qu'", "m'", "s'"}
    full = {"le", "la", "de", "ne", "je", "que", "me", "se"}
    for name in grammar.splits:
        for line in grammar.split(name)["fr"]:
            words = line.split()
            for word, following in pairwise(words):
                if word in full:
                    assert not french.elides(following), line
                if word in elided:
                    assert french.elides(following) or following in ("il", "ils"), line
                if word in ("ce", "ma", "sa"):
                    assert not french.elides(following), line


def test_held_out_combinations_are_in_their_split_alone(grammar: Grammar) -> None:
    """Read back from the text: attributive adjective beside its noun, as the lexicon inflects them."""
    lex = lexicon()
    nouns = {form: noun.fr[0] for noun in lex.nouns for form in noun.fr}
    adjectives = {form: a.fr[0][0] for a in lex.adjectives for gender in a.fr for form in gender}
    adjectives |= {"bel": "beau", "nouvel": "nouveau", "vieil": "vieux"}
    finite = {f for v in lex.verbs for f in v.fr.present + v.fr.future + v.fr.imperfect}
    ambiguous = set(nouns) & set(adjectives) | finite  # "lit" is a bed and reads

    def held(line: str) -> list[tuple[str, str]]:
        words = line.split()
        found = []
        for first, second in pairwise(words):
            for adjective, noun in ((first, second), (second, first)):
                if adjective in adjectives and noun in nouns and not {adjective, noun} & ambiguous:
                    found.append((adjectives[adjective], nouns[noun]))
        return [pair for pair in found if held_out(*pair)]

    for name in ("train", "valid", "test"):
        assert not [line for line in grammar.split(name)["fr"] if held(line)]
    assert sum(bool(held(line)) for line in grammar.split("combinations")["fr"]) > 60


def test_words_of_combinations_were_seen_in_training(grammar: Grammar) -> None:
    for column in ("en", "fr"):
        known = {word for line in grammar.split("train")[column] for word in line.split()}
        assert all(known.issuperset(line.split()) for line in grammar.split("combinations")[column])


def test_vocabulary_is_large_and_its_tail_long(grammar: Grammar) -> None:
    lex = lexicon()
    en = {word for noun in lex.nouns for form in noun.en for word in form} | {f for v in lex.verbs for f in v.en}
    fr = {f for noun in lex.nouns for f in noun.fr} | {f for v in lex.verbs for f in v.fr.present + v.fr.future}
    assert len(en) >= 1500 and len(fr) >= 1500
    counts: dict[str, int] = defaultdict(int)
    for line in grammar.split("train")["en"]:
        for word in line.split():
            counts[word] += 1
    assert sum(count <= 2 for count in counts.values()) > 0.1 * len(counts)


def test_unknown_split_and_too_small_training_are_errors() -> None:
    source = Grammar(Grammar.Config(size=1, valid=1, test=1, combinations=1))
    with pytest.raises(RecipeError, match="dev"):
        source.split("dev")
    with pytest.raises(DataError, match="combinations"):
        source.split("combinations")
