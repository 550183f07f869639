"""Word vectors in hand: neighbours, analogies, the odd one out, and words never seen, from their n-grams."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from clew.errors import ClewError, DataError, MissingExtra, RecipeError, VocabularyError
from clew.text.ngrams import ngram_buckets

Answers = list[tuple[str, float]]
"""Words with their score, best first."""

ROWS = 16384  # of the matrix at a time: what is computed for them stays in the cache
CLOSE = 200_000  # words, from the first, among which a close spelling is looked for
EPSILON = 0.001  # of 3CosMul

EXPORTS = frozenset({"word2vec", "text", "glove", "fasttext", "safetensors"})  # programs that read word vectors


@dataclass(frozen=True)
class Subwords:
    """fastText's input table: a row for each word, then a row for each bucket that n-grams hash to.

    matrix: (V + bucket, d), float32; an n-gram's row is V + hash % bucket. A word in the vocabulary is the mean of its
    own row and its n-grams' rows, any other word the mean of its n-grams' rows (Bojanowski et al. 2017; fastText takes
    the mean where the paper has the sum).
    """

    minn: int
    maxn: int
    bucket: int
    matrix: np.ndarray

    def vector(self, word: str) -> np.ndarray | None:
        """The vector (d,) of a word outside the vocabulary; None where it is too short to have an n-gram."""
        buckets, _ = ngram_buckets([word], self.minn, self.maxn, self.bucket)
        return self.matrix[len(self.matrix) - self.bucket + buckets].mean(axis=0) if len(buckets) else None

    def compose(self, words: Sequence[str]) -> np.ndarray:
        """The vectors (V, d) of the vocabulary: each word's own row averaged with its n-grams' rows."""
        made = np.empty((len(words), self.matrix.shape[1]), dtype=np.float32)
        for start in range(0, len(words), 1024):
            part = words[start : start + 1024]
            buckets, bounds = ngram_buckets(part, self.minn, self.maxn, self.bucket)
            rows = np.insert(len(words) + buckets, bounds[:-1], np.arange(start, start + len(part)))
            with np.errstate(over="ignore", invalid="ignore"):  # `scale` names the word whose vector is not finite
                sums = np.add.reduceat(self.matrix[rows], bounds[:-1] + np.arange(len(part)), axis=0)
            made[start : start + len(part)] = sums / (np.diff(bounds) + 1)[:, None]
        return made


class WordVectors:
    """Words with a vector each, to be asked.

    words: V different words, the most frequent first where their counts are known.
    matrix: (V, d), float32; may be mapped from a file, and is never copied or changed.
    counts: (V,), int64, how often each word occurred; None where the source does not say.
    subwords: what makes vectors of words outside the vocabulary; None where there are no n-grams.
    zeros: `vector` gives zeros for other words, which is what fastText's classifiers read in their place.
    notes: what was read otherwise than it stood in the file, for whoever asked for it to be told.

    Every score is a cosine in [-1, 1] unless said otherwise; the cosine with a vector of zeros is 0. A word without a
    vector raises VocabularyError with close spellings.
    """

    def __init__(
        self,
        words: Sequence[str],
        matrix: np.ndarray,
        counts: np.ndarray | None = None,
        subwords: Subwords | None = None,
        zeros: bool = False,
        notes: Sequence[str] = (),
    ) -> None:
        matrix = np.asarray(matrix)
        if matrix.dtype != np.float32 or matrix.ndim != 2 or len(matrix) != len(words):
            raise ClewError(
                f"{len(words)} words do not fit a {matrix.dtype} matrix of shape {matrix.shape}",
                fix="give one float32 row per word",
            )
        if counts is not None and len(counts) != len(words):
            raise ClewError(f"{len(words)} words do not fit {len(counts)} counts", fix="give one count per word")
        self.words = list(words)
        self.matrix = matrix
        self.counts = counts
        self.subwords = subwords
        self.zeros = zeros
        self.notes = list(notes)

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: str) -> bool:
        return word in self.index

    @property
    def dim(self) -> int:
        return int(self.matrix.shape[1])

    @cached_property
    def index(self) -> dict[str, int]:
        """The row of each word. Raises DataError where a word occurs twice."""
        index = dict(zip(self.words, range(len(self.words)), strict=True))
        if len(index) < len(self.words):
            twice = next(word for row, word in enumerate(self.words) if index[word] != row)
            rows = f"rows {self.words.index(twice) + 1} and {index[twice] + 1}"
            raise DataError(f'the word "{twice}" has two vectors', where=rows, fix="keep one of them")
        return index

    @cached_property
    def scale(self) -> np.ndarray:
        """1/|w| of each row (V,), 0 where |w| < 1e-37: a row's cosine is its product times this."""
        squares = [np.einsum("ij,ij->i", b, b, dtype=np.float64) for _, b in self._blocks(len(self))]
        norms = np.sqrt(np.concatenate([*squares, np.empty(0)]))
        if not np.isfinite(norms).all():
            row = int(np.flatnonzero(~np.isfinite(norms))[0])
            raise DataError(
                f'the vector of "{self.words[row]}" is not finite',
                where=f"row {row + 1} of {len(self)}", fix="train again with a smaller learning rate, or drop the word",
            )  # fmt: skip
        return np.divide(1, norms, out=np.zeros_like(norms), where=norms >= 1e-37).astype(np.float32)

    def rows(self, words: Sequence[str]) -> np.ndarray:
        """The row of each word (n,), -1 where it has none."""
        return np.array([self.index.get(word, -1) for word in words], dtype=np.int64)

    def vector(self, word: str) -> np.ndarray:
        """The vector (d,) of a word: its row, else the mean of its n-grams' rows, else zeros where `zeros` says so."""
        found = self.find(word)
        if found is None and self.zeros:
            return np.zeros(self.dim, np.float32)
        return self._known(word) if found is None else found

    def find(self, word: str) -> np.ndarray | None:
        """Return the vector of a word, (d,); None where it has none."""
        row = self.index.get(word)
        if row is not None:
            return self.matrix[row]
        return self.subwords.vector(word) if self.subwords else None

    def _known(self, word: str) -> np.ndarray:
        """As `vector`, but never zeros in its place: those are near to nothing."""
        found = self.find(word)
        if found is None:
            raise self._unknown(word)
        return found

    def similarity(self, a: str, b: str) -> float:
        """The cosine of two words' vectors."""
        return float(unit(self._known(a)) @ unit(self._known(b)))

    def neighbours(self, query: str | np.ndarray, k: int = 10, *, exact: bool = True) -> Answers:
        """The k words nearest to a word, itself left out, or to a vector (d,), by cosine.

        exact=False asks the index that `build_index` made or opened: meant for more than a million words.
        """
        skip = [self.index[query]] if isinstance(query, str) and query in self.index else []
        vector = unit(self._known(query) if isinstance(query, str) else np.asarray(query, dtype=np.float32))
        if vector.shape != (self.dim,):
            raise RecipeError(f"a vector of shape {vector.shape} has no neighbours among vectors of {self.dim}")
        if exact:
            return self._best(self._cosines(vector[None])[0], k, skip)
        if not hasattr(self, "_graph"):
            raise RecipeError("there is no index to search", fix="call build_index() first, or search with exact=True")
        matches = self._graph.search(vector, k + len(skip))
        found = zip(matches.keys.tolist(), matches.distances.tolist(), strict=True)
        return [(self.words[row], 1 - distance) for row, distance in found if row not in skip][:k]

    def analogy(self, a: str, b: str, c: str, k: int = 10, *, method: Literal["add", "mul"] = "add") -> Answers:
        """Answer "a is to b as c is to …" by the k best words x, the three of the question left out.

        add, 3CosAdd (Mikolov et al. 2013): the cosine of x with b - a + c, each of length 1.
        mul, 3CosMul (Levy & Goldberg 2014, eq. 4): s(x,b)·s(x,c)/(s(x,a) + 0.001), s = (1 + cosine)/2: not a cosine.
        """
        three = np.stack([unit(self._known(word)) for word in (a, b, c)])
        with_a, with_b, with_c = self._cosines(three)
        scores = combine(with_a, with_b, with_c, method)
        if method == "add":
            scores /= max(float(np.linalg.norm(three[1] - three[0] + three[2])), 1e-30)
        return self._best(scores, k, [self.index[word] for word in (a, b, c) if word in self.index])

    def analogies(
        self, questions: np.ndarray, *, method: Literal["add", "mul"] = "add", among: int | None = None
    ) -> np.ndarray:
        """Answer many questions (n, 3) of rows at once: the row (n,) of the best word among the first `among`.

        The same answers as `analogy`; the cosines of each word that occurs are computed once, some rows at a time.
        """
        used, place = np.unique(questions, return_inverse=True)
        asked = self.matrix[used] * self.scale[used, None]
        place, best = place.reshape(-1, 3), np.full(len(questions), -np.inf)
        answers = np.zeros(len(questions), dtype=np.int64)
        for start, block in self._blocks(min(among or len(self), len(self))):
            cosines = asked @ block.T
            cosines *= self.scale[start : start + len(block)]
            for i, (a, b, c) in enumerate(place):
                scores = combine(cosines[a], cosines[b], cosines[c], method)
                inside = questions[i] - start
                scores[inside[(inside >= 0) & (inside < len(block))]] = -np.inf
                top = int(scores.argmax())
                if scores[top] > best[i]:
                    best[i], answers[i] = scores[top], start + top
        return answers

    def odd_one_out(self, words: Iterable[str]) -> str:
        """The word whose cosine with the mean of all the words' directions is lowest."""
        words = list(words)
        if len(words) < 3:
            raise RecipeError(f"{len(words)} words have no odd one out", fix="give three or more")
        directions = np.stack([unit(self._known(word)) for word in words])
        return words[int((directions @ directions.mean(axis=0)).argmin())]

    def build_index(self, path: Path | None = None, *, threads: int = 0) -> None:
        """Make the approximate index that `neighbours(…, exact=False)` asks; with `path`, save it there or open it.

        A graph of small worlds over half-precision vectors (Malkov & Yashunin 2018), by usearch. A saved index is
        mapped, not read. threads: 0 for all cores. Raises MissingExtra without usearch, DataError for another's index.
        """
        try:
            from usearch.index import Index
        except ImportError as error:
            raise MissingExtra("an approximate index needs usearch", fix="pip install 'clew[index]'") from error
        if path is not None and path.exists():
            graph = Index.restore(str(path), view=True)
            if graph is None or len(graph) != len(self) or graph.ndim != self.dim:
                raise DataError(
                    f"this is no index of {len(self)} vectors of {self.dim}",
                    where=str(path), fix="delete it, and it is made anew",
                )  # fmt: skip
        else:
            graph = Index(ndim=self.dim, metric="cos", dtype="f16")
            for start, block in self._blocks(len(self)):
                graph.add(np.arange(start, start + len(block)), block, threads=threads)
            if path is not None:
                graph.save(str(path))
        self._graph: Any = graph

    def _blocks(self, stop: int) -> Iterator[tuple[int, np.ndarray]]:
        for start in range(0, stop, ROWS):
            yield start, self.matrix[start : min(start + ROWS, stop)]

    def _cosines(self, directions: np.ndarray) -> np.ndarray:
        """The cosine (n, V) of each row with directions (n, d) of length 1."""
        cosines = np.empty((len(directions), len(self)), dtype=np.float32)
        for start, block in self._blocks(len(self)):
            np.matmul(directions, block.T, out=cosines[:, start : start + len(block)])
        cosines *= self.scale
        return cosines

    def _best(self, scores: np.ndarray, k: int, skip: list[int]) -> Answers:
        scores[skip] = -np.inf
        k = min(k, len(scores) - len(set(skip)))
        if k <= 0:
            return []
        top = np.argpartition(-scores, k - 1)[:k]
        return [(self.words[row], float(scores[row])) for row in top[np.argsort(-scores[top], kind="stable")]]

    def _unknown(self, word: str) -> VocabularyError:
        near = [w for w in self.words[:CLOSE] if abs(len(w) - len(word)) < 3 and w[:1].lower() == word[:1].lower()]
        same = [w for w in near if w.lower() == word.lower()]
        close = list(dict.fromkeys(same + difflib.get_close_matches(word, near, n=5, cutoff=0.7)))[:5]
        hint = f"did you mean {' or '.join(close)}?" if close else "ask for a word of the vocabulary"
        why = "is too short to have n-grams" if self.subwords else "is not among them, and there are no n-grams"
        return VocabularyError(f'"{word}" has no vector: it {why}', where=f"{len(self)} words", fix=hint)


def unit(vector: np.ndarray) -> np.ndarray:
    """The vector at length 1; zeros stay zeros."""
    norm = float(np.linalg.norm(vector))
    return vector / norm if norm > 0 else vector


def combine(a: np.ndarray, b: np.ndarray, c: np.ndarray, method: str) -> np.ndarray:
    """The score of candidates for "a is to b as c is to …" from their cosines with a, b and c, each (n,)."""
    if method == "add":
        return b - a + c
    if method == "mul":
        return (1 + b) * (1 + c) / (2 * (1 + a) + 4 * EPSILON)
    raise RecipeError(f'there is no method "{method}" for analogies', fix='take "add" or "mul"')
