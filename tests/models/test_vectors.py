"""Asking word vectors: against loops over the definitions, and what happens to words that are not there."""

import sys

import numpy as np
import pytest

from clew.errors import ClewError, DataError, MissingExtra, RecipeError, VocabularyError
from clew.models import vectors as module
from clew.models.vectors import Subwords, WordVectors
from clew.text.ngrams import hash_ngram, ngram_buckets, ngrams


@pytest.fixture(params=[7, 16384], ids=["many blocks", "one block"])
def vectors(request, monkeypatch):
    monkeypatch.setattr(module, "ROWS", request.param)
    rng = np.random.default_rng(0)
    return WordVectors([f"word{i}" for i in range(40)], rng.normal(size=(40, 8)).astype(np.float32))


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def by_definition(vectors, score, without):
    scored = [(w, score(vectors.vector(w))) for w in vectors.words if w not in without]
    return sorted(scored, key=lambda pair: -pair[1])


def same(answers, expected):
    assert [word for word, _ in answers] == [word for word, _ in expected]
    assert [s for _, s in answers] == pytest.approx([s for _, s in expected], abs=1e-6, rel=1e-5)


def test_neighbours(vectors):
    query = vectors.vector("word3")
    same(vectors.neighbours("word3", 5), by_definition(vectors, lambda x: cosine(x, query), {"word3"})[:5])
    same(vectors.neighbours(query, 40), by_definition(vectors, lambda x: cosine(x, query), set()))
    assert len(vectors.neighbours("word3", 100)) == 39
    with pytest.raises(RecipeError, match=r"shape \(3,\)"):
        vectors.neighbours(np.ones(3))


def test_similarity_and_odd_one_out(vectors):
    assert vectors.similarity("word1", "word2") == pytest.approx(
        cosine(vectors.vector("word1"), vectors.vector("word2")), abs=1e-6
    )
    axes = WordVectors(["a", "b", "c", "d"], np.float32([[1, 0], [9, 1], [2, 0.1], [0, 1]]))
    assert axes.odd_one_out(["a", "b", "c", "d"]) == "d"
    with pytest.raises(RecipeError, match="three or more"):
        axes.odd_one_out(["a", "b"])


@pytest.mark.parametrize("method", ["add", "mul"])
def test_analogies(vectors, method):
    def score(a, b, c):
        def add(x):
            target = b / np.linalg.norm(b) - a / np.linalg.norm(a) + c / np.linalg.norm(c)
            return cosine(x, target)

        def mul(x):
            s = [(1 + cosine(x, w)) / 2 for w in (a, b, c)]
            return s[1] * s[2] / (s[0] + 0.001)

        return add if method == "add" else mul

    questions = np.array([[0, 1, 2], [39, 5, 17], [8, 8, 9]])
    batch = vectors.analogies(questions, method=method)
    for rows, found in zip(questions, batch, strict=True):
        three = [f"word{i}" for i in rows]
        expected = by_definition(vectors, score(*map(vectors.vector, three)), set(three))
        same(vectors.analogy(*three, k=4, method=method), expected[:4])
        assert vectors.words[found] == expected[0][0]
    assert (vectors.analogies(questions, method=method, among=10) < 10).all()
    with pytest.raises(RecipeError, match='no method "max"'):
        vectors.analogy("word1", "word2", "word3", method="max")


def test_zeros_are_far_from_everything_and_nan_is_named():
    vectors = WordVectors(["a", "b", "z"], np.float32([[1, 0], [1, 1], [0, 0]]))
    assert vectors.neighbours("a")[-1] == ("z", 0)
    assert vectors.similarity("a", "z") == 0
    with pytest.raises(DataError, match=r'"b" is not finite[^$]*row 2 of 2'):
        WordVectors(["a", "b"], np.float32([[1, 0], [1, np.nan]])).neighbours("a")


def test_unknown_words_have_close_spellings():
    vectors = WordVectors(["Jerusalem", "house", "houses", "tree"], np.eye(4, dtype=np.float32))
    with pytest.raises(VocabularyError, match=r'"houze" has no vector[^$]*did you mean house'):
        vectors.vector("houze")
    with pytest.raises(VocabularyError, match="did you mean Jerusalem"):
        vectors.similarity("jerusalem", "tree")
    with pytest.raises(VocabularyError, match="a word of the vocabulary"):
        vectors.neighbours("qqq")


def test_wrong_shapes_and_duplicates():
    with pytest.raises(ClewError, match="2 words do not fit"):
        WordVectors(["a", "b"], np.ones((3, 2), dtype=np.float32))
    with pytest.raises(ClewError, match="float64"):
        WordVectors(["a"], np.ones((1, 2)))
    with pytest.raises(DataError, match=r'"b" has two vectors[^$]*rows 2 and 3'):
        WordVectors(["a", "b", "b"], np.ones((3, 2), dtype=np.float32)).vector("a")


def test_ngrams_by_hand():
    assert ngrams("ab", 1, 3) == ["<a", "<ab", "a", "ab", "ab>", "b", "b>"]
    assert ngrams("é", 3, 6) == ["<é>"]
    assert ngrams("</s>", 3, 6) == []
    assert hash_ngram(b"") == 2166136261
    assert hash_ngram(b"foobar") == 0xBF9CF968  # FNV's published test vector


@pytest.mark.parametrize(("minn", "maxn"), [(1, 1), (1, 3), (3, 6), (5, 5), (0, 2)])
def test_buckets_of_many_words_are_those_of_each_ngram(minn, maxn):
    words = ["where", "", "é", "naïve", "</s>", "日本語", "a", "𝛼β", "</s>"]
    buckets, bounds = ngram_buckets(words, minn, maxn, 977)
    for i, word in enumerate(words):
        expected = [hash_ngram(gram.encode()) % 977 for gram in ngrams(word, minn, maxn)]
        assert buckets[bounds[i] : bounds[i + 1]].tolist() == expected
    assert len(ngram_buckets([], minn, maxn, 977)[0]) == 0


def test_words_never_seen_come_from_their_ngrams():
    rng = np.random.default_rng(1)
    words, bucket = ["where", "here", "</s>"], 50
    table = rng.normal(size=(3 + bucket, 4)).astype(np.float32)
    subwords = Subwords(3, 4, bucket, table)
    vectors = WordVectors(words, subwords.compose(words), subwords=subwords)

    def rows(word):
        return [3 + hash_ngram(gram.encode()) % bucket for gram in ngrams(word, 3, 4)]

    for i, word in enumerate(words):
        assert vectors.vector(word) == pytest.approx(table[[i, *rows(word)]].mean(axis=0), abs=1e-6)
    assert vectors.vector("there") == pytest.approx(table[rows("there")].mean(axis=0), abs=1e-6)
    assert "there" not in vectors
    assert len(vectors.neighbours("there")) == 3
    assert len(vectors.analogy("there", "here", "where")) == 1
    with pytest.raises(VocabularyError, match="too short"):
        vectors.vector("")


def test_approximate_index(tmp_path):
    pytest.importorskip("usearch", reason="needs the extra `index`")
    rng = np.random.default_rng(2)
    vectors = WordVectors([f"w{i}" for i in range(2000)], rng.normal(size=(2000, 16)).astype(np.float32))
    with pytest.raises(RecipeError, match="build_index"):
        vectors.neighbours("w0", exact=False)
    vectors.build_index(tmp_path / "index", threads=1)
    again = WordVectors(vectors.words, vectors.matrix)
    again.build_index(tmp_path / "index")
    shared = 0
    for word in vectors.words[:50]:
        near = dict(vectors.neighbours(word))
        found = dict(again.neighbours(word, exact=False))
        assert word not in found
        shared += len(near.keys() & found.keys())
        assert all(found[w] == pytest.approx(near[w], abs=2e-3) for w in near.keys() & found.keys())
    assert shared >= 450
    with pytest.raises(DataError, match="no index of 10 vectors"):
        WordVectors(vectors.words[:10], vectors.matrix[:10]).build_index(tmp_path / "index")


def test_no_index_without_usearch(vectors, monkeypatch):
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    with pytest.raises(MissingExtra, match=r"clew\[index\]"):
        vectors.build_index()
