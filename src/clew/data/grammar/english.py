"""English morphology: plurals, verb forms, and a/an."""

from __future__ import annotations

import re
from functools import cache

DOUBLED = frozenset(["begin", "forget", "prefer", "travel"])
IRREGULAR_THIRD = {"have": "has", "go": "goes", "do": "does"}
_ONE_SYLLABLE = re.compile(r"[^aeiou]*[aeiou][^aeiouwxy]")  # stop, cut: the last consonant doubles


def plural(noun: str) -> str:
    """The regular plural."""
    if noun.endswith(("s", "x", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"


def third_person(verb: str) -> str:
    """The third person singular of the present."""
    return IRREGULAR_THIRD.get(verb) or plural(verb)


def _doubles(verb: str) -> bool:
    return verb in DOUBLED or _ONE_SYLLABLE.fullmatch(verb) is not None


def past(verb: str) -> str:
    """The regular past."""
    if verb.endswith("e"):
        return verb + "d"
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb[:-1] + "ied"
    return verb + (verb[-1] if _doubles(verb) else "") + "ed"


def participle(verb: str) -> str:
    """The present participle."""
    if verb.endswith("ie"):
        return verb[:-2] + "ying"
    if verb.endswith("e") and not verb.endswith("ee"):
        return verb[:-1] + "ing"
    return verb + (verb[-1] if _doubles(verb) else "") + "ing"


@cache
def takes_an(word: str) -> bool:
    """Whether the indefinite article before `word` is "an"."""
    if word.startswith(("uni", "use", "euro", "Euro", "one")):
        return False
    return word[0] in "aeiouAEIOU" or word.startswith(("hour", "honest"))
