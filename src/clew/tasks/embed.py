"""Word vectors: running text in; similarity, analogies and categories judge what comes out, neighbours show it."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from clew.config import DecodeConfig, TaskConfig, TokenizerConfig, TrainConfig
from clew.contracts import Example, Prediction, Task
from clew.data.catalogue import find, locate
from clew.data.corpus import CorpusLoader
from clew.data.lines import existing
from clew.data.text import Text
from clew.errors import DataError, RecipeError, VocabularyError
from clew.metrics.bootstrap import mean_of
from clew.metrics.nearness import nearness
from clew.metrics.words import read_set, score_set
from clew.models.vectors import WordVectors
from clew.text.words import WordVocabulary, encode, encode_to

VALIDATION_BLOCKS = 4  # of the validation text are looked at, each about 40,000 words
PROBES = 8  # words shown where the recipe names none: frequent ones, the first hundred left out
NEIGHBOURS = 8


class EmbedConfig(TaskConfig):
    """The sets that judge the vectors, as files or names of the catalogue; and the words whose neighbours are shown."""

    kind: str = "embed"
    sets: tuple[str, ...] = ()
    probes: tuple[str, ...] = ()


class Embed(Task):
    """Learn a vector for each word of a text."""

    Config = EmbedConfig
    preprocessor_class = WordVocabulary
    head = "words"
    hint = (
        "A word for its neighbours; “king - man + woman” for an analogy; two words for how alike they are; "
        "more for the odd one out."
    )
    example_name = "word"
    unit = "words"

    def __init__(self, config: EmbedConfig) -> None:
        super().__init__(config)
        self.sets = {name.rpartition("/")[2].partition(".")[0]: read_set(set_file(name)) for name in config.sets}

    @property
    def quality(self) -> str:
        """The mean correlation with people's similarity scores; without such a set, nearness in validation text."""
        return "similarity" if any(items[0].measure == "similarity" for items in self.sets.values()) else "nearness"

    # Which examples.

    def preprocessor(self, rows: Text, config: TokenizerConfig, given: Any = None) -> WordVocabulary:
        """The words of the text, by count. Raises RecipeError where the tokenizer is not one of words."""
        if given is not None:
            raise RecipeError("word vectors count their own vocabulary", where="tokenizer.start", fix="leave it out")
        if config.kind != "word":
            raise RecipeError(
                f"word vectors are of words, not of {config.kind} tokens",
                where="tokenizer.kind", fix='set tokenizer.kind = "word"',
            )  # fmt: skip
        return WordVocabulary.count(
            rows.paths, min_count=config.min_count, max_size=config.vocab_size, lowercase=config.lowercase,
            letters=config.letters, progress=self.progress("counting words"),
        )  # fmt: skip

    def batches(self, rows: Text, preprocessor: WordVocabulary, train: TrainConfig, seed: int) -> CorpusLoader:
        """Slices of the text as ids, which lie in a temporary file for as long as the loader lives.

        Raises DataError where a set cannot judge vectors of these words: better now than after training.
        """
        for name, items in self.sets.items():
            try:
                judge(meaningless(preprocessor.words), {name: items})
            except DataError as error:
                raise DataError(
                    f"the text has too few words of {name}: {error.what}",
                    where="task.sets", fix="leave that set out, or give text in its language",
                ) from error  # fmt: skip
        folder = tempfile.TemporaryDirectory(prefix="clew-")
        text = encode_to(folder.name, rows.paths, preprocessor, self.progress("encoding text"))
        loader = CorpusLoader(text.ids, text.ends, batch_tokens=train.batch.of_tokens("running text"), seed=seed)
        weakref.finalize(loader, folder.cleanup)
        return loader

    # How to predict.

    def predict(
        self,
        model: Any,
        preprocessor: WordVocabulary,
        texts: Iterable[str],
        decode: DecodeConfig,
        *,
        attention: bool = False,
        listener: Any = None,
    ) -> Iterator[Prediction]:
        """Answer each line: a word by its neighbours, "king - man + woman" by an analogy, words by the odd one out."""
        vectors = model.vectors()
        for text in texts:
            yield answer(vectors, text.lower() if preprocessor.lowercase else text)

    def examples(self, data: Any, splits: Sequence[str]) -> list[Example]:
        """The words whose neighbours a comparison shows."""
        counted = WordVocabulary.count(data.split("valid").paths, min_count=1, lowercase=True, letters=True)
        probes = self.config.probes or tuple(frequent(counted))
        return [Example(word) for word in probes]

    # Which metrics.

    def validate(
        self, model: Any, preprocessor: WordVocabulary, rows: Text, decode: DecodeConfig, n_examples: int
    ) -> dict[str, Any]:
        """What is quick to measure, nearness and similarity, as figures; and the neighbours of the probes."""
        vectors = model.vectors()
        pairs = {name: items for name, items in self.sets.items() if items[0].measure == "similarity"}
        scores = {"nearness": self.nearness(vectors, preprocessor, rows), **judge(vectors, pairs)}
        probes = [word for word in self.config.probes or frequent(preprocessor) if word in vectors]
        samples = [{"source": word, "output": answer(vectors, word).shown} for word in probes]
        return {**{name: figure["value"] for name, figure in scores.items()}, "samples": samples}

    def evaluate(
        self, model: Any, preprocessor: WordVocabulary, rows: Text, decode: DecodeConfig, *, choose_on: Any = None
    ) -> dict[str, Any]:
        """Nearness and every set; `outputs` are the probes with their neighbours."""
        vectors = model.vectors()
        probes = [word for word in self.config.probes or frequent(preprocessor) if word in vectors]
        return {
            "words": len(vectors),
            "nearness": self.nearness(vectors, preprocessor, rows),
            **judge(vectors, self.sets),
            "outputs": [f"{word}: {answer(vectors, word).shown}" for word in probes],
        }

    def nearness(self, vectors: WordVectors, vocabulary: WordVocabulary, rows: Text) -> dict[str, Any]:
        """Measured on the first words of a text."""
        blocks = list(islice(encode(rows.paths, vocabulary), VALIDATION_BLOCKS))
        ids, ends = np.concatenate([b.ids for b in blocks]), np.concatenate([b.ends for b in blocks])
        return nearness(vectors.matrix, ids, ends, vocabulary.counts).as_dict()


def set_file(name: str) -> Path:
    """The file of a set: the name of a file, or of a set in the catalogue. DataError where there is neither."""
    if Path(name).suffix:
        return existing(name)
    return locate(name) / next(iter(find(name).splits.values()))[0]


def judge(vectors: WordVectors, sets: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """The score of each set, "similarity:men"; the mean of all similarity sets; analogies whole, semantic, syntactic.

    Raises DataError where a set has too few words with vectors to be scored.
    """
    found: dict[str, Any] = {}
    similar: list[dict[str, Any]] = []
    for name, items in sets.items():
        measure, scored = items[0].measure, score_set(vectors, items)
        name = measure if measure == "analogies" else f"{measure}:{name}"
        found[name] = scored.as_dict()
        similar += [found[name]] if measure == "similarity" else []
        parts = {part: scored.parts[part] for part in ("semantic", "syntactic") if part in scored.parts}
        found |= {f"{measure}:{part}": score.as_dict() for part, score in parts.items()}
    return {**({"similarity": mean_of(similar)} if similar else {}), **found}


def meaningless(words: Sequence[str]) -> WordVectors:
    """Random vectors, to try out what can be asked of vectors of these words."""
    return WordVectors(words, np.random.default_rng(1).standard_normal((len(words), 2), dtype=np.float32))


def frequent(vocabulary: WordVocabulary) -> list[str]:
    """Words worth asking for neighbours: of four letters or more, spread over the frequent ones."""
    among = [word for word in vocabulary.words[100:5000] if len(word) > 3 and word.isalpha()]
    return among[:: max(1, len(among) // PROBES)][:PROBES]


def answer(vectors: WordVectors, text: str) -> Prediction:
    """Neighbours of a word; how alike two are; of "king - man + woman" the best other word; of several the odd one out.

    Nothing asked is nothing answered. A word without a vector is said so in the answer: the next line has its own.
    """
    if not text.strip():
        return Prediction("", 0.0)
    try:
        found = ask(vectors, text.split())
    except VocabularyError as error:
        return Prediction("", 0.0, shown=f"? {error.what}")
    shown = ", ".join(word if score is None else f"{word} {score:.2f}" for word, score in found)
    scored = [(word, score or 0.0) for word, score in found]
    return Prediction(*scored[0], alternatives=scored[1:], shown=shown) if scored else Prediction("", 0.0)


def ask(vectors: WordVectors, words: list[str]) -> Sequence[tuple[str, float | None]]:
    """The words that answer, best first, with their cosine where there is one.

    Raises VocabularyError for a word without a vector.
    """
    if len(words) == 1:
        return vectors.neighbours(words[0], NEIGHBOURS)
    if len(words) == 2:
        return [(words[1], vectors.similarity(*words))]
    if not any(word in "+-" for word in words):
        odd = vectors.odd_one_out(words)
        return [(odd, None)]
    total, sign, asked = np.zeros(vectors.dim, dtype=np.float32), 1, []
    for word in words:
        if word in "+-":
            sign = 1 if word == "+" else -1
            continue
        vector = vectors.vector(word)
        total += sign * vector / max(float(np.linalg.norm(vector)), 1e-12)
        asked.append(word)
    found = vectors.neighbours(total, NEIGHBOURS + len(asked))
    return [pair for pair in found if pair[0] not in asked][:NEIGHBOURS]
