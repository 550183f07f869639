"""A paragraph into its sentences, by rules: for pre-training, which needs sentences by the million and no model.

A sentence ends at . ! ? or … (and any closing quotes and brackets) before white space, where what follows can begin
one: a capital, a digit or a letter of a script without capitals, opening quotes and brackets aside. A full stop after
an abbreviation or an initial of English, German or French does not end it; some abbreviations may also stand last,
and then end it where a word follows that often begins a sentence and hardly ever a name. 。！？ end it wherever they
stand. What this gets wrong: lower-case beginnings, and names after "Inc." and the like.
"""

from __future__ import annotations

import re

END = re.compile(r"""[.!?…]+(?:["'”’“«»)\]]|\s»)*\s+|[。！？]+[」』”’）]*\s*""")
OPENING = " \u00a0\u202f\"'“„‘«»‹›¿¡([{—–-"


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


LETTER = re.compile(r"[^\W\d_]")

# A name or an explanation follows these: they never end a sentence.
NEVER_LAST = _set("""
    mr mrs ms messrs dr prof rev hon gov sen rep pres gen col capt cpt lt sgt maj cmdr adm st ste mt vs viz cf
    ca approx esp incl i.e e.g eg ie hr fr frl mme mlle vgl bzw bspw sog ggf evtl gem geb gest z.b d.h z.t u.u
    o.ä dipl ing nr bd hrsg jhd av ph c.-à-d p.ex env éd dép
""")

# Also everyday words, or months that may end a sentence: abbreviations only before a number ("No. 5", "Jan. 3").
BEFORE_NUMBERS = _set("""
    no nos art arts fig figs p pp vol vols ch chap sec sect eq op abs kap s ziff tab num ed par jan feb mar
    apr jun jul aug sep sept oct nov dec okt dez janv févr juil
""")

# Abbreviations that also stand at the end of a sentence, as initials and U.S. do.
AT_TIMES_LAST = _set("etc inc ltd co corp jr sr bros al u.a usw jh dept univ assn ave blvd rd esq mio mrd")

# Words that often begin a sentence, and hardly ever a name.
STARTERS = _set("""
    The This These That Those There He She It They We You His Her Its Their In On At After Although As Because
    Before But By During For From However If Many Most One Since Some Such Then Though Through Under When
    While With And Der Die Das Dies Diese Dieser Er Sie Es Ein Eine Im Am Nach Seit Bei Mit Als Auch Aber Wenn
    Jedoch Später Le La Les Il Elle Ils Elles Ce Cette Ces Un Une Dans En Au Aux Pour Par Avec Mais Depuis
    Selon Cependant
""")

# After a German ordinal: "am 3. Oktober".
MONTHS = _set("Januar Jänner Februar März April Mai Juni Juli August September Oktober November Dezember")

WORD = re.compile(r"\w*")


def sentences(paragraph: str) -> list[str]:
    """The sentences of a paragraph in their order, stripped; nothing but white space between them is lost."""
    found, start = [], 0
    for end in END.finditer(paragraph):
        if end.end() < len(paragraph) and _ends(paragraph, start, end):
            found.append(paragraph[start : end.end()].strip())
            start = end.end()
    last = paragraph[start:].strip()
    return [*found, last] if last else found


def _ends(text: str, start: int, end: re.Match[str]) -> bool:
    """Whether a sentence that began at `start` ends with this mark."""
    dot, after = end.start(), end.end()
    if not LETTER.search(text, start, dot):
        return False  # "1." numbers what follows
    if text[dot] in "。！？":
        return True
    while after < len(text) - 1 and text[after] in OPENING:
        after += 1
    following = text[after]
    if not (following.isdigit() or following.isalpha()) or following.islower():
        return False
    if text[dot] != "." or text[dot + 1] == ".":  # an abbreviation has one full stop
        return True
    begin = dot
    while begin > start and not text[begin - 1].isspace():
        begin -= 1
    word = text[begin:dot].lstrip(OPENING)
    return not _abbreviates(word, text[max(start, begin - 4) : begin], text, after)


def _abbreviates(word: str, before: str, text: str, after: int) -> bool:
    """Whether `word` and its full stop are an abbreviation in the midst of a sentence that goes on at `after`."""
    lower = word.lower()
    if lower in NEVER_LAST:
        return True
    if lower in BEFORE_NUMBERS and (len(word) > 1 or text[after].isdigit()):
        return text[after].isdigit()
    if word.isdigit() and len(word) < 3:
        return _word(text, after) in MONTHS
    letters = word.split(".")  # U.S, J, Ph.D
    if len(word) < 3 and len(before) > 2 and before[-2] == "." and before[-3].islower() and not before[:-3].strip():
        return True  # "z. B.", "p. ex."
    if lower in AT_TIMES_LAST or (word and all(len(part) < 2 or part == "Ph" for part in letters)):
        return _word(text, after) not in STARTERS
    return False


def _word(text: str, start: int) -> str:
    found = WORD.match(text, start)
    return found[0] if found else ""
