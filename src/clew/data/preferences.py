"""Preference pairs: of two answers to one prompt, which is the better; and batches of them for a model that writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from clew.batches import PreferenceBatch
from clew.config import BatchConfig, Choice
from clew.data.batches import LengthLoader, pad
from clew.data.rows import Rows
from clew.errors import DataError

TURN = "\n\nAssistant:"  # where the last answer of a dialogue begins, in both of its versions


class PairColumns(Choice):
    """Which columns hold the preferred answer and the other one, and the prompt where they do not begin with it."""

    chosen: str = "chosen"
    rejected: str = "rejected"
    prompt: str = ""
    better: str = (
        ""  # a column that says which of the two is the better, 0 or 1: chosen and rejected are just the first
    )
    # and the second then; any other value is a tie, which is left out


@dataclass(frozen=True)
class Pair:
    prompt: str
    chosen: str
    rejected: str


def pairs(rows: Rows, columns: PairColumns) -> list[Pair]:
    """The pairs of some rows, without ties. Raises DataError where a column is missing, or all are ties."""
    first, second = named(rows, columns.chosen), named(rows, columns.rejected)
    prompts = named(rows, columns.prompt) if columns.prompt else None
    better = named(rows, columns.better) if columns.better else ["0"] * len(rows)
    found = []
    for i, (a, b, which) in enumerate(zip(first, second, better, strict=True)):
        if which not in ("0", "1"):
            continue
        prompt = prompts[i] if prompts is not None else shared(a, b)
        if prompts is None:
            a, b = a[len(prompt) :], b[len(prompt) :]
        found.append(Pair(prompt, a, b) if which == "0" else Pair(prompt, b, a))
    if not found:
        raise DataError("no row prefers one of its answers", where=rows.report.source, fix="see task.better")
    return found


def shared(a: str, b: str) -> str:
    """What both texts begin with: in dialogues up to the last answer, in other texts up to a space."""
    n = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    same, at = a[:n], a[:n].rfind(TURN)
    return same[: at + len(TURN)] if at >= 0 else same[: same.rfind(" ") + 1]


def named(rows: Rows, name: str) -> list[str]:
    if name not in rows.columns:
        raise DataError(
            f'no column "{name}" in {rows.report.source}', where="task", fix=f"columns there: {', '.join(rows.columns)}"
        )
    return rows[name]


@dataclass
class Answers:
    """Encoded answers, two neighbouring ones a pair: ids with their prompts, and how long these are."""

    text: list[list[int]]
    prompt: list[int]
    reference: np.ndarray | None = None  # (2 pairs,)

    def __len__(self) -> int:
        return len(self.text) // 2

    def batch(self, rows: Sequence[int], pad_id: int) -> PreferenceBatch:
        """These pairs as one padded batch."""
        both = [2 * row + side for row in rows for side in (0, 1)]
        text = pad([self.text[i] for i in both], pad_id)
        time = torch.arange(1, text.shape[1])  # of the next tokens
        begin = torch.tensor([self.prompt[i] for i in both])[:, None]
        end = torch.tensor([len(self.text[i]) for i in both])[:, None]
        reference = torch.zeros(len(both)) if self.reference is None else torch.tensor(self.reference[both]).float()
        return PreferenceBatch(text, (time >= begin) & (time < end), reference, torch.tensor(rows))


class AnswerLoader(LengthLoader):
    """Batches of pairs of like length; both answers are counted."""

    def __init__(self, answers: Answers, *, batch: BatchConfig, max_length: int, seed: int, pad_id: int) -> None:
        self.answers, self.pad_id = answers, pad_id
        self.made: dict[str, Any] = {"batch": batch, "max_length": max_length, "seed": seed, "pad_id": pad_id}
        lengths = np.array([len(ids) for ids in answers.text], dtype=np.int64).reshape(-1, 2)
        super().__init__(lengths, batch=batch.shared(2), max_length=max_length, seed=seed)

    def batch(self, rows: list[int]) -> PreferenceBatch:
        return self.answers.batch(rows, self.pad_id)

    def with_reference(self, log_p: np.ndarray) -> AnswerLoader:
        """Return the same batches with the log-probability of each answer under a reference, (2 pairs,) in nats."""
        return AnswerLoader(replace(self.answers, reference=log_p), **self.made)
