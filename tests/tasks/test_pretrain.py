"""A small encoder pre-trained, resumed, asked to fill masks, and fine-tuned on every task of reading."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner, Result

from clew import cli
from clew.config import DecodeConfig, build
from clew.recipe_file import load_recipe
from clew.runs import Run
from clew.runs.training import train

WHO = ["anna", "bert", "carl", "dora"]
DOES = {"reads": "book", "eats": "apple", "drives": "car"}


@pytest.fixture(autouse=True)
def place_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No cache is shared, and the recipes' number of threads stays within the test."""
    monkeypatch.setenv("CLEW_CACHE", str(tmp_path / "cache"))
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def clew(*arguments: str | Path, text: str | None = None) -> Result:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments], input=text)


def documents(file: Path, n: int = 60) -> Path:
    """Each document is of one person; each sentence's last word follows from its verb."""
    rng = random.Random(n)
    parts = []
    for _ in range(n):
        who = rng.choice(WHO)
        verbs = rng.choices(list(DOES), k=rng.randint(2, 5))
        parts.append(" ".join(f"{who.capitalize()} {verb} a {DOES[verb]}." for verb in verbs))
    file.write_text("\n\n".join(parts) + "\n")
    return file


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pretrain")
    documents(folder / "text.txt", 200)
    documents(folder / "valid.txt", 20)
    (folder / "bert.toml").write_text(f"""
name = "tiny"
task = {{ kind = "pretrain", max_length = 24, share = 0.3 }}
data = {{ kind = "text", train = ["{folder}/text.txt"], valid = ["{folder}/valid.txt"] }}
tokenizer = {{ kind = "wordpiece", vocab_size = 60, lowercase = true }}
objective = {{ kind = "masked_lm", next_sentence_weight = 0.1 }}
initialiser.kind = "token_statistics"
[model]
kind = "bert"
d_model = 32
d_ff = 64
n_heads = 2
n_layers = 2
max_length = 40
dropout = 0.0
attention_dropout = 0.0
[train]
batch.tokens = 240
device = "cpu"
threads = 1
save_every = 20
optimizer = {{ kind = "adamw", lr = 5e-3, betas = [0.9, 0.98], eps = 1e-6 }}
schedule = {{ kind = "linear", warmup = 20 }}
budget = {{ steps = 900 }}
""")
    mp = pytest.MonkeyPatch()
    mp.setenv("CLEW_CACHE", str(folder / "cache"))
    result = clew("train", folder / "bert.toml", "--out", folder / "run")
    mp.undo()
    assert result.exit_code == 0, result.output
    return folder


def test_it_learns_what_follows_and_fills_masks(pretrained: Path) -> None:
    figures = Run(pretrained / "run").results()["splits"]["valid"]
    assert figures["accuracy"]["value"] > 75
    assert {"mlm", "nsp"} <= set(Run(pretrained / "run").metrics()[0]) and "next_sentence" in figures
    answer = clew("predict", pretrained / "run", "-", text="Anna drives a [MASK].\nDora eats a [MASK].\n")
    assert answer.exit_code == 0, answer.output
    first, second = answer.stdout.splitlines()
    assert first.startswith("anna drives a car") and second.startswith("dora eats a apple")
    found = json.loads(
        clew("predict", pretrained / "run", "-", "--json", "--n-best", "3", text="[MASK] eats a [MASK]").stdout
    )
    assert len(found["n_best"]) == 3 and found["n_best"][0]["score"] >= found["n_best"][1]["score"]
    none = clew("predict", pretrained / "run", "-", text="nothing hidden")
    assert none.exit_code != 0 and "no [MASK]" in none.stderr


def test_resumed_is_uninterrupted(pretrained: Path, tmp_path: Path) -> None:
    recipe, _ = load_recipe(pretrained / "bert.toml", ["train.budget.steps=60"])
    for _ in train(recipe, tmp_path / "whole"):
        pass
    for moment in train(recipe, tmp_path / "parted"):
        if moment.step.number == 45:
            break
    for _ in train(recipe, tmp_path / "parted", resume=True):
        pass
    whole, parted = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "parted"))
    assert whole == parted


BASE = """
name = "tuned"
data = {{ kind = "files", train = ["{file}"], valid = ["{file}"], columns = {columns} }}
task = {task}
objective = {{ kind = "{objective}" }}
tokenizer.kind = "wordpiece"
model = {{ kind = "bert", start = "{start}", dropout = 0.0, attention_dropout = 0.0 }}
[train]
batch.tokens = 200
device = "cpu"
threads = 1
optimizer = {{ kind = "adamw", lr = 3e-3 }}
schedule = {{ kind = "linear", warmup = 5 }}
budget = {{ epochs = {epochs} }}
"""


def table(file: Path, header: str, rows: list[tuple[str, ...]]) -> Path:
    file.write_text("\n".join(["\t".join(header.split()), *("\t".join(row) for row in rows)]) + "\n")
    return file


def sentences(n: int) -> list[tuple[str, str]]:
    rng = random.Random(5)
    return [(rng.choice(WHO), rng.choice(list(DOES))) for _ in range(n)]


SOME = sentences(60)
TEXTS = [f"{who} {verb} a {DOES[verb]}" for who, verb in SOME]
VERBS, THINGS = list(DOES), list(DOES.values())


def answered(i: int) -> tuple[str, str, str]:
    verb, text = SOME[i][1], TEXTS[i]
    if i % 3 == 0:
        return "who sleeps", text, "[]"
    return f"what {verb}", text, json.dumps([{"text": DOES[verb], "answer_start": text.index(DOES[verb])}])


def chosen(i: int) -> tuple[str, ...]:
    who, verb = SOME[i]
    right = VERBS.index(verb)
    return f"{who} {verb} a", *THINGS, "ABC"[right] if i % 2 else str(right)


# header, the row of each sentence, the task's settings, the objective: all to be learned from a verb.
TASKS: dict[str, tuple[str, Callable[[int], tuple[str, ...]], str, str]] = {
    "classify": ("text label", lambda i: (TEXTS[i], SOME[i][1]), 'kind = "classify", text = "text", label = "label"',
                 "classification"),
    "pair": ("a b label", lambda i: (" ".join(SOME[i]), f"a {DOES[SOME[i][1]]}" if i % 2 else "a dog", str(i % 2)),
             'kind = "classify", text = "a", pair = "b", label = "label", metrics = ["f1", "matthews"]',
             "classification"),
    "regress": ("text score", lambda i: (TEXTS[i], str(VERBS.index(SOME[i][1]) / 2)),
                'kind = "regress", text = "text", score = "score"', "regression"),
    "tag": ("words tags", lambda i: (TEXTS[i], "B-PER I-ACT O B-THING"), 'kind = "tag", spans = true',
            "classification"),
    "choose": ("q A B C right", chosen, 'kind = "choose", text = "q", choices = ["A", "B", "C"], label = "right"',
               "classification"),
    "answer": ("question context answers", answered, 'kind = "answer", max_question = 10, stride = 8', "span"),
}  # fmt: skip


def recipe_of(kind: str, folder: Path, start: Path, epochs: int) -> Path:
    """A recipe of that task in a folder, with its table."""
    header, row, task, objective = TASKS[kind]
    file = table(folder / "rows.tsv", header, [row(i) for i in range(len(SOME))])
    text = BASE.format(
        file=file, columns=json.dumps(header.split()), task=f"{{ {task}, max_length = 40 }}", objective=objective,
        start=start, epochs=epochs,
    )  # fmt: skip
    (folder / "r.toml").write_text(text)
    return folder / "r.toml"


@pytest.mark.parametrize(("kind", "quality", "least"), [
    ("classify", "accuracy", 95), ("pair", "f1", 95), ("regress", "pearson", 90), ("tag", "span_f1", 95),
    ("choose", "accuracy", 60), ("answer", "f1", 80),
])  # fmt: skip
def test_every_task_is_learned_predicted_and_kept(
    pretrained: Path, tmp_path: Path, kind: str, quality: str, least: float
) -> None:
    recipe = recipe_of(kind, tmp_path, pretrained / "run", epochs=25)
    result = clew("train", recipe, "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert "tiny" not in result.output
    run = Run(tmp_path / "run")
    figures = run.results()["splits"]["valid"]
    assert figures[quality]["value"] >= least, figures
    lines = run.task.inputs(run_rows(run))[:7]
    found = list(run.task.predict(run.model(), run.preprocessor(), lines, DecodeConfig(batch_size=3)))
    one_by_one = [
        next(iter(run.task.predict(run.model(), run.preprocessor(), [line], DecodeConfig()))) for line in lines
    ]
    assert kind == "regress" or [p.text for p in found] == [p.text for p in one_by_one]
    assert [p.score for p in found] == pytest.approx([p.score for p in one_by_one], abs=1e-5)
    said = clew("predict", tmp_path / "run", "-", text="\n".join(lines) + "\n")
    assert said.exit_code == 0 and len(said.stdout.splitlines()) == len(lines), said.output


def run_rows(run: Run) -> Any:
    return build("data", run.recipe.data).split("valid")


def test_sizes_come_from_the_start_and_its_vocabulary_stays(pretrained: Path, tmp_path: Path) -> None:
    recipe = recipe_of("classify", tmp_path, pretrained / "run", epochs=1)
    result = clew("train", recipe, "--out", tmp_path / "run", "model.d_model=512")
    assert result.exit_code == 0, result.output
    old, new = Run(pretrained / "run"), Run(tmp_path / "run")
    assert new.recipe.model.d_model == old.recipe.model.d_model == 32
    assert new.preprocessor().tokenizer.inner.to_str() == old.preprocessor().inner.to_str()
    again = clew("train", tmp_path / "run", "--resume", "train.budget.epochs=2")
    assert again.exit_code == 0, again.output


@pytest.mark.parametrize(("kind", "column", "bad", "said"), [
    ("tag", 1, "B-PER I-ACT O", "3 tags for 4 words"), ("tag", 1, "B-PER I-ACT O THING", "no BIO tag"),
    ("regress", 1, "much", "no number"), ("choose", 4, "E", "no choice"), ("answer", 2, "[{", "cannot be read"),
])  # fmt: skip
def test_bad_validation_rows_are_told_before_training(
    pretrained: Path, tmp_path: Path, kind: str, column: int, bad: str, said: str
) -> None:
    recipe = recipe_of(kind, tmp_path, pretrained / "run", epochs=1)
    header, row, *_ = TASKS[kind]
    wrong = [*row(1)]
    wrong[column] = bad
    file = table(tmp_path / "wrong.tsv", header, [row(0), tuple(wrong)])
    result = clew("train", recipe, f'data.valid=["{file}"]', "--out", tmp_path / "run")
    assert result.exit_code == 2 and said in result.stderr, result.output
    assert not (tmp_path / "run").exists()


def test_what_a_run_started_from_may_be_gone(pretrained: Path, tmp_path: Path) -> None:
    start = tmp_path / "start"
    shutil.copytree(pretrained / "run", start)
    recipe = recipe_of("classify", tmp_path, start, epochs=1)
    assert clew("train", recipe, "--out", tmp_path / "run").exit_code == 0
    shutil.rmtree(start)
    again = clew("train", recipe, "--out", tmp_path / "run", "--resume", "train.budget.epochs=2")
    assert again.exit_code == 0, again.output
    assert Run(tmp_path / "run").results()["epoch"] == 2
