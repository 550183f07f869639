"""What a new run begins with: another run's vocabulary and weights, or word vectors of any tool's file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from clew.config import Recipe, resolve
from clew.errors import CheckpointError, DataError, RecipeError
from clew.hub.transformers_folder import Checkpoint
from clew.hub.vectors import load_vectors
from clew.models.vectors import WordVectors
from clew.nn.embedding import Embedding
from clew.runs.folder import Run
from clew.runs.results import differences


def complete(recipe: Recipe, run: Run | None = None) -> Recipe:
    """Return the recipe with what is not its to choose, or left open: the sizes of the model that it starts from, and
    the labels of which held-out rows are a fair sample.

    A run that has begun has them in its own recipe: what it started from may be gone.
    """
    begun = run is not None and run.started
    if "stratify" in (data := recipe.data.model_dump()) and data["stratify"] is None:
        by = run.recipe.data.model_dump()["stratify"] if run is not None and begun else recipe.task.stratum
        recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"stratify": by})})
    if not starts_model(recipe):
        return recipe
    found: Any = run.recipe.model if run is not None and begun else Checkpoint.find(path_of(recipe)).config
    sizes = {name: value for name, value in found if name not in ("kind", "start") and "dropout" not in name}
    return recipe.model_copy(update={"model": recipe.model.model_copy(update=sizes)})


def check_same(old: Recipe, new: Recipe, folder: str | Path) -> None:
    """A run may be resumed with another budget or patience, and nothing else."""
    left, right = old.model_dump(mode="json"), new.model_dump(mode="json")
    for each in (left, right):
        each["train"] = {key: value for key, value in each["train"].items() if key not in ("budget", "patience")}
    if differing := [key for key, _, _ in differences(left, right)]:
        raise CheckpointError(
            f"this run was started from another recipe, with another {', '.join(differing)}",
            where=str(folder), fix=f"go on with its own (clew train {folder} --resume), or choose another --out",
        )  # fmt: skip


def path_of(recipe: Recipe) -> str:
    """Return what `model.start` names; "" where the recipe or its kind of model has none."""
    return str(recipe.model.model_dump().get("start", ""))


def starts_model(recipe: Recipe) -> bool:
    """Return whether `model.start` names a pre-trained model of the same family."""
    return bool(path_of(recipe)) and bool(resolve("model", recipe.model.kind).adapter)


class Start:
    """What a recipe names: `model.start` (an encoder, a decoder, a T5, word vectors), `start` of any of a model's
    embeddings, and `tokenizer.start`.

    Each is read once, when it is first needed; without a `start` nothing is read and nothing changes.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.read = cache(read)

    def preprocessor(self, task: Any, rows: Any) -> Any:
        """What the task reads text with: trained on the rows, or that of the run or folder which is started from.

        Raises RecipeError where the task trains its own.
        """
        config = self.recipe.tokenizer
        path = config.start or (path_of(self.recipe) if starts_model(self.recipe) else "")
        if not path:
            return self.vocabulary(task.preprocessor(rows, config))
        return task.preprocessor(rows, config, given=Checkpoint.find(path).tokenizer)

    def vocabulary(self, preprocessor: Any) -> Any:
        """The words of the text, and those that the run starts from.

        Word vectors take them all in, where the recipe keeps them. What only reads text takes in as many as
        `tokenizer.vocab_size` leaves room for, so that a word which no training text has is understood by its vector.
        What writes text too (a translator) keeps to the words that it can learn to write.
        """
        path = path_of(self.recipe)
        if path and not starts_model(self.recipe):
            vectors, _ = self.read(path, self.recipe.objective.kind)
            return preprocessor.with_words(vectors.words, vectors.counts, self.recipe)
        for vectors in self.tables().values():
            preprocessor = preprocessor.with_words(vectors.words, vectors.counts, self.recipe)
        return preprocessor

    def tables(self) -> dict[str, WordVectors]:
        """The vectors that each embedding starts from. Raises RecipeError where its tokens are no words."""
        found = {}
        for name, path in self.recipe.model.starts.items():
            if self.recipe.tokenizer.kind != "word":
                raise RecipeError(
                    f"vectors of words cannot begin an embedding of {self.recipe.tokenizer.kind} tokens",
                    where=f"model.{name}.start", fix='set tokenizer.kind="word"',
                )  # fmt: skip
            found[name], _ = self.read(path, "")
        return found

    def fill(self, model: Any, task: Any, preprocessor: Any) -> list[str]:
        """Put the vectors into a new model, and say how many words begin with one.

        `task.words(preprocessor)` says what the rows of each embedding stand for. Raises RecipeError where the widths
        differ or the tokens are no words, DataError where no word has a vector.
        """
        config: Any = self.recipe.model
        said = []
        if starts_model(self.recipe):
            found = Checkpoint.find(config.start)
            said.append(found.adapter.start(model, found.tensors, found.settings, config.start))
        elif path := path_of(self.recipe):
            vectors, output = self.read(path, self.recipe.objective.kind)
            n = model.start_from(vectors, output)
            said += [account(n, len(model.vocabulary), path), *(f"{path}: {note}" for note in vectors.notes)]
        for name, vectors in self.tables().items():
            words = task.words(preprocessor)[name]
            n = fill_table(model.get_submodule(name), words, vectors, f"model.{name}.start")
            said.append(account(n, sum(map(bool, words)), config.starts[name]) + f", which has {len(vectors):,}")
            said += [f"{config.starts[name]}: {note}" for note in vectors.notes]
        return said


def account(n: int, of: int, path: str) -> str:
    """What the report says. Raises DataError where nothing could be used."""
    if not n:
        raise DataError(
            "no word of the vocabulary has a vector there", where=path,
            fix="check that the tokenizer lower-cases as those vectors do, or leave start out",
        )  # fmt: skip
    return f"{n:,} of {of:,} words start from {path}"


def read(path: str, objective: str) -> tuple[WordVectors, np.ndarray | None]:
    """The vectors of a run folder or a file; and, of a run, the rows of its words as they are predicted.

    Those are words' rows under negative sampling alone, in that run and in the one to come, whose objective is given.
    """
    if not Path(path).is_dir():
        vectors, output = load_vectors(path, errors="backslashreplace"), None
    else:
        run, threads = Run.open(path), torch.get_num_threads()
        with torch.random.fork_rng(devices=[]):  # building that model must not change what the new one draws
            model: nn.Module = run.model()
        torch.set_num_threads(threads)
        vectors = model.vectors()  # type: ignore[operator]
        both = {run.recipe.objective.kind, objective} == {"negative_sampling"}
        output = model.output.detach().numpy() if both else None  # type: ignore[operator]
    if not vectors.scale.any():  # which raises DataError where a vector is not finite
        raise DataError("every vector is zero", where=path, fix="start from vectors that were trained")
    return vectors, output


@torch.no_grad()
def fill_table(table: Embedding, words: Sequence[str], vectors: WordVectors, where: str) -> int:
    """Give the rows of known words their vectors; returns how many. Words made of known n-grams count as known.

    One factor brings the vectors to the spread of the rows that they replace, so that words with and without one are
    alike in length (Kim 2014, §3.3, fits the others to them) and a model needs no other settings for them.
    """
    if vectors.dim != table.embedding_dim:
        raise RecipeError(
            f"vectors of {vectors.dim} cannot begin an embedding of {table.embedding_dim}",
            where=where, fix=f"set the width of the model's embedding to {vectors.dim}",
        )  # fmt: skip
    found = {i: vector for i, word in enumerate(words) if word and (vector := vectors.find(word)) is not None}
    if not found:
        return 0
    rows = torch.tensor(list(found))
    values = torch.from_numpy(np.stack(list(found.values())))
    spread = values.square().mean().sqrt().clamp(min=1e-30)
    table.weight[rows] = values * (table.weight[rows].square().mean().sqrt() / spread)
    return len(found)
