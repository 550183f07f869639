"""Word vectors scored on what people judged: similarity, analogies, and nouns that belong together."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from clew.errors import DataError
from clew.metrics.bootstrap import Score, score, share
from clew.metrics.correlation import centred_ranks, correlation_of_sums
from clew.models.vectors import WordVectors, unit

TOP = 30_000  # the most frequent words, among which an analogy is answered, as is usual


class Pair(NamedTuple):
    """Two words and how alike people find them; the scale is the data set's own."""

    a: str
    b: str
    score: float

    @property
    def measure(self) -> str:
        return "similarity"


class Question(NamedTuple):
    """a is to b as c is to d."""

    kind: str
    a: str
    b: str
    c: str
    d: str

    @property
    def measure(self) -> str:
        return "analogies"

    @property
    def syntactic(self) -> bool:
        """Google's kinds "gram1-adjective-to-adverb" … are syntactic, the others semantic."""
        return self.kind.startswith("gram")


class Noun(NamedTuple):
    category: str
    word: str

    @property
    def measure(self) -> str:
        return "purity"


@dataclass(frozen=True)
class WordScore:
    """A score in percent over the items that could be answered, and how many of all that was.

    parts: the same by category (and "semantic", "syntactic"), where there are any. Items without a vector count as
    nothing in `score`; coverage = answered / items says how much that hides.
    """

    score: Score
    answered: int
    items: int
    parts: dict[str, WordScore]

    @property
    def coverage(self) -> float:
        return self.answered / self.items

    def as_dict(self) -> dict[str, object]:
        parts = {"parts": {name: part.as_dict() for name, part in self.parts.items()}} if self.parts else {}
        return {**self.score.as_dict(), "answered": self.answered, "items": self.items, **parts}

    def __str__(self) -> str:
        return f"{self.score}, {self.answered} of {self.items} answered"


def similarity_score(vectors: WordVectors, pairs: Sequence[Pair]) -> WordScore:
    """Correlate cosines with people's scores of word pairs by Spearman's ρ, in percent.

    ρ = the correlation of the ranks, equal values sharing their mean rank. A word is looked up as it is, then in lower
    case, then made of its n-grams; a pair without both vectors is left out. The interval resamples pairs with the ranks
    that they have among all. Raises DataError where fewer than two pairs have vectors.
    """
    found = [(vector_of(vectors, pair.a), vector_of(vectors, pair.b)) for pair in pairs]
    have = np.array([a is not None and b is not None for a, b in found], dtype=bool)
    if have.sum() < 2:
        raise DataError(f"{have.sum()} of {len(pairs)} word pairs have vectors", fix="use vectors of these words")
    cosines = [float(unit(a) @ unit(b)) for a, b in found if a is not None and b is not None]
    x = centred_ranks(np.array(cosines))
    y = centred_ranks(np.array([pair.score for pair, kept in zip(pairs, have, strict=True) if kept]))
    statistics = np.zeros((len(pairs), 6))
    statistics[have] = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)
    return WordScore(score(statistics, correlation_of_sums, "spearman|cosine"), len(x), len(pairs), {})


def analogy_score(
    vectors: WordVectors,
    questions: Sequence[Question],
    *,
    method: Literal["add", "mul"] = "add",
    among: int | None = TOP,
) -> WordScore:
    """Answer analogies by 3CosAdd or 3CosMul and give the share of right answers, in percent, whole and by category.

    As gensim and word2vec.c: words are compared in lower case, only the first `among` words of the vocabulary (the most
    frequent) may be asked or answered, questions with another word are left out, and the question's own words are no
    answers. The interval resamples questions as if each were drawn by itself. Raises DataError where none is covered.
    """
    among = min(among or len(vectors), len(vectors))
    row: dict[str, int] = {}
    for i, word in enumerate(vectors.words[:among]):
        row.setdefault(word.lower(), i)  # of words equal but for case, the more frequent
    rows = np.array([[row.get(word.lower(), -1) for word in question[1:]] for question in questions]).reshape(-1, 4)
    known = (rows >= 0).all(axis=1)
    if not known.any():
        raise DataError(
            f"no analogy has all its words among the first {among}", fix="use vectors of these words, or a larger top"
        )
    answers = vectors.analogies(rows[known, :3], method=method, among=among)
    statistics = np.zeros((len(questions), 2))
    # the answer is right also where it is the right word in another case
    right = [vectors.words[i].lower() == vectors.words[j].lower() for i, j in zip(answers, rows[known, 3], strict=True)]
    statistics[known] = np.stack([np.array(right), np.ones(len(right))], axis=1)
    signature = f"accuracy|{'3CosAdd' if method == 'add' else '3CosMul'}|top:{among}"

    def part(chosen: Callable[[Question], bool]) -> WordScore:
        mine = statistics[[chosen(question) for question in questions]]
        return WordScore(score(mine, share, signature), int(mine[:, 1].sum()), len(mine), {})

    kinds = dict.fromkeys(question.kind for question in questions)
    parts = {kind: part(lambda question, kind=kind: question.kind == kind) for kind in kinds}  # type: ignore[misc]
    parts |= {"semantic": part(lambda question: not question.syntactic), "syntactic": part(lambda q: q.syntactic)}
    parts = {name: scored for name, scored in parts.items() if scored.answered}
    return WordScore(score(statistics, share, signature), len(right), len(questions), parts)


def clustering_purity(vectors: WordVectors, nouns: Sequence[Noun], *, restarts: int = 10, seed: int = 1) -> WordScore:
    """Cluster nouns into as many clusters as categories and give the purity, in percent.

    purity = (1/n) Σ_clusters max_category |cluster ∩ category|, of the best of `restarts` spherical k-means (Almuhareb
    2006 for the data). Words are looked up as in `similarity_score`. The interval resamples words, each
    cluster keeping its category. Raises DataError where fewer words than categories have vectors.
    """
    found = [vector_of(vectors, noun.word) for noun in nouns]
    have = np.array([vector is not None for vector in found], dtype=bool)
    categories, label = np.unique([noun.category for noun in nouns], return_inverse=True)
    k = len(categories)
    if have.sum() < k or k < 2:
        raise DataError(f"{have.sum()} words with vectors make no {k} clusters", fix="use vectors of these words")
    cluster = k_means(np.stack([unit(vector) for vector in found if vector is not None]), k, restarts, seed)
    in_both = np.zeros((k, k))
    np.add.at(in_both, (cluster, label[have]), 1)
    statistics = np.zeros((len(nouns), 2))
    statistics[have] = np.stack([label[have] == in_both.argmax(axis=1)[cluster], np.ones(len(cluster))], axis=1)
    scored = score(statistics, share, f"purity|k-means:{k}")
    return WordScore(scored, len(cluster), len(nouns), {})


def evaluate(vectors: WordVectors, folder: Path) -> dict[str, WordScore]:
    """Score the vectors on every set in `folder`: word_similarity/*.tsv and word_analogy/*.tsv, also as .gz.

    Sets whose words have no vectors at all are left out. Raises DataError where there is no set.
    """
    scores: dict[str, WordScore] = {}
    files = sorted(path for room in ("word_similarity", "word_analogy") for path in folder.glob(f"{room}/*.tsv*"))
    if not files:
        raise DataError("there are no sets to score word vectors on", where=str(folder), fix="set $CLEW_DATA")
    for path in files:
        items = read_set(path)
        name = path.name.partition(".")[0]
        try:
            scores[name] = score_set(vectors, items)
        except DataError:
            continue
    return scores


def score_set(vectors: WordVectors, items: Sequence[Any]) -> WordScore:
    """Score the vectors on a set by what its items are measured by."""
    measures: dict[str, Callable[..., WordScore]] = {
        "similarity": similarity_score, "analogies": analogy_score, "purity": clustering_purity,
    }  # fmt: skip
    return measures[items[0].measure](vectors, items)


def read_set(path: Path) -> list[Pair] | list[Question] | list[Noun]:
    """Read a tab-separated set; its header says which: "word1 word2 score", "type word1 … target", "category word".

    Lines with an empty second field are passed over: in AP one ends each category, in WordSim-353 one ends the file.
    Raises DataError, with the line, for anything else.
    """
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        lines = [line.rstrip("\r\n").split("\t") for line in file]
    kinds: dict[tuple[str, ...], Callable[..., Pair | Question | Noun]] = {
        ("word1", "word2", "score"): lambda a, b, judged: Pair(a, b, float(judged)),
        ("type", "word1", "word2", "word3", "target"): Question,
        ("category", "word"): Noun,
    }
    make = kinds.get(tuple(lines[0])) if len(lines) > 1 else None
    if make is None:
        raise DataError(
            "this is no set of word pairs, analogies or nouns", where=f"{path}, line 1",
            fix=f"begin with one of these headers: {'; '.join(' TAB '.join(kind) for kind in kinds)}",
        )  # fmt: skip
    items = []
    for number, line in enumerate(lines[1:], start=2):
        if len(line) > 1 and not line[1]:
            continue
        try:
            items.append(make(*line))
        except (TypeError, ValueError) as error:
            raise DataError(
                f"the line does not have the {len(lines[0])} fields of the header", where=f"{path}, line {number}",
                fix="separate them by tabs",
            ) from error  # fmt: skip
    return items  # type: ignore[return-value]


def vector_of(vectors: WordVectors, word: str) -> np.ndarray | None:
    """The vector of a word as it is written, else in lower case, else made of its n-grams; None without any."""
    return vectors.find(word if word in vectors or word.lower() not in vectors else word.lower())


def k_means(points: np.ndarray, k: int, restarts: int, seed: int) -> np.ndarray:
    """Clusters (n,) of unit vectors (n, d) around k directions: the best of several starts (Dhillon & Modha 2001).

    Starts are drawn as by k-means++ (Arthur & Vassilvitskii 2007), and a cluster left empty takes the farthest point.
    """
    rng, best, answer = np.random.default_rng(seed), -np.inf, np.zeros(len(points), dtype=np.int64)
    for _ in range(restarts):
        chosen = [int(rng.integers(len(points)))]
        for _ in range(k - 1):
            far = np.clip(1 - (points @ points[chosen].T).max(axis=1), 0, None).astype(np.float64)
            far[chosen] = 0
            weights = far / far.sum() if far.sum() > 0 else None
            chosen.append(int(rng.choice(len(points), p=weights)))
        centres, cluster = points[chosen], np.full(len(points), -1)
        for _ in range(100):
            cosines = points @ centres.T
            before, cluster = cluster, cosines.argmax(axis=1)
            for empty in np.setdiff1d(np.arange(k), cluster):
                farthest = int(
                    np.where(np.bincount(cluster, minlength=k)[cluster] > 1, cosines.max(axis=1), 2).argmin()
                )
                cluster[farthest] = empty
            total = float(cosines[np.arange(len(points)), cluster].sum())
            if (cluster == before).all():
                break
            sums = np.zeros_like(centres)
            np.add.at(sums, cluster, points)
            centres = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
        if total > best:
            best, answer = total, cluster
    return answer
