"""Greedy and beam search, over any translator with `encode`, `start`, `step` and `project`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from clew.models.encoder_translator import EncoderTranslator
from clew.models.translator import Translator


@dataclass
class Hypothesis:
    """Ids without <s> and </s>, and the score: log-probability / length ** length_penalty.

    length counts </s> where the search wrote it; a hypothesis that was cut at its longest has none.
    """

    ids: list[int]
    score: float


@dataclass
class Limits:
    """What a search needs to know beside the model. `max_length` counts tokens with </s>."""

    bos_id: int
    eos_id: int
    max_length: int = 128
    length_penalty: float = 1.0

    def of(self, mask: Tensor) -> Tensor:
        """The longest output allowed for each sentence (batch,): a model gone astray stops at 2·source + 20."""
        return (2 * mask.sum(dim=1) + 20).clamp(max=self.max_length)


class Listener(Protocol):
    """Is told of every step of a beam search, as `beam_search` names things (see `decode/tree.py`).

    over (groups, beam): which of the best extensions ended; ranks (groups, beam): which go on, in the groups `going`.
    """

    def __call__(
        self, where: Tensor, going: Tensor, value: Tensor, token: Tensor, row: Tensor, over: Tensor, ranks: Tensor
    ) -> None: ...


@torch.inference_mode()
def greedy(model: Translator, source: Tensor, mask: Tensor, limits: Limits) -> list[list[Hypothesis]]:
    """The likeliest next token at every step: one hypothesis for each of source (batch, S)."""
    cache = model.start(model.encode(source, mask))
    longest = limits.of(mask).tolist()
    where = list(range(len(source)))  # which sentence each row decodes
    tokens = torch.full((len(source),), limits.bos_id, device=source.device)
    ids: list[list[int]] = [[] for _ in where]
    total, score = [0.0 for _ in where], [0.0 for _ in where]
    for length in range(1, max(longest) + 1):
        log_p, token = likeliest(model, model.step(tokens, cache), 1)
        tokens, going = token.squeeze(1), []
        for row, (sentence, gained, word) in enumerate(
            zip(where, log_p.squeeze(1).tolist(), tokens.tolist(), strict=True)
        ):
            total[sentence] += gained
            if word != limits.eos_id:
                ids[sentence].append(word)
            if word != limits.eos_id and length < longest[sentence]:
                going.append(row)
            else:
                score[sentence] = total[sentence] / length**limits.length_penalty
        if len(going) < len(where):
            where, kept = [where[row] for row in going], torch.tensor(going, dtype=torch.long, device=source.device)
            if not going:
                break
            cache.keep(kept, kept)
            tokens = tokens[kept]
    return [[Hypothesis(*pair)] for pair in zip(ids, score, strict=True)]


@torch.inference_mode()
def beam_search(
    model: Translator, source: Tensor, mask: Tensor, limits: Limits, beam: int, listener: Listener | None = None
) -> list[list[Hypothesis]]:
    """The `beam` best hypotheses found for each sentence, best first.

    At each step every live hypothesis is extended by every token; of a sentence's 2·beam best extensions, those that
    end (among the first `beam`) are put aside and the first `beam` others live on. A sentence is done when `beam` have
    ended, whatever still lives: under a length penalty a longer one might have come to score better. To wait until none
    can is to search to the longest length nearly always; a wider beam waits longer, and costs less.
    """
    sentences, device = len(source), source.device
    cache = model.start(model.encode(source, mask), beam)
    longest = limits.of(mask)
    where = torch.arange(sentences, device=device)  # which sentence each group of `beam` rows decodes
    history = torch.empty(sentences * beam, 0, dtype=torch.long, device=device)
    live = torch.full((sentences, beam), -torch.inf, device=device)  # log-probabilities; at first one hypothesis lives
    live[:, 0] = 0.0
    tokens = torch.full((sentences * beam,), limits.bos_id, device=device)
    ended: list[list[Hypothesis]] = [[] for _ in range(sentences)]
    for length in range(1, int(longest.max()) + 1):
        log_p, token = likeliest(model, model.step(tokens, cache), 2 * beam)
        value, token, row = best_extensions(log_p, token, live, 2 * beam)
        ends = token == limits.eos_id
        last = longest[where] <= length  # nothing may go on: the first `beam` end as they are
        over = (ends | last[:, None])[:, :beam]
        for group, rank in over.nonzero().tolist():
            if value[group, rank].isfinite():
                ids = history[group * beam + row[group, rank]].tolist()
                if not ends[group, rank]:
                    ids.append(int(token[group, rank]))
                score = value[group, rank].item() / length**limits.length_penalty
                ended[int(where[group])].append(Hypothesis(ids, score))
        unfinished = [g for g, s in enumerate(where.tolist()) if not last[g] and len(ended[s]) < beam]
        going = torch.tensor(unfinished, dtype=torch.long, device=device)
        ranks = ends.to(torch.int8).argsort(dim=1, stable=True)[:, :beam]  # the first that go on
        if listener is not None:
            listener(where, going, value, token, row, over, ranks)
        if len(going) == 0:
            break
        live, token, row = (part[going].gather(1, ranks[going]) for part in (value, token, row))
        origin = going[:, None] * beam + row  # (groups, beam) the row that each new hypothesis extends
        tokens = token.flatten()
        history = torch.cat([history[origin.flatten()], tokens[:, None]], dim=1)
        if len(going) < len(where):
            where = where[going]
            cache.keep(going, origin.flatten())
        else:
            cache.reorder(origin.flatten())
    return [sorted(found, key=lambda hypothesis: -hypothesis.score)[:beam] for found in ended]


def best_extensions(log_p: Tensor, token: Tensor, live: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """The n best one-token extensions of each group's hypotheses, best first.

    log_p, token (groups·beam, m): the likeliest next tokens of each hypothesis; live (groups, beam): its
    log-probability so far. Returns log-probability, token and hypothesis, each (groups, n).
    """
    groups, m = len(live), log_p.shape[1]
    value, index = (log_p + live.view(-1, 1)).view(groups, -1).topk(n, dim=-1)
    return value, token.view(groups, -1).gather(1, index), index // m


def likeliest(model: Translator, hidden: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """The n likeliest tokens after each of hidden (rows, d), or all: log-probabilities and ids, (rows, n), best first.

    64 rows at a time, so that their logits stay in the processor's cache.
    """
    found = []
    for rows in hidden.split(64):
        logits = model.project(rows).float()  # (64, V)
        value, token = top(logits, min(n, logits.shape[1]))
        gap = logits.sub_(value[:, :1]).exp_().sum(dim=-1, keepdim=True).log_()  # of the best to log Σ exp
        found.append((value - value[:, :1] - gap, token))
    return torch.cat([value for value, _ in found]), torch.cat([token for _, token in found])


def top(logits: Tensor, n: int, width: int = 64) -> tuple[Tensor, Tensor]:
    """`logits.topk(n)`, faster over many: the n best lie in the n groups of `width` words with the best maxima."""
    groups = logits.shape[1] // width
    if groups <= n or len(logits) == 1:
        value, token = logits.topk(n, dim=-1)
        return value, token
    within = torch.arange(width, device=logits.device)
    body = logits[:, : groups * width].unflatten(1, (groups, width))
    best = body.amax(dim=-1).topk(n, dim=-1).indices  # (rows, n)
    rest = torch.arange(groups * width, logits.shape[1], device=logits.device).expand(len(logits), -1)
    ids = torch.cat([(best[:, :, None] * width + within).flatten(1), rest], dim=1)
    value, where = logits.gather(1, ids).topk(n, dim=-1)
    return value, ids.gather(1, where)


@torch.inference_mode()
def all_at_once(model: EncoderTranslator, source: Tensor, mask: Tensor, limits: Limits) -> list[list[Hypothesis]]:
    """The likeliest token at every position of a model that writes them all in parallel, cut at the first </s>."""
    longest = limits.of(mask)
    logits = model.project(model.write(source, mask, int(longest.max()))).float()  # (batch, T, V)
    best, tokens = (logits - logits.logsumexp(dim=-1, keepdim=True)).max(dim=-1)
    found = []
    for ids, log_p, limit in zip(tokens.tolist(), best, longest.tolist(), strict=True):
        end = ids.index(limits.eos_id) if limits.eos_id in ids[:limit] else limit
        written = min(end + 1, limit)  # with </s>, where there is one
        score = log_p[:written].sum().item() / written**limits.length_penalty
        found.append([Hypothesis(ids[:end], score)])
    return found


def search(
    model: Any, source: Tensor, mask: Tensor, limits: Limits, beam: int, listener: Listener | None = None
) -> list[list[Hypothesis]]:
    """The search that suits the model and the beam: for each sentence its hypotheses, best first.

    listener: of a beam search, which it makes of a greedy one.
    """
    if model.parallel:
        return all_at_once(model, source, mask, limits)
    if beam == 1 and listener is None:
        return greedy(model, source, mask, limits)
    return beam_search(model, source, mask, limits, beam, listener)
