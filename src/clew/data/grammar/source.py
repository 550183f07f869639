"""The grammar as a data source: splits that share no sentence, and held-out combinations."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from pydantic import Field

from clew.config import Choice
from clew.data.grammar.lexicon import lexicon
from clew.data.grammar.sentences import sentence
from clew.data.rows import ReadReport, Rows
from clew.errors import DataError, RecipeError

SHORTEST, LONGEST = 4, 20  # words of a sentence, either language, final mark included
KNOWN_FROM = 20_000  # training pairs from which "each word was seen in training" is judged
PATIENCE = 500  # candidates per pair wanted, after which a split is given up


class GrammarConfig(Choice):
    """How many pairs of each split; a larger train begins with a smaller one, valid and test stay the same."""

    kind: str = "grammar"
    size: int = Field(20_000, ge=1, le=10_000_000)  # training pairs
    seed: int = 1
    valid: int = Field(500, ge=1)
    test: int = Field(500, ge=1)
    combinations: int = Field(500, ge=1)


class Grammar:
    """English–French sentence pairs with gold alignments; columns `en`, `fr`, `alignment`.

    Sentences are stored tokenised, one space between tokens, so that word i of the alignment is word i of the line:
    "le chat n' a pas vu l' oiseau ." The alignment "i-j …" pairs English word i with French word j, from 0.

    No two splits share a sentence, English or French, and no split repeats one: a pair is kept only where neither side
    was seen before. Pairs of words (adjective and noun, verb and object) that `phrases.held_out` names occur in no
    sentence of train, valid or test; each sentence of `combinations` has at least one, made of words seen in training.
    Raises DataError where the training split is too small for that, RecipeError for an unknown split.
    """

    Config = GrammarConfig
    splits = ("train", "valid", "test", "combinations")

    def __init__(self, config: GrammarConfig) -> None:
        self.config = config
        self._rows: dict[str, Rows] = {}
        self._seen: set[str] = set()  # sentences of both languages; no string is a sentence of both

    @property
    def about(self) -> dict[str, Any]:
        sizes = {name: self._size(name) for name in self.splits}
        return {
            "name": "clew grammar",
            "licence": "Apache-2.0",
            "size": sizes,
            "columns": ["en", "fr", "alignment"],
            "url": "",
            "about": "English–French pairs written by a synchronous grammar, with gold word alignments",
        }

    def split(self, name: str) -> Rows:
        """The rows of one split, made when first asked for (train: some ten thousand pairs a second)."""
        if name not in self.splits:
            raise RecipeError(
                f'the grammar has no split "{name}"', where="data", fix=f"known: {', '.join(self.splits)}"
            )
        # Earlier splits come first, since a later one leaves their sentences out.
        for earlier in ("valid", "test", "train", "combinations"):
            if earlier not in self._rows:
                self._rows[earlier] = self._make(earlier)
            if earlier == name:
                break
        return self._rows[name]

    def _size(self, name: str) -> int:
        return self.config.size if name == "train" else getattr(self.config, name)

    def _make(self, name: str) -> Rows:
        """Write sentences until the split is full, counting what is left out and why."""
        random = Random(f"{self.config.seed} {name}").random
        lex, wanted, novel = lexicon(), self._size(name), name == "combinations"
        fits = self._known() if novel else None
        report = ReadReport(f"grammar, {name}")
        en: list[str] = []
        fr: list[str] = []
        alignment: list[str] = []
        while len(en) < wanted:
            if report.read > PATIENCE * (wanted + 10):
                raise DataError(
                    f"only {len(en)} of {wanted} sentences found for {name}",
                    where="data",
                    fix="raise data.size, or ask for fewer",
                )
            english, french, links, has_held_out = sentence(lex, random)
            report.read += 1
            reason = self._reason(english, french)
            if has_held_out != novel:
                reason = "held-out combination" if has_held_out else "no held-out combination"
            elif fits and not fits(english, french):
                reason = "word not seen in training"
            if reason:
                report.skip(reason, f"sentence {report.read}")
                continue
            self._seen.update((english, french))
            en.append(english)
            fr.append(french)
            alignment.append(links)
        report.kept = wanted
        return Rows({"en": en, "fr": fr, "alignment": alignment}, report)

    def _reason(self, english: str, french: str) -> str:
        """Why a pair is left out of every split; "" where it is not."""
        lengths = english.count(" ") + 1, french.count(" ") + 1
        if min(lengths) < SHORTEST or max(lengths) > LONGEST:
            return "too short or too long"
        return "sentence seen before" if english in self._seen or french in self._seen else ""

    def _known(self) -> Callable[[str, str], bool]:
        """Whether all words of a pair were seen in training (in its first pairs, so that larger sizes agree)."""
        train = self._rows["train"]
        english = {word for line in train["en"][:KNOWN_FROM] for word in line.split()}
        french = {word for line in train["fr"][:KNOWN_FROM] for word in line.split()}
        return lambda en, fr: english.issuperset(en.split()) and french.issuperset(fr.split())
