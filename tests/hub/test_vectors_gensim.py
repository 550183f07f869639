"""gensim loads what clew writes, and clew what gensim writes and trains."""

import numpy as np
import pytest

from clew.hub.vectors import load_vectors, save_vectors
from clew.models.vectors import Subwords, WordVectors

gensim = pytest.importorskip("gensim.models", reason="needs gensim")
fasttext = pytest.importorskip("gensim.models.fasttext", reason="needs gensim")

WORDS = ["the", "naïve", "日本", '"', "1.5", "</s>"]


@pytest.fixture
def vectors():
    table = np.random.default_rng(0).normal(size=(len(WORDS) + 100, 7)).astype(np.float32)
    subwords = Subwords(2, 5, 100, table)
    return WordVectors(WORDS, subwords.compose(WORDS), np.array([60, 50, 40, 30, 20, 10]), subwords)


@pytest.mark.parametrize("binary", [False, True])
def test_word2vec_formats_both_ways(tmp_path, vectors, binary):
    save_vectors(vectors, tmp_path / "ours", format="binary" if binary else "text")
    theirs = gensim.KeyedVectors.load_word2vec_format(str(tmp_path / "ours"), binary=binary)
    assert theirs.index_to_key == WORDS
    assert np.array_equal(theirs.vectors, vectors.matrix)
    theirs.save_word2vec_format(str(tmp_path / "theirs"), binary=binary)
    back = load_vectors(tmp_path / "theirs")
    assert back.words == WORDS
    assert np.array_equal(back.matrix, vectors.matrix)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # gensim leaves its file open
def test_glove_text(tmp_path, vectors):
    save_vectors(vectors, tmp_path / "ours", format="glove")
    theirs = gensim.KeyedVectors.load_word2vec_format(str(tmp_path / "ours"), binary=False, no_header=True)
    assert np.array_equal(theirs.vectors, vectors.matrix)
    theirs.save_word2vec_format(str(tmp_path / "theirs"), binary=False, write_header=False)
    assert np.array_equal(load_vectors(tmp_path / "theirs").matrix, vectors.matrix)


@pytest.mark.filterwarnings("ignore:Call to deprecated `init_sims`:DeprecationWarning")  # of gensim by gensim
def test_gensim_answers_alike(tmp_path):
    rng = np.random.default_rng(1)
    vectors = WordVectors([f"w{i}" for i in range(50)], rng.normal(size=(50, 6)).astype(np.float32))
    save_vectors(vectors, tmp_path / "v", format="binary")
    theirs = gensim.KeyedVectors.load_word2vec_format(str(tmp_path / "v"), binary=True)

    def same(ours, expected, tolerance=1e-5):
        assert [word for word, _ in ours] == [word for word, _ in expected]
        assert [s for _, s in ours] == pytest.approx([s for _, s in expected], rel=tolerance, abs=1e-5)

    same(vectors.neighbours("w3", 10), theirs.most_similar("w3", topn=10))
    same(vectors.analogy("w1", "w2", "w3", 8), theirs.most_similar(positive=["w2", "w3"], negative=["w1"], topn=8))
    # gensim adds 1e-6 to the divisor, where the paper and we add 0.001
    found = theirs.most_similar_cosmul(positive=["w2", "w3"], negative=["w1"], topn=3)
    same(vectors.analogy("w1", "w2", "w3", 3, method="mul"), found, 0.05)
    assert vectors.odd_one_out(["w1", "w2", "w3", "w4"]) == theirs.doesnt_match(["w1", "w2", "w3", "w4"])
    assert vectors.similarity("w1", "w2") == pytest.approx(theirs.similarity("w1", "w2"), abs=1e-6)


def test_gensim_loads_our_fasttext(tmp_path, vectors):
    save_vectors(vectors, tmp_path / "ours.bin", format="fasttext")
    theirs = fasttext.load_facebook_vectors(str(tmp_path / "ours.bin"))
    assert theirs.index_to_key == WORDS
    assert [theirs.get_vecattr(word, "count") for word in WORDS] == vectors.counts.tolist()
    assert theirs.vectors_ngrams == pytest.approx(vectors.subwords.matrix[len(WORDS) :])
    # gensim hashes n-grams of "</s>" too, fastText none
    assert theirs.vectors[:5] == pytest.approx(vectors.matrix[:5], abs=1e-6)
    for word in ("unseen", "日本語", "naïvety"):
        assert vectors.vector(word) == pytest.approx(theirs[word], abs=1e-6)


def test_gensim_loads_our_fasttext_without_ngrams(tmp_path, vectors):
    save_vectors(WordVectors(WORDS, vectors.matrix), tmp_path / "ours.bin", format="fasttext")
    model = fasttext.load_facebook_model(str(tmp_path / "ours.bin"))
    assert model.wv.vectors == pytest.approx(vectors.matrix)
    assert not model.syn1neg.any()


@pytest.mark.filterwarnings("default")
def test_we_load_gensims_fasttext(tmp_path):
    text = [["where", "there", "naïve", "日本語", "here"], ["there", "is", "here"]] * 5
    model = gensim.FastText(text, vector_size=6, min_count=1, bucket=50, min_n=2, max_n=4, epochs=2, workers=1, seed=1)
    fasttext.save_facebook_model(model, str(tmp_path / "theirs.bin"))
    ours = load_vectors(tmp_path / "theirs.bin")
    assert ours.words == model.wv.index_to_key
    assert ours.matrix == pytest.approx(model.wv.vectors, abs=1e-6)
    assert ours.vector("nowhere") == pytest.approx(model.wv["nowhere"], abs=1e-6)
    save_vectors(ours, tmp_path / "ours.bin", format="fasttext")
    again = fasttext.load_facebook_vectors(str(tmp_path / "ours.bin"))
    assert again["nowhere"] == pytest.approx(model.wv["nowhere"], abs=1e-6)
