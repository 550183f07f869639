"""A checkpoint of transformers as a run, so that every command works on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

from clew.config import Recipe, build
from clew.errors import RunError
from clew.hub import decoders, t5
from clew.hub.bert import load
from clew.hub.names import BERT
from clew.hub.transformers_folder import Checkpoint
from clew.recipe_file import dump_recipe, load_recipe
from clew.runs.folder import Run, writing
from clew.text.labelled_tokenizer import LabelledTokenizer
from clew.text.tokenizer import Tokenizer
from clew.text.tokenizer_pair import TokenizerPair

# Architecture → the task that a run of it has, and its objective; columns are called so until an override says more.
TASKS: dict[str, tuple[dict[str, Any], str]] = {
    "BertForPreTraining": ({"kind": "pretrain", "max_length": 128}, "masked_lm"),
    "BertForMaskedLM": ({"kind": "pretrain", "max_length": 128, "next_sentence": False}, "masked_lm"),
    "BertForSequenceClassification": (
        {"kind": "classify", "text": "text", "label": "label", "max_length": 256}, "classification",
    ),
    "BertForTokenClassification": (
        {"kind": "tag", "text": "words", "tags": "tags", "max_length": 256}, "classification",
    ),
    "BertForMultipleChoice": (
        {"kind": "choose", "text": "text", "choices": ["first", "second"], "label": "label", "max_length": 128},
        "classification",
    ),
    "BertForQuestionAnswering": ({"kind": "answer", "max_length": 384, "stride": 128}, "span"),
}  # fmt: skip
REGRESSION: tuple[dict[str, Any], str] = (
    {"kind": "regress", "text": "text", "score": "score", "max_length": 256}, "regression",
)  # fmt: skip

KEPT: dict[str, ModuleType] = {**dict.fromkeys(decoders.FAMILIES, decoders), "t5": t5}


def import_checkpoint(name: str, folder: str | Path, overrides: Sequence[str] = ()) -> Run:
    """Make a run of a folder that transformers loads, or of a model of the hub; `overrides` change its recipe.

    Raises RunError where the folder holds a run already, the checkpoint is damaged, or no task has its head.
    """
    run = Run(folder)
    if run.started:
        raise RunError("this folder already holds a run", where=str(folder), fix="choose another --out")
    found = Checkpoint.find(name)
    if kept := KEPT.get(str(found.settings.get("model_type"))):
        return import_whole(found, kept, name, run, overrides)
    recipe = recipe_of(found, name, overrides)
    state = {key: found.state[key] for key in found.state if belongs(key, found.architecture)}
    task = build("task", recipe.task)
    labels = {"answer": ["first", "last"], "choose": [*getattr(recipe.task, "choices", ())]}
    pretrains = recipe.task.kind == "pretrain"
    preprocessor: Any = found.tokenizer
    if not pretrains:
        preprocessor = LabelledTokenizer(preprocessor, labels.get(recipe.task.kind) or found.labels)
    model = task.model(recipe.model, preprocessor)
    load(model, state, str(found.folder))
    with writing(run.path):
        run.start(recipe, preprocessor)
        run.save_model(model)
    return run


def import_whole(found: Checkpoint, kept: ModuleType, name: str, run: Run, overrides: Sequence[str]) -> Run:
    """The same of a model that is kept whole: one that writes, or a T5."""
    config = kept.config_from_hf(found.settings, str(found.folder / "config.json"))
    settings = text_to_text(found.tokenizer) if kept is t5 else writes(config.max_length)
    draft = Recipe.model_validate({
        "name": Path(name).name or "imported", "about": f"Imported from {name}.", "data": {"kind": "text"},
        "model": config.model_dump(), **settings,
        "tokenizer": {"kind": "unigram" if kept is t5 else "gpt2", "vocab_size": len(found.tokenizer)},
    })  # fmt: skip
    recipe = overridden(draft, overrides)
    task = build("task", recipe.task)
    preprocessor: Any = TokenizerPair(found.tokenizer, found.tokenizer) if kept is t5 else found.tokenizer
    model = task.model(recipe.model, preprocessor)
    kept.fill(model, found.tensors, str(found.folder))
    with writing(run.path):
        run.start(recipe, preprocessor)
        run.save_model(model)
    return run


def writes(max_length: int) -> dict[str, Any]:
    """What the recipe of a decoder says."""
    return {
        "task": {"kind": "language_model", "max_length": min(1024, max_length)},
        "objective": {"kind": "language_model"},
        "decode": {"beam": 1, "sample": {"temperature": 0.8, "top_p": 0.95}},
    }  # fmt: skip


def text_to_text(tokenizer: Tokenizer) -> dict[str, Any]:
    """What that of a T5 says: it fills gaps, where its vocabulary has marks for them; else it answers texts."""
    n = sum(token.startswith("<extra_id_") for token in tokenizer.inner.get_vocab())
    task = {"kind": "denoise", "sentinels": n} if n else {"kind": "text_to_text", "metrics": {"text": "bleu"}}
    return {
        "task": task, "objective": {"kind": "translation", "label_smoothing": 0.0}, "decode": {"beam": 1},
    }  # fmt: skip


def belongs(name: str, architecture: str) -> bool:
    """Whether a tensor of ours is of the encoder or of that architecture's head; a file may hold more than its head."""
    return name.startswith("encoder.") or name.rpartition(".")[0] in BERT.heads[architecture]


def recipe_of(found: Checkpoint, name: str, overrides: Sequence[str]) -> Recipe:
    """The recipe of a run that was trained elsewhere: its task and sizes; the rest as `overrides` say, or by default.

    Raises RunError for an encoder without a head, which is no run but what one starts from, and for one of many labels.
    """
    kind = found.architecture
    if kind not in TASKS:
        raise RunError(
            "this is an encoder without a head: no task can use it as it is", where=name,
            fix=f'train one that starts from it: model.start = "{name}" in a recipe',
        )  # fmt: skip
    if found.settings.get("problem_type") == "multi_label_classification":
        raise RunError(
            "this classifier gives a text any number of labels, and clew's gives it one", where=name,
            fix=f'train one that starts from it: model.start = "{name}" in a recipe',
        )  # fmt: skip
    scores = kind == "BertForSequenceClassification" and len(found.labels) == 1
    task, objective = REGRESSION if scores else TASKS[kind]
    length = min(task["max_length"], found.config.max_length)
    task = {**task, "max_length": length} | ({"stride": length // 3} if "stride" in task else {})
    draft = Recipe.model_validate({
        "name": Path(name).name or "imported", "about": f"Imported from {name}.",
        "task": task, "data": {"kind": "text"}, "tokenizer": {"kind": "wordpiece", "vocab_size": len(found.tokenizer)},
        "model": found.config.model_dump(), "objective": {"kind": objective},
    })  # fmt: skip
    return overridden(draft, overrides)


def overridden(draft: Recipe, overrides: Sequence[str]) -> Recipe:
    with TemporaryDirectory() as place:
        file = Path(place) / "recipe.toml"
        file.write_text(dump_recipe(draft), encoding="utf-8")
        return load_recipe(file, [*overrides])[0]
