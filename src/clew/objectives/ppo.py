"""PPO (Schulman et al. 2017) for language models, with a penalty for leaving the reference (Ziegler et al. 2019).

Everything is (batch, time): a token is an action, a text an episode. `mask` is True at the tokens that were written.
"""

from __future__ import annotations

import torch
from torch import Tensor


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
