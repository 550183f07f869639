"""Distillation against loops written from the paper's equations, and through the command line from a run to a run."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result
from safetensors.torch import load_file, save_file
from torch import Tensor
from typer.testing import CliRunner

from clew import cli
from clew.data.batches import Texts
from clew.errors import RecipeError
from clew.nn.work import Work
from clew.objectives.classification import Classification, ClassificationConfig
from clew.objectives.distillation import Distillation, DistillationConfig, distillation
from clew.recipe_file import load_recipe
from clew.runs import Run
from clew.runs.folder import open_run
from clew.runs.training import Training, open_training, train

SIDES = {"good": ["fine", "lovely", "great"], "bad": ["poor", "awful", "dull"]}
FILL = ["the", "film", "is", "a", "story", "of", "people", "and"]


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def softmax(row: list[float], temperature: float) -> list[float]:
    powers = [math.exp(z / temperature) for z in row]
    return [power / sum(powers) for power in powers]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_equation(temperature: float) -> None:
    student, teacher = 3 * draw(6, 4), 3 * draw(6, 4, seed=1)
    found = distillation(student, teacher, temperature)
    for z, v, said in zip(student.tolist(), teacher.tolist(), found.tolist(), strict=True):
        q, p = softmax(z, temperature), softmax(v, temperature)
        kl = sum(p[c] * math.log(p[c] / q[c]) for c in range(4))
        assert said == pytest.approx(temperature**2 * kl, rel=1e-6)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_gradient(temperature: float) -> None:
    """∂/∂z_c = T (q_c - p_c) (eq. 2, times T²), and by finite differences."""
    student, teacher = draw(5, 3).requires_grad_(), draw(5, 3, seed=1)
    distillation(student, teacher, temperature).sum().backward()
    assert student.grad is not None
    for z, v, gradient in zip(student.tolist(), teacher.tolist(), student.grad.tolist(), strict=True):
        pairs = zip(softmax(z, temperature), softmax(v, temperature), strict=True)
        assert gradient == pytest.approx([temperature * (q - p) for q, p in pairs], rel=1e-6)
    torch.autograd.gradcheck(lambda z: distillation(z, teacher, temperature), student)


def test_a_high_temperature_matches_logits() -> None:
    """The gradient goes to (z - v) / N of logits with a mean of 0 (eq. 4): with T², no temperature takes it away."""
    student, teacher = draw(5, 3).requires_grad_(), draw(5, 3, seed=1)
    distillation(student, teacher, 1e6).sum().backward()
    gaps = student.detach() - teacher
    assert student.grad is not None
    torch.testing.assert_close(student.grad, (gaps - gaps.mean(dim=1, keepdim=True)) / 3, rtol=0, atol=1e-5)


def test_who_says_what_the_teacher_says_has_nothing_to_learn() -> None:
    student = (draw(5, 3) + 7).requires_grad_()  # a number added to all logits says nothing
    loss = distillation(student, draw(5, 3), 2.0).sum()
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-12) and student.grad is not None
    assert student.grad.abs().max() < 1e-12


@dataclass
class Said:
    """A model with one output for everything."""

    logits: Tensor

    def __call__(self, batch: object) -> Said:
        return self


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_objective(alpha: float) -> None:
    """α of the teacher, row by row as the batch has them, and 1 - α of the labels: none, and it is classification."""
    labels, rows = [2, 0, 1, 2], [3, 1, 2]
    batch = Texts([[5]] * 4, labels).batch(rows, pad_id=0)
    said: Any = Said(draw(3, 3).float())
    teacher = draw(4, 3, seed=1).float()
    made = Distillation(DistillationConfig(teacher="runs/x", temperature=3.0, alpha=alpha))
    made.logits = teacher
    loss, plain = made(said, batch), Classification(ClassificationConfig())(said, batch)
    soft = distillation(said.logits, teacher[rows], 3.0).sum().item()
    assert loss.total.item() == pytest.approx(alpha * soft + (1 - alpha) * plain.total.item(), rel=1e-6)
    assert (loss.count, loss.tokens) == (plain.count, plain.tokens) == (3, 3)
    assert loss.parts["nll"] == plain.parts["nll"] and loss.parts["accuracy"] == plain.parts["accuracy"]
    assert loss.parts["distillation"].item() == pytest.approx(soft, rel=1e-6)
    alike = sum(z.argmax() == v.argmax() for z, v in zip(said.logits, teacher[rows], strict=True))
    assert loss.parts["agreement"] == alike


# From a run to a run.


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The recipes set the number of threads of the whole process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def clew(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def table(file: Path, n: int, names: dict[str, str] | None = None) -> None:
    """Reviews, good or bad by one word among others; names: what the labels are called instead."""
    rng = random.Random(n)
    lines = ["text\tother\tlabel"]
    for side in rng.choices(list(SIDES), k=n):
        words = [
            *rng.choices(FILL, k=rng.randint(0, 9)),
            rng.choice(SIDES[side]),
        ]
        rng.shuffle(words)
        lines.append(f"{' '.join(words)}\tit is\t{(names or {}).get(side, side)}")
    file.write_text("\n".join(lines) + "\n")


def recipe(place: Path, *settings: str) -> Any:
    return load_recipe(place / "student.toml", settings)[0]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables of reviews, a teacher that reads characters, and the recipe of a student that reads words."""
    folder = tmp_path_factory.mktemp("distillation")
    table(folder / "train.tsv", 200)
    table(folder / "valid.tsv", 30)
    table(folder / "named.tsv", 200, {"good": "1", "bad": "0"})
    common = f"""
[data]
kind = "files"
columns = ["text", "other", "label"]
train = ["{folder}/train.tsv"]
valid = ["{folder}/valid.tsv"]
[train]
batch.tokens = 200
device = "cpu"
threads = 1
optimizer = {{ kind = "adam", lr = 2e-2 }}
schedule = {{ kind = "constant" }}
"""
    (folder / "teacher.toml").write_text(f"""
name = "teacher"
task = {{ kind = "classify", text = "text", label = "label" }}
tokenizer = {{ kind = "bpe", vocab_size = 60 }}
model = {{ kind = "text_classifier", d_embedding = 16, d_model = 16, dropout = 0.5 }}
objective = {{ kind = "classification" }}
{common}budget = {{ epochs = 12 }}
""")
    (folder / "student.toml").write_text(f"""
name = "student"
task = {{ kind = "classify", text = "text", label = "label" }}
tokenizer = {{ kind = "word" }}
model = {{ kind = "text_classifier", encoder = "mean", d_embedding = 8, dropout = 0.1 }}
objective = {{ kind = "distillation", teacher = "{folder}/teacher", alpha = 1.0 }}
{common}budget = {{ epochs = 8 }}
""")
    result = clew("train", folder / "teacher.toml", "--out", folder / "teacher")
    assert result.exit_code == 0, result.output
    return folder


def copy(run: Path, to: Path, labels: list[str]) -> None:
    """A run whose classes are called otherwise."""
    to.mkdir()
    for file in run.iterdir():
        if file.is_file():
            (to / file.name).write_bytes(file.read_bytes())
    (to / "labels.json").write_text(json.dumps(labels))
    (to / "manifest.json").unlink()  # it is meant


def begun(made: Any, folder: Path) -> Training:
    training = open_training(made, folder)
    assert training is not None
    return training


def soft(training: Training) -> Tensor:
    """What the teacher says of each training text."""
    assert isinstance(training.objective, Distillation)
    return training.objective.logits


def test_through_the_command_line(place: Path, tmp_path: Path) -> None:
    """It learns without a label, from a teacher of another vocabulary; the run says who taught it, and opens alone."""
    result = clew("train", place / "student.toml", "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert f"the teacher is {place}/teacher, valid accuracy" in result.output
    run = Run(tmp_path / "run")
    figures = run.results()["splits"]["valid"]
    assert figures["accuracy"]["value"] > 90
    assert {"distillation", "nll", "accuracy", "agreement"} <= run.metrics()[0].keys()
    assert f"the teacher is {place}/teacher" in (run.path / "README.md").read_text()
    (run.path / "recipe.toml").write_text((run.path / "recipe.toml").read_text().replace(f"{place}/teacher", "gone"))
    (run.path / "manifest.json").unlink()  # it is meant
    assert clew("predict", run.path, "a lovely story").stdout.strip() == "good"


def test_what_the_teacher_says(place: Path, tmp_path: Path) -> None:
    """Its logits of each training text, in the order of the rows, as it gives them in evaluation mode."""
    seen: list[tuple[str, int, int]] = []
    training = open_training(recipe(place), tmp_path / "run", watch=lambda *told: seen.append(told))
    assert training is not None and ("asking the teacher", 200, 200) in seen
    teacher = open_run(str(place / "teacher"))
    texts = training.data.split("train")["text"]
    for row in range(0, 200, 9):
        (batch,) = teacher.task.unanswered([texts[row]], teacher.preprocessor, 1)
        torch.testing.assert_close(soft(training)[row], teacher.model(batch).logits[0])


def test_its_labels_may_stand_in_another_order(place: Path, tmp_path: Path) -> None:
    plain = soft(begun(recipe(place), tmp_path / "run"))
    copy(place / "teacher", tmp_path / "turned", ["good", "bad"])
    found = soft(begun(recipe(place, f"objective.teacher={tmp_path}/turned"), tmp_path / "other"))
    torch.testing.assert_close(found, plain.flip(1))


def test_resumed_is_uninterrupted(place: Path, tmp_path: Path) -> None:
    """To the bit, though the teacher has learned something else by then; and it is paid for once."""
    settings = ["train.budget.steps=9", "train.save_every=2", "model.dropout=0.3", "objective.alpha=0.5"]
    copy(place / "teacher", tmp_path / "teacher", ["bad", "good"])
    made = recipe(place, *settings, f"objective.teacher={tmp_path}/teacher")
    for _ in train(made, tmp_path / "whole"):
        pass
    for moment in train(made, tmp_path / "parted"):
        if moment.step.number == 4:
            break
    (tmp_path / "teacher" / "labels.json").write_text(json.dumps(["good", "bad"]))
    for _ in train(made, tmp_path / "parted", resume=True):
        pass
    whole, parted = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "parted"))
    assert all(torch.equal(whole[name], parted[name]) for name in whole)
    one, other = (Run(tmp_path / name).results() for name in ("whole", "parted"))
    assert one["flops"] == other["flops"] and one["data"] == other["data"]


def test_the_teachers_work_counts(place: Path, tmp_path: Path) -> None:
    """Twice its weights for every token of its own that it reads."""
    spent = {}
    for kind, settings in (("classification", ["objective={kind='classification'}"]), ("distillation", [])):
        for moment in train(recipe(place, "train.budget.steps=3", *settings), tmp_path / kind):
            spent[kind] = moment.progress.flops
    teacher = open_run(str(place / "teacher"))
    texts = [line.split("\t")[0] for line in (place / "train.tsv").read_text().splitlines()[1:]]
    n_read = sum(batch.n_read for batch in teacher.task.unanswered(texts, teacher.preprocessor, 1))
    paid = spent["distillation"] - spent["classification"]
    assert paid == pytest.approx(n_read * Work(teacher.model).forward()) and paid > 0


def test_what_cannot_teach(place: Path, tmp_path: Path) -> None:
    def refused(said: str, where: str, *settings: str) -> None:
        with pytest.raises(RecipeError, match=said) as error:
            open_training(recipe(place, *settings), tmp_path / "run")
        assert error.value.where.startswith(where) and error.value.fix
        assert not (tmp_path / "run").exists()

    refused("there is no run here", "objective.teacher", f"objective.teacher={tmp_path}/none")
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "recipe.toml").write_bytes((place / "teacher" / "recipe.toml").read_bytes())
    refused("no model yet", "objective.teacher", f"objective.teacher={tmp_path}/begun")
    refused("has 0, 1, bad, good", "objective.teacher", f"data.train=['{place}/named.tsv']",
            f"data.valid=['{place}/named.tsv']")  # fmt: skip
    copy(place / "teacher", tmp_path / "more", ["bad", "mixed"])
    refused("has good, mixed", "objective.teacher", f"objective.teacher={tmp_path}/more")
    refused("does not choose a label for text and other", "objective.teacher", "task.pair=other")
    (tmp_path / "numbers.tsv").write_text("text\tother\tlabel\n" + "a film\tit is\t1\na story\tit is\t2\n" * 9)
    refused(
        "chooses no label", "objective.kind", "task={kind='regress', text='text', score='label'}",
        f"data.train=['{tmp_path}/numbers.tsv']", f"data.valid=['{tmp_path}/numbers.tsv']",
    )  # fmt: skip
    with pytest.raises(RecipeError, match="teacher"):
        recipe(place, "objective={kind='distillation'}")
    result = clew("train", place / "student.toml", "objective.teacher=none", "--out", tmp_path / "run")
    assert result.exit_code == 2 and "objective.teacher" in result.output


def test_a_teacher_of_numbers_chooses_nothing(place: Path, tmp_path: Path) -> None:
    copy(place / "teacher", tmp_path / "scores", ["label"])
    recipe_file, weights = tmp_path / "scores" / "recipe.toml", tmp_path / "scores" / "model.safetensors"
    text = recipe_file.read_text()
    task = '[task]\nkind = "regress"\ntext = "text"\nscore = "label"\n\n'
    recipe_file.write_text(text[: text.index("[task]")] + task + text[text.index("[data]") :])
    tensors = load_file(weights)
    save_file({name: t[:1] if name.startswith("output.") else t for name, t in tensors.items()}, weights)
    with pytest.raises(RecipeError, match="does not choose a label") as error:
        open_training(recipe(place, f"objective.teacher={tmp_path}/scores"), tmp_path / "run")
    assert error.value.where == "objective.teacher"


def test_a_received_teacher_imports_nothing(place: Path, tmp_path: Path) -> None:
    """What its recipe names is imported under `--trust` alone, as in every run folder."""
    copy(place / "teacher", tmp_path / "received", ["bad", "good"])
    file = tmp_path / "received" / "recipe.toml"
    file.write_text(file.read_text().replace('kind = "text_classifier"', 'kind = "stranger:Model"'))
    with pytest.raises(RecipeError, match="class from outside of clew") as error:
        open_training(recipe(place, f"objective.teacher={tmp_path}/received"), tmp_path / "run")
    assert error.value.where.startswith("objective.teacher") and "--trust" in error.value.fix
