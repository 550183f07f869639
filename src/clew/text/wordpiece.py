"""BERT's own tokenizer: what it does to a text, how its vocabulary is trained, and the vocab.txt of published models.

Devlin et al. 2019; the normalising and splitting are those of the BERT release (`BasicTokenizer`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import repeat

import tokenizers as hf
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from clew.errors import DataError

BERT_SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")  # in this order: the first ids of a fresh vocabulary
LETTERS = 1000  # of an alphabet, at most: rarer ones (most of them Chinese) are unknown
LONGEST = 100  # characters of a word; a longer one is unknown


def bert(
    vocabulary: Mapping[str, int],
    *,
    lowercase: bool,
    strip_accents: bool | None = None,
    chinese: bool = True,
) -> hf.Tokenizer:
    """BERT's tokenizer over a vocabulary (token → id), which holds `BERT_SPECIALS`.

    Control characters are dropped, every white space is a space, each Chinese character stands alone (`chinese`),
    text is lower-cased and loses its accents (`lowercase`; the accents: `strip_accents`, where given), punctuation
    marks stand alone; then each word is parted greedily into the longest known pieces, "##" marking those inside.
    """
    inner = hf.Tokenizer(models.WordPiece(dict(vocabulary), unk_token="[UNK]", max_input_chars_per_word=LONGEST))
    inner.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=chinese, strip_accents=strip_accents, lowercase=lowercase
    )
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    inner.add_special_tokens([hf.AddedToken(name, special=True, normalized=False) for name in BERT_SPECIALS])
    inner.post_processor = framing("[CLS]", "[SEP]", inner)
    return inner


def framing(bos: str, eos: str, inner: hf.Tokenizer, *, twice: bool = False) -> processors.PostProcessor:
    """Return the template [CLS] A [SEP], and [CLS] A [SEP] B [SEP], whose second text has token type 1.

    twice: as RoBERTa has it, two ends between the texts, and no token types.
    """
    pair = f"{bos}:0 $A:0 {eos}:0 {eos}:0 $B:0 {eos}:0" if twice else f"{bos}:0 $A:0 {eos}:0 $B:1 {eos}:1"
    return processors.TemplateProcessing(
        single=f"{bos}:0 $A:0 {eos}:0",
        pair=pair,
        special_tokens=[(name, inner.token_to_id(name)) for name in (bos, eos)],
    )


def train_wordpiece(texts: Iterable[str], *, vocab_size: int, min_count: int, lowercase: bool) -> hf.Tokenizer:
    """Learn WordPiece from texts: merge the most frequent pair of pieces until the vocabulary has `vocab_size` tokens.

    Each letter takes one id, and a second one ("##x") where it stands inside words; pairs seen less than `min_count`
    times are not merged. As in the `tokenizers` library, pairs are chosen by their count (Sennrich et al. 2016), not
    by the likelihood of Schuster & Nakajima 2012. The same texts give the same vocabulary. Raises DataError where the
    texts hold no letter.
    """
    empty = bert(dict(zip(BERT_SPECIALS, range(len(BERT_SPECIALS)), strict=True)), lowercase=lowercase)
    words = _words(texts, empty)
    first, inside = _alphabet(words, vocab_size - len(BERT_SPECIALS))
    if not first:
        raise DataError("the tokenizer found no token to learn: there is no text", fix="check the data's columns")
    # The library numbers "##" letters in an order of chance, and settles ties by number: so they are given beforehand.
    fixed = [*BERT_SPECIALS, *("##" + letter for letter in inside)]
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size, min_frequency=min_count, special_tokens=fixed, initial_alphabet=first,
        limit_alphabet=len(first), show_progress=False,
    )  # fmt: skip
    learner = hf.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    learner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    learner.train_from_iterator(_repeated(words), trainer)
    return bert(learner.get_vocab(with_added_tokens=False), lowercase=lowercase)


def _words(texts: Iterable[str], inner: hf.Tokenizer) -> Counter[str]:
    """Every word as the model sees it, and how often it occurs; what stands between spaces is parted once."""
    spaced: Counter[str] = Counter()
    for text in texts:
        spaced.update(text.split())
    words: Counter[str] = Counter()
    for text, count in spaced.items():
        for word, _ in inner.pre_tokenizer.pre_tokenize_str(inner.normalizer.normalize_str(text)):
            words[word] += count
    return words


def _alphabet(words: Counter[str], room: int) -> tuple[list[str], list[str]]:
    """The most frequent letters, and those of them that stand inside a word, as many as there are ids for."""
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for letter in word:
            counts[letter] += count
    later = {letter for word in words for letter in word[1:]}
    kept: list[str] = []
    for letter, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:LETTERS]:
        room -= 1 + (letter in later)
        if room < 0:
            break
        kept.append(letter)
    return sorted(kept), sorted(later.intersection(kept))


def _repeated(words: Counter[str]) -> Iterator[str]:
    """Each word as often as it occurs: the library's trainer takes texts, not counts."""
    for word, count in words.items():
        for done in range(0, count, 1000):
            yield " ".join(repeat(word, min(1000, count - done)))
