"""The tokenizers of our own that a recipe can ask for, before they are trained."""

from __future__ import annotations

from typing import Any

import tokenizers as hf
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers

from clew.config import TokenizerConfig
from clew.text.specials import END, MASK, SPECIALS

MARK = r"▁?[\p{P}$+<=>^`|~]"  # a punctuation mark, with the space before it where there is one


def exact(config: TokenizerConfig) -> tuple[hf.Tokenizer, trainers.Trainer]:
    """The kinds that keep every character of a text, white space too: GPT-2's byte-level BPE, and single characters."""
    common: dict[str, Any] = {
        "vocab_size": config.vocab_size,
        "min_frequency": config.min_count,
        "show_progress": False,
    }
    trainer: trainers.Trainer
    if config.kind == "gpt2":
        inner = hf.Tokenizer(models.BPE())
        inner.pre_tokenizer, inner.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(special_tokens=[END], initial_alphabet=alphabet, **common)
    else:
        inner = hf.Tokenizer(models.WordLevel(unk_token=SPECIALS[3]))
        inner.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
        inner.decoder = decoders.Fuse()
        trainer = trainers.WordLevelTrainer(special_tokens=[END, SPECIALS[3]], **common)
    if config.lowercase:
        inner.normalizer = normalizers.Lowercase()
    return inner, trainer


def untrained(config: TokenizerConfig, mask: bool) -> tuple[hf.Tokenizer, trainers.Trainer]:
    """The tokenizer that `config` describes (of any kind but wordpiece), and what trains it."""
    if config.kind in ("gpt2", "characters"):
        return exact(config)
    size, count = config.vocab_size, config.min_count
    specials = [*SPECIALS, MASK] if mask else list(SPECIALS)
    common: dict[str, Any] = {"vocab_size": size, "special_tokens": specials, "show_progress": False}
    letters: dict[str, Any] = {"limit_alphabet": size - len(specials)}  # or a large alphabet would overrun vocab_size
    marks = [pre_tokenizers.Split(Regex(MARK), "isolated")] if config.punctuation else []
    spaced = (  # ▁ for spaces, punctuation alone
        pre_tokenizers.Sequence([pre_tokenizers.Metaspace(prepend_scheme="always"), *marks]),
        decoders.Metaspace(prepend_scheme="always"),
    )
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
    else:
        model, (split, decoder) = models.Unigram(), spaced
        trainer = trainers.UnigramTrainer(unk_token=unk, **common)
    inner = hf.Tokenizer(model)
    spaces = r"\s+" if config.kind == "byte_bpe" else r"[\s▁]+"
    steps = [normalizers.Replace(Regex(spaces), " "), normalizers.Strip()]
    inner.normalizer = normalizers.Sequence([*steps, normalizers.Lowercase()] if config.lowercase else steps)
    inner.pre_tokenizer, inner.decoder = split, decoder
    return inner, trainer
