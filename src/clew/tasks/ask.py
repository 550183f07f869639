"""Asking: a model that writes answers by the choice that it finds likeliest after a prompt, with examples or none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field

from clew.config import DecodeConfig, TaskConfig
from clew.contracts import Example, Task
from clew.data.rows import Rows
from clew.errors import DataError, RecipeError
from clew.metrics.bootstrap import Score, score, share
from clew.text.tokenizer import Tokenizer

NOTHING = "N/A"  # stands for a text in prompts that ask about none
ROWS_AT_ONCE = 512  # tokens whose logits over the vocabulary are in memory at a time
BINS = 10


class AskConfig(TaskConfig):
    """A prompt and its choices, with {column} for what a row holds; `labels`: the right answers as rows name them."""

    kind: str = "ask"
    prompt: str
    choices: tuple[str, ...] = Field(min_length=2)  # what is written after the prompt, its space included
    label: str  # the column of the right answer
    labels: tuple[str, ...]  # in the order of the choices
    shots: int = Field(0, ge=0)  # training rows with their answers that stand before the prompt, each answer in turn
    between: str = "\n\n"  # the examples
    seed: int = 1  # of which training rows


class Ask(Task):
    """Zero-, one- and few-shot evaluation by scoring the choices (Brown et al. 2020, §2.4).

    Four ways to compare log P(choice | prompt): as it is, per token, per byte, and less log P(choice | the prompt about
    "N/A"), which takes out what the model says whatever it is asked (Zhao et al. 2021, §4, with W = diag(p)⁻¹).
    """

    Config = AskConfig
    quality = "accuracy"
    asks = True
    ways = ("accuracy", "accuracy_per_token", "accuracy_per_byte", "accuracy_calibrated")

    def __init__(self, config: AskConfig) -> None:
        if len(config.labels) != len(config.choices):
            raise RecipeError(
                f"{len(config.labels)} labels for {len(config.choices)} choices", where="task.labels",
                fix="name the right answer of each choice, in their order",
            )  # fmt: skip
        super().__init__(config)

    def check_recipe(self, recipe: Any) -> NoReturn:
        """Raise RecipeError: there is nothing to train."""
        raise RecipeError(
            "there is nothing to train in the task ask: it asks a model that stands", where="task.kind",
            fix="clew evaluate RUN --ask RECIPE asks a run of the task language_model",
        )  # fmt: skip

    def preprocessor(self, rows: Any, config: Any, given: Any = None) -> NoReturn:
        self.check_recipe(config)

    def batches(self, rows: Any, preprocessor: Any, train: Any, seed: int) -> NoReturn:
        self.check_recipe(train)

    def predict(self, model: Any, preprocessor: Any, texts: Any, decode: Any, **how: Any) -> NoReturn:
        self.check_recipe(decode)

    def validate(self, model: Any, preprocessor: Any, rows: Any, decode: Any, n_examples: int) -> NoReturn:
        self.check_recipe(decode)

    def examples(self, data: Any, splits: Sequence[str]) -> list[Example]:
        return []

    @property
    def columns(self) -> list[str]:
        """Those that the prompt and its choices name, and the label's."""
        named = re.findall(r"\{(\w+)\}", "".join((self.config.prompt, *self.config.choices)))
        return [*dict.fromkeys([*named, self.config.label])]

    def fill(self, template: str, row: dict[str, str]) -> str:
        return re.sub(r"\{(\w+)\}", lambda found: row[found[1]], template)

    def right(self, row: dict[str, str], where: str) -> int:
        """The number of a row's right choice. Raises DataError for another label."""
        if row[self.config.label] not in self.config.labels:
            known = ", ".join(self.config.labels)
            raise DataError(f'"{row[self.config.label]}" is no label', where=where, fix=f"task.labels has {known}")
        return int(self.config.labels.index(row[self.config.label]))

    def shots(self, train: Rows | None) -> str:
        """What stands before each prompt: `shots` training rows with their right answers."""
        if not self.config.shots:
            return ""
        if train is None:
            raise DataError("examples come from training rows, and there are none", where="task.shots", fix="set it 0")
        order = np.random.default_rng(self.config.seed).permutation(len(train))
        by_answer: list[list[dict[str, str]]] = [[] for _ in self.config.choices]
        for i in order:
            row = {name: str(train[name][i]) for name in self.columns}
            by_answer[self.right(row, str(train.report))].append(row)
        turns = [row for n in range(max(map(len, by_answer))) for rows in by_answer for row in rows[n : n + 1]]
        parts = []
        for row in turns[: self.config.shots]:
            choice = self.config.choices[self.right(row, "")]
            parts.append(self.fill(self.config.prompt, row) + self.fill(choice, row) + self.config.between)
        return "".join(parts)

    @torch.no_grad()
    def log_likelihoods(
        self, model: Any, preprocessor: Tokenizer, prompts: Sequence[str], choices: Sequence[str]
    ) -> tuple[np.ndarray, np.ndarray]:
        """log P(choice | prompt) of each pair, and the tokens of each choice; too long a prompt loses its beginning.

        Raises DataError for a choice longer than the model reads.
        """
        longest = model.config.max_length
        answers = preprocessor.encode(choices)
        texts = []
        for prompt, answer in zip(preprocessor.encode_prompts(prompts), answers, strict=True):
            if not 0 < len(answer) < longest:
                raise DataError(f"a choice has {len(answer)} tokens", fix=f"from 1 to {longest - 1} can be scored")
            texts.append([*prompt, *answer][-longest - 1 :])
        found, device = np.zeros(len(texts)), model.token.weight.device
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        at_once = max(1, 4096 // longest)
        for begin in range(0, len(order), at_once):
            rows = order[begin : begin + at_once]
            ids = torch.zeros(len(rows), max(len(texts[i]) for i in rows), dtype=torch.long)
            asked = torch.zeros_like(ids, dtype=torch.bool)
            for n, i in enumerate(rows):
                ids[n, : len(texts[i])] = torch.tensor(texts[i])
                asked[n, len(texts[i]) - len(answers[i]) : len(texts[i])] = True
            ids, asked = ids.to(device), asked[:, 1:].to(device)
            hidden, target = model(ids[:, :-1]).hidden[asked], ids[:, 1:][asked]
            parts = zip(hidden.split(ROWS_AT_ONCE), target.split(ROWS_AT_ONCE), strict=True)
            log_p = torch.cat([-F.cross_entropy(model.logits(h).float(), y, reduction="none") for h, y in parts])
            sums = torch.zeros(len(rows), dtype=torch.float64, device=device)
            found[rows] = sums.index_add_(0, asked.nonzero()[:, 0], log_p.double()).cpu().numpy()
        return found, np.array([len(answer) for answer in answers])

    def evaluate(
        self, model: Any, preprocessor: Tokenizer, rows: Rows, decode: DecodeConfig, *, choose_on: Rows | None = None
    ) -> dict[str, Any]:
        """Accuracy in each of the four ways with 95% intervals, and how far probabilities are from the shares of right.

        choose_on: the rows of examples. calibration_error (Guo et al. 2017, eq. 3, 10 bins, in percent) is of the
        softmax over the choices, of the raw scores and of the calibrated ones.
        """
        model.eval()
        before, n = self.shots(choose_on), len(self.config.choices)
        table = [{name: str(rows[name][i]) for name in self.columns} for i in range(len(rows))]
        gold = np.array([self.right(row, str(rows.report)) for row in table])
        prompts = [before + self.fill(self.config.prompt, row) for row in table for _ in range(n)]
        nothing = before + re.sub(r"\{\w+\}", NOTHING, self.config.prompt)
        choices = [self.fill(choice, row) for row in table for choice in self.config.choices]
        raw, tokens = self.log_likelihoods(model, preprocessor, prompts, choices)
        distinct = [*dict.fromkeys(choices)]
        base, _ = self.log_likelihoods(model, preprocessor, [nothing] * len(distinct), distinct)
        prior = dict(zip(distinct, base, strict=True))
        sizes = np.array([len(choice.encode()) for choice in choices])
        scores = [raw, raw / tokens, raw / sizes, raw - np.array([prior[choice] for choice in choices])]
        tables = dict(zip(self.ways, (each.reshape(-1, n) for each in scores), strict=True))
        out: dict[str, Any] = {name: right_share(each, gold).as_dict() for name, each in tables.items()}
        out["calibration_error"] = calibration_error(tables["accuracy"], gold)
        out["calibration_error_calibrated"] = calibration_error(tables["accuracy_calibrated"], gold)
        out["most_frequent"] = 100 * np.bincount(gold).max() / len(gold)
        best = tables["accuracy_calibrated"].argmax(axis=1)
        return out | {"questions": len(rows), "outputs": [self.config.labels[i] for i in best]}


def right_share(scores: np.ndarray, gold: np.ndarray) -> Score:
    """The share of rows (rows, choices) whose best choice is the right one, in percent."""
    right = (scores.argmax(axis=1) == gold).astype(float)
    return score(np.stack([right, np.ones_like(right)], axis=1), share, f"accuracy|choices:{scores.shape[1]}")


def calibration_error(scores: np.ndarray, gold: np.ndarray) -> float:
    """Σ over bins of confidence of n_bin / n · |share right - mean confidence|, in percent; confidence: max softmax."""
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    confidence, right = p.max(axis=1), p.argmax(axis=1) == gold
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = [abs((right[bins == b].astype(float) - confidence[bins == b]).sum()) for b in range(BINS)]
    return 100 * float(sum(gaps)) / len(gold)
