"""Tokenizers trained on the user's own text: word, BPE, byte-level BPE, WordPiece and unigram.

All five share one frame (the `tokenizers` library): normalise white space → split into pre-tokens → model → decoder.
Except for byte_bpe and wordpiece a word carries its preceding space as a leading "▁", so that joining the pieces
gives the text back; punctuation stands alone, so that "dog." and "dog" share a token (`tokenizer.punctuation`).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import tokenizers as hf
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers

from clew.config import TokenizerConfig
from clew.errors import DataError, RecipeError, RunError, VocabularyError
from clew.text.report import VocabularyReport, vocabulary_report

SPECIALS = ("<pad>", "<s>", "</s>", "<unk>")  # in this order: their ids are 0, 1, 2, 3

MARK = r"▁?[\p{P}$+<=>^`|~]"  # a punctuation mark, with the space before it where there is one


class Tokenizer:
    """Text ↔ token ids; the special ids are fixed.

    `decode(encode(x)) == normalise(x)` for word, bpe, unigram (where nothing is unknown) and byte_bpe (always);
    wordpiece forgets where spaces stood around punctuation. Normalising turns every run of white space into one space
    and strips both ends ("▁" counts as a space, except for byte_bpe). "<s>" in a text is text, never a special token.
    """

    pad_id, bos_id, eos_id, unk_id = range(4)

    def __init__(self, inner: hf.Tokenizer) -> None:
        wrong = [name for i, name in enumerate(SPECIALS) if inner.token_to_id(name) != i]
        if wrong:
            raise VocabularyError(
                f"the special tokens {', '.join(SPECIALS)} must have ids 0 to 3; wrong: {', '.join(wrong)}"
            )
        inner.encode_special_tokens = True  # not kept in tokenizer.json
        self.inner = inner
        self._bytes = isinstance(inner.decoder, decoders.ByteLevel)

    @classmethod
    def train(cls, texts: Iterable[str], config: TokenizerConfig) -> Tokenizer:
        """Learn a vocabulary of at most `vocab_size` tokens, specials included.

        The same texts give the same word, bpe and byte_bpe vocabulary each time; wordpiece and unigram may settle ties
        differently, for the library keeps its counts in no fixed order: to repeat a run, keep the saved file.
        `texts` is what to learn from: the caller applies `config.max_examples`, since only it knows what a row is.
        Raises DataError where the texts hold nothing to learn from, RecipeError where byte_bpe gets fewer than 260 ids.
        """
        if config.letters:
            raise RecipeError(
                "letters is for word vectors; other models read the marks too", where="tokenizer.letters",
                fix="leave it out, or set tokenizer.punctuation",
            )  # fmt: skip
        if config.kind == "byte_bpe" and config.vocab_size < 256 + len(SPECIALS):
            raise RecipeError(
                "byte_bpe needs an id for each of the 256 bytes and 4 special tokens",
                where="tokenizer.vocab_size",
                fix="use at least 260",
            )
        inner, trainer = _untrained(config)
        inner.train_from_iterator(texts, trainer)
        if inner.get_vocab_size() <= len(SPECIALS):
            raise DataError(
                "the tokenizer found no token to learn: no text, or no word reaches min_count",
                where=f"tokenizer.min_count = {config.min_count}",
            )
        return cls(inner)

    def __len__(self) -> int:
        return self.inner.get_vocab_size()

    def normalise(self, text: str) -> str:
        """The text as the model sees it: single spaces, stripped, lower-cased where the recipe says so."""
        return self.inner.normalizer.normalize_str(text)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text, without special tokens."""
        return [e.ids for e in self.inner.encode_batch_fast(list(texts), add_special_tokens=False)]

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """The text of each id list; <pad>, <s>, </s> and <unk> are dropped, ids outside the vocabulary are errors."""
        for row in ids:
            self._check(row)
        return [
            text.strip(" ") for text in self.inner.decode_batch([list(row) for row in ids], skip_special_tokens=True)
        ]

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """Readable pieces, one per id: "▁" marks a preceding space; bytes that are no whole character show as "�"."""
        self._check(ids)
        pieces = [str(self.inner.id_to_token(i)) for i in ids]
        if not self._bytes:
            return pieces
        return [
            p if i < len(SPECIALS) else self.inner.decoder.decode([p]).replace(" ", "▁")
            for i, p in zip(ids, pieces, strict=True)
        ]

    @property
    def words(self) -> list[str]:
        """What each id stands for, without the mark of a space before it; "" for the special tokens."""
        pieces = self.tokens(range(len(self)))
        return [""] * len(SPECIALS) + [piece.removeprefix("▁") for piece in pieces[len(SPECIALS) :]]

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
        """Write `tokenizer.json` (what transformers' PreTrainedTokenizerFast loads): whole, or not at all."""
        path = Path(path)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".tmp")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(self.inner.to_str(pretty=True))
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)  # mkstemp's own mode shuts out everyone else
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    @classmethod
    def load(cls, path: str | Path) -> Tokenizer:
        """Read a tokenizer that `save` wrote; RunError where the file is missing or damaged."""
        if not Path(path).is_file():
            raise RunError("there is no tokenizer here", where=str(path))
        try:
            return cls(hf.Tokenizer.from_file(str(path)))
        except VocabularyError:
            raise
        except Exception as error:  # the library raises bare Exception for any malformed file
            raise RunError(f"this is not a tokenizer: {error}", where=str(path)) from error

    def report(self, texts: Iterable[str]) -> VocabularyReport:
        """How well this vocabulary covers `texts`."""
        return vocabulary_report(self.inner, texts, self.unk_id)

    def _check(self, ids: Sequence[int]) -> None:
        if ids and not 0 <= min(ids) <= max(ids) < len(self):
            wrong = next(i for i in ids if not 0 <= i < len(self))
            raise VocabularyError(f"token id {wrong} is outside the vocabulary of {len(self)} tokens")


def _untrained(config: TokenizerConfig) -> tuple[hf.Tokenizer, trainers.Trainer]:
    """The tokenizer that `config` describes, and what trains it."""
    size, count = config.vocab_size, config.min_count
    common: dict[str, Any] = {"vocab_size": size, "special_tokens": list(SPECIALS), "show_progress": False}
    letters: dict[str, Any] = {"limit_alphabet": size - len(SPECIALS)}  # or a large alphabet would overrun vocab_size
    marks = [pre_tokenizers.Split(Regex(MARK), "isolated")] if config.punctuation else []
    spaced = (  # ▁ for spaces, punctuation alone
        pre_tokenizers.Sequence([pre_tokenizers.Metaspace(prepend_scheme="always"), *marks]),
        decoders.Metaspace(prepend_scheme="always"),
    )
    bare = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), *marks])
    by_byte = (pre_tokenizers.ByteLevel(add_prefix_space=True), decoders.ByteLevel())
    unk = SPECIALS[3]
    model: models.Model
    split: pre_tokenizers.PreTokenizer
    decoder: decoders.Decoder
    trainer: trainers.Trainer
    if config.kind == "word":
        model, (split, decoder) = models.WordLevel(unk_token=unk), spaced
        trainer = trainers.WordLevelTrainer(min_frequency=count, **common)
    elif config.kind == "bpe":
        model, (split, decoder) = models.BPE(unk_token=unk), spaced
        trainer = trainers.BpeTrainer(min_frequency=count, **letters, **common)
    elif config.kind == "byte_bpe":
        model, (split, decoder) = models.BPE(), by_byte
        trainer = trainers.BpeTrainer(
            min_frequency=count, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), **common
        )
    elif config.kind == "wordpiece":
        model, split, decoder = models.WordPiece(unk_token=unk), bare, decoders.WordPiece(cleanup=True)
        trainer = trainers.WordPieceTrainer(min_frequency=count, **letters, **common)
    else:
        model, (split, decoder) = models.Unigram(), spaced
        trainer = trainers.UnigramTrainer(unk_token=unk, **common)
    inner = hf.Tokenizer(model)
    spaces = r"\s+" if config.kind == "byte_bpe" else r"[\s▁]+"
    steps = [normalizers.Replace(Regex(spaces), " "), normalizers.Strip()]
    inner.normalizer = normalizers.Sequence([*steps, normalizers.Lowercase()] if config.lowercase else steps)
    inner.pre_tokenizer, inner.decoder = split, decoder
    return inner, trainer
