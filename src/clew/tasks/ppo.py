"""Reinforcement from a reward: beginnings of texts in, a model that goes on with them as the reward would have it."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from clew.config import DecodeConfig, Recipe, TrainConfig
from clew.data.prompts import PromptLoader
from clew.data.text import Text
from clew.errors import RecipeError
from clew.objectives.rewards import RewardOfTexts, RewardSource
from clew.tasks.language_model import LanguageModeling, LanguageModelingConfig
from clew.tasks.rollouts import PolicyFigures, measure_policy, prompts
from clew.text.tokenizer import Tokenizer


class PPOTaskConfig(LanguageModelingConfig):
    """Which texts are begun, how far the model goes on with them, and what is good."""

    kind: str = "ppo"
    reward: RewardSource
    prompt: int = Field(8, ge=1)  # tokens: the beginning of each document
    written: int = Field(24, ge=1)  # tokens, at most
    texts: int = Field(64, ge=2)  # of each roll-out


class PPOTask(LanguageModeling):
    """Write, and be rewarded (Ziegler et al. 2019); what the model starts from, `model.start`, is the reference."""

    Config = PPOTaskConfig
    config: PPOTaskConfig
    quality = compared = "reward"

    def check_recipe(self, recipe: Recipe) -> None:
        """Raise RecipeError where there is no reference, or dropout makes the policy another one at every look."""
        super().check_recipe(recipe)
        settings = recipe.model.model_dump()
        if not settings.get("start"):
            raise RecipeError(
                "what PPO teaches must have learned to write", where="model.start",
                fix="name a run of the task language_model",
            )  # fmt: skip
        if settings.get("dropout"):
            raise RecipeError(
                "ratios of probabilities mean nothing under dropout", where="model.dropout", fix="set it to 0"
            )

    def check_length(self, rows: Text, preprocessor: Tokenizer) -> None:
        """Raise DataError where a text has no prompt of `task.prompt` tokens."""
        prompts(self.documents(rows, preprocessor), self.config.prompt)

    def batches(self, rows: Text, preprocessor: Tokenizer, train: TrainConfig, seed: int) -> Any:
        """Return the prompts that roll-outs begin with."""
        return PromptLoader(prompts(self.documents(rows, preprocessor), self.config.prompt), seed)

    def measured(self, model: Any, preprocessor: Tokenizer, rows: Text, n: int | None) -> PolicyFigures:
        assert self.context is not None
        asked = prompts(self.documents(rows, preprocessor), self.config.prompt)
        asked = asked[:: max(1, len(asked) // n)][:n] if n else asked
        reward = RewardOfTexts(self.context.opened(self.config.reward.run, "task.reward.run"), self.config.reward)
        reference = self.context.reference.model.to(next(model.parameters()).device)
        return measure_policy(model, reference, reward, preprocessor, asked, self.config.written)

    def validate(
        self, model: Any, preprocessor: Tokenizer, rows: Text, decode: DecodeConfig, n_examples: int
    ) -> dict[str, Any]:
        """Return figures on n held-out prompts, spread evenly; samples before and after."""
        found = self.measured(model, preprocessor, rows, n_examples)
        return {name: each.value for name, each in found.figures.items()} | {"samples": found.samples}

    def evaluate(
        self, model: Any, preprocessor: Tokenizer, rows: Text, decode: DecodeConfig, *, choose_on: Any = None
    ) -> dict[str, Any]:
        """Return figures on all prompts, with 95% intervals over them."""
        found = self.measured(model, preprocessor, rows, None)
        return {name: each.as_dict() for name, each in found.figures.items()} | {"outputs": found.outputs}
