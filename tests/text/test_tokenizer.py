import json
import re
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clew.config import TokenizerConfig
from clew.errors import DataError, RecipeError, RunError, VocabularyError
from clew.text.tokenizer import SPECIALS, Tokenizer

KINDS = ["word", "bpe", "byte_bpe", "wordpiece", "unigram"]
TEXTS = [
    "The cat, which sat on the mat, isn't small (it is big).",
    "L'eau de la rivière n'est pas très froide aujourd'hui !",
    "« Où est-elle ? » demande l'élève — elle répond : « Là-bas. »",
    'Der große Hund läuft über die Straße; "schnell", sagt sie.',
    "Ünïcödé 日本語 emoji 🙂 and numbers 1,234.56 %",
] * 3
LETTERS = sorted(set("".join(TEXTS)))


@cache
def trained(kind: str) -> Tokenizer:
    return Tokenizer.train([*TEXTS, *LETTERS, "".join(LETTERS)], TokenizerConfig(kind=kind, vocab_size=600))


def squeezed(text: str) -> str:
    return re.sub(r"\s+", " ", text.replace("\x1c", "")).strip()


@pytest.mark.parametrize("kind", KINDS)
def test_special_ids_of_a_fresh_vocabulary(kind):
    tok = trained(kind)
    ids = (tok.pad_id, tok.bos_id, tok.eos_id, tok.unk_id)
    if kind == "wordpiece":
        assert (*ids, tok.mask_id) == (0, 2, 3, 1, 4)
        assert tok.tokens(range(5)) == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    else:
        assert (*ids, tok.mask_id) == (0, 1, 2, 3, None)
        assert tok.tokens(range(4)) == list(SPECIALS)
    assert (tok.cls_id, tok.sep_id) == (tok.bos_id, tok.eos_id)
    assert 5 < len(tok) <= 600


@pytest.mark.parametrize("kind", ["word", "bpe", "byte_bpe", "unigram"])
def test_text_comes_back_exactly(kind):
    tok = trained(kind)
    ids = tok.encode(TEXTS)
    assert all(tok.unk_id not in row for row in ids)
    assert tok.decode(ids) == TEXTS


# all code points but surrogates (no text holds them) and the four that Python alone takes for white space
ANYTHING = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x1c\x1d\x1e\x1f"), max_size=60)
KNOWN = st.text(st.sampled_from([*LETTERS, " ", "\t", "\n", "\u00a0", "\u2028"]), max_size=60)
WORDS = st.lists(st.sampled_from([w for text in TEXTS for w in text.split()]), max_size=12).map(" ".join)


@settings(max_examples=150, deadline=None)
@given(text=ANYTHING)
def test_bytes_know_every_text(text):
    tok = trained("byte_bpe")
    assert tok.decode(tok.encode([text])) == [squeezed(text)] == [tok.normalise(text)]


@settings(max_examples=150, deadline=None)
@given(text=KNOWN, kind=st.sampled_from(["bpe", "unigram"]))
def test_known_letters_come_back(text, kind):
    tok = trained(kind)
    ids = tok.encode([text])
    if tok.unk_id not in ids[0]:  # a letter seen only inside words is unknown at the start of one
        assert tok.decode(ids) == [squeezed(text)]
    else:
        assert kind == "unigram", "every letter is in BPE's alphabet"


@settings(max_examples=100, deadline=None)
@given(text=WORDS)
def test_known_words_come_back(text):
    tok = trained("word")
    assert tok.decode(tok.encode([text])) == [text]


@settings(max_examples=100, deadline=None)
@given(text=ANYTHING, kind=st.sampled_from(KINDS))
def test_any_text_can_be_encoded_and_shown(text, kind):
    tok = trained(kind)
    (ids,) = tok.encode([text])
    assert len(tok.tokens(ids)) == len(ids) == len(tok.word_ids(text))
    assert all(0 <= i < len(tok) for i in ids)


@settings(max_examples=100, deadline=None)
@given(words=st.lists(st.text(st.sampled_from([c for c in LETTERS if c != " "]), min_size=1, max_size=8), max_size=8))
@pytest.mark.parametrize("kind", KINDS)
def test_word_ids_number_the_words(words, kind):
    tok = trained(kind)
    numbers = tok.word_ids(" ".join(words))
    assert sorted(set(numbers)) == list(range(len(words))) and numbers == sorted(numbers)
    assert tok.word_ids("  " + "   ".join(words) + " ") == numbers
    for i, word in enumerate(words):  # no token depends on the neighbouring words
        assert numbers.count(i) == len(tok.encode([word])[0])


def test_special_tokens_in_a_text_are_text():
    tok = trained("byte_bpe")
    assert tok.decode(tok.encode(["a <s> b </s> <pad>"])) == ["a <s> b </s> <pad>"]
    assert not {0, 1, 2, 3} & set(tok.encode(["a <s> b </s>"])[0])


def test_decoding_drops_specials_and_names_bad_ids():
    tok = trained("bpe")
    (ids,) = tok.encode([TEXTS[0]])
    assert tok.decode([[tok.bos_id, *ids, tok.eos_id, tok.pad_id]]) == [TEXTS[0]]
    for bad in (-1, len(tok)):
        with pytest.raises(VocabularyError, match=f"token id {bad} is outside the vocabulary of {len(tok)}"):
            tok.decode([[bad]])
        with pytest.raises(VocabularyError):
            tok.tokens([bad])


def test_pieces_are_readable():
    (ids,) = trained("byte_bpe").encode(["Là-bas"])
    assert "".join(trained("byte_bpe").tokens(ids)) == "▁Là-bas"


def test_lowercase():
    tok = Tokenizer.train(TEXTS, TokenizerConfig(kind="bpe", vocab_size=300, lowercase=True))
    assert tok.decode(tok.encode(["THE Cat"])) == ["the cat"]


def test_min_count_and_size_bound_the_vocabulary():
    texts = ["a a a b b c", "a b"]
    assert len(Tokenizer.train(texts, TokenizerConfig(kind="word", min_count=2))) == 4 + 2
    chinese = ["".join(chr(0x4E00 + i) for i in range(500))]
    assert len(Tokenizer.train(chinese, TokenizerConfig(kind="bpe", vocab_size=100))) == 100


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_alike(kind, tmp_path):
    tok = trained(kind)
    path = tmp_path / "tokenizer.json"
    tok.save(path)
    again = Tokenizer.load(path)
    texts = [*TEXTS, "a <s> b"]
    assert again.encode(texts) == tok.encode(texts) and len(again) == len(tok)
    assert again.tokens(range(len(again))) == tok.tokens(range(len(tok)))
    assert [p.name for p in tmp_path.iterdir()] == ["tokenizer.json"]


@pytest.mark.parametrize("kind", ["word", "bpe", "byte_bpe", "wordpiece"])  # the library leaves unigram's to chance
def test_training_is_deterministic(kind):
    twice = [Tokenizer.train(TEXTS, TokenizerConfig(kind=kind, vocab_size=300)).inner.to_str() for _ in range(2)]
    assert twice[0] == twice[1]


def test_transformers_loads_it(tmp_path):
    transformers = pytest.importorskip("transformers")
    trained("bpe").save(tmp_path / "tokenizer.json")
    other = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))
    assert other(TEXTS[0])["input_ids"] == trained("bpe").encode([TEXTS[0]])[0]


def test_bad_files_and_requests(tmp_path):
    with pytest.raises(RunError, match="no tokenizer here"):
        Tokenizer.load(tmp_path / "absent.json")
    (tmp_path / "broken.json").write_text('{"version": "1.0", ')
    with pytest.raises(RunError, match="not a tokenizer"):
        Tokenizer.load(tmp_path / "broken.json")
    trained("bpe").save(tmp_path / "tokenizer.json")
    content = json.loads((tmp_path / "tokenizer.json").read_text())
    content["model"]["vocab"]["<nothing>"] = content["model"]["vocab"].pop("</s>")
    content["added_tokens"] = []
    (tmp_path / "lacking.json").write_text(json.dumps(content))
    with pytest.raises(VocabularyError, match="lacks special tokens"):
        Tokenizer.load(tmp_path / "lacking.json")
    with pytest.raises(RecipeError, match="sets punctuation marks apart"):
        Tokenizer.train(TEXTS, TokenizerConfig(kind="wordpiece", punctuation=False))
    with pytest.raises(RecipeError, match="256 bytes"):
        Tokenizer.train(TEXTS, TokenizerConfig(kind="byte_bpe", vocab_size=100))
    for kind in ("word", "bpe", "wordpiece"):
        with pytest.raises(DataError, match="no token to learn"):
            Tokenizer.train(["", "  "], TokenizerConfig(kind=kind))


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "tokenizer.json"
    trained("bpe").save(path)
    before = path.read_text()

    def fail(_):
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        trained("word").save(path)
    assert path.read_text() == before
    assert list(tmp_path.iterdir()) == [path]


def test_report_against_a_count_by_hand():
    tok = Tokenizer.train(["a cat sat", "a cat"], TokenizerConfig(kind="word"))
    report = tok.report(["a cat sat.", "a  dog", "a dog"])
    # tokens: a cat sat <unk> | a <unk> | a <unk>
    assert (report.size, report.texts, report.words, report.tokens) == (7, 3, 7, 8)
    assert report.coverage == pytest.approx(5 / 8)
    assert report.tokens_per_word == pytest.approx(8 / 7)
    assert report.whole_words == pytest.approx(4 / 7)
    assert report.unknown == [("dog", 2), ("sat.", 1)]
    assert tok.report(["cat sat"]).whole_words == 1
    comma = Tokenizer.train(["a cat, b"], TokenizerConfig(kind="word"))
    assert comma.report(["a cat, b"]).whole_words == 1 and comma.report(["a cat, b"]).tokens == 4
    assert "62.50%" in str(report) and "dog (2)" in str(report)


def test_report_counts_what_encoding_gives():
    for kind in KINDS:
        tok = trained(kind)
        texts = [*TEXTS, "ξένος zzz"]
        ids = [i for row in tok.encode(texts) for i in row]
        report = tok.report(texts)
        assert report.tokens == len(ids)
        assert report.coverage == pytest.approx(1 - ids.count(tok.unk_id) / len(ids))
    assert tok.report([]).words == 0
