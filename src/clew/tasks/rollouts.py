"""What a policy learns from and is measured with: a reward of texts, roll-outs, and the distance from a reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clew.config import SampleConfig
from clew.data.documents import Documents
from clew.decode.sample import sample
from clew.errors import DataError
from clew.metrics.bootstrap import Score, ratio, score
from clew.metrics.perplexity import perplexity
from clew.objectives.rewards import RewardOfTexts, decoded, log_p
from clew.text.tokenizer import Tokenizer


def roll_out(model: Any, prompts: np.ndarray, steps: int, eos_id: int, how: SampleConfig) -> tuple[Tensor, Tensor]:
    """Return what a model writes after prompts (n, length): text (n, length + steps), and where the next token of each
    is one that it wrote, (n, length + steps - 1) bool; </s> is the last that it writes."""
    n, length = prompts.shape
    tokens = [token.cpu() for token, _ in sample(model, prompts.tolist(), how, steps=steps)]
    out = torch.stack(tokens, dim=1)  # (n, steps)
    over = (out == eos_id).cumsum(dim=1) - (out == eos_id).long() > 0  # after </s>
    text = torch.cat([torch.from_numpy(prompts), out.masked_fill(over, eos_id)], dim=1)
    written = torch.zeros(n, length + steps - 1, dtype=torch.bool)
    written[:, length - 1 :] = ~over
    return text, written


def prompts(documents: Documents, length: int) -> np.ndarray:
    """The first tokens of every document that has more: (n, length). Raises DataError where none has."""
    bounds = np.asarray(documents.sentences[documents.documents])
    starts = bounds[:-1][np.diff(bounds) > length]
    if not len(starts):
        raise DataError(f"no text is longer than {length} tokens", fix="lower task.prompt")
    return np.asarray(documents.ids)[starts[:, None] + np.arange(length)].astype(np.int64)


@dataclass
class PolicyFigures:
    """Figures of a policy beside its reference, on the same prompts and the same random numbers."""

    figures: dict[str, Score]
    samples: list[dict[str, str]]
    outputs: list[str]


def measure_policy(
    policy: Any, reference: Any, reward: RewardOfTexts, tokenizer: Tokenizer, asked: np.ndarray, steps: int
) -> PolicyFigures:
    """reward and its gain over the reference (pairwise, by prompt), KL(π ‖ π_ref) in nats per text as the mean of
    log π - log π_ref over what π wrote, and the perplexity, to the reference, of what each of the two wrote."""
    how, written, texts, rewards, nll = SampleConfig(seed=0), {}, {}, {}, {}
    for name, model in (("after", policy), ("before", reference)):
        model.eval()
        text, written[name] = roll_out(model, asked, steps, tokenizer.eos_id, how)
        texts[name] = decoded(tokenizer, text)
        rewards[name] = reward(texts[name])
        nll[name] = -log_p(reference, text) * written[name]
        if name == "after":
            kl = ((log_p(policy, text) + nll[name]) * written[name]).sum(dim=1).numpy()
    said = {name: perplexity(nll[name].sum(dim=1).tolist(), written[name].sum(dim=1).tolist()) for name in nll}
    figures = {
        "reward": mean(rewards["after"], "reward"), "reward_before": mean(rewards["before"], "reward"),
        "gain": mean(rewards["after"] - rewards["before"], "gain of reward"), "kl": mean(kl, "KL|per:text"),
        "reference_perplexity": said["after"], "reference_perplexity_before": said["before"],
    }  # fmt: skip
    starts = tokenizer.decode(asked.tolist())
    samples = [
        {"source": start, "before": f"{b[len(start):]}  ({rb:.2f})", "output": f"{a[len(start):]}  ({ra:.2f})"}
        for start, b, rb, a, ra in zip(
            starts, texts["before"], rewards["before"], texts["after"], rewards["after"], strict=True
        )
    ]  # fmt: skip
    lines = [" ".join(text.split()) for text in texts["after"]]
    return PolicyFigures(figures, [{k: " ".join(v.split()) for k, v in each.items()} for each in samples[:8]], lines)


def mean(values: np.ndarray, what: str) -> Score:
    """The mean with its bootstrap interval."""
    statistics = np.stack([values, np.ones(len(values))], axis=1).astype(float)
    return score(statistics, lambda sums: ratio(sums[..., 0], sums[..., 1]), what)
