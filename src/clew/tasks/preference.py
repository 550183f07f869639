"""Preferences: pairs of answers in, a model that would rather write the better one, without a reward model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field

from clew.config import Config, DecodeConfig, TokenizerConfig, TrainConfig
from clew.contracts import Example
from clew.data.documents import Documents
from clew.data.preferences import AnswerLoader, Answers, PairColumns, pairs
from clew.data.rows import Rows
from clew.errors import RecipeError
from clew.metrics.bootstrap import Score, score, share
from clew.objectives.dpo import likelihood
from clew.objectives.rewards import RewardOfTexts, RewardSource
from clew.tasks.agreement import shared
from clew.tasks.examples import SHOWN, by_length
from clew.tasks.language_model import LanguageModeling, LanguageModelingConfig
from clew.tasks.rollouts import measure_policy, prompts
from clew.text.tokenizer import Tokenizer


class Asked(Config):
    """Beginnings of texts on which the model is measured, and the reward by which it is."""

    reward: RewardSource
    text: Path  # a text a line
    prompt: int = Field(8, ge=1)  # tokens of each
    written: int = Field(24, ge=1)  # tokens, at most


class PreferenceConfig(PairColumns):
    """Which columns are the answers, and, where a reward is known, how the model is measured with it."""

    kind: str = "preference"
    max_length: int = Field(256, ge=4)  # tokens of prompt and answer; longer pairs are left out
    ends: bool = True  # an answer ends where its text does, and that is learned too; false: it was cut there
    asked: Asked | None = None


class Preference(LanguageModeling):
    """Choose between two answers (Rafailov et al. 2023); what the model starts from is the reference."""

    Config = PreferenceConfig
    config: Any
    quality = "accuracy"
    example_name = "pair"
    unit = "pairs"

    def __init__(self, config: PreferenceConfig) -> None:
        super().__init__(LanguageModelingConfig(max_length=config.max_length, document="line"))
        self.config: Any = config

    @property
    def compared(self) -> str:  # type: ignore[override]
        return "accuracy" if self.config.asked is None else "reward"

    def preprocessor(self, rows: Any, config: TokenizerConfig, given: Tokenizer | None = None) -> Tokenizer:
        """The vocabulary of what the model starts from. Raises RecipeError where it starts from nothing."""
        if given is None:
            raise RecipeError("what prefers must have learned to write", where="model.start", fix="name a run of write")
        return given

    def answers(self, rows: Rows, preprocessor: Tokenizer) -> Answers:
        """Both answers of each pair, encoded after their prompt."""
        found = pairs(rows, self.config)
        end = [preprocessor.eos_id] if self.config.ends else []
        asked = preprocessor.encode_prompts([pair.prompt for pair in found])
        sides = [preprocessor.encode([vars(pair)[side] for pair in found]) for side in ("chosen", "rejected")]
        texts = [[*asked[i], *sides[side][i], *end] for i in range(len(found)) for side in (0, 1)]
        return Answers(texts, [len(ids) for ids in asked for _ in (0, 1)])

    def batches(self, rows: Any, preprocessor: Tokenizer, train: TrainConfig, seed: int) -> Any:
        """Pairs of like length. What is longer than the model reads is left out and counted."""
        answers = self.answers(rows, preprocessor)
        return AnswerLoader(
            answers, batch=train.batch, max_length=self.config.max_length, seed=seed,
            pad_id=preprocessor.pad_id,
        )  # fmt: skip

    def examples(self, data: Any, splits: Any) -> list[Example]:
        found = []
        for split in splits:
            some = pairs(data.split(split), self.config)
            found += [Example(some[i].prompt, some[i].chosen) for i in by_length([p.prompt for p in some], SHOWN)]
        return found

    def check(self, rows: Rows) -> None:
        pairs(rows, self.config)

    def compare(self, rows: Any, others: Mapping[str, Any]) -> list[str]:
        """Return a line on each split whose pairs are training pairs too."""
        known = {name: pairs(other, self.config) for name, other in others.items()}
        return shared(pairs(rows, self.config), known, "pair")

    def check_length(self, rows: Any, preprocessor: Tokenizer) -> None:
        """One pair can be measured."""

    def preferred(self, model: Any, preprocessor: Tokenizer, rows: Rows) -> dict[str, Score]:
        """How often the better answer gained more on the reference than the other one, and by how many nats."""
        answers = self.answers(rows, preprocessor)
        short = [
            i for i in range(len(answers)) if max(map(len, answers.text[2 * i : 2 * i + 2])) <= self.config.max_length
        ]
        kept = [2 * i + side for i in short for side in (0, 1)]
        answers = Answers([answers.text[i] for i in kept], [answers.prompt[i] for i in kept])
        assert self.context is not None
        log_p, reference = (likelihood(each, answers)[0] for each in (model, self.context.reference.model))
        gained = (log_p - reference).reshape(-1, 2)
        right = (gained[:, 0] > gained[:, 1]) + 0.5 * (gained[:, 0] == gained[:, 1])  # what has not moved is a toss-up
        statistics = np.stack([right, np.ones(len(right))], axis=1)
        return {"accuracy": score(statistics, share, "accuracy|of:pairs")}

    def measured(self, model: Any, preprocessor: Tokenizer, n: int | None) -> Any:
        asked = self.config.asked
        documents = Documents.encode([asked.text], preprocessor, ends="line", running=True)
        begun = prompts(documents, asked.prompt)
        begun = begun[:: max(1, len(begun) // n)][:n] if n else begun
        assert self.context is not None
        reward = RewardOfTexts(self.context.opened(asked.reward.run, "task.asked.reward.run"), asked.reward)
        return measure_policy(model, self.context.reference.model, reward, preprocessor, begun, asked.written)

    def validate(
        self, model: Any, preprocessor: Tokenizer, rows: Any, decode: DecodeConfig, n_examples: int
    ) -> dict[str, Any]:
        """Accuracy on all pairs; with `task.asked`, figures of what is written after n prompts; samples."""
        figures = {name: each.value for name, each in self.preferred(model, preprocessor, rows).items()}
        if self.config.asked is None:
            some = pairs(rows, self.config)[:4]
            with torch.random.fork_rng(devices=[]):
                said = [o.text for o in self.predict(model, preprocessor, [pair.prompt for pair in some], decode)]
            shown = zip(some, said, strict=True)
            return figures | {"samples": [{"source": p.prompt, "reference": p.chosen, "output": o} for p, o in shown]}
        found = self.measured(model, preprocessor, n_examples)
        return figures | {name: each.value for name, each in found.figures.items()} | {"samples": found.samples}

    def evaluate(
        self, model: Any, preprocessor: Tokenizer, rows: Any, decode: DecodeConfig, *, choose_on: Any = None
    ) -> dict[str, Any]:
        """Return the figures of all pairs and all prompts, with 95% intervals over them."""
        out: dict[str, Any] = {k: each.as_dict() for k, each in self.preferred(model, preprocessor, rows).items()}
        if self.config.asked is None:
            return out | {"outputs": []}
        found = self.measured(model, preprocessor, None)
        return out | {name: each.as_dict() for name, each in found.figures.items()} | {"outputs": found.outputs}
