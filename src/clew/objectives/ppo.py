"""PPO (Schulman et al. 2017) for language models, with a penalty for leaving the reference (Ziegler et al. 2019).

Everything is (batch, time): a token is an action, a text an episode. `mask` is True at the tokens that were written.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from clew.batches import RollOut
from clew.config import Choice
from clew.contracts import Context, Loader, Loss, Objective
from clew.nn.work import Work
from clew.objectives.language_model import log_p_of
from clew.objectives.rewards import RewardOfTexts, decoded, log_p


def penalised(score: Tensor, log_p: Tensor, reference: Tensor, mask: Tensor, beta: float) -> Tensor:
    """r_t = -β (log π(y_t) - log π_ref(y_t)), and the text's score at its last token (Ziegler et al. 2019, eq. 2).

    score (batch,); the rest and the result (batch, time), 0 outside `mask`.
    """
    reward = -beta * (log_p - reference) * mask
    time = torch.arange(mask.shape[1], device=mask.device)
    last = time == (time * mask).amax(dim=1, keepdim=True)  # (batch, time), True once a row
    return reward + score[:, None] * (last & mask)


def advantages(reward: Tensor, value: Tensor, mask: Tensor, gamma: float, lam: float) -> tuple[Tensor, Tensor]:
    """A_t = Σ_l (γλ)^l δ_(t+l), δ_t = r_t + γ V_(t+1) - V_t (Schulman et al. 2016, eq. 16), and A_t + V_t, the returns.

    What was written is one run of tokens per row, after which there is nothing more to gain: V = 0. Both results are
    (batch, time), 0 outside `mask`.
    """
    reward, value = reward * mask, value * mask
    out, following, after = torch.zeros_like(reward), reward.new_zeros(len(reward)), reward.new_zeros(len(reward))
    for t in reversed(range(reward.shape[1])):
        delta = reward[:, t] + gamma * after - value[:, t]
        following = (delta + gamma * lam * following) * mask[:, t]
        out[:, t], after = following, value[:, t]
    return out, out + value


def whiten(x: Tensor, mask: Tensor) -> Tensor:
    """(x - mean) / √(variance + 1e-8) over what `mask` has, 0 elsewhere: the scale of rewards does not matter then."""
    chosen = x[mask]
    return (x - chosen.mean()) * (chosen.var(unbiased=False) + 1e-8).rsqrt() * mask


def clipped_policy(log_p: Tensor, old: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """-min(ρ A, clip(ρ, 1 - ε, 1 + ε) A), ρ = π(y_t) / π_old(y_t) (Schulman et al. 2017, eq. 7); any shape."""
    ratio = (log_p - old).exp()
    return -torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)


def clipped_value(value: Tensor, old: Tensor, returns: Tensor, clip: float) -> Tensor:
    """½ max((V - R)², (V_old + clip(V - V_old, -ε, ε) - R)²): the value, too, moves by steps; any shape."""
    near = old + (value - old).clamp(-clip, clip)
    return 0.5 * torch.maximum((value - returns).square(), (near - returns).square())


class AdaptiveBeta:
    """The coefficient β of the penalty, which keeps the divergence near a target (Ziegler et al. 2019, §2.2).

    β ← β (1 + K clip((KL - target) / target, -0.2, 0.2)), K = 0.1, after each batch of texts.
    """

    def __init__(self, beta: float, target: float) -> None:
        self.beta, self.target = beta, target

    def update(self, kl: float) -> None:
        error = min(max((kl - self.target) / self.target, -0.2), 0.2)
        self.beta *= 1 + 0.1 * error


EXPLODED = 3.0  # times the target: a divergence that the penalty has lost hold of
RECENT = 3  # roll-outs by which that is judged


class PPOConfig(Choice):
    kind: str = "ppo"
    clip: float = Field(0.2, gt=0)
    value_clip: float = Field(0.2, gt=0)
    value_weight: float = Field(0.5, ge=0)
    gamma: float = Field(1.0, gt=0, le=1)
    lam: float = Field(0.95, ge=0, le=1)
    beta: float = Field(0.05, ge=0)  # of the penalty, to begin with
    target_kl: float = Field(5.0, gt=0)  # nats per text, near which beta keeps the policy
    epochs: int = Field(4, ge=1)  # over each roll-out
    batch_size: int = Field(16, ge=1)  # texts


class PPO(Objective):
    """Σ over written tokens of `clipped_policy` and a weight times `clipped_value`, counted per token.

    It owns what it learns from: the policy, a value of its states (a linear map, at first zero, which learns beside
    it), the reference (what the model starts from), the reward (`task.reward`) and the roll-outs. parts: `policy`,
    `value` (the two losses), `clipped` (the share of tokens whose ratio is out of bounds), and of the roll-out that the
    batch is from `reward`, `kl` (nats per text) and `beta`.
    """

    Config = PPOConfig

    def __init__(self, config: PPOConfig) -> None:
        super().__init__(config)
        self.beta = AdaptiveBeta(config.beta, config.target_kl)
        self.held: RollOut | None = None
        self.number = -1  # of the roll-out in hand
        self.course: list[tuple[float, float]] = []  # reward and KL of each roll-out
        self.flops = 0.0

    def bind(self, context: Context) -> None:
        settings: Any = context.recipe.task
        self.context, self.settings = context, settings
        self.value = nn.Linear(context.model.config.d_model, 1).to(context.device)
        nn.init.zeros_(self.value.weight)
        nn.init.zeros_(self.value.bias)
        self.reward = RewardOfTexts(context.opened(settings.reward.run, "task.reward.run"), settings.reward)

    def parameters(self) -> dict[str, nn.Parameter]:
        return {f"value.{name}": parameter for name, parameter in self.value.named_parameters()}

    def loader(self, loader: Any, train: Any) -> RollOutLoader:
        """Return roll-outs after the prompts that the task's loader has."""
        return RollOutLoader(self, loader.prompts, loader.seed)

    @torch.no_grad()
    def roll(self, prompts: np.ndarray, number: int, seed: int) -> None:
        """Take in hand what the policy writes after some prompts, rewarded and compared with the reference."""
        rng, n, policy = np.random.default_rng([seed, number]), self.settings.texts, self.context.model
        asked = prompts[rng.choice(len(prompts), n, replace=len(prompts) < n)]
        policy.eval()
        task, tokenizer, reference = self.context.task, self.context.preprocessor, self.context.reference.model
        assert task is not None
        text, written = task.roll_out(policy, tokenizer, asked, self.settings.written, int(rng.integers(1 << 31)))
        score = torch.from_numpy(self.reward(decoded(tokenizer, text))).float()
        value = self.value(policy(text.to(self.context.device)).hidden[:, :-1]).squeeze(2).cpu()
        self.held = self.prepare_roll_out(text, written, score, log_p(policy, text), log_p(reference, text), value)
        self.number = number
        self.course.append((self.held.reward, self.held.kl))
        judge = self.reward.opened.model
        passes = [(3, policy), (1, reference), (1, judge)]  # the policy writes, and is read twice
        self.flops += text.numel() * sum(k * Work(each).forward() for k, each in passes)
        self.warn()

    def warn(self) -> None:
        """Warn, once, where the reward rises while the divergence explodes: the policy has found a fault of it."""
        limit = EXPLODED * self.config.target_kl
        means = [np.mean(self.course[t - RECENT : t], axis=0) for t in range(RECENT, len(self.course) + 1)]
        wrong = [t for t, (reward, kl) in enumerate(means) if t > RECENT and reward > means[0][0] and kl > limit]
        if wrong[:1] == [len(means) - 1]:
            warnings.warn(
                f"roll-out {self.number + 1}: the reward has risen from {means[0][0]:.2f} to {means[-1][0]:.2f} while "
                f"the policy has gone {means[-1][1]:.1f} nats from the reference, {EXPLODED:g} times the target and "
                "more: read the samples, raise objective.beta, or lower train.optimizer.lr",
                stacklevel=2,
            )

    def prepare_roll_out(
        self, text: Tensor, written: Tensor, score: Tensor, log_p: Tensor, reference: Tensor, value: Tensor
    ) -> RollOut:
        """Return a roll-out with rewards, advantages (whitened) and returns; then beta moves towards the target."""
        reward = penalised(score, log_p, reference, written, self.beta.beta)
        advantage, returns = advantages(reward, value, written, self.config.gamma, self.config.lam)
        kl = ((log_p - reference) * written).sum(dim=1).mean().item()
        out = RollOut(
            text, written, log_p, value, whiten(advantage, written), returns,
            torch.arange(len(text), device=text.device), score.mean().item(), kl,
        )  # fmt: skip
        self.beta.update(kl)
        return out

    def __call__(self, model: Any, batch: RollOut) -> Loss:
        hidden, c, w = model(batch.text).hidden, self.config, batch.written
        log_p, value = log_p_of(model, hidden, batch.text), self.value(hidden[:, :-1]).squeeze(2)
        policy = clipped_policy(log_p[w], batch.log_p[w], batch.advantage[w], c.clip).sum()
        fit = clipped_value(value[w], batch.value[w], batch.returns[w], c.value_clip).sum()
        ratio, n = (log_p[w] - batch.log_p[w]).detach().exp(), int(w.sum())
        parts = {
            "policy": policy.detach(),
            "value": fit.detach(),
            "clipped": ((ratio - 1).abs() > c.clip).float().sum(),
        }
        for name, number in (("reward", batch.reward), ("kl", batch.kl), ("beta", self.beta.beta)):
            parts[name] = torch.tensor(number * n)
        return Loss(policy + c.value_weight * fit, n, batch.n_read, parts)

    def extra_flops(self) -> float:
        """Return what the roll-outs since then have cost."""
        done, self.flops = self.flops, 0.0
        return done

    def state_dict(self) -> dict[str, Any]:
        held = {} if self.held is None else vars(self.held)
        return {
            "value": dict(self.value.state_dict()), "held": held, "number": self.number,
            "beta": self.beta.beta, "course": self.course,
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.value.load_state_dict(state["value"])
        self.held = RollOut(**state["held"]) if state["held"] else None
        self.number, self.beta.beta = state["number"], state["beta"]
        self.course = [(reward, kl) for reward, kl in state["course"]]


class RollOutLoader(Loader):
    """An endless stream of batches for PPO: each roll-out, an epoch here, is gone over a few times in random orders.

    Which prompts come, in which order, and what is drawn depend on the seed and the number of the roll-out.
    """

    def __init__(self, ppo: PPO, prompts: np.ndarray, seed: int) -> None:
        super().__init__(seed)
        self.ppo, self.prompts = ppo, prompts
        self.notes = [f"{len(prompts):,} prompts of {prompts.shape[1]} tokens"]

    @property
    def epochs_done(self) -> float:
        return float((self.ppo.number + 1) * self.ppo.settings.texts / len(self.prompts))

    def plan(self, epoch: int) -> list[Tensor]:
        """Return the rows of each batch of a roll-out, which is made if it is not the one in hand."""
        if self.ppo.number != epoch:
            self.ppo.roll(self.prompts, epoch, self.seed)
        rng, config = np.random.default_rng([self.seed, epoch, 1]), self.ppo.config
        orders = [torch.from_numpy(rng.permutation(self.ppo.settings.texts)) for _ in range(config.epochs)]
        return [rows for order in orders for rows in order.split(config.batch_size)]

    def collate(self, rows: Tensor, rng: np.random.Generator) -> RollOut:
        assert self.ppo.held is not None  # it has a plan
        return self.ppo.held.select(rows)
