import gzip
import lzma
import random
from collections import Counter
from string import punctuation

import numpy as np
import pytest

from clew.errors import DataError, RunError, VocabularyError
from clew.text import words as module
from clew.text.marks import without_marks
from clew.text.words import SENTENCE, WordVocabulary, encode, encode_to, encoded


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def random_text(seed=0, n=20_000, types=3_000):
    rng = random.Random(seed)
    alphabet = "abcdeéß語 "
    names = ["".join(rng.choice(alphabet[:-1]) for _ in range(rng.randint(1, 9))) for _ in range(types)]
    chosen = [names[int(types * rng.random() ** 3)] for _ in range(n)]
    return "".join(word + rng.choice(["\n", " ", "  ", "\t", " \r\n", "\n\n", " ", " ", " "]) for word in chosen)


def plain(text, min_count=1):
    """What the module promises, in the plainest Python."""
    lines = [line.replace("\t", " ").replace("\r", " ").split() for line in text.split("\n")]
    counts = Counter(word for line in lines for word in line)
    kept = [word for word, count in sorted(counts.items(), key=lambda item: -item[1]) if count >= min_count]
    index = {word: i for i, word in enumerate(kept)}
    ids = [[index[word] for word in line if word in index] for line in lines]
    return kept, [counts[word] for word in kept], [line for line in ids if line]


def sentences(text):
    return [part.tolist() for part in np.split(text.ids, text.ends[:-1])]


@pytest.mark.parametrize("block", [7, 64, 1 << 18])
@pytest.mark.parametrize("min_count", [1, 4])
def test_counts_and_ids_are_those_of_plain_python(tmp_path, monkeypatch, block, min_count):
    monkeypatch.setattr(module, "BLOCK", block)
    text = random_text(n=3000 if block == 7 else 20_000)
    path = write(tmp_path / "text", text)
    vocabulary = WordVocabulary.count([path], min_count=min_count)
    words, counts, lines = plain(text, min_count)
    assert vocabulary.words == words and vocabulary.counts.tolist() == counts
    assert vocabulary.report.read == len(text.split()) and vocabulary.report.kept == sum(counts)
    got = encode_to(tmp_path / "ids", [path], vocabulary)
    assert sentences(got) == lines
    assert got.ids.dtype == np.int32 and got.ends.dtype == np.int64 and sentences(encoded(tmp_path / "ids")) == lines


def test_compressed_and_several_files_read_as_one(tmp_path):
    text = random_text(n=2000)
    words, counts, lines = plain(text + "\n" + text + "\n" + text)
    paths = [tmp_path / name for name in ("a.txt", "b.gz", "c.xz")]
    for path, opener in zip(paths, (open, gzip.open, lzma.open), strict=True):
        with opener(path, "wb") as file:
            file.write(text.rstrip().encode())  # no line end at the end: the next file begins a sentence all the same
    seen = []
    vocabulary = WordVocabulary.count(paths, min_count=1, progress=lambda done, total: seen.append((done, total)))
    assert vocabulary.words == words and vocabulary.counts.tolist() == counts
    assert sentences(encode_to(tmp_path / "ids", paths, vocabulary)) == lines
    total = sum(path.stat().st_size for path in paths)
    assert seen == sorted(seen) and seen[-1] == (total, total)


def test_lowercase_and_byte_order_mark(tmp_path):
    path = write(tmp_path / "text", b"\xef\xbb\xbf" + "Été été ÉTÉ The the\n".encode())
    vocabulary = WordVocabulary.count([path], min_count=1, lowercase=True)
    assert vocabulary.words == ["été", "the"] and vocabulary.counts.tolist() == [3, 2]
    assert np.concatenate([b.ids for b in encode([path], vocabulary)]).tolist() == [0, 0, 0, 1, 1]


@pytest.mark.parametrize(("text", "words"), [
    ("كتاب جديد، قديم؟", "كتاب جديد قديم"),
    ("राम घर गया।", "राम घर गया"),
    ("我们 喜欢 书，我们。", "我们 喜欢 书 我们"),
    ("el col·legi · l’été …", "el col·legi l été"),
    ("τι κάνεις; καλά·", "τι κάνεις καλά"),
    ("10 m² und 5 µm für 3€ ±1", "10 m² und 5 µm für 3 1"),
    ("Donau\u00addampf ab\ufeffc \u200fשלום\u200e", "Donaudampf abc שלום"),
    ("می\u200cخواهم 👩\u200d👧 👍🏽 a\u200bb", "می\u200cخواهم 👩\u200d👧 👍🏽 a b"),
    ("צה״ל אמר ״לא״", "צה״ל אמר לא"),
    ("¿qué? «oui» „ja“ 「はい」 rock'n'roll", "qué oui ja はい rock n roll"),
])  # fmt: skip
def test_marks_of_every_script_part_words(tmp_path, text, words):
    vocabulary = WordVocabulary.count([write(tmp_path / "text", text + "\n")], min_count=1, letters=True)
    assert sorted(vocabulary.words) == sorted(set(words.split()))


def test_marks_leave_other_bytes_alone():
    assert without_marks(b"a\xff,b \xe2\x80 \xc2") == b"a\xff b \xe2\x80 \xc2"
    printable = "".join(map(chr, range(33, 127)))
    assert without_marks(printable.encode()) == "".join(" " if c in punctuation else c for c in printable).encode()


def test_max_size_keeps_the_most_frequent(tmp_path):
    path = write(tmp_path / "text", random_text())
    assert WordVocabulary.count([path], max_size=7).words == WordVocabulary.count([path]).words[:7]


def test_a_long_line_is_cut_and_nothing_lost(tmp_path):
    path = write(tmp_path / "text", "a b " * SENTENCE + "c\nd")
    got = encode_to(tmp_path / "ids", [path], WordVocabulary.count([path], min_count=1))
    assert len(got.ids) == 2 * SENTENCE + 2
    assert got.ends.tolist() == [SENTENCE, 2 * SENTENCE, 2 * SENTENCE + 1, 2 * SENTENCE + 2]


def test_a_word_too_long_is_left_out_and_counted(tmp_path, monkeypatch):
    path = write(tmp_path / "text", "a b " + "x" * 5000 + " a c\nb " + "y" * 5000 + "\nd " + "z" * 9000)
    for block in (100, 1000, 1 << 18):
        monkeypatch.setattr(module, "BLOCK", block)
        vocabulary = WordVocabulary.count([path], min_count=1)
        assert (vocabulary.words, vocabulary.report.too_long) == (["a", "b", "c", "d"], 3), block
        assert sentences(encode_to(tmp_path / "ids", [path], vocabulary)) == [[0, 1, 0, 2], [1], [3]]


def test_words_that_are_not_utf8_are_left_out_and_counted(tmp_path):
    path = write(tmp_path / "text", b"caf\xe9 caf\xe9 the the the\n a a \xff")
    vocabulary = WordVocabulary.count([path], min_count=1)
    assert vocabulary.words == ["the", "a"] and vocabulary.report.not_utf8 == 3
    assert "3 left out: not UTF-8" in str(vocabulary.report)


def test_memory_is_bounded_by_forgetting_rare_words(tmp_path):
    text = "the of\n" * 500 + " ".join(f"rare{i}" for i in range(40_000)) + "\n" + "the of and and\n" * 10
    path = write(tmp_path / "text", text)
    whole = WordVocabulary.count([path], min_count=2)
    pruned = WordVocabulary.count([path], min_count=2, most_distinct=1000)
    assert whole.report.pruned == 0 and pruned.report.pruned >= 1 and pruned.report.distinct <= 1000
    assert pruned.words[:2] == ["the", "of"] and pruned.counts[0] == whole.counts[0]
    assert "were forgotten" in str(pruned.report)


@pytest.mark.parametrize("text", [b"", b"\n \n", b"one\n", b"one " * 50, b"a b c d"])
def test_too_little_text(tmp_path, text):
    with pytest.raises(DataError, match="words occur 5 times or more"):
        WordVocabulary.count([write(tmp_path / "text", text)])


def test_binary_and_unreadable_files(tmp_path):
    with pytest.raises(DataError, match="NUL bytes"):
        WordVocabulary.count([write(tmp_path / "x", b"a b c " * 10 + b"\0")])
    with pytest.raises(DataError, match="NUL bytes"):
        WordVocabulary.count([write(tmp_path / "x", "a b c".encode("utf-16"))])
    with pytest.raises(DataError, match="no such file"):
        WordVocabulary.count([tmp_path / "absent"])
    with pytest.raises(DataError, match="cannot be read"):
        WordVocabulary.count([write(tmp_path / "x.gz", gzip.compress(random_text().encode())[:-20])])
    with pytest.raises(DataError, match="cannot be read"):
        WordVocabulary.count([write(tmp_path / "x.xz", b"this is no archive")])
    good = write(tmp_path / "good", "a b a b")
    vocabulary = WordVocabulary.count([good], min_count=1)
    with pytest.raises(DataError, match="no word of the text"):
        encode_to(tmp_path / "ids", [write(tmp_path / "other", "c d e")], vocabulary)
    assert not list((tmp_path / "ids").iterdir())


def test_saved_and_loaded(tmp_path):
    vocabulary = WordVocabulary.count([write(tmp_path / "text", random_text())], lowercase=True)
    vocabulary.save(tmp_path / "tokenizer.json")
    loaded = WordVocabulary.load(tmp_path / "tokenizer.json")
    assert loaded.words == vocabulary.words and loaded.lowercase and (loaded.counts == vocabulary.counts).all()
    assert all(loaded.index[word] == i for i, word in enumerate(loaded.words))
    for damaged in (
        "{",
        '{"kind": "words"}',
        '{"kind": "bpe"}',
        '{"kind": "words", "words": ["a"], "counts": []}',
        "[]",
    ):
        with pytest.raises(RunError, match="not a word vocabulary"):
            WordVocabulary.load(write(tmp_path / "damaged", damaged))
    with pytest.raises(RunError, match="no word vocabulary"):
        WordVocabulary.load(tmp_path / "absent")


def test_words_that_no_text_can_hold(tmp_path):
    path = write(tmp_path / "text", "a b")
    for wrong in (["a b", "c"], ["a", "a"], ["a", ""]):
        with pytest.raises(VocabularyError, match="white space or occurs twice"):
            list(encode([path], WordVocabulary(wrong, np.ones(2, np.int64))))


def test_encoded_text_cut_short(tmp_path):
    path = write(tmp_path / "text", "a b c\n" * 20)
    encode_to(tmp_path / "ids", [path], WordVocabulary.count([path]))
    ids = tmp_path / "ids" / "ids.int32"
    ids.write_bytes(ids.read_bytes()[:-8])
    with pytest.raises(RunError, match="cut short"):
        encoded(tmp_path / "ids")
    with pytest.raises(RunError, match="no encoded text"):
        encoded(tmp_path / "absent")
