"""BERT's tokenizer: ours against transformers', on odd texts, fresh and published vocabularies."""

import json
import random
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import tokenizers as hf
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers

from clew.config import TokenizerConfig
from clew.errors import DataError, RunError, VocabularyError
from clew.text.tokenizer import Tokenizer

TEXTS = [
    "The cat, which sat on the mat, isn't small (it is big).",
    "Der große Hund läuft über die Straße; Ångström, naïve café.",
    "日本語のテキスト and 中文 mixed, 1,234.56 % of it.",
    "Unaffable players were playing unaffably; players play.",
] * 3
ODD = [
    "",
    "   ",
    "Cafe\u0301 Ångström İstanbul ﬁne ÅÄÖ ñandú",
    "日本語と中文 한국어 かな",
    "x" * 100 + " " + "x" * 101 + " player",
    "a.b,c!d?e-f_g…h—i«j»k'l\"m$n+o<p=q>r^s`t|u~v",
    "tab\tline\nreturn\rnbsp\u00a0thin\u2009zero\u200bjoin\u200d nul\x00 bell\x07 del\x7f repl\ufffd soft\u00ad",
    "emoji 🙂👩‍👩‍👧 flags 🇩🇪 math ∑∫√ arrows →",
    "A [MASK] of [CLS] and [SEP] [UNK] [PAD] ##ing ## #",
    "مرحبا שלום Привет γειά σου ΣΊΣΥΦΟΣ",
    "The cat sat\x1c on\x1d the\x1e mat\x1f.",
]


@cache
def trained(lowercase: bool) -> Tokenizer:
    return Tokenizer.train(TEXTS, TokenizerConfig(kind="wordpiece", vocab_size=220, lowercase=lowercase))


def theirs(tok: Tokenizer, folder: Path, max_length: int = 512):
    transformers = pytest.importorskip("transformers")
    tok.save_pretrained(folder, max_length)
    return transformers.AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("lowercase", [True, False])
def test_same_ids_and_framing_as_transformers(lowercase, tmp_path):
    tok = trained(lowercase)
    other = theirs(tok, tmp_path)
    assert type(other).__name__.startswith("BertTokenizer") and other.model_max_length == 512
    assert (other.pad_token_id, other.unk_token_id, other.cls_token_id, other.sep_token_id, other.mask_token_id) == (
        tok.pad_id, tok.unk_id, tok.cls_id, tok.sep_id, tok.mask_id)  # fmt: skip
    assert len(other) == len(tok)
    for text in [*TEXTS, *ODD]:
        (ids,) = tok.encode([text])
        assert other(text, split_special_tokens=True)["input_ids"] == [tok.cls_id, *ids, tok.sep_id], text
        assert other.decode(ids, skip_special_tokens=True).strip(" ") == tok.decode([ids])[0]
    for a, b in zip(ODD, TEXTS, strict=False):
        (one, two), pair = tok.encode([a, b]), other(a, b, split_special_tokens=True)
        assert pair["input_ids"] == [tok.cls_id, *one, tok.sep_id, *two, tok.sep_id]
        assert pair["token_type_ids"] == [0] * (len(one) + 2) + [1] * (len(two) + 1)
    masked = "The [MASK] sat on the[MASK]."
    assert other(masked)["input_ids"][1:-1] == tok.encode_masked([masked])[0]
    again = Tokenizer.load(tmp_path)
    assert again.encode(ODD) == tok.encode(ODD) and again.mask_id == tok.mask_id


@settings(max_examples=100, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=60), lowercase=st.booleans())
def test_any_text_as_transformers_reads_it(text, lowercase):
    transformers = pytest.importorskip("transformers")
    tok = trained(lowercase)
    other = transformers.BertTokenizer(vocab=tok.inner.get_vocab(), do_lower_case=lowercase)
    assert other(text, split_special_tokens=True)["input_ids"][1:-1] == tok.encode([text])[0]


def published(folder: Path, **settings) -> list[str]:
    """A vocab.txt as bert-base has it: [PAD] first, [unused…], [UNK] and the others at 100, letters, pieces."""
    unused = [f"[unused{i}]" for i in range(99)]
    letters = sorted({c for text in TEXTS for c in text if not c.isspace()} | set("abcdefghijklmnopqrstuvwxyz"))
    tokens = ["[PAD]", *unused, "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *("##" + c for c in letters)]
    tokens += ["the", "cat", "play", "##ing", "##ers"]
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    if settings:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return tokens


@pytest.mark.parametrize("told", [{}, {"do_lower_case": False}, {"do_lower_case": True, "strip_accents": False}])
def test_published_vocabulary(told, tmp_path):
    transformers = pytest.importorskip("transformers")
    tokens = published(tmp_path, **told)
    tok = Tokenizer.from_folder(tmp_path)
    assert (tok.pad_id, tok.unk_id, tok.bos_id, tok.eos_id, tok.mask_id) == (0, 100, 101, 102, 103)
    assert len(tok) == len(tokens) and tok.tokens(range(len(tok))) == tokens
    vocabulary = {token: i for i, token in enumerate(tokens)}
    other = transformers.BertTokenizer(vocab=vocabulary, **{"do_lower_case": True} | told)
    for text in [*TEXTS, *ODD]:
        assert other(text)["input_ids"][1:-1] == tok.encode([text])[0], text
    (tmp_path / "again").mkdir()
    saved = theirs(tok, tmp_path / "again", 128)
    assert saved(ODD[2])["input_ids"] == other(ODD[2])["input_ids"] and saved.model_max_length == 128
    assert Tokenizer.load(tmp_path / "again").encode(ODD) == tok.encode(ODD)


def test_a_roberta_vocabulary(tmp_path):
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {t: i for i, t in enumerate(["<s>", "<pad>", "</s>", "<unk>", *letters, "Ġc", "at", "Ġcat", "<mask>"])}
    inner = hf.Tokenizer(models.BPE(vocabulary, [("Ġ", "c"), ("a", "t"), ("Ġc", "at")]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    inner.enable_truncation(3)  # as published files may ask
    inner.save(str(tmp_path / "tokenizer.json"))
    tok = Tokenizer.from_folder(tmp_path)
    assert (tok.bos_id, tok.pad_id, tok.eos_id, tok.unk_id, tok.mask_id) == (0, 1, 2, 3, len(vocabulary) - 1)
    assert tok.tokens(tok.encode(["cat cat cat!"])[0]) == ["c", "at", "▁cat", "▁cat", "!"]
    ((ids, words),) = tok.encode_words([["cat", "cats"]])
    assert tok.tokens(ids) == ["▁cat", "▁cat", "s"] and words == [0, 1, 1]
    assert tok.encode_masked(["a <mask> cat"])[0] == [vocabulary["a"], tok.mask_id, vocabulary["Ġcat"]]
    assert tok.continues[vocabulary["at"]] and not tok.continues[vocabulary["Ġcat"]]
    assert not tok.continues[list(tok.special_ids)].any()


def test_training_gives_the_same_vocabulary_in_every_process():
    code = (
        "from clew.text.tokenizer import Tokenizer; from clew.config import TokenizerConfig\n"
        "import hashlib; from tests_texts import TEXTS\n"
    )
    code = code.replace("from tests_texts import TEXTS", f"TEXTS = {TEXTS!r}")
    code += 'tok = Tokenizer.train(TEXTS, TokenizerConfig(kind="wordpiece", vocab_size=220, lowercase=True))\n'
    code += "print(hashlib.sha256(tok.inner.to_str().encode()).hexdigest())"
    said = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout for _ in "12"
    }
    assert len(said) == 1
    shuffled = random.Random(1).sample(TEXTS, len(TEXTS))
    config = TokenizerConfig(kind="wordpiece", vocab_size=220, lowercase=True)
    assert Tokenizer.train(shuffled, config).inner.to_str() == trained(True).inner.to_str()


def test_training_finds_frequent_pieces_within_the_size():
    tok = trained(True)
    assert len(tok) <= 220 and tok.tokens(tok.encode(["players"])[0]) in (["players"], ["player", "##s"])
    assert tok.tokens(tok.encode(["CAFÉ"])[0]) == ["cafe"]
    assert trained(False).unk_id in trained(False).encode(["CAFÉ"])[0] and "café" in trained(False).words
    small = Tokenizer.train(TEXTS, TokenizerConfig(kind="wordpiece", vocab_size=20))
    assert len(small) <= 20 and small.encode(["e"])[0] != [small.unk_id]
    many = ["".join(chr(0x4E00 + i) for i in range(3000)) + " letters"]
    assert len(Tokenizer.train(many, TokenizerConfig(kind="wordpiece", vocab_size=2000))) <= 1100
    counted = Tokenizer.train(["aab aab aab", "cd"], TokenizerConfig(kind="wordpiece", vocab_size=100, min_count=2))
    assert counted.inner.token_to_id("aab") and not counted.inner.token_to_id("cd")
    with pytest.raises(DataError, match="no text"):
        Tokenizer.train(["\x07"], TokenizerConfig(kind="wordpiece"))


def test_continuing_pieces_are_marked():
    tok = trained(True)
    (ids,) = tok.encode(["unaffable cats"])
    assert [piece.startswith("##") for piece in tok.tokens(ids)] == tok.continues[ids].tolist()
    assert tok.continues.shape == (len(tok),) and tok.continues.any() and not tok.continues[:5].any()
    bpe = Tokenizer.train(TEXTS, TokenizerConfig(kind="bpe", vocab_size=120))
    (ids,) = bpe.encode(["The cat, which"])
    assert [not piece.startswith("▁") for piece in bpe.tokens(ids)] == bpe.continues[ids].tolist()
    assert not Tokenizer.train(TEXTS, TokenizerConfig(kind="word")).continues.any()


@pytest.mark.parametrize("kind", ["word", "bpe", "byte_bpe", "wordpiece", "unigram"])
def test_words_to_tokens_and_back(kind):
    tok = Tokenizer.train(TEXTS, TokenizerConfig(kind=kind, vocab_size=400))
    sentences = [["The", "players", ",", "isn't", "\x07", "日本"], [], ["cat"], ["[MASK]", "\u200d"]]
    for words, (ids, index) in zip(sentences, tok.encode_words(sentences), strict=True):
        assert len(ids) == len(index) and index == sorted(index)
        assert sorted(set(index)) == list(range(len(words)))  # every word has a token
        for i, word in enumerate(words):
            mine = [t for t, w in zip(ids, index, strict=True) if w == i]
            assert mine == (tok.encode([word])[0] or [tok.unk_id])
        assert not {tok.bos_id, tok.eos_id, tok.pad_id, tok.mask_id} & set(ids)


@pytest.mark.parametrize("kind", ["word", "bpe", "byte_bpe", "wordpiece", "unigram"])
@settings(max_examples=40, deadline=None)
@given(
    words=st.lists(
        st.sampled_from(["The", "café,", "日本語", "(it", "unaffable", "🙂", "x\u0301y", "e\u0301"]), max_size=6
    )
)
def test_offsets_point_into_the_text(kind, words):
    tok = _by_kind(kind)
    text = " \t".join(words)
    ((ids, spans),) = tok.encode_with_offsets([text])
    assert ids == tok.encode([text])[0] and len(spans) == len(ids)
    for (start, end), number in zip(spans, tok.word_ids(text), strict=True):
        assert 0 <= start <= end <= len(text) and text[start:end] == text[start:end].strip()
        assert text[start:end] in text.split()[number] or kind == "unigram"
    if words and kind in ("bpe", "byte_bpe", "word"):
        assert "".join(sorted({text[a:b] for a, b in spans}, key=text.index))  # something is pointed at


@cache
def _by_kind(kind: str) -> Tokenizer:
    return Tokenizer.train(TEXTS, TokenizerConfig(kind=kind, vocab_size=400))


def test_offsets_of_a_known_text():
    ((_, spans),) = trained(True).encode_with_offsets(["The  CAFÉ\u0301, cat"])
    assert [("The  CAFÉ\u0301, cat")[a:b] for a, b in spans][-2:] == [",", "cat"] and spans[0] == (0, 3)
    ((_, spans),) = _by_kind("byte_bpe").encode_with_offsets(["The  cat"])
    assert spans[0][0] == 0 and spans[-1][1] == 8 and all(a != 3 for a, _ in spans)


def test_masks_need_a_mask_token(tmp_path):
    with pytest.raises(VocabularyError, match="no mask token"):
        _by_kind("bpe").encode_masked(["a [MASK]"])
    tok = Tokenizer.train(TEXTS, TokenizerConfig(kind="byte_bpe", vocab_size=300), mask=True)
    assert tok.mask_id == 4 and tok.encode_masked(["The <mask> sat", "<mask>", "no"]) == [
        [*tok.encode(["The"])[0], 4, *tok.encode(["sat"])[0]], [4], tok.encode(["no"])[0]]  # fmt: skip
    other = theirs(tok, tmp_path)
    assert other("The cat")["input_ids"] == [1, *tok.encode(["The cat"])[0], 2] and other.mask_token_id == 4


def test_bad_folders(tmp_path):
    with pytest.raises(RunError, match="no tokenizer here"):
        Tokenizer.from_folder(tmp_path)
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\nthe\n")
    with pytest.raises(RunError, match=r"no line \[CLS\], \[SEP\], \[MASK\]"):
        Tokenizer.from_folder(tmp_path)
    published(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("[")
    with pytest.raises(RunError, match="not a tokenizer"):
        Tokenizer.from_folder(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("[]")
    with pytest.raises(RunError, match="no JSON object"):
        Tokenizer.from_folder(tmp_path)
