"""French morphology: conjugation, agreement, plurals, and the sandhi between neighbouring words.

Person indices everywhere: 0 je, 1 tu, 2 il/elle, 3 nous, 4 vous, 5 ils/elles.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

VOWELS = frozenset("aeiouyàâäéèêëîïôöùûüœæAEIOUYÀÂÉÈÊÎÔÛŒ")
# Words before which nothing elides although they begin with a written vowel sound or a silent h.
ASPIRATED = (
    "hache", "haie", "hamac", "hamster", "hangar", "haricot", "harpe", "haut", "havre", "héros", "hérisson", "hêtre",
    "hibou", "hollandais", "homard", "hongrois", "huit", "onze", "yaourt",
)  # fmt: skip

# Written form before a consonant and before a vowel. A leading "+" tells a clitic pronoun (which never contracts)
# from an article, and an adjective before its noun from the same adjective elsewhere.
SANDHI = {
    "le": ("le", "l'"), "la": ("la", "l'"), "+le": ("le", "l'"), "+la": ("la", "l'"), "+les": ("les", "les"),
    "de": ("de", "d'"), "que": ("que", "qu'"), "ne": ("ne", "n'"), "je": ("je", "j'"), "me": ("me", "m'"),
    "se": ("se", "s'"), "ce": ("ce", "cet"), "ma": ("ma", "mon"), "sa": ("sa", "son"),
    "+beau": ("beau", "bel"), "+nouveau": ("nouveau", "nouvel"), "+vieux": ("vieux", "vieil"),
}  # fmt: skip
CONTRACTIONS = {("de", "le"): "du", ("de", "les"): "des", ("à", "le"): "au", ("à", "les"): "aux"}

Token = tuple[str, tuple[int, ...]]  # a French word and the English words it translates


@cache
def elides(word: str) -> bool:
    """Whether le, de, que … lose their vowel before `word`."""
    word = word.lstrip("+")
    if word.startswith(ASPIRATED) and not word.startswith("héroïne"):
        return False
    if word[0] in "yY":
        return word == "y"
    return word[0] in VOWELS or word[0] in "hH"


def sandhi(tokens: list[Token]) -> list[Token]:
    """Apply elision (l' n' qu' …), liaison forms (cet, mon, bel …) and contraction (du, des, au, aux)."""
    out: list[Token] = []
    follows = ""  # the word after the one being written; "" at the end
    article = ""  # the article written last, where it did not elide
    for text, links in reversed(tokens):
        forms = SANDHI.get(text)
        if text == "si":
            written = "s'" if follows in ("il", "ils") else "si"
        elif (text, article) in CONTRACTIONS:
            written = CONTRACTIONS[text, article]
            links = links + out.pop()[1]
        elif forms is None:
            written = text
        else:
            written = forms[1] if follows and elides(follows) else forms[0]
        article = written if text in ("le", "les") else ""
        out.append((written, links))
        follows = text
    out.reverse()
    return out


# infinitive (or its ending): six presents, stem of the future, past participle
IRREGULAR = {
    "être": ("suis es est sommes êtes sont", "ser", "été"),
    "avoir": ("ai as a avons avez ont", "aur", "eu"),
    "aller": ("vais vas va allons allez vont", "ir", "allé"),
    "envoyer": ("envoie envoies envoie envoyons envoyez envoient", "enverr", "envoyé"),
    "faire": ("fais fais fait faisons faites font", "fer", "fait"),
    "prendre": ("prends prends prend prenons prenez prennent", "prendr", "pris"),
    "voir": ("vois vois voit voyons voyez voient", "verr", "vu"),
    "venir": ("viens viens vient venons venez viennent", "viendr", "venu"),
    "tenir": ("tiens tiens tient tenons tenez tiennent", "tiendr", "tenu"),
    "pouvoir": ("peux peux peut pouvons pouvez peuvent", "pourr", "pu"),
    "vouloir": ("veux veux veut voulons voulez veulent", "voudr", "voulu"),
    "devoir": ("dois dois doit devons devez doivent", "devr", "dû"),
    "savoir": ("sais sais sait savons savez savent", "saur", "su"),
    "recevoir": ("reçois reçois reçoit recevons recevez reçoivent", "recevr", "reçu"),
    "connaître": ("connais connais connaît connaissons connaissez connaissent", "connaîtr", "connu"),
    "naître": ("nais nais naît naissons naissez naissent", "naîtr", "né"),
    "paraître": ("parais parais paraît paraissons paraissez paraissent", "paraîtr", "paru"),
    "lire": ("lis lis lit lisons lisez lisent", "lir", "lu"),
    "dire": ("dis dis dit disons dites disent", "dir", "dit"),
    "écrire": ("écris écris écrit écrivons écrivez écrivent", "écrir", "écrit"),
    "décrire": ("décris décris décrit décrivons décrivez décrivent", "décrir", "décrit"),
    "boire": ("bois bois boit buvons buvez boivent", "boir", "bu"),
    "croire": ("crois crois croit croyons croyez croient", "croir", "cru"),
    "mettre": ("mets mets met mettons mettez mettent", "mettr", "mis"),
    "battre": ("bats bats bat battons battez battent", "battr", "battu"),
    "suivre": ("suis suis suit suivons suivez suivent", "suivr", "suivi"),
    "vivre": ("vis vis vit vivons vivez vivent", "vivr", "vécu"),
    "rire": ("ris ris rit rions riez rient", "rir", "ri"),
    "uire": ("uis uis uit uisons uisez uisent", "uir", "uit"),
    "courir": ("cours cours court courons courez courent", "courr", "couru"),
    "mourir": ("meurs meurs meurt mourons mourez meurent", "mourr", "mort"),
    "eindre": ("eins eins eint eignons eignez eignent", "eindr", "eint"),
    "aindre": ("ains ains aint aignons aignez aignent", "aindr", "aint"),
    "dormir": ("dors dors dort dormons dormez dorment", "dormir", "dormi"),
    "partir": ("pars pars part partons partez partent", "partir", "parti"),
    "sortir": ("sors sors sort sortons sortez sortent", "sortir", "sorti"),
    "sentir": ("sens sens sent sentons sentez sentent", "sentir", "senti"),
    "mentir": ("mens mens ment mentons mentez mentent", "mentir", "menti"),
    "servir": ("sers sers sert servons servez servent", "servir", "servi"),
    "ouvrir": ("ouvre ouvres ouvre ouvrons ouvrez ouvrent", "ouvrir", "ouvert"),
    "offrir": ("offre offres offre offrons offrez offrent", "offrir", "offert"),
    "souffrir": ("souffre souffres souffre souffrons souffrez souffrent", "souffrir", "souffert"),
}
WITH_ETRE = frozenset(
    [
        "aller",
        "venir",
        "arriver",
        "partir",
        "sortir",
        "entrer",
        "tomber",
        "rester",
        "naître",
        "mourir",
        "retourner",
        "revenir",
        "devenir",
    ]
)
DOUBLING = ("jeter", "rejeter", "appeler", "rappeler")  # jette, appelle; the others take a grave accent: achète


@dataclass(frozen=True)
class Conjugation:
    """The finite forms by person, the past participle (masculine singular) and the auxiliary of one verb."""

    infinitive: str
    present: tuple[str, ...]
    future: tuple[str, ...]
    imperfect: tuple[str, ...]
    participle: str
    with_etre: bool


def _er_stems(infinitive: str) -> tuple[str, str, str]:
    """Stems of an -er verb: before a spoken ending, before a silent -e, and of the future."""
    stem = infinitive[:-2]
    if infinitive in DOUBLING:
        strong = stem + stem[-1]
    elif stem[-2:-1] == "e" and stem[-1] not in "aeiou":  # acheter → achète
        strong = stem[:-2] + "è" + stem[-1]
    elif len(stem) > 2 and "é" in stem[-3:-1] and stem[-1] not in "aeiou" and not infinitive.endswith("éer"):
        at = stem.rindex("é")
        strong = stem[:at] + "è" + stem[at + 1 :]  # préférer → préfère, protéger → protège, but préférera
        return stem, strong, infinitive
    elif stem.endswith(("oy", "uy", "ay")):
        strong = stem[:-1] + "i"  # nettoyer → nettoie, essayer → essaie
    else:
        strong = stem
    return stem, strong, strong + "er"


def _soft(stem: str) -> str:
    """The stem before a or o: mangeons, commençons."""
    if stem.endswith("g"):
        return stem + "e"
    return stem[:-1] + "ç" if stem.endswith("c") else stem


def _irregular(infinitive: str) -> tuple[str, list[str], str, str] | None:
    """Prefix, presents, future stem and participle of an irregular verb or of one derived from it (re-, ap- …)."""
    keys = [k for k in IRREGULAR if infinitive == k or (infinitive.endswith(k) and k not in ("aller", "envoyer"))]
    if not keys:
        return None
    key = max(keys, key=len)
    present, future, participle = IRREGULAR[key]
    return infinitive.removesuffix(key), present.split(), future, participle


@cache
def conjugate(infinitive: str) -> Conjugation:
    """All forms of a verb, without its reflexive pronoun."""
    irregular = _irregular(infinitive)
    if irregular:
        prefix, present, future, participle = irregular
        present = [prefix + form for form in present]
        future, participle = prefix + future, prefix + participle
    elif infinitive.endswith("er"):
        stem, strong, future = _er_stems(infinitive)
        present = [strong + "e", strong + "es", strong + "e", _soft(stem) + "ons", stem + "ez", strong + "ent"]
        participle = stem + "é"
    elif infinitive.endswith("ir"):
        stem, future, participle = infinitive[:-2], infinitive, infinitive[:-1]
        present = [stem + ending for ending in ("is", "is", "it", "issons", "issez", "issent")]
    elif infinitive.endswith("re"):
        stem, future = infinitive[:-2], infinitive[:-1]
        third = stem if stem[-1] in "dt" else stem + "t"
        present, participle = [stem + "s", stem + "s", third, stem + "ons", stem + "ez", stem + "ent"], stem + "u"
    else:
        raise ValueError(f"not a French infinitive: {infinitive!r}")
    past = "ét" if infinitive == "être" else present[3].removesuffix("ons")
    hard = infinitive[:-2] if infinitive.endswith(("ger", "cer")) else past  # mangions beside mangeais
    imperfect = [past + e for e in ("ais", "ais", "ait")] + [hard + "ions", hard + "iez", past + "aient"]
    return Conjugation(
        infinitive,
        tuple(present),
        tuple(future + ending for ending in ("ai", "as", "a", "ons", "ez", "ont")),
        tuple(imperfect),
        participle,
        infinitive in WITH_ETRE,
    )


def plural(noun: str) -> str:
    """The regular plural: -s, -x after -eau and -eu, -aux for -al, nothing after s, x, z."""
    if noun[-1] in "sxz":
        return noun
    if noun.endswith(("eau", "eu")) and noun not in ("bleu", "pneu"):
        return noun + "x"
    if noun.endswith("al") and noun not in ("festival", "carnaval", "bal", "fatal", "final"):
        return noun[:-2] + "aux"
    return noun + "s"


def feminine(adjective: str) -> str:
    """The regular feminine of an adjective."""
    rules = (
        ("eux", "euse"),
        ("er", "ère"),
        ("f", "ve"),
        ("en", "enne"),
        ("on", "onne"),
        ("el", "elle"),
        ("os", "osse"),
    )
    if adjective.endswith("e"):
        return adjective
    for ending, replacement in rules:
        if adjective.endswith(ending):
            return adjective.removesuffix(ending) + replacement
    return {"gros": "grosse", "turc": "turque", "long": "longue"}.get(adjective, adjective + "e")


@cache
def agree(masculine: str, is_feminine: bool, is_plural: bool) -> str:
    """A past participle or regular adjective in the given gender and number."""
    form = feminine(masculine) if is_feminine else masculine
    return plural(form) if is_plural else form
