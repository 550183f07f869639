"""fastText's own library loads what clew writes and the reverse, n-gram by n-gram."""

import numpy as np
import pytest

from clew.hub import fasttext_bin
from clew.hub.table_file import mapped
from clew.hub.vectors import load_vectors, save_vectors
from clew.models.vectors import Subwords, WordVectors
from clew.text.ngrams import ngram_buckets, ngrams

fasttext = pytest.importorskip("fasttext", reason="needs the package fasttext")
pytestmark = pytest.mark.peers

UNSEEN = ["unseen", "日本語の", "naïvety", "𝛼β", "a"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fasttext")
    (folder / "text").write_text("where there naïve 日本語 here is the 𝛼\n" * 20, encoding="utf-8")
    # fastText 0.9.3 initialises a tenth of its table per thread, and leaves the rest as the memory was
    options = dict(dim=6, minCount=1, bucket=53, minn=1, maxn=4, epoch=3, thread=11, verbose=0)
    model = fasttext.train_unsupervised(str(folder / "text"), model="skipgram", **options)
    model.save_model(str(folder / "theirs.bin"))
    return model, folder


def test_we_load_theirs(trained):
    model, folder = trained
    ours = load_vectors(folder / "theirs.bin")
    words, counts = model.get_words(include_freq=True)
    assert ours.words == words
    assert ours.counts.tolist() == counts.tolist()
    for word in [*words, *UNSEEN]:
        assert ours.vector(word) == pytest.approx(model.get_word_vector(word), rel=1e-6, abs=1e-6)


def test_what_we_write_again_is_theirs_to_the_byte(trained, tmp_path):
    _, folder = trained
    with mapped(folder / "theirs.bin") as file, (tmp_path / "ours.bin").open("wb") as out:
        fasttext_bin.write(fasttext_bin.read(file), out)
    assert (tmp_path / "ours.bin").read_bytes() == (folder / "theirs.bin").read_bytes()


def test_they_load_ours(tmp_path):
    words = ["</s>", "where", "naïve", "日本"]
    table = np.random.default_rng(0).normal(size=(4 + 30, 5)).astype(np.float32)
    subwords = Subwords(2, 5, 30, table)
    vectors = WordVectors(words, subwords.compose(words), np.array([9, 5, 3, 1]), subwords)
    for ours in (vectors, WordVectors(words, vectors.matrix)):
        save_vectors(ours, tmp_path / "ours.bin", format="fasttext")
        model = fasttext.load_model(str(tmp_path / "ours.bin"))
        assert model.get_words() == words
        for word in [*words, *(UNSEEN if ours.subwords else [])]:
            assert model.get_word_vector(word) == pytest.approx(ours.vector(word), rel=1e-6, abs=1e-6)


def test_ngrams_and_buckets_are_theirs(trained):
    model, _ = trained
    for word in UNSEEN:
        grams, ids = model.get_subwords(word)
        assert ngrams(word, 1, 4) == grams
        assert (ngram_buckets([word], 1, 4, 53)[0] + len(model.get_words())).tolist() == ids.tolist()


def test_quantised_and_supervised(trained, tmp_path):
    (tmp_path / "text").write_text("".join(f"__label__{i % 2} where word{i} is\n" for i in range(400)))
    model = fasttext.train_supervised(str(tmp_path / "text"), dim=4, thread=11, verbose=0)
    model.save_model(str(tmp_path / "supervised.bin"))
    ours = load_vectors(tmp_path / "supervised.bin")
    assert ours.vector("where") == pytest.approx(model.get_word_vector("where"), rel=1e-6, abs=1e-6)
    model.quantize(str(tmp_path / "text"), verbose=0)
    model.save_model(str(tmp_path / "small.ftz"))
    with pytest.raises(Exception, match=r"quantised or pruned \(\.ftz\)"):
        load_vectors(tmp_path / "small.ftz")
