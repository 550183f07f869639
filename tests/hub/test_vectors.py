"""Files of word vectors: what is written is read, and what is broken is said, in bounded memory."""

import gzip
import json
import lzma
import pickle
import struct

import numpy as np
import pytest

from clew.errors import DataError, RecipeError, VocabularyError
from clew.hub.vectors import load_vectors, save_vectors
from clew.models.vectors import Subwords, WordVectors

FORMATS = ["text", "glove", "binary", "fasttext", "safetensors"]


@pytest.fixture
def vectors():
    rng = np.random.default_rng(0)
    matrix = (rng.normal(size=(30, 5)) * 10.0 ** rng.integers(-9, 9, size=(30, 5))).astype(np.float32)
    matrix[0] = [0, -0.0, 1, 3.4028235e38 / 1e20, 1e-45]
    return WordVectors(
        ["the", "naïve", "日本", '"', "1.5", *(f"w{i}" for i in range(25))], matrix, np.arange(30, 0, -1)
    )


def with_ngrams(words, dim=4, bucket=40):
    table = np.random.default_rng(1).normal(size=(len(words) + bucket, dim)).astype(np.float32)
    subwords = Subwords(2, 4, bucket, table)
    return WordVectors(words, subwords.compose(words), np.arange(len(words), 0, -1), subwords)


@pytest.mark.parametrize("format", FORMATS)
def test_round_trip(tmp_path, vectors, format):
    save_vectors(vectors, tmp_path / "v", format=format)
    again = load_vectors(tmp_path / "v")
    assert again.words == vectors.words
    assert np.array_equal(again.matrix, vectors.matrix)
    if format in ("fasttext", "safetensors"):
        assert np.array_equal(again.counts, vectors.counts)
    assert [path.name for path in tmp_path.iterdir()] == ["v"]


@pytest.mark.parametrize("format", ["fasttext", "safetensors"])
def test_ngrams_round_trip(tmp_path, format):
    vectors = with_ngrams(["</s>", "where", "日本", "a"])
    save_vectors(vectors, tmp_path / "v", format=format)
    again = load_vectors(tmp_path / "v")
    assert (again.subwords.minn, again.subwords.maxn, again.subwords.bucket) == (2, 4, 40)
    assert np.array_equal(again.subwords.matrix, vectors.subwords.matrix)
    assert np.array_equal(again.matrix, vectors.matrix)
    assert np.array_equal(again.vector("never"), vectors.vector("never"))


@pytest.mark.parametrize(("suffix", "opener"), [(".gz", gzip.open), (".xz", lzma.open)])
def test_packed_files(tmp_path, vectors, suffix, opener):
    save_vectors(vectors, tmp_path / "plain", format="binary")
    with opener(tmp_path / f"v{suffix}", "wb") as file:
        file.write((tmp_path / "plain").read_bytes())
    assert np.array_equal(load_vectors(tmp_path / f"v{suffix}").matrix, vectors.matrix)
    (tmp_path / "cut").write_bytes((tmp_path / f"v{suffix}").read_bytes()[:-20])
    with pytest.raises(DataError, match=r"does not unpack[^$]*cut"):
        load_vectors(tmp_path / "cut")


def test_the_name_says_the_format(tmp_path, vectors):
    for name in ("v.txt", "v.vec", "v.glove", "v.safetensors"):
        save_vectors(vectors, tmp_path / name)
        assert load_vectors(tmp_path / name).words == vectors.words
    assert (tmp_path / "v.vec").read_text().startswith("30 5\n")
    assert (tmp_path / "v.glove").read_text().startswith("the ")
    with pytest.raises(RecipeError, match=r'"\.bin" is no format[^$]*text, glove, binary'):
        save_vectors(vectors, tmp_path / "v.bin")
    with pytest.raises(RecipeError, match="pickle"):
        save_vectors(vectors, tmp_path / "v.kv")


def read(tmp_path, content, **options):
    path = tmp_path / "file.vec"
    path.write_bytes(content)
    return load_vectors(path, **options)


@pytest.mark.parametrize("text", [
    "2 2\na 1 2\nb -3e0 .5\n", "2 2\r\na 1 2\r\nb -3 0.5\r\n", "2 2\na 1 2 \nb -3 5e-1 \n\n", "a 1 2\nb -3 +0.5",
    "2\t2\na\t1.\t2\nb\t-3.0000000000000000000000\t0.5",
])  # fmt: skip
def test_ways_to_write_text(tmp_path, text):
    vectors = read(tmp_path, text.encode())
    assert vectors.words == ["a", "b"]
    assert vectors.matrix.tolist() == [[1, 2], [-3, 0.5]]


def test_numbers_are_read_as_python_reads_them(tmp_path):
    rng = np.random.default_rng(3)
    drawn = rng.normal(size=400) * 10.0 ** rng.integers(-44, 38, size=400)
    texts = [f"{x:.{n}{c}}" for x in drawn for n, c in [(3, "e"), (8, "g"), (17, "e"), (6, "f")] if abs(x) < 3e38]
    texts += ["0", "-0", "1e-400", "00012", "123456789012345678901234567890", "0." + "0" * 30 + "12"]
    vectors = read(tmp_path, "".join(f"w{i} {text}\n" for i, text in enumerate(texts)).encode(), format="glove")
    assert np.array_equal(vectors.matrix[:, 0], np.array([float(text) for text in texts]).astype(np.float32))


def test_words_that_hold_spaces(tmp_path):
    vectors = read(tmp_path, b". . . 1 2\nat name@domain.com 3 4\nx 5 6\ny 0 1\nz 1 1\n")
    assert vectors.words == [". . .", "at name@domain.com", "x", "y", "z"]
    assert vectors.matrix[:2].tolist() == [[1, 2], [3, 4]]
    with pytest.raises(RecipeError, match=r"cannot hold the word '\. \. \.'"):
        save_vectors(vectors, tmp_path / "v.vec")
    assert not (tmp_path / "v.vec").exists()
    save_vectors(vectors, tmp_path / "v.safetensors")
    assert load_vectors(tmp_path / "v.safetensors").words == vectors.words


@pytest.mark.parametrize(("content", "message"), [
    (b"", "the file is empty"),
    (b"3 2\na 1 2\nb 3 4\n", r"says 3 words of 2 numbers; the file has 2 lines[^$]*line 1"),
    (b"3 2\na 1 2\n\nb 3 4\n", r"says 3 words, the file has 2"),
    (b"1 2\na 1 2\nb 3 4\n", r"says 1 words, the file has more[^$]*line 3"),
    (b"2 3\na 1 2\nb 3 4\n", r"2 numbers follow the word, where 3[^$]*line 2, which begins \"a 1 2"),
    (b"2 1\na 1 2\nb 3 4\n", r"2 numbers follow the word, where 1[^$]*line 2"),
    (b"2 2\na 1 2\nb 3\n", r"1 numbers follow the word, where 2[^$]*line 3"),
    (b"a 1 2\nb 1 2\nc 1\n", r"1 numbers follow[^$]*line 3"),
    (b"2 2\na 1 2\n 3 4\n", r"no word[^$]*line 3"),
    (b"2 2\na 1 x2\nb 3 4\n", r'"x2" is not a finite float32[^$]*line 2'),
    (b"2 2\na 1 2\nb 3 nan\n", r'"nan" is not a finite[^$]*line 3'),
    (b"2 2\na 1 2\nb 3 1e39\n", r'"1e39" is not a finite float32[^$]*line 3'),
    (b"2 2\na 1 2\nb 3 1_0\n", r"line 3"),
    (b"3 2\na 1 2\nb 3 4\na 5 6\n", r'"a" has two vectors[^$]*rows 1 and 3'),
    (b"2 2\na 1 2\nb\xff 3 4\n", r"b'b\\xff' is not UTF-8[^$]*word 2, byte 10[^$]*backslashreplace"),
    (b"999999999999 999999999\na 1 2\n", "says 999999999999 words"),
    (b"1 999999999\na 1 2\n", "says 1 words of 999999999 numbers"),
    (b"0 0\n", "no file of word vectors|says 0 words"),
    (b"word\nother\n", "no file of word vectors"),
    (b"\n\n", "no file of word vectors"),
    (b"\x80\x04\x95abc", r"pickle[^$]*save_word2vec_format"),
    (b"PK\x03\x04rest", "zip archive"),
    (bytes(range(7, 255)) * 9, "no file of word vectors"),
    (b"{\"a\": 1}", "1}\" is not a finite"),
    (b"2 2\na \x001234567longer 0123", r"word 2 is incomplete[^$]*byte 14"),
    (b"2 2\na \x00123456\xff", r"says 2 words of 2 numbers, which takes 20 bytes or more; 10 follow"),
    (b"999999999999 2\na \x00123456\xff", r"says 999999999999 words"),
    (b"1 2\na \x001234567b 01234567", r"after the 1 words[^$]*byte 14"),
])  # fmt: skip
def test_broken_files_are_said(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        read(tmp_path, content)


def test_invalid_utf8_may_be_kept(tmp_path):
    assert read(tmp_path, b"2 2\na 1 2\nb\xff 3 4\n", errors="backslashreplace").words == ["a", "b\\xff"]


def test_nan_in_binary(tmp_path, vectors):
    vectors.matrix[7, 2] = np.nan
    save_vectors(vectors, tmp_path / "v", format="binary")
    with pytest.raises(DataError, match=r'vector of "w2" is not finite[^$]*row 8 of 30'):
        load_vectors(tmp_path / "v")


def test_other_requests_are_refused(tmp_path, vectors):
    with pytest.raises(DataError, match="no file missing"):
        load_vectors(tmp_path / "missing")
    save_vectors(vectors, tmp_path / "v", format="binary")
    with pytest.raises(RecipeError, match="no format of"):
        load_vectors(tmp_path / "v", format="pickle")
    with pytest.raises(DataError, match="no fastText model"):
        load_vectors(tmp_path / "v", format="fasttext")
    (tmp_path / "p.kv").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(DataError, match="pickle"):
        load_vectors(tmp_path / "p.kv")


@pytest.mark.parametrize("format", ["fasttext", "safetensors"])
def test_every_cut_is_an_error(tmp_path, format):
    save_vectors(with_ngrams(["where", "</s>"], dim=2, bucket=3), tmp_path / "v", format=format)
    whole = (tmp_path / "v").read_bytes()
    for size in range(len(whole)):
        (tmp_path / "cut").write_bytes(whole[:size])
        with pytest.raises(DataError, match="cut"):
            load_vectors(tmp_path / "cut", format=format)


@pytest.mark.parametrize(("at", "form", "value", "message"), [
    (0, "<i", 5, "no fastText model"),
    (4, "<i", 99, "version"),
    (8, "<i", 77, "in a model of 77 dimensions"),
    (40, "<i", 41, r"44 rows for 4 words and 41 buckets"),
    (48, "<i", 2**31 - 1, "n-grams of up to 2147483647"),
    (40, "<i", -1, "in -1 buckets"),
    (64, "<i", 2**31 - 1, "the dictionary says 2147483647 entries"),
    (64, "<i", -1, "the dictionary says -1 entries"),
    (84, "<q", 2, "quantised or pruned"),
])  # fmt: skip
def test_a_lying_fasttext_header(tmp_path, at, form, value, message):
    save_vectors(with_ngrams(["a", "b", "c", "d"]), tmp_path / "v", format="fasttext")
    content = bytearray((tmp_path / "v").read_bytes())
    struct.pack_into(form, content, at, value)
    (tmp_path / "v").write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_vectors(tmp_path / "v", format="fasttext")


@pytest.mark.parametrize(("version", "model", "ngrams"), [(11, 3, False), (12, 3, True), (11, 2, True)])
def test_old_classifiers_never_used_their_ngrams(tmp_path, version, model, ngrams):
    """fastText's loader: "old supervised models do not use char ngrams"; unknown words are zeros to them."""
    made = with_ngrams(["a", "bread", "c", "d"])
    save_vectors(made, tmp_path / "v", format="fasttext")
    content = bytearray((tmp_path / "v").read_bytes())
    struct.pack_into("<i", content, 4, version)
    struct.pack_into("<i", content, 8 + 4 * 7, model)
    (tmp_path / "v").write_bytes(content)
    again = load_vectors(tmp_path / "v")
    own = made.matrix if ngrams else made.subwords.matrix[:4]
    assert np.array_equal(again.matrix, own)
    assert np.array_equal(again.vector("breads"), made.vector("breads") if ngrams else np.zeros(4))
    assert (again.find("breads") is None) != ngrams
    if not ngrams:
        with pytest.raises(VocabularyError, match='"breads" has no vector'):
            again.neighbours("breads")


def test_a_word_cut_inside_a_letter_is_kept_and_said(tmp_path):
    cut = ("ж" * 60).encode()[:97]
    rows = [("река".encode(), 1), (cut, 2), ("вода".encode(), 3), ("река".encode(), 4)]
    binary = b"4 2\n" + b"".join(word + b" " + struct.pack("<2f", n, -n) + b"\n" for word, n in rows)
    with pytest.raises(DataError, match="is not UTF-8"):
        read(tmp_path, binary)
    found = read(tmp_path, binary, errors="backslashreplace")
    assert found.words == ["река", "ж" * 48 + "\\xd0", "вода"] and found.matrix[:, 0].tolist() == [1, 2, 3]
    assert [note.split(";")[0] for note in found.notes] == [
        "1 of 4 words are not UTF-8 (cut inside a letter, or of another encoding)",
        "1 words have another vector further on",
    ]


def test_anothers_safetensors(tmp_path, vectors):
    header = json.dumps({"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    with pytest.raises(DataError, match="does not hold clew's word vectors"):
        read(tmp_path, struct.pack("<Q", len(header)) + header + b"\0\0\0\0")
    save_vectors(vectors, tmp_path / "v.safetensors")
    content = (tmp_path / "v.safetensors").read_bytes()
    with pytest.raises(DataError, match=r"contradicts itself[^$]*29 words"):
        read(tmp_path, content.replace(b"w3\nw4", b"w3_w4"))
