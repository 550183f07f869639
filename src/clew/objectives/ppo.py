"""PPO (Schulman et al. 2017) for language models, with a penalty for leaving the reference (Ziegler et al. 2019).

Everything is (batch, time): a token is an action, a text an episode. `mask` is True at the tokens that were written.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from clew.batches import RollOut
from clew.config import Choice
from clew.objectives.language_model import log_p_of
from clew.objectives.loss import Loss


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


class PPO:
    """Σ over written tokens of `clipped_policy` and a weight times `clipped_value`, counted per token.

    Needs a model that writes and has a `value` of its states, and batches that roll out (see `tasks/steer.py`).
    parts: `policy`, `value` (the two losses), `clipped` (the share of tokens whose ratio is out of bounds), and of the
    roll-out that the batch is from `reward`, `kl` (nats per text) and `beta`.
    """

    Config = PPOConfig

    def __init__(self, config: PPOConfig) -> None:
        self.config = config
        self.beta = AdaptiveBeta(config.beta, config.target_kl)

    def batches(self, rollouts: Any, train: Any) -> Any:
        """The task's roll-outs, which are prepared by this objective."""
        self.rollouts = rollouts
        rollouts.ppo = self
        return rollouts

    def attach(self, model: Any, optimizer: Any) -> None:
        """Roll-outs are of the model as it is when they are asked for."""
        self.rollouts.policy = model

    def prepare(
        self, text: Tensor, written: Tensor, score: Tensor, log_p: Tensor, reference: Tensor, value: Tensor
    ) -> RollOut:
        """Rewards, advantages (whitened) and returns of a roll-out; then beta moves towards the target."""
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
        log_p, value = log_p_of(model, hidden, batch.text), model.value(hidden[:, :-1]).squeeze(2)
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
        return Loss(policy + c.value_weight * fit, n, parts)
