"""word2vec: a vector for each word, read from a table or made of its character n-grams (Mikolov et al. 2013)."""

from __future__ import annotations

from functools import cached_property
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from clew.config import Choice
from clew.contracts import Model
from clew.errors import RecipeError
from clew.inputs import Words
from clew.kernels.sampling import table
from clew.models.vectors import EXPORTS, Subwords, WordVectors
from clew.text.ngrams import ngram_buckets


class Word2VecConfig(Choice):
    """Which word predicts which, how wide the vectors are, and the n-grams that words are made of besides (0: none)."""

    kind: str = "word2vec"
    architecture: Literal["skipgram", "cbow"] = "skipgram"
    d_model: int = Field(100, ge=1)
    min_n: int = Field(0, ge=0)  # characters of the shortest and the longest n-gram of <word>
    max_n: int = Field(0, ge=0)
    buckets: int = Field(2_000_000, ge=1)  # rows that the n-grams share by their hash
    start: str = ""  # a run of word vectors, or a file of them by any tool, whose words begin with the vectors there
    keep_words: bool = True  # words of `start` that the text lacks stay in the vocabulary

    @model_validator(mode="after")
    def lengths_fit(self) -> Word2VecConfig:
        if bool(self.min_n) != bool(self.max_n) or self.min_n > self.max_n:
            raise ValueError(f"n-grams of {self.min_n} to {self.max_n} characters: set both, min_n at most max_n")
        return self


class Word2Vec(Model):
    """Two tables: rows of `input` make the vectors that predict, rows of `output` stand for what is predicted.

    input: (V, d), with n-grams (V + buckets, d): a word's vector is then the mean of its own row and its n-grams' rows
    (Bojanowski et al. 2017, §3.2; their program takes the mean where the paper has the sum). output: (V, d), words
    under negative sampling, the inner nodes of the tree under hierarchical softmax. `input` is what one keeps.
    """

    Config = Word2VecConfig
    heads = frozenset({"words"})
    share_read = 0.0  # rows are looked up
    exports = EXPORTS

    def __init__(self, config: Word2VecConfig, spec: Words) -> None:
        super().__init__()
        self.config, self.vocabulary = config, spec
        rows = len(spec) + (config.buckets if config.max_n else 0)
        # The engine wants rows that begin on a cache line: the parameters are views of wider tables.
        self.input = nn.Parameter(torch.from_numpy(table(rows, config.d_model))[:, : config.d_model])
        self.output = nn.Parameter(torch.from_numpy(table(len(spec), config.d_model))[:, : config.d_model])
        nn.init.uniform_(self.input, -0.5 / config.d_model, 0.5 / config.d_model)

    @cached_property
    def parts(self) -> tuple[np.ndarray, np.ndarray]:
        """The rows that each word is made of, one after another, and the bounds (V + 1,) of each word's among them."""
        n, config = len(self.vocabulary), self.config
        buckets, bounds = ngram_buckets(self.vocabulary.words, config.min_n, config.max_n, config.buckets)
        return np.insert(n + buckets, bounds[:-1], np.arange(n)), bounds + np.arange(n + 1)

    def vector(self, words: Tensor) -> Tensor:
        """The vectors of words: ids (…) -> (…, d)."""
        if not self.config.max_n:
            return self.input[words]
        rows, bounds = self.parts
        flat = words.flatten().numpy(force=True)
        lengths = bounds[flat + 1] - bounds[flat]
        starts = np.cumsum(lengths) - lengths
        index = np.repeat(bounds[flat] - starts, lengths) + np.arange(lengths.sum())
        chosen, offsets = (torch.from_numpy(a).to(words.device) for a in (rows[index], starts))
        return F.embedding_bag(chosen, self.input, offsets, mode="mean").view(*words.shape, -1)

    def context(self, words: Tensor, mask: Tensor) -> Tensor:
        """What predicts in CBOW: the mean of the vectors around a word (Mikolov et al. 2013a, §3.1).

        With n-grams it is the mean of all their rows, as in fastText. words (N, C) ids, mask (N, C) True = a word, at
        least one in each row -> (N, d).
        """
        sizes = torch.from_numpy(np.diff(self.parts[1])).to(words.device)[words]  # (N, C) rows of each word
        weights = (sizes * mask).to(self.input.dtype)
        return torch.einsum("nc,ncd->nd", weights / weights.sum(dim=1, keepdim=True), self.vector(words))

    def start_from(self, vectors: WordVectors, output: np.ndarray | None = None) -> int:
        """Begin where other vectors stand, as far as both know a word; returns how many words that are.

        With the same n-grams on both sides the rows of words and n-grams are taken as they are, otherwise a word's own
        row begins as its whole vector there (as by fastText's -pretrainedVectors). output: (V', d), the rows that stand
        for the same words when they are predicted. Raises RecipeError where the vectors have another width.
        """
        config, n = self.config, len(self.vocabulary)
        if vectors.dim != config.d_model:
            raise RecipeError(
                f"vectors of {vectors.dim} cannot begin a table of {config.d_model}",
                where="model.start", fix=f"set model.d_model={vectors.dim}",
            )  # fmt: skip
        theirs = vectors.rows(self.vocabulary.words)
        known = np.flatnonzero(theirs >= 0)
        own, subwords = vectors.matrix, vectors.subwords
        if subwords and (subwords.minn, subwords.maxn, subwords.bucket) == (config.min_n, config.max_n, config.buckets):
            own = subwords.matrix
            self.input.detach().numpy()[n:] = own[len(vectors) :]
        self.input.detach().numpy()[known] = own[theirs[known]]
        if output is not None:
            self.output.detach().numpy()[known] = output[theirs[known]]
        return len(known)

    def vectors(self) -> WordVectors:
        """The vectors to keep, with what makes those of unseen words."""
        rows, config, vocabulary = self.input.numpy(force=True), self.config, self.vocabulary
        if not config.max_n:
            return WordVectors(vocabulary.words, rows, vocabulary.counts)
        subwords = Subwords(config.min_n, config.max_n, config.buckets, rows)
        return WordVectors(vocabulary.words, subwords.compose(vocabulary.words), vocabulary.counts, subwords)


def aligned(parameter: nn.Parameter) -> np.ndarray:
    """The whole table (rows, padded d) that a parameter of Word2Vec is a view of: the engine writes to it."""
    width = parameter.stride(0)
    return parameter.detach().as_strided((len(parameter), width), (width, 1)).numpy()
