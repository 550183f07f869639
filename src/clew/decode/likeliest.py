"""The likeliest continuations of prompts by beam search, and texts written faster with a smaller model's guesses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clew.config import SampleConfig
from clew.decode.sample import distribution, draw, read
from clew.decode.search import Hypothesis, Limits, Listener, beam_search
from clew.errors import ClewError
from clew.nn.causal import Cache


@dataclass
class Going:
    """A cache as `beam_search` moves it, with the states of the prompts, which the first step returns."""

    cache: Cache
    first: Tensor | None

    def reorder(self, rows: Tensor) -> None:
        self.cache.select(rows)

    def keep(self, sentences: Tensor, rows: Tensor) -> None:
        self.cache.select(rows)


class Prompted:
    """A decoder with its prompts, as `beam_search` sees a translator: the prompts are what it has read."""

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], steps: int) -> None:
        self.model, self.prompts, self.steps = model, prompts, steps
        self.project = model.logits

    def encode(self, source: Tensor, mask: Tensor) -> None:
        return None

    def start(self, memory: None, beam: int) -> Going:
        hidden, cache = read(self.model, self.prompts, self.steps)
        rows = torch.arange(len(self.prompts), device=hidden.device).repeat_interleave(beam)
        cache.select(rows)
        return Going(cache, hidden[rows])

    def step(self, tokens: Tensor, going: Going) -> Tensor:
        """The token with which a translator would begin is not read: the prompt stands there."""
        if going.first is not None:
            hidden, going.first = going.first, None
            return hidden
        return self.model(tokens[:, None], cache=going.cache).hidden[:, -1]


class Steps(Limits):
    """So many tokens, whatever the prompt."""

    def of(self, mask: Tensor) -> Tensor:
        return torch.full((len(mask),), self.max_length, device=mask.device)


def beam(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    width: int,
    steps: int,
    end_id: int,
    length_penalty: float,
    listener: Listener | None = None,
) -> list[list[Hypothesis]]:
    """The `width` best continuations found of each prompt, of at most `steps` tokens, best first (`beam_search`).

    Raises ClewError where the model cannot read so many tokens after one of the prompt.
    """
    room = model.config.max_length - steps
    if room < 1:
        raise ClewError(
            f"a beam of {steps} tokens is longer than the model reads, {model.config.max_length}",
            where="decode.max_length", fix="lower it, or set decode.beam=1",
        )  # fmt: skip
    kept = [prompt[-room:] for prompt in prompts]
    mask = torch.ones(len(kept), 1, dtype=torch.bool, device=model.token.weight.device)
    search: Any = Prompted(model, kept, steps)
    return beam_search(search, mask.long(), mask, Steps(end_id, end_id, steps, length_penalty), width, listener)


@torch.no_grad()
def speculate(
    model: Any, draft: Any, prompt: Sequence[int], how: SampleConfig, *, steps: int, ahead: int = 4
) -> Iterator[int]:
    """The tokens that `model` would draw after a prompt, `ahead` of them guessed by a smaller model at a time.

    A guess x drawn from q stays with probability min(1, p(x) / q(x)); in place of the first that goes, one is drawn of
    max(0, p - q), renewed: what is written is distributed as p (Leviathan et al. 2023, algorithm 1). All guesses are
    judged in one pass. Raises ClewError where the text would outgrow one of the models, or tokens are penalised, since
    p would change within a pass; and for an LSTM, whose state cannot go back to before a guess.
    """
    longest = min(model.config.max_length, draft.config.max_length)
    if len(prompt) + steps > longest or how.repetition_penalty != 1:
        raise ClewError(
            f"{len(prompt)} + {steps} tokens with a repetition penalty of {how.repetition_penalty} cannot be guessed "
            f"ahead: the models read {longest}, and no penalty is known", fix="write without a draft, or less",
        )  # fmt: skip
    stream, text, end = np.random.default_rng([how.seed, 0]), list(prompt), len(prompt) + steps
    cache, guessing = model.cache(1, longest), draft.cache(1, longest)
    if not (hasattr(cache, "back") and hasattr(guessing, "back")):
        raise ClewError("an LSTM cannot take back what it has read", where="--draft", fix="write without a draft")
    while len(text) < end:
        guesses: list[int] = []
        q = []
        for _ in range(min(ahead, end - len(text) - 1)):
            q.append(next_distribution(draft, [*text, *guesses], guessing, how)[-1])
            guesses.append(pick(q[-1], stream))
        p = next_distribution(model, [*text, *guesses], cache, how)[-len(guesses) - 1 :]
        for n, guess in enumerate(guesses):
            if stream.random() * float(q[n][guess]) >= float(p[n, guess]):
                text += [*guesses[:n], pick((p[n] - q[n]).clamp(min=0), stream)]
                yield from text[-n - 1 :]
                break
        else:
            text += [*guesses, pick(p[-1], stream)]
            yield from text[-len(guesses) - 1 :]
        for each in (cache, guessing):
            each.back(max(0, each.length - (len(text) - 1)))


def next_distribution(model: Any, text: list[int], cache: Cache, how: SampleConfig) -> Tensor:
    """What follows each token of a text that the cache has not read yet, (new tokens, V)."""
    ids = torch.tensor([text[cache.length :]], device=model.token.weight.device)
    return distribution(model.logits(model(ids, cache=cache).hidden[0]), how)


def pick(p: Tensor, stream: np.random.Generator) -> int:
    """A token drawn from p (V,), which need not sum to 1."""
    return int(draw(p[None], torch.tensor([stream.random()], dtype=torch.float64, device=p.device)))
