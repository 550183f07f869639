"""Distillation: a student learns what a teacher says of each label, beside which one is right (Hinton et al. 2015)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from clew.batches import TextBatch
from clew.config import Choice
from clew.contracts import Context, Loss, Model, Objective, Opened
from clew.errors import RecipeError
from clew.nn.work import Work


def distillation(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T² KL(softmax(z_teacher / T) ‖ softmax(z_student / T)), in nats (Hinton et al. 2015, §2).

    Logits of both, (n, classes) -> (n,). The gradient falls as 1/T², hence the factor: for a large T it is
    (z_student - z_teacher) / classes, each less its mean over the classes (eq. 4). The paper's cross-entropy is larger
    by the teacher's entropy, which no student changes: here 0 is perfect.
    """
    log_p, log_q = ((z / temperature).log_softmax(dim=1) for z in (teacher, student))
    return temperature**2 * F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(dim=1)


class DistillationConfig(Choice):
    """Which run teaches, and how."""

    kind: str = "distillation"
    teacher: str = Field(min_length=1)  # a run that chooses among the same labels, of any model and vocabulary
    temperature: float = Field(2.0, gt=0)  # the higher, the more the unlikely labels count
    alpha: float = Field(0.5, ge=0, le=1)  # weight of the teacher; 1: which label is right is not learned from


class Distillation(Objective):
    """Σ over texts of α `distillation` + (1 - α) times the cross-entropy of the right class, counted per text.

    Needs a model with `forward(batch).logits`, (batch, classes), and a teacher that chooses among the same labels, in
    any order. The teacher reads the training texts once, before the first step, in its own tokens and without dropout:
    what it says goes into checkpoints, and its work into the run's FLOPs. parts: `distillation` and `nll`, without
    their weights, `accuracy`, and `agreement`, how often the student chooses what the teacher does.
    """

    Config = DistillationConfig

    def bind(self, context: Context) -> None:
        """Have the teacher read the training texts, unless a checkpoint holds what it said of them.

        Raise RecipeError where it is no run, or chooses among other labels.
        """
        teacher = context.opened(self.config.teacher, "objective.teacher")
        order = same_labels(context, teacher)
        self.note, self.device, self.flops = f"the teacher is {teacher.about}", context.device, 0.0
        if not context.resumed:
            assert context.task is not None
            texts = context.task.inputs(context.data.split("train"))
            logits, n_read = read(teacher, texts, context)
            self.logits = logits[:, order]
            self.flops = n_read * Work(teacher.model).forward()

    def loader(self, loader: Any, train: Any) -> Any:
        """Return the same batches, and name the teacher in the report."""
        loader.notes.append(self.note)
        return loader

    def __call__(self, model: Model, batch: TextBatch) -> Loss:
        logits, teacher, alpha = model(batch).logits.float(), self.logits[batch.index], self.config.alpha
        soft = distillation(logits, teacher, self.config.temperature).sum()
        nll = F.cross_entropy(logits, batch.label, reduction="sum")
        said = logits.detach().argmax(dim=1)
        parts = {
            "distillation": soft.detach(), "nll": nll.detach(),
            "accuracy": (said == batch.label).float().sum(), "agreement": (said == teacher.argmax(dim=1)).float().sum(),
        }  # fmt: skip
        return Loss(alpha * soft + (1 - alpha) * nll, len(batch.label), batch.n_read, parts)

    def extra_flops(self) -> float:
        """Return what the teacher's reading cost, once."""
        done, self.flops = self.flops, 0.0
        return done

    def state_dict(self) -> dict[str, Any]:
        return {"logits": self.logits}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.logits = state["logits"].to(self.device)


def same_labels(context: Context, teacher: Opened) -> list[int]:
    """Return where among the teacher's labels each of the student's stands. Raise RecipeError where they differ."""
    task = context.task
    assert task is not None
    own, theirs = task.classes(context.preprocessor), teacher.task.classes(teacher.preprocessor)
    if not own:
        raise RecipeError(
            "this task chooses no label for a text, and only such choices are distilled",
            where="objective.kind", fix="take the objective that goes with the task",
        )  # fmt: skip
    if not theirs or len(teacher.task.fields) != len(task.fields):
        raise RecipeError(
            f"that run does not choose a label for {' and '.join(task.fields)}", where="objective.teacher",
            fix="give a run of the same task",
        )  # fmt: skip
    if differing := sorted({*own} ^ {*theirs}):
        raise RecipeError(
            f"its labels are not those of the training data: only one of the two has {', '.join(differing)}",
            where="objective.teacher", fix="give a run that was trained on the same labels",
        )  # fmt: skip
    return [theirs.index(label) for label in own]


@torch.no_grad()
def read(teacher: Opened, texts: list[Any], context: Context) -> tuple[Tensor, int]:
    """Return the teacher's logits of each text, (texts, classes), and how many tokens it has read."""
    told, rows, logits, n_read = context.told("asking the teacher"), list[int](), list[Tensor](), 0
    for batch in teacher.task.unanswered(texts, teacher.preprocessor, batch_size=64):
        logits.append(teacher.model(batch.to(context.device)).logits.float())
        rows += batch.row_numbers()
        n_read += batch.n_read
        if told is not None:
            told(len(rows), len(texts))
    return torch.cat(logits)[torch.tensor(rows).argsort()], n_read
