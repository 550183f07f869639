"""How well a vocabulary covers a text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import tokenizers as hf


@dataclass(frozen=True)
class VocabularyReport:
    """What a vocabulary makes of some text; words are what stands between spaces.

    size: tokens in the vocabulary; coverage: share of the text's tokens that are not <unk>; whole_words: share of words
    in which every part between punctuation marks is one known token; unknown: the most frequent words with an <unk>.
    """

    size: int
    texts: int
    words: int
    tokens: int
    coverage: float
    tokens_per_word: float
    whole_words: float
    unknown: list[tuple[str, int]]

    def __str__(self) -> str:
        unknown = ", ".join(f"{word} ({count:,})" for word, count in self.unknown) or "none"
        return (
            f"vocabulary of {self.size:,} on {self.texts:,} texts, {self.words:,} words, {self.tokens:,} tokens\n"
            f"  known tokens        {self.coverage:.2%}\n"
            f"  tokens per word     {self.tokens_per_word:.2f}\n"
            f"  words kept whole    {self.whole_words:.2%}\n"
            f"  words with unknowns {unknown}"
        )


def vocabulary_report(inner: hf.Tokenizer, texts: Iterable[str], unk_id: int, n_unknown: int = 10) -> VocabularyReport:
    """Encode each distinct word once (no token spans a space) and weight it by how often it occurs."""
    n_texts, counts, rule = 0, Counter[str](), inner.normalizer
    for text in texts:
        n_texts += 1
        counts.update((rule.normalize_str(text) if rule else text).split(" "))
    counts.pop("", None)
    n_tokens = n_unk = n_whole = 0
    unknown = Counter[str]()
    for (word, count), encoding in zip(
        counts.items(), inner.encode_batch(list(counts), add_special_tokens=False), strict=True
    ):
        unk = encoding.ids.count(unk_id)
        n_tokens += count * len(encoding.ids)
        n_unk += count * unk
        n_whole += count * (not unk and len(encoding.ids) == len(set(encoding.word_ids)))
        if unk:
            unknown[word] = count
    n_words = counts.total()
    return VocabularyReport(
        size=inner.get_vocab_size(),
        texts=n_texts,
        words=n_words,
        tokens=n_tokens,
        coverage=1 - n_unk / max(n_tokens, 1),
        tokens_per_word=n_tokens / max(n_words, 1),
        whole_words=n_whole / max(n_words, 1),
        unknown=unknown.most_common(n_unknown),
    )
