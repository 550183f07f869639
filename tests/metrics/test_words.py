"""Word vectors scored: against gensim's evaluation, and by hand."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from clew.errors import DataError
from clew.metrics.bootstrap import paired_bootstrap
from clew.metrics.words import (
    Noun,
    Pair,
    Question,
    analogy_score,
    clustering_purity,
    evaluate,
    k_means,
    read_set,
    similarity_score,
)
from clew.models.vectors import Subwords, WordVectors

FOLDER = Path(os.environ.get("CLEW_DATA", "../shared/data"))


@pytest.fixture
def vectors():
    rng = np.random.default_rng(0)
    return WordVectors([f"w{i}" for i in range(60)], rng.normal(size=(60, 5)).astype(np.float32))


def keyed(vectors):
    theirs = pytest.importorskip("gensim.models", reason="needs gensim").KeyedVectors(vectors.dim)
    theirs.add_vectors(vectors.words, vectors.matrix)
    return theirs


def test_similarity_by_hand():
    vectors = WordVectors(["a", "b", "c", "d"], np.float32([[1, 0], [1, 0.1], [1, 1], [-1, 0]]))
    pairs = [Pair("a", "b", 9), Pair("A", "c", 5), Pair("a", "d", 5), Pair("a", "missing", 1)]
    result = similarity_score(vectors, pairs)
    # cosines rank 3, 2, 1; people's 3, 1.5, 1.5: covariance 1.5, variances 2 and 1.5
    assert result.score.value == pytest.approx(100 * 1.5 / np.sqrt(2 * 1.5))
    assert (result.answered, result.items, result.coverage) == (3, 4, 0.75)
    assert result.as_dict().keys() == {"value", "low", "high", "signature", "answered", "items"}
    assert "3 of 4 answered" in str(result)
    with pytest.raises(DataError, match="1 of 2 word pairs"):
        similarity_score(vectors, [pairs[0], pairs[3]])


def test_similarity_as_gensim(vectors, tmp_path):
    rng = np.random.default_rng(1)
    pairs = [Pair(f"w{a}", f"w{b}", float(s)) for a, b, s in rng.integers(62, size=(200, 3)) // [1, 1, 8]]
    (tmp_path / "pairs").write_text("".join(f"{a}\t{b}\t{s}\n" for a, b, s in pairs))
    (_, (rho, _), unknown) = keyed(vectors).evaluate_word_pairs(str(tmp_path / "pairs"))
    ours = similarity_score(vectors, pairs)
    assert ours.score.value == pytest.approx(100 * rho)
    assert ours.coverage == pytest.approx(1 - unknown / 100)
    assert ours.score.low < ours.score.value < ours.score.high


def test_the_interval_covers_as_often_as_it_says():
    rng, inside = np.random.default_rng(2), 0
    truth = 6 / np.pi * np.arcsin(0.6 / 2)  # Spearman's ρ of normal variables that correlate by 0.6
    for _ in range(60):
        x = rng.normal(size=300)
        y = 0.6 * x + 0.8 * rng.normal(size=300)
        angle = np.arccos(np.tanh(x))  # cosines with the first axis that rank as x does
        matrix = np.vstack([[1, 0], np.stack([np.cos(angle), np.sin(angle)], axis=1)]).astype(np.float32)
        vectors = WordVectors([f"w{i}" for i in range(301)], matrix)
        found = similarity_score(vectors, [Pair("w0", f"w{i + 1}", y[i]) for i in range(300)]).score
        inside += found.low <= 100 * truth <= found.high
    assert 51 <= inside <= 60


def test_ngrams_answer_for_unseen_words():
    table = np.random.default_rng(3).normal(size=(1 + 9, 3)).astype(np.float32)
    vectors = WordVectors(["seen"], table[:1], subwords=Subwords(3, 4, 9, table))
    pairs = [Pair("seen", "unseen", 3), Pair("foreseen", "seen", 2), Pair("seen", "", 1)]
    assert similarity_score(vectors, pairs).answered == 2


@pytest.mark.parametrize("among", [34, None])
def test_analogies_as_gensim(tmp_path, among):
    rng = np.random.default_rng(4)
    base, shift = rng.normal(size=(20, 8)), rng.normal(size=(2, 8)) * 1.5
    matrix = np.concatenate([base, base[:10] + shift[0], base[10:] + shift[1]]) + rng.normal(size=(40, 8)) * 0.3
    vectors = WordVectors([f"W{i}" if i % 3 else f"w{i}" for i in range(40)], matrix.astype(np.float32))
    order = rng.permutation(40)  # so that a part of each question is among the first
    vectors = WordVectors([vectors.words[i] for i in order], vectors.matrix[order])
    questions = [
        Question("gram1" if a < 10 else "capital", f"w{a}", f"w{a + 20}", f"w{c}", f"w{c + 20}")
        for a in range(20) for c in range(20) if a != c and a // 10 == c // 10
    ]  # fmt: skip
    questions.append(Question("capital", "w1", "w21", "w2", "missing"))
    lines = [f": {kind}\n" + "".join(" ".join(q[1:]) + "\n" for q in questions if q.kind == kind)
             for kind in ("gram1", "capital")]  # fmt: skip
    (tmp_path / "questions").write_text("".join(lines))
    _, sections = keyed(vectors).evaluate_word_analogies(str(tmp_path / "questions"), restrict_vocab=among or 40)
    ours = analogy_score(vectors, questions, among=among)
    for section, found in zip(sections, (ours.parts.get("gram1"), ours.parts.get("capital"), ours), strict=True):
        n_right, n = len(section["correct"]), len(section["correct"]) + len(section["incorrect"])
        assert (found.answered if found else 0) == n
        if n:
            assert found.score.value == pytest.approx(100 * n_right / n)
    assert ours.parts["syntactic"].score.value == ours.parts["gram1"].score.value
    assert ours.items == len(questions)
    assert 0 < ours.score.value < 100
    other = analogy_score(WordVectors(vectors.words, -vectors.matrix[::-1]), questions, among=among)
    assert paired_bootstrap(ours.score, other.score).p_value < 0.05
    assert analogy_score(vectors, questions, among=among, method="mul").score.signature != ours.score.signature


def test_no_analogy_covered(vectors):
    with pytest.raises(DataError, match="among the first 60"):
        analogy_score(vectors, [Question("x", "a", "b", "c", "d")])


def test_purity_by_hand():
    rng = np.random.default_rng(5)
    centres = np.eye(3)[[0] * 10 + [1] * 10 + [2] * 10]
    vectors = WordVectors([f"w{i}" for i in range(30)], (centres + rng.normal(size=(30, 3)) * 0.05).astype(np.float32))
    nouns = [Noun("abc"[i // 10], f"w{i}") for i in range(30)]
    assert clustering_purity(vectors, nouns).score.value == 100
    # two of the ten in each cluster belong elsewhere
    moved = [Noun("abc"[(i // 10 + (i % 10 < 2)) % 3], f"w{i}") for i in range(30)]
    result = clustering_purity(vectors, [*moved, Noun("a", "missing")])
    assert result.score.value == pytest.approx(80)
    assert (result.answered, result.items) == (30, 31)
    assert result.score.low < 80 < result.score.high
    with pytest.raises(DataError, match="1 words with vectors make no 2"):
        clustering_purity(vectors, [Noun("a", "w1"), Noun("b", "missing")])


def test_k_means_leaves_no_cluster_empty():
    points = np.float32([[1, 0]] * 5 + [[0, 1]])
    assert set(k_means(points, 3, 2, 0)) == {0, 1, 2}
    assert (k_means(points, 2, 3, 7) == k_means(points, 2, 3, 7)).all()


def test_sets_are_read(tmp_path):
    (tmp_path / "pairs.tsv").write_text("word1\tword2\tscore\ntiger\tcat\t7.35\n")
    with gzip.open(tmp_path / "questions.tsv.gz", "wt") as file:
        file.write("type\tword1\tword2\tword3\ttarget\ngram1\ta\tb\tc\td\n")
    (tmp_path / "nouns.tsv").write_text("category\tword\nillness\tacne\nillness\t\n")
    assert read_set(tmp_path / "pairs.tsv") == [Pair("tiger", "cat", 7.35)]
    assert read_set(tmp_path / "questions.tsv.gz")[0].syntactic
    assert read_set(tmp_path / "nouns.tsv") == [Noun("illness", "acne")]


@pytest.mark.parametrize(("text", "message"), [
    ("", "no set of word pairs"), ("a\tb\n1\t2\n", "no set of word pairs"), ("word1\tword2\tscore\n", "no set"),
    ("word1\tword2\tscore\na\tb\t1\na\tb\n", r"3 fields of the header[^$]*line 3"),
    ("word1\tword2\tscore\na\tb\tx\n", "line 2"),
])  # fmt: skip
def test_bad_sets_are_said(tmp_path, text, message):
    (tmp_path / "set.tsv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_set(tmp_path / "set.tsv")


def test_no_sets(vectors, tmp_path):
    with pytest.raises(DataError, match="no sets"):
        evaluate(vectors, tmp_path)


@pytest.mark.data
def test_all_sets():
    if not (FOLDER / "word_similarity").exists():
        pytest.skip(f"no data at {FOLDER} (set CLEW_DATA)")
    sets = {path.name: read_set(path) for room in ("similarity", "analogy")
            for path in FOLDER.glob(f"word_{room}/*.tsv*")}  # fmt: skip
    assert len(sets["google_analogies.tsv.gz"]) == 19544
    assert sum(question.syntactic for question in sets["google_analogies.tsv.gz"]) == 10675
    assert len(sets["men3000.tsv"]) == 3000
    assert len(sets["wordsim353_all.tsv"]) == 352
    assert len(sets["ap_categories.tsv"]) == 402
    words = sorted({w.lower() for items in sets.values() for item in items for w in item if isinstance(w, str)})
    rng = np.random.default_rng(0)
    scores = evaluate(WordVectors(words, rng.normal(size=(len(words), 20)).astype(np.float32)), FOLDER)
    assert scores.keys() == {name.partition(".")[0] for name in sets}
    assert all(score.coverage == 1 for score in scores.values())
    for name in ("men3000", "simlex999", "google_analogies"):
        assert abs(scores[name].score.value) < 10
    assert len(scores["google_analogies"].parts) == 16
