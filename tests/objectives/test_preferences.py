"""What is learned from preferences against loops written from the papers' equations; gradients by differences."""

from __future__ import annotations

import json
import math
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from clew.data.batches import Texts
from clew.objectives.dpo import dpo, ipo
from clew.objectives.ppo import AdaptiveBeta, advantages, clipped_policy, clipped_value, penalised, whiten
from clew.objectives.reward import Reward, RewardConfig, bradley_terry


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_pairwise_losses() -> None:
    chosen, rejected = draw(6), draw(6, seed=1)
    for loss, equation in [
        (bradley_terry(chosen, rejected), lambda d: -math.log(sigmoid(d))),
        (dpo(chosen, rejected, 0.3), lambda d: -math.log(sigmoid(0.3 * d))),
        (ipo(chosen, rejected, 0.3), lambda d: (d - 1 / 0.6) ** 2),
    ]:
        expected = [equation(c - r) for c, r in zip(chosen.tolist(), rejected.tolist(), strict=True)]
        assert loss.tolist() == pytest.approx(expected, rel=1e-12)


def test_far_apart_rewards_stay_finite() -> None:
    far = torch.tensor([1e4, -1e4])
    assert bradley_terry(far, -far).tolist() == [0, 2e4]


@dataclass
class Scores:
    """A model that gives the same rewards to whatever it reads."""

    logits: Tensor

    def __call__(self, batch: object) -> Scores:
        return self


def test_reward_objective() -> None:
    """Chosen and rejected texts stand side by side: 2 > 1 and 0 < 3."""
    batch = Texts([[1], [2], [3], [4]], [0, 0], choices=2).batch([0, 1], pad_id=0)
    loss = Reward(RewardConfig())(Scores(torch.tensor([[2.0], [1.0], [0.0], [3.0]])), batch)
    assert loss.count == 2
    assert loss.total.item() == pytest.approx(-math.log(sigmoid(1)) - math.log(sigmoid(-3)), rel=1e-6)
    assert (loss.parts["accuracy"].item(), loss.parts["margin"].item()) == (1, -2)


LENGTHS = [(0, 5), (2, 4), (3, 4), (1, 5)]  # where what was written begins and ends in each row


def episodes() -> Tensor:
    mask = torch.zeros(4, 5, dtype=torch.bool)
    for row, (start, end) in enumerate(LENGTHS):
        mask[row, start:end] = True
    return mask


def test_penalised_reward() -> None:
    mask, score, log_p, reference = episodes(), draw(4), draw(4, 5, seed=1), draw(4, 5, seed=2)
    found = penalised(score, log_p, reference, mask, beta=0.2)
    for row, (start, end) in enumerate(LENGTHS):
        for t in range(5):
            expected = -0.2 * (log_p[row, t] - reference[row, t]).item() if start <= t < end else 0.0
            expected += score[row].item() if t == end - 1 else 0.0
            assert found[row, t].item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (0.9, 0.5), (0.97, 1.0), (0.8, 0.0)])
def test_advantages(gamma: float, lam: float) -> None:
    """The double sum of eq. 16, token by token."""
    mask, reward, value = episodes(), draw(4, 5), draw(4, 5, seed=1)
    found, returns = advantages(reward, value, mask, gamma, lam)
    for row, (start, end) in enumerate(LENGTHS):
        v = [*value[row, start:end].tolist(), 0.0]
        r = reward[row, start:end].tolist()
        delta = [r[t] + gamma * v[t + 1] - v[t] for t in range(len(r))]
        for t in range(len(r)):
            expected = sum((gamma * lam) ** k * delta[t + k] for k in range(len(r) - t))
            assert found[row, start + t].item() == pytest.approx(expected, rel=1e-12)
            assert returns[row, start + t].item() == pytest.approx(expected + v[t], rel=1e-12)
    assert not found[~mask].any() and not returns[~mask].any()


def test_returns_without_discount_are_what_is_gained_from_there_on() -> None:
    """γ = λ = 1: the value cancels out of the returns."""
    mask, reward, value = episodes(), draw(4, 5), draw(4, 5, seed=1)
    _, returns = advantages(reward, value, mask, 1.0, 1.0)
    for row, (start, end) in enumerate(LENGTHS):
        assert returns[row, start].item() == pytest.approx(reward[row, start:end].sum().item(), rel=1e-12)


def test_whitening() -> None:
    mask, x = episodes(), 7 + 3 * draw(4, 5)
    found = whiten(x, mask)
    values = x[mask].tolist()
    mean = sum(values) / len(values)
    spread = math.sqrt(sum((v - mean) ** 2 for v in values) / len(values) + 1e-8)
    assert found[mask].tolist() == pytest.approx([(v - mean) / spread for v in values], rel=1e-12)
    assert not found[~mask].any()


def test_clipped_policy() -> None:
    log_p, old, advantage = draw(40), draw(40, seed=1), draw(40, seed=2)
    rows = torch.stack([log_p, old, advantage, clipped_policy(log_p, old, advantage, 0.2)], dim=1)
    for p, q, a, said in rows.tolist():
        ratio = math.exp(p - q)
        assert said == pytest.approx(-min(ratio * a, min(max(ratio, 0.8), 1.2) * a), rel=1e-12)


def test_clipped_value() -> None:
    value, old, returns = draw(40), draw(40, seed=1), draw(40, seed=2)
    rows = torch.stack([value, old, returns, clipped_value(value, old, returns, 0.2)], dim=1)
    for v, o, r, said in rows.tolist():
        near = o + min(max(v - o, -0.2), 0.2)
        assert said == pytest.approx(max((v - r) ** 2, (near - r) ** 2) / 2, rel=1e-12)


def test_gradients() -> None:
    """By finite differences, at points where nothing is clipped exactly at its edge."""
    a, b, c = (draw(7, seed=s) for s in (3, 4, 5))
    for loss in (
        lambda x: bradley_terry(x, b), lambda x: bradley_terry(b, x), lambda x: dpo(x, b, 0.3),
        lambda x: ipo(x, b, 0.3), lambda x: clipped_policy(x, b, c, 0.2), lambda x: clipped_value(x, b, c, 0.2),
    ):  # fmt: skip
        assert torch.autograd.gradcheck(loss, (a.clone().requires_grad_(),))


def test_what_is_clipped_pulls_no_more() -> None:
    """Beyond 1 ± ε in the direction of the advantage there is no gradient; back towards the old policy there is."""
    log_p = torch.tensor([1.0, 1.0, -1.0, -1.0], requires_grad=True)
    advantage = torch.tensor([1.0, -1.0, 1.0, -1.0])
    clipped_policy(log_p, torch.zeros(4), advantage, 0.2).sum().backward()
    assert (log_p.grad != 0).tolist() == [False, True, True, False]


def test_adaptive_beta() -> None:
    """Worked by hand: 50% above the target counts as 20%, 10% below as it is."""
    made = AdaptiveBeta(0.5, target=6.0)
    made.update(9.0)
    assert made.beta == pytest.approx(0.5 * 1.02)
    made.update(5.4)
    assert made.beta == pytest.approx(0.5 * 1.02 * 0.99)


TRL = """
import json, sys
from collections import defaultdict
from types import SimpleNamespace
from unittest.mock import MagicMock
import torch
from trl import DPOTrainer

given = {name: torch.tensor(value, dtype=torch.float64) for name, value in json.load(sys.stdin).items()}
out = {}
for kind in ("sigmoid", "ipo"):
    trainer = MagicMock()  # its settings; the loss is the class's own function
    trainer.accelerator.device, trainer.accelerator.gather_for_metrics = torch.device("cpu"), lambda x: x
    trainer.model.training, trainer.aux_loss_enabled, trainer.ld_alpha = True, False, None
    trainer.precompute_ref_logps, trainer.f_divergence_type = True, "reverse_kl"
    trainer.loss_types, trainer.loss_weights, trainer.beta, trainer.label_smoothing = [kind], [1.0], 0.3, 0.0
    trainer.use_weighting, trainer._metrics = False, {"train": defaultdict(list)}
    mask = torch.nn.functional.pad(given["mask"], (1, 0))
    said = given["log_p"] * given["mask"]
    said = SimpleNamespace(log_probs=said, loss=torch.zeros(()), entropy=said, mean_logits=said,
                           is_top1=given["mask"].bool(),
                           logits=torch.zeros(*mask.shape, 3), mean_token_accuracy=torch.zeros(()))
    inputs = {"input_ids": mask.long(), "attention_mask": mask.long(), "completion_mask": mask.long(),
              "ref_chosen_logps": given["chosen"], "ref_rejected_logps": given["rejected"]}
    out[kind] = DPOTrainer._compute_loss(trainer, lambda **_: said, inputs, False).item()
print(json.dumps(out))
"""


@pytest.mark.peers
def test_the_same_number_as_trl() -> None:
    python = Path(os.environ.get("CLEW_PEERS", "../peers")) / "huggingface" / "bin" / "python"
    if not python.is_file():
        pytest.skip(f"trl is not installed beside clew ({python})")
    log_p, mask = -draw(8, 6).abs(), torch.rand(8, 6, generator=torch.Generator().manual_seed(2)) < 0.7
    mask[:, 0] = True
    reference = -3 * draw(8, seed=3).abs()
    given = {"log_p": log_p, "mask": mask.double(), "chosen": reference[:4], "rejected": reference[4:]}
    text = json.dumps({name: value.tolist() for name, value in given.items()})
    done = subprocess.run([python, "-c", TRL], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    h = (log_p * mask).sum(dim=1) - reference
    assert dpo(h[:4], h[4:], 0.3).mean().item() == pytest.approx(said["sigmoid"], abs=1e-6)
    each = h / mask.sum(dim=1)
    assert ipo(each[:4], each[4:], 0.3).mean().item() == pytest.approx(said["ipo"], abs=1e-6)
