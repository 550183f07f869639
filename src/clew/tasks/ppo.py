"""Reinforcement from a reward: beginnings of texts in, a model that goes on with them as the reward would have it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import nn

from clew.batches import RollOut
from clew.config import Choice, DecodeConfig, SampleConfig, TrainConfig
from clew.data.text import Text
from clew.errors import RecipeError
from clew.tasks.language_model import LanguageModeling, LanguageModelingConfig
from clew.tasks.rollouts import OpenedRun, Reward, RewardSource, decoded, log_p, measure_policy, prompts, roll_out
from clew.text.tokenizer import Tokenizer

EXPLODED = 3.0  # times the target: a divergence that the penalty has lost hold of
TENSORS = ("text", "written", "log_p", "value", "advantage", "returns", "index")  # of a roll-out
RECENT = 3  # roll-outs by which that is judged


class PPOTaskConfig(LanguageModelingConfig):
    """Which texts are begun, how far the model goes on with them, and what is good."""

    kind: str = "ppo"
    reward: RewardSource
    prompt: int = Field(8, ge=1)  # tokens: the beginning of each document
    written: int = Field(24, ge=1)  # tokens, at most
    texts: int = Field(64, ge=2)  # of each roll-out


class PPOTask(LanguageModeling):
    """Write, and be rewarded (Ziegler et al. 2019); what the model starts from, `model.start`, is the reference."""

    Config: type[LanguageModelingConfig] = PPOTaskConfig
    config: PPOTaskConfig
    quality = compared = "reward"
    lend: Callable[[str], OpenedRun]  # another run, by its folder
    reference = ""  # a run

    def model(self, config: Choice, preprocessor: Tokenizer) -> Any:
        """Raises RecipeError where there is no reference, or dropout makes the policy another one at every look."""
        if not getattr(config, "start", ""):
            raise RecipeError(
                "what PPO teaches must have learned to write",
                where="model.start",
                fix="name a run of the task write",
            )
        if getattr(config, "dropout", 0):
            raise RecipeError(
                "ratios of probabilities mean nothing under dropout", where="model.dropout", fix="set it to 0"
            )
        self.policy = super().model(config, preprocessor)
        return self.policy

    def rewarded(self) -> Reward:
        return Reward(self.lend(self.config.reward.run), self.config.reward)

    def batches(self, rows: Text, preprocessor: Tokenizer, train: TrainConfig, seed: int) -> Any:
        """Roll-outs of the policy, which gets a value of its states: a linear map, at first zero."""
        asked = prompts(self.documents(rows, preprocessor), self.config.prompt)
        device = next(self.policy.parameters()).device
        self.policy.value = nn.Linear(self.policy.config.d_model, 1).to(device)
        nn.init.zeros_(self.policy.value.weight)
        nn.init.zeros_(self.policy.value.bias)
        _, reference, _ = self.lend(self.reference)
        return RollOuts(self.config, asked, reference.to(device), self.rewarded(), preprocessor, seed)

    def measured(self, model: Any, preprocessor: Tokenizer, rows: Text, n: int | None) -> Any:
        asked = prompts(self.documents(rows, preprocessor), self.config.prompt)
        asked = asked[:: max(1, len(asked) // n)][:n] if n else asked
        _, reference, _ = self.lend(self.reference)
        reference = reference.to(next(model.parameters()).device)
        return measure_policy(model, reference, self.rewarded(), preprocessor, asked, self.config.written)

    def validate(
        self, model: Any, preprocessor: Tokenizer, rows: Text, decode: DecodeConfig, n_examples: int
    ) -> dict[str, Any]:
        """Figures on n held-out prompts, spread evenly; samples before and after."""
        found = self.measured(model, preprocessor, rows, n_examples)
        return {name: each.value for name, each in found.figures.items()} | {"samples": found.samples}

    def evaluate(
        self, model: Any, preprocessor: Tokenizer, rows: Text, decode: DecodeConfig, *, choose_on: Any = None
    ) -> dict[str, Any]:
        """The same on all prompts, with 95% intervals over them."""
        found = self.measured(model, preprocessor, rows, None)
        return {name: each.as_dict() for name, each in found.figures.items()} | {"outputs": found.outputs}


class RollOuts:
    """An endless stream of batches for PPO: the policy writes, is rewarded, and each roll-out is gone over a few times.

    Which prompts come, in which order, and what is drawn depend on the seed and the number of the roll-out;
    `state_dict()` holds the roll-out in hand. `policy` and `ppo` are set by the objective before the first batch.
    """

    n_left_out = 0
    policy: Any
    ppo: Any

    def __init__(
        self, config: PPOTaskConfig, asked: np.ndarray, reference: Any, reward: Reward, tokenizer: Tokenizer, seed: int
    ) -> None:
        self.config, self.asked, self.reference, self.reward = config, asked, reference, reward
        self.tokenizer, self.seed = tokenizer, seed
        self.number, self.position = 0, 0  # of roll-outs made, and of batches handed out of the last
        self.held: RollOut | None = None
        self.course: list[tuple[float, float]] = []  # reward and KL of each roll-out
        self.warned = False
        self.notes = [f"{len(asked):,} prompts of {config.prompt} tokens"]

    @property
    def epochs_done(self) -> float:
        return self.number * self.config.texts / len(self.asked)

    def __iter__(self) -> Iterator[RollOut]:
        while True:
            plan = self.plan() if self.held is not None else []
            if self.position >= len(plan):
                self.held, self.position = self.roll(), 0
                plan = self.plan()
            assert self.held is not None
            batch = self.held.select(plan[self.position])
            self.position += 1
            yield batch

    def plan(self) -> list[torch.Tensor]:
        """The rows of each batch of the roll-out in hand: all of them, `ppo.epochs` times, in random orders."""
        rng, n = np.random.default_rng([self.seed, self.number, 1]), self.config.texts
        orders = [torch.from_numpy(rng.permutation(n)) for _ in range(self.ppo.config.epochs)]
        return [rows for order in orders for rows in order.split(self.ppo.config.batch_size)]

    @torch.no_grad()
    def roll(self) -> RollOut:
        """Write, judge, and compare with the reference."""
        rng, n = np.random.default_rng([self.seed, self.number]), self.config.texts
        self.number += 1
        asked = self.asked[rng.choice(len(self.asked), n, replace=len(self.asked) < n)]
        self.policy.eval()
        how = SampleConfig(seed=int(rng.integers(1 << 31)))
        text, written = roll_out(self.policy, asked, self.config.written, self.tokenizer.eos_id, how)
        score = torch.from_numpy(self.reward(decoded(self.tokenizer, text))).float()
        device = next(self.policy.parameters()).device
        value = self.policy.value(self.policy(text.to(device)).hidden[:, :-1]).squeeze(2).cpu()
        found = self.ppo.prepare(
            text, written, score, log_p(self.policy, text), log_p(self.reference, text), value
        )  # fmt: skip
        self.watch(found)
        return found

    def watch(self, found: RollOut) -> None:
        """Warn, once, where the reward rises while the divergence explodes: the policy has found a fault of it."""
        self.course.append((found.reward, found.kl))
        if self.warned or len(self.course) <= 2 * RECENT:
            return
        recent, first = np.mean(self.course[-RECENT:], axis=0), np.mean(self.course[:RECENT], axis=0)
        limit = EXPLODED * self.ppo.config.target_kl
        if recent[0] > first[0] and recent[1] > limit:
            self.warned = True
            warnings.warn(
                f"roll-out {self.number}: the reward has risen from {first[0]:.2f} to {recent[0]:.2f} while the policy "
                f"has gone {recent[1]:.1f} nats from the reference, {EXPLODED:g} times the target and more: read the "
                "samples, raise objective.beta, or lower train.optimizer.lr",
                stacklevel=2,
            )

    def state_dict(self) -> dict[str, Any]:
        held = None
        if self.held is not None:
            held = {name: vars(self.held)[name].tolist() for name in TENSORS}
            held |= {"reward": self.held.reward, "kl": self.held.kl}
        return {
            "number": self.number, "position": self.position, "held": held, "course": self.course,
            "beta": self.ppo.beta.beta,
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.number, self.position, self.ppo.beta.beta = state["number"], state["position"], state["beta"]
        self.course = [(reward, kl) for reward, kl in state["course"]]
        if state["held"] is not None:
            tensors = {name: torch.tensor(state["held"][name]) for name in TENSORS}
            self.held = RollOut(**tensors, reward=state["held"]["reward"], kl=state["held"]["kl"])
