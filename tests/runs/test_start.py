"""Trainings that start from vectors: which rows begin where, what stays, what a resume does, and what is refused."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from clew.config import Recipe, build
from clew.errors import ClewError, DataError, RecipeError
from clew.hub.vectors import load_vectors, save_vectors
from clew.models.vectors import WordVectors
from clew.runs import Run
from clew.runs.start import Start
from clew.runs.training import Training, open_training, train
from clew.train.loop import fit

OLD, NEW = [f"w{i}" for i in range(20)], [f"x{i}" for i in range(5)]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The recipes set the number of threads of the whole process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def text(file: Path, words: list[str], lines: int = 120) -> Path:
    rng = random.Random(lines)
    file.write_text("\n".join(" ".join(rng.choices(words, k=10)) for _ in range(lines)))
    return file


def recipe(file: Path, *, objective: str = "negative_sampling", epochs: float = 2, **model: Any) -> Recipe:
    return Recipe.model_validate({
        "name": "words", "task": {"kind": "embed"}, "data": {"kind": "text", "train": [str(file)]},
        "tokenizer": {"kind": "word", "min_count": 2}, "objective": {"kind": objective, "subsample": 0},
        "model": {"kind": "word2vec", "d_model": 8} | model,
        "train": {"threads": 1, "device": "cpu", "batch": {"tokens": 300}, "optimizer": {"kind": "sgd", "lr": 0.05},
                  "schedule": {"kind": "linear"}, "budget": {"epochs": epochs}, "save_every": 2},
    })  # fmt: skip


def trained(made: Recipe, folder: Path) -> Run:
    for _ in train(made, folder):
        pass
    return Run.open(folder)


def begun(made: Recipe, folder: Path) -> Training:
    training = open_training(made, folder)
    assert training is not None
    return training


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The texts, and the runs of the first: `first` plain, `ngrams` with n-grams, `tree` by hierarchical softmax."""
    folder = tmp_path_factory.mktemp("start")
    text(folder / "old.txt", OLD)
    text(folder / "new.txt", OLD[12:] + NEW)
    for name, settings in {
        "first": {}, "tree": {"objective": "hierarchical_softmax"}, "ngrams": {"min_n": 2, "max_n": 3, "buckets": 50}
    }.items():  # fmt: skip
        trained(recipe(folder / "old.txt", **settings), folder / name)
    return folder


def table(model: Any, name: str = "input") -> dict[str, np.ndarray]:
    return dict(zip(model.vocabulary.words, getattr(model, name).detach().numpy().copy(), strict=False))


def test_known_words_begin_there_and_all_words_stay(place: Path, tmp_path: Path) -> None:
    old = Run.open(place / "first").model()
    training = begun(recipe(place / "new.txt", start=str(place / "first")), tmp_path / "run")
    assert f"20 of 25 words start from {place / 'first'}" in training.report
    before = table(training.model)
    assert {*before} == {*OLD, *NEW}
    for name in ("input", "output"):
        for word, row in table(old, name).items():
            assert np.array_equal(table(training.model, name)[word], row)
    for word in NEW:  # as usual
        assert 0 < np.abs(before[word]).max() <= 0.5 / 8
        assert not table(training.model, "output")[word].any()
    for _ in training.go():
        pass
    training.finish()
    after = table(Run(tmp_path / "run").model())
    for word in OLD[:12]:  # the new text lacks them
        assert np.array_equal(after[word], before[word])
    assert all((after[word] != before[word]).any() for word in OLD[12:] + NEW)


def test_counts_add_up(place: Path, tmp_path: Path) -> None:
    old = Run.open(place / "first").preprocessor()
    both = begun(recipe(place / "new.txt", start=str(place / "first")), tmp_path / "run").preprocessor
    new = begun(recipe(place / "new.txt"), tmp_path / "alone").preprocessor
    assert both.counts.tolist() == sorted(both.counts, reverse=True)
    for word in {*OLD, *NEW}:
        said = sum(int(v.counts[v.index[word]]) for v in (old, new) if word in v.index)
        assert both.counts[both.index[word]] == said


def test_the_texts_own_words_alone(place: Path, tmp_path: Path) -> None:
    made = recipe(place / "new.txt", start=str(place / "first"), keep_words=False)
    training = begun(made, tmp_path / "run")
    assert {*training.preprocessor.words} == {*OLD[12:], *NEW}
    assert any(line.startswith("8 of 13 words start from") for line in training.report)


def test_two_runs_are_the_same_to_the_bit(place: Path, tmp_path: Path) -> None:
    made = recipe(place / "new.txt", start=str(place / "first"))
    a, b = (trained(made, tmp_path / name).path / "model.safetensors" for name in "ab")
    assert a.read_bytes() == b.read_bytes()
    alone = trained(recipe(place / "new.txt"), tmp_path / "alone").path / "model.safetensors"
    assert a.read_bytes() != alone.read_bytes()


@pytest.mark.parametrize("dies_at", [1, 3])
def test_resumed_is_uninterrupted(place: Path, tmp_path: Path, dies_at: int) -> None:
    """Killed before the first checkpoint it starts from the vectors again; after it, from the checkpoint."""
    made = recipe(place / "new.txt", start=str(place / "first"))
    steps = train(made, tmp_path / "killed")
    for moment in steps:
        if moment.step.number == dies_at:
            steps.close()  # type: ignore[attr-defined]
    for _ in train(made, tmp_path / "killed", resume=True):
        pass
    whole = trained(made, tmp_path / "whole")
    killed, whole_file = (run / "model.safetensors" for run in (tmp_path / "killed", whole.path))
    assert killed.read_bytes() == whole_file.read_bytes()


@pytest.mark.parametrize("format", ["text", "binary", "glove", "safetensors"])
def test_from_a_file_of_another_tool(place: Path, tmp_path: Path, format: str) -> None:
    vectors = Run.open(place / "first").model().vectors()  # type: ignore[operator]
    save_vectors(vectors, tmp_path / "vectors", format=format)
    training = begun(recipe(place / "new.txt", start=str(tmp_path / "vectors")), tmp_path / "run")
    assert f"20 of 25 words start from {tmp_path / 'vectors'}" in training.report
    for word in OLD:
        assert table(training.model)[word] == pytest.approx(vectors.vector(word), abs=1e-6)
    assert not training.model.output.any()  # type: ignore[operator]
    assert all(np.isfinite(moment.step.loss) for moment in training.go())  # without counts some words have count 0


def test_what_was_read_otherwise_is_said(place: Path, tmp_path: Path) -> None:
    (tmp_path / "v").write_bytes(b"".join(b"%b " % w + b"1 " * 8 + b"\n" for w in (b"w1", b"w1", b"w\xd0", b"w2")))
    training = begun(recipe(place / "new.txt", start=str(tmp_path / "v")), tmp_path / "run")
    said = "\n".join(training.report)
    assert "1 of 4 words are not UTF-8" in said and r'"w\xd0"' in said and "the first of each is kept" in said


def test_ngrams(place: Path, tmp_path: Path) -> None:
    """Buckets of the same n-grams begin there too, also from fastText's file; under other settings words alone do."""
    old: Any = Run.open(place / "ngrams").model()
    same = {"min_n": 2, "max_n": 3, "buckets": 50}
    save_vectors(old.vectors(), tmp_path / "fast.bin", format="fasttext")
    for start in (place / "ngrams", tmp_path / "fast.bin"):
        model: Any = begun(recipe(place / "new.txt", start=str(start), **same), tmp_path / start.stem).model
        assert torch.equal(model.input[len(model.vocabulary) :], old.input[len(old.vocabulary) :])
        for word in OLD:
            assert model.vectors().vector(word) == pytest.approx(old.vectors().vector(word), abs=1e-6)
    for settings in ({}, same | {"buckets": 60}):
        made = recipe(place / "new.txt", start=str(place / "ngrams"), **settings)
        model = begun(made, tmp_path / f"other{len(settings)}").model
        assert table(model)["w3"] == pytest.approx(old.vectors().vector("w3"))


def test_a_trees_rows_stand_for_no_words(place: Path, tmp_path: Path) -> None:
    for start, objective in (("tree", "negative_sampling"), ("first", "hierarchical_softmax")):
        made = recipe(place / "new.txt", start=str(place / start), objective=objective)
        model: Any = begun(made, tmp_path / start).model
        assert not model.output.any() and table(model)["w3"] == pytest.approx(table(Run(place / start).model())["w3"])


def test_what_cannot_start(place: Path, tmp_path: Path) -> None:
    def refused(error: type[ClewError], said: str, start: str | Path, **settings: Any) -> None:
        with pytest.raises(error, match=said):
            begun(recipe(place / "new.txt", start=str(start), **settings), tmp_path / "run")
        assert not (tmp_path / "run").exists()

    refused(RecipeError, "set model.d_model=8", place / "first", d_model=9)
    refused(ClewError, "nothing.bin", tmp_path / "nothing.bin")
    (tmp_path / "empty").mkdir()
    refused(ClewError, "there is no run here", tmp_path / "empty")
    save_vectors(WordVectors(["a", "b"], np.ones((2, 8), np.float32)), tmp_path / "others.txt")
    refused(DataError, "no word of the vocabulary", tmp_path / "others.txt", keep_words=False)
    save_vectors(WordVectors(["w1", "w2"], np.full((2, 8), np.nan, np.float32)), tmp_path / "nan.safetensors")
    refused(DataError, "not finite", tmp_path / "nan.safetensors")


# Embeddings of other models.


def translator(kind: str, start: Path, tokenizer: str = "word", **model: Any) -> Recipe:
    sizes = {"seq2seq": {"d_embedding": 8, "d_model": 8}, "transformer": {"d_model": 8, "d_ff": 8, "n_heads": 2}}
    return Recipe.model_validate({
        "name": "t", "task": {"kind": "translate", "source": "en", "target": "fr"},
        "data": {"kind": "grammar", "size": 300, "valid": 4, "test": 4, "combinations": 2},
        "tokenizer": {"kind": tokenizer, "vocab_size": 200, "joint": False},
        "model": {"kind": kind, "share_embeddings": False, "source_embedding": {"start": str(start), "frozen": True}}
        | sizes[kind] | model,
        "objective": {"kind": "translation"},
        "train": {"device": "cpu", "optimizer": {"kind": "adamw", "weight_decay": 0.1}, "budget": {"steps": 3}},
    })  # fmt: skip


@pytest.fixture
def english(tmp_path: Path) -> Path:
    """Vectors of half of the grammar's English words."""
    rows = build("data", translator("seq2seq", Path()).data).split("train")
    words = sorted({word for line in rows["en"] for word in line.split()})[::2]
    drawn = np.random.default_rng(1).normal(3, 5, (len(words), 8)).astype(np.float32)
    save_vectors(WordVectors(words, drawn), tmp_path / "english.txt")
    return tmp_path / "english.txt"


@pytest.mark.parametrize("kind", ["seq2seq", "transformer"])
def test_a_frozen_embedding(english: Path, kind: str) -> None:
    """Directions as in the file, lengths as the rows before; no gradient, no decay, no optimizer state."""
    made = translator(kind, english)
    task, data = build("task", made.task), build("data", made.data)
    rows, vectors = data.split("train"), load_vectors(english)
    preprocessor = task.preprocessor(rows, made.tokenizer)
    torch.manual_seed(1)
    model = task.model(made.model, preprocessor)
    weight = model.source_embedding.weight
    drawn, words = weight.detach().clone(), preprocessor.source.words
    (said,) = Start(made).fill(model, task, preprocessor)
    known = [i for i, word in enumerate(words) if word in vectors]
    assert said.startswith(f"{len(known)} of {len(words) - 4} words start from") and known
    factors = [float((weight[i] / torch.tensor(vectors.vector(words[i]))).mean()) for i in known]
    for i, factor in zip(known, factors, strict=True):
        assert weight[i] == pytest.approx(factors[0] * vectors.vector(words[i]), rel=1e-4)
        assert factor == pytest.approx(factors[0], rel=1e-4)
    assert weight[known].square().mean() == pytest.approx(float(drawn[known].square().mean()), rel=1e-4)
    others = [i for i in range(len(words)) if i not in known]
    assert torch.equal(weight[others], drawn[others])
    begun, target = weight.detach().clone(), model.target_embedding.weight.detach().clone()
    optimizer = build("optimizer", made.train.optimizer)(model)
    assert all(p is not weight for group in optimizer.param_groups for p in group["params"])
    objective = build("objective", made.objective)
    batches = task.batches(rows, preprocessor, made.train, 1)
    assert len(list(fit(model, objective, batches, optimizer, lambda *_: 1.0, made.train.budget))) == 3
    assert torch.equal(weight, begun) and not torch.equal(model.target_embedding.weight, target)


def test_a_shared_table_has_one_setting(english: Path) -> None:
    for kind in ("seq2seq", "transformer"):
        with pytest.raises(ValidationError, match="set source_embedding"):
            translator(kind, english, share_embeddings=True, target_embedding={"frozen": True})


def test_embeddings_that_cannot_start(english: Path, place: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r'set tokenizer\.kind="word"'):
        open_training(translator("seq2seq", english, tokenizer="bpe"), tmp_path / "run")
    with pytest.raises(RecipeError, match="vectors of 8 cannot begin an embedding of 6"):
        open_training(translator("seq2seq", english, d_embedding=6), tmp_path / "run")
    with pytest.raises(DataError, match="lower-cases"):
        open_training(translator("seq2seq", place / "first"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    made = translator("seq2seq", english)
    trained(made, tmp_path / "translator")
    with pytest.raises(RecipeError, match="a Seq2Seq has no word vectors"):
        open_training(translator("seq2seq", tmp_path / "translator"), tmp_path / "run")
