"""Writing with a decoder, token by token: the distribution that is drawn from, the draw, and the loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from clew.config import SampleConfig


def distribution(logits: Tensor, how: SampleConfig, seen: Tensor | None = None) -> Tensor:
    """Probabilities (rows, V) to draw from: softmax(logits / temperature), cut to the likely tokens and renewed.

    top_k keeps the k likeliest (Fan et al. 2018, §5.4); top_p the fewest whose probabilities sum to p or more (Holtzman
    et al. 2020, eq. 2); min_p those of at least so large a share of the likeliest one's probability (Nguyen et al.
    2024, §3). Each looks at what the one before it left. seen (rows, V) bool, tokens that the text has: their logits
    are divided by repetition_penalty where positive, multiplied where not (Keskar et al. 2019, §4.1). At temperature 0
    the likeliest token has all.
    """
    logits = logits.float()
    if seen is not None:
        lower = torch.where(logits > 0, logits / how.repetition_penalty, logits * how.repetition_penalty)
        logits = torch.where(seen, lower, logits)
    if how.temperature == 0:
        return torch.zeros_like(logits).scatter_(1, logits.argmax(dim=1, keepdim=True), 1.0)
    p = (logits / how.temperature).softmax(dim=1)
    if how.top_k is not None and how.top_k < p.shape[1]:
        p = p.masked_fill(p < p.topk(how.top_k).values[:, -1:], 0.0)
    if how.top_p is not None:
        value, index = (p / p.sum(dim=1, keepdim=True)).sort(dim=1, descending=True, stable=True)
        before = value.cumsum(dim=1) - value  # what likelier tokens sum to
        p = p.masked_fill((before >= how.top_p).scatter(1, index, before >= how.top_p), 0.0)
    if how.min_p is not None:
        p = p.masked_fill(p < how.min_p * p.amax(dim=1, keepdim=True), 0.0)
    return p / p.sum(dim=1, keepdim=True)


def draw(p: Tensor, u: Tensor) -> Tensor:
    """The token at which the sum of p (rows, V) passes u (rows,) in [0, 1): (rows,)."""
    if len(p) == 1:  # numpy's sum of one row is several times faster
        sums = np.cumsum(p[0].cpu().numpy(), dtype=np.float64)
        return torch.tensor([np.searchsorted(sums, float(u) * sums[-1], side="right")], device=p.device)
    total = p.double().cumsum(dim=1)
    return (total <= u[:, None] * total[:, -1:]).sum(dim=1)


def likeliest(logits: Tensor) -> Tensor:
    """(rows, V) -> (rows,)."""
    if logits.device.type == "cpu":  # numpy's is ten times faster
        return torch.from_numpy(logits.numpy().argmax(axis=1))
    return logits.argmax(dim=1)


def unwatched(logits: Tensor, p: Tensor) -> None:
    """Nobody is told."""


@torch.no_grad()
def sample(
    model: Any,
    prompts: Sequence[Sequence[int]],
    how: SampleConfig,
    *,
    steps: int,
    first: int = 0,
    watch: Callable[[Tensor, Tensor], None] = unwatched,
) -> Iterator[tuple[Tensor, Tensor]]:
    """The next token of each text (rows,), and its log-probability under the model (rows,), `steps` times.

    Text i draws from its own stream of numbers, (how.seed, first + i): it is the same in any batch. A text longer than
    the model reads is read anew from its later half on. watch: is told of each step's logits and of the probabilities
    that are drawn from, (rows, V) both.
    """
    device = model.token.weight.device
    streams = [np.random.default_rng([how.seed, first + i]) for i in range(len(prompts))]
    texts = [list(prompt) for prompt in prompts]
    seen = None
    if how.repetition_penalty != 1:
        seen = torch.zeros(len(texts), model.token.num_embeddings, dtype=torch.bool, device=device)
        for row, text in enumerate(texts):
            seen[row, text] = True
    plain = how.temperature == 0 and seen is None and watch is unwatched  # the likeliest is known without the rest
    hidden, cache = read(model, texts, steps)
    for step in range(1, steps + 1):
        logits = model.logits(hidden).float()
        if plain:
            token = likeliest(logits)
        else:
            u = torch.tensor([stream.random() for stream in streams], dtype=torch.float64, device=device)
            p = distribution(logits, how, seen)
            watch(logits, p)
            token = draw(p, u)
        yield token, -F.cross_entropy(logits, token, reduction="none")
        for text, i in zip(texts, token.tolist(), strict=True):
            text.append(i)
        if seen is not None:
            seen.scatter_(1, token[:, None], True)
        if cache.length < cache.room:
            hidden = model(token[:, None], cache=cache).hidden[:, -1]
        elif step < steps:
            half = model.config.max_length // 2
            hidden, cache = read(model, [text[-half:] for text in texts], steps - step)


def read(model: Any, texts: Sequence[Sequence[int]], steps: int) -> tuple[Tensor, Any]:
    """Read texts of any lengths, with room for so many tokens more: the last states (rows, d_model), and the cache.

    Shorter texts are padded on the left; what is longer than the model reads loses its beginning.
    """
    longest = model.config.max_length
    kept = [text[-longest:] for text in texts]
    width = max(map(len, kept))
    ids, position = np.zeros((2, len(kept), width), dtype=np.int64)
    for row, text in enumerate(kept):
        ids[row, width - len(text) :] = text
        position[row, width - len(text) :] = np.arange(len(text))
    device = model.token.weight.device
    ragged = any(len(text) < width for text in kept)
    cache = model.cache(len(kept), min(width + steps, longest), ragged=ragged)
    places = torch.from_numpy(position).to(device) if ragged else None
    return model(torch.from_numpy(ids).to(device), places, cache).hidden[:, -1], cache
