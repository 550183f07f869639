"""Text ↔ token ids: word, BPE, byte-level BPE, WordPiece and unigram, our own and published ones.

All share one frame (the `tokenizers` library): normalise white space → split into pre-tokens → model → decoder.
In word, bpe and unigram a word carries its preceding space as a leading "▁", so that joining the pieces gives the text
back; punctuation stands alone, so that "dog." and "dog" share a token (`tokenizer.punctuation`).
wordpiece is BERT's, to the letter; gpt2 is GPT-2's, and keeps white space as it is, as characters does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers as hf
from tokenizers import decoders, models, normalizers

from clew.config import TokenizerConfig
from clew.errors import DataError, RecipeError, VocabularyError
from clew.inputs import Preprocessor, Tokens
from clew.text import published
from clew.text.report import VocabularyReport, vocabulary_report
from clew.text.specials import SPECIALS, Specials
from clew.text.tokenizer_files import inner_of_file, transformers_config, write
from clew.text.untrained import untrained
from clew.text.wordpiece import framing, train_wordpiece

Offsets = list[tuple[int, int]]
BYTE = re.compile("<0x[0-9A-F]{2}>")  # a piece that stands for a byte


class Tokenizer(Preprocessor):
    """Text ↔ token ids; the special ids are looked up by name: pad_id, bos_id, eos_id, unk_id, mask_id (or None).

    `decode(encode(x)) == normalise(x)` for characters, word, bpe, unigram (where nothing is unknown), gpt2 and byte_bpe
    (always); wordpiece forgets where spaces stood around punctuation. Normalising leaves a text as it is for gpt2 and
    characters; else it turns every run of white space into one space and strips both ends ("▁" counts as a space,
    except for byte_bpe and wordpiece). In BERT's vocabularies bos is [CLS] and eos is [SEP].

    split_specials: "<s>" or "[MASK]" in a text is text, never a special token (but see `encode_masked`): so it is in
    vocabularies of ours. A published one (`from_folder`) reads the names of its special tokens, such as markers that
    were added to it, as transformers does. specials: its roles, where their names do not say them.
    """

    def __init__(self, inner: hf.Tokenizer, specials: Specials | None = None, *, split_specials: bool = True) -> None:
        self.specials = specials or Specials.of(inner)
        self.split_specials = split_specials
        inner.encode_special_tokens = split_specials  # not kept in tokenizer.json
        inner.no_padding()  # published files may ask for either: batches and windows are the caller's
        inner.no_truncation()
        self.inner = inner
        self._bytes = isinstance(inner.decoder, decoders.ByteLevel)
        spaces = isinstance(inner.normalizer, normalizers.Sequence | normalizers.BertNormalizer)
        # Every character stays as it is, white space too.
        llama = isinstance(inner.decoder, decoders.Sequence)  # it writes spaces as another letter, and no text anew
        self.exact = llama or (not spaces and (self._bytes or isinstance(inner.decoder, decoders.Fuse)))
        self._normalizer = None if llama else inner.normalizer
        ids = inner.get_vocab(with_added_tokens=True)
        self.pad_id, self.bos_id = ids[self.specials.pad], ids[self.specials.bos]
        self.eos_id, self.unk_id = ids[self.specials.eos], ids[self.specials.unk]
        self.cls_id, self.sep_id = self.bos_id, self.eos_id  # as BERT calls them
        self.mask_id = ids[self.specials.mask] if self.specials.mask else None
        self.separators = separators(inner, self.eos_id)
        self.opening = opening(inner) if self.mask_id is None else []  # before each text that is gone on with
        self.special_ids = frozenset(ids[name] for name in self.specials.all)  # they stand for no text

    @classmethod
    def train(cls, texts: Iterable[str], config: TokenizerConfig, *, mask: bool = False) -> Tokenizer:
        """Learn a vocabulary of at most `vocab_size` tokens, specials included; `mask`: <mask> too (wordpiece: always).

        The same texts give the same vocabulary each time, except for unigram, which may settle ties differently, for
        the library keeps its counts in no fixed order: to repeat a run, keep the saved file.
        `texts` is what to learn from: the caller applies `config.max_examples`, since only it knows what a row is.
        Raises DataError where the texts hold nothing to learn from, RecipeError where the kind and a setting disagree.
        """
        _agree(config, len(SPECIALS) + mask)
        if config.kind == "wordpiece":
            inner = train_wordpiece(
                texts, vocab_size=config.vocab_size, min_count=config.min_count, lowercase=config.lowercase
            )
            return cls(inner)
        inner, trainer = untrained(config, mask)
        inner.train_from_iterator(texts, trainer)
        if inner.get_vocab_size() <= len(SPECIALS) + mask:
            raise DataError(
                "the tokenizer found no token to learn: no text, or no word reaches min_count",
                where=f"tokenizer.min_count = {config.min_count}",
            )
        if mask:
            inner.post_processor = framing(SPECIALS[1], SPECIALS[2], inner, twice=config.kind == "byte_bpe")
        return cls(inner)

    def __len__(self) -> int:
        return self.inner.get_vocab_size()

    def __str__(self) -> str:
        return f"{len(self):,} tokens in the vocabulary"

    def normalise(self, text: str) -> str:
        """The text as the model sees it: single spaces, stripped, lower-cased where the recipe says so."""
        seen = self._normalizer.normalize_str(text) if self._normalizer else text
        if self.exact:
            return seen
        return re.sub(" +", " ", seen).strip(" ")

    @property
    def spec(self) -> Tokens:
        return Tokens(len(self), self.pad_id)

    @property
    def source(self) -> Tokenizer:
        return self

    @property
    def target(self) -> Tokenizer:
        return self

    def describe(self) -> dict[str, Any]:
        return {"vocab_size": len(self), "pad_id": self.pad_id, "eos_id": self.eos_id}

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text, without special tokens."""
        return [e.ids for e in self.inner.encode_batch_fast(list(texts), add_special_tokens=False)]

    def encode_prompts(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text for a model to go on with: what begins one there (Llama's <s>) first, or at least </s>."""
        return [[*self.opening, *ids] or [self.eos_id] for ids in self.encode(texts)]

    def encode_masked(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text, where "[MASK]" (as this vocabulary spells it) is the special token `mask_id`.

        Raises VocabularyError where the vocabulary has none.
        """
        mark, mask = self.specials.mask, self.mask_id
        if mark is None or mask is None:
            raise VocabularyError("this vocabulary has no mask token", fix="use a model that was trained to fill masks")
        rows = []
        for text in texts:
            *before, last = text.split(mark)
            parts = self.encode([*(part.rstrip() for part in before), last])  # a mask stands for its space too
            rows.append([i for part in parts for i in (*part, mask)][:-1])
        return rows

    def encode_words(self, sentences: Sequence[Sequence[str]]) -> list[tuple[list[int], list[int]]]:
        """Ids of each sentence given as words, and which word each id belongs to; for tagging.

        A word of which nothing is left (a control character, say) is one unknown token: every word has a token.
        """
        out = []
        space = " " if self._bytes else ""  # where nothing else says that each begins a word
        spaced = [[space + word for word in words] for words in sentences]
        encoded = self.inner.encode_batch(spaced, is_pretokenized=True, add_special_tokens=False)
        for words, encoding in zip(sentences, encoded, strict=True):
            ids: list[list[int]] = [[] for _ in words]
            for i, word in zip(encoding.ids, encoding.word_ids, strict=True):
                ids[word or 0].append(i)  # never None: only special tokens have no word
            whole = [row or [self.unk_id] for row in ids]
            out.append(([i for row in whole for i in row], [word for word, row in enumerate(whole) for _ in row]))
        return out

    def encode_with_offsets(self, texts: Sequence[str]) -> list[tuple[list[int], Offsets]]:
        """Ids of each text, and where each stands in it: [start, end) in characters, without the space before it."""
        out = []
        for text, encoding in zip(texts, self.inner.encode_batch(list(texts), add_special_tokens=False), strict=True):
            pieces = [(text[start:end], end) for start, end in encoding.offsets]
            spans = [(end - len(piece.lstrip()), end) for piece, end in pieces]
            out.append((encoding.ids, spans))
        return out

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """The text of each id list; special tokens are dropped, ids outside the vocabulary are errors."""
        for row in ids:
            self._check(row)
        texts = self.inner.decode_batch([list(row) for row in ids], skip_special_tokens=True)
        return texts if self.exact else [text.strip(" ") for text in texts]

    def decode_after(self, prompt: Sequence[int], ids: Sequence[int]) -> str:
        """The text of ids that go on with a prompt, with the space before it, which `decode` drops."""
        start = list(prompt)[-4:]
        shown, whole = self.decode([start, [*start, *ids]])
        return whole[len(shown) :] if whole.startswith(shown) else self.decode([ids])[0]

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """Readable pieces, one per id: "▁" marks a preceding space; bytes that are no whole character show as "�"."""
        self._check(ids)
        pieces = [str(self.inner.id_to_token(i)) for i in ids]
        if not self._bytes:
            return [letter_of(piece) if BYTE.fullmatch(piece) else piece for piece in pieces]
        return [
            p if i in self.special_ids else self.inner.decoder.decode([p]).replace(" ", "▁")
            for i, p in zip(ids, pieces, strict=True)
        ]

    @cached_property
    def n_bytes(self) -> np.ndarray:
        """(V,) how many bytes of UTF-8 each token stands for, with the space before it; 0 for special tokens."""
        pieces = [str(self.inner.id_to_token(i)) for i in range(len(self))]
        added = self.inner.get_added_tokens_decoder()
        sizes = [len(p) if self._bytes else len(p.replace("▁", " ").encode()) for p in pieces]  # a letter for each byte
        for i, piece in enumerate(pieces):
            if i in added:
                sizes[i] = len(piece.encode())
            elif BYTE.fullmatch(piece) and not self._bytes:
                sizes[i] = 1
        return np.array([0 if i in self.special_ids else size for i, size in enumerate(sizes)])

    @property
    def words(self) -> list[str]:
        """What each id stands for, without the mark of a space before it; "" for the special tokens."""
        pieces = self.tokens(range(len(self)))
        return ["" if i in self.special_ids else piece.removeprefix("▁") for i, piece in enumerate(pieces)]

    @cached_property
    def continues(self) -> np.ndarray:
        """(vocabulary,) bool: True where a token goes on with the word before it, so that whole words can be masked.

        Of WordPiece: "##…". Of bpe, byte_bpe and unigram: a piece without a space before it, so that a word is what
        stands between spaces (the first piece of a text begins one, whatever it is). Of word, and of special tokens:
        never.
        """
        pieces = [str(self.inner.id_to_token(i)) for i in range(len(self))]
        if isinstance(self.inner.model, models.WordPiece):
            inside = [piece.startswith(self.inner.model.continuing_subword_prefix) for piece in pieces]
        elif isinstance(self.inner.model, models.WordLevel):
            inside = [False] * len(pieces)
        else:
            inside = [not piece.startswith("Ġ" if self._bytes else "▁") for piece in pieces]
        return np.array([found and i not in self.special_ids for i, found in enumerate(inside)], dtype=bool)

    def word_ids(self, text: str) -> list[int]:
        """For each token of `encode([text])[0]`, the index of the word of `text.split()` that it starts in."""
        word_at, word, after_space = [], -1, True
        for character in text:
            space = character.isspace()
            word += after_space and not space
            word_at.append(word + space)  # a space belongs to the word that it precedes, as "▁" does
            after_space = space
        return [word_at[start] for start, _ in self.inner.encode(text, add_special_tokens=False).offsets]

    def save(self, path: str | Path) -> None:
        """Write `tokenizer.json` (what transformers' PreTrainedTokenizerFast loads): whole, or not at all.

        Of a published vocabulary `tokenizer_config.json` too, which says its roles, and how it reads special tokens.
        """
        file = Path(path)
        file = file / "tokenizer.json" if file.is_dir() else file
        write(file, self.inner.to_str(pretty=True))
        if not self.split_specials:
            write(file.with_name("tokenizer_config.json"), json.dumps(self.told, indent=2, ensure_ascii=False) + "\n")

    @property
    def told(self) -> dict[str, Any]:
        """What `tokenizer_config.json` says beside what `tokenizer.json` has: roles, and special tokens in texts."""
        specials = self.specials
        names = {"pad": specials.pad, "bos": specials.bos, "eos": specials.eos, "unk": specials.unk}
        names |= {"mask": specials.mask} if specials.mask else {}
        reads = {} if self.split_specials else {"split_special_tokens": False}
        return {f"{role}_token": name for role, name in names.items()} | reads

    def save_pretrained(self, folder: str | Path, max_length: int) -> None:
        """Write `tokenizer.json` and `tokenizer_config.json`, of which `transformers.AutoTokenizer` makes the same.

        max_length: the most tokens that the model reads, [CLS] and [SEP] included.
        """
        self.save(Path(folder) / "tokenizer.json")
        reads = {} if self.split_specials else {"split_special_tokens": False}
        settings = transformers_config(self.inner, self.specials, max_length, **reads)
        write(Path(folder) / "tokenizer_config.json", settings)

    @classmethod
    def load(cls, path: str | Path) -> Tokenizer:
        """Read what `save` wrote, or a folder (`from_folder`); RunError where it is missing or damaged."""
        file = Path(path)
        if file.is_dir() and not (file / "tokenizer.json").is_file():
            return cls.from_folder(path)
        file = file / "tokenizer.json" if file.is_dir() else file
        inner, told = inner_of_file(file), published.told_of(file.parent) if file.name == "tokenizer.json" else {}
        return cls(inner, Specials.of(inner, told), split_specials=told.get("split_special_tokens", True))

    @classmethod
    def from_folder(cls, folder: str | Path) -> Tokenizer:
        """The tokenizer of a model folder that another program wrote, as transformers reads it: see `published`.

        Raises RunError where there is none, or it is damaged.
        """
        inner, told = published.read(Path(folder))
        return cls(inner, Specials.of(inner, told), split_specials=bool(told.get("split_special_tokens", False)))

    def report(self, texts: Iterable[str]) -> VocabularyReport:
        """How well this vocabulary covers `texts`."""
        return vocabulary_report(self.inner, texts, self.unk_id)

    def _check(self, ids: Sequence[int]) -> None:
        if ids and not 0 <= min(ids) <= max(ids) < len(self):
            wrong = next(i for i in ids if not 0 <= i < len(self))
            raise VocabularyError(f"token id {wrong} is outside the vocabulary of {len(self)} tokens")


def letter_of(piece: str) -> str:
    """Return what a byte shows as: itself in ASCII, else a part of a letter."""
    byte = int(piece[3:5], 16)
    return chr(byte) if byte < 128 else "�"


def opening(inner: hf.Tokenizer) -> list[int]:
    """Return the special tokens that the template puts before each text."""
    found = inner.encode("a", add_special_tokens=True)
    return found.ids[: next((n for n, text in enumerate(found.sequence_ids) if text == 0), 0)]


def separators(inner: hf.Tokenizer, eos_id: int) -> int:
    """Return how many end tokens stand between two texts: one in BERT's template, two in RoBERTa's."""
    pair = inner.encode("a", "a", add_special_tokens=True)
    which = pair.sequence_ids  # 0 and 1 in the texts, None at special tokens
    between = [i for n, i in enumerate(pair.ids) if which[n] is None and 0 in which[:n] and 1 in which[n:]]
    return max(1, between.count(eos_id))


def _agree(config: TokenizerConfig, n_specials: int) -> None:
    """Raise RecipeError where the kind and another setting disagree."""
    if config.letters:
        raise RecipeError(
            "letters is for word vectors; other models read the marks too", where="tokenizer.letters",
            fix="leave it out, or set tokenizer.punctuation",
        )  # fmt: skip
    if config.kind == "wordpiece" and not config.punctuation:
        raise RecipeError(
            "BERT's WordPiece always sets punctuation marks apart", where="tokenizer.punctuation",
            fix="leave it out, or choose another tokenizer.kind",
        )  # fmt: skip
    if config.kind == "byte_bpe" and config.vocab_size < 256 + n_specials:
        raise RecipeError(
            f"byte_bpe needs an id for each of the 256 bytes and {n_specials} special tokens",
            where="tokenizer.vocab_size",
            fix=f"use at least {256 + n_specials}",
        )
