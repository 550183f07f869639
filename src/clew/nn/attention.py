"""Attention: the score as a function, the equation that uses it, and the multi-head module.

What is faster than the equation, or the same for batches of other shapes, is in `attention_engine.py`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clew.nn.attention_engine import (
    KeyValues,
    engine_pays,
    fast_attention,
    look_back,
    look_within_rows,
    turned,
)
from clew.nn.causal import earlier
from clew.nn.dropout import dropout
from clew.nn.linear import Linear, linear
from clew.nn.packing import Packing, chosen
from clew.nn.positions import rotate
from clew.nn.taps import Tap


class Score(nn.Module):
    """How well each query matches each key: `score(query (…, T, d_q), prepared (…, S, d)) -> (…, T, S)`.

    `prepare(key)` does the part that depends on the key alone, once; decoding keeps its result between steps.
    """

    def prepare(self, key: Tensor) -> Tensor:
        return key


class Dot(Score):
    """q·k (Luong et al. 2015, eq. 8)."""

    scale: float | None = 1.0  # of q·k, for engines

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        return query @ key.transpose(-2, -1)


class ScaledDot(Dot):
    """q·k / √d_k (Vaswani et al. 2017, eq. 1): keeps the variance of the scores at that of their terms."""

    scale = None  # 1 / √d_k

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        return query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])


class General(Score):
    """qᵀ W k (Luong et al. 2015, eq. 8)."""

    def __init__(self, d_query: int, d_key: int) -> None:
        super().__init__()
        self.W = nn.Linear(d_key, d_query, bias=False)

    def prepare(self, key: Tensor) -> Tensor:
        return self.W(key)  # (…, S, d_query)

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        return query @ key.transpose(-2, -1)


class Additive(Score):
    """vᵀ tanh(W q + U k) (Bahdanau et al. 2015, appendix A.1.2)."""

    def __init__(self, d_query: int, d_key: int, d_hidden: int) -> None:
        super().__init__()
        self.W = nn.Linear(d_query, d_hidden, bias=False)
        self.U = nn.Linear(d_key, d_hidden)
        self.v = nn.Linear(d_hidden, 1, bias=False)

    def prepare(self, key: Tensor) -> Tensor:
        return self.U(key)  # (…, S, d_hidden)

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        both = self.W(query)[..., :, None, :] + key[..., None, :, :]  # (…, T, S, d_hidden)
        return self.v(torch.tanh(both)).squeeze(-1)


class Cosine(Score):
    """τ · cos(q, k), with a learned τ > 0: a cosine alone lies in [-1, 1] and cannot make a sharp softmax."""

    def __init__(self, temperature: float = 10.0) -> None:
        super().__init__()
        self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)))

    def prepare(self, key: Tensor) -> Tensor:
        return F.normalize(key, dim=-1)

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        return self.log_temperature.exp() * (F.normalize(query, dim=-1) @ key.transpose(-2, -1))


class Projected(Score):
    """score(W_q q, W_k k): what is compared are maps of the states (Vaswani et al. 2017, §3.2.2, with one head).

    Both begin as `gain` times the identity. A dot product is as sharp as its queries and keys are long, and states of
    an LSTM are shorter than the variance of 1 that the scale √d_k presumes: their scores begin all but equal, whatever
    the words, and for long nothing is aligned (docs/decisions/0008).
    """

    def __init__(self, score: Score, d: int, gain: float = 2.0) -> None:
        super().__init__()
        self.score = score
        self.W_q, self.W_k = (nn.Linear(d, d, bias=False) for _ in range(2))
        for map in (self.W_q, self.W_k):
            map.weight.data.copy_(gain * torch.eye(d))

    def prepare(self, key: Tensor) -> Tensor:
        return self.score.prepare(self.W_k(key))

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        return self.score(self.W_q(query), key)


def make_score(kind: str, d_query: int, d_key: int) -> Score:
    """The score function of that name: dot, scaled_dot, general, additive or cosine.

    dot, scaled_dot and cosine compare like with like: where d_query differs from d_key, project first.
    """
    if kind in ("dot", "scaled_dot", "cosine") and d_query != d_key:
        raise ValueError(f"{kind} attention needs equal widths, got query {d_query} and key {d_key}")
    makers = {
        "dot": Dot,
        "scaled_dot": ScaledDot,
        "general": lambda: General(d_query, d_key),
        "additive": lambda: Additive(d_query, d_key, d_query),
        "cosine": Cosine,
    }
    return makers[kind]()


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, score: Score) -> tuple[Tensor, Tensor]:
    """softmax(score(q, k)) v, as the equation says; returns (context (…, T, d_v), weights (…, T, S)).

    `key` is what `score.prepare` returned. `mask` broadcasts to (…, T, S), True = may attend; every query must be
    allowed at least one key.
    """
    weights = weigh(query, key, mask, score)
    return weights @ value, weights


def weigh(query: Tensor, key: Tensor, mask: Tensor | None, score: Score) -> Tensor:
    """softmax(score(q, k)), (…, T, S); what is masked has weight 0. A mask of numbers is added to the scores."""
    scores = score(query, key)  # (…, T, S)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    return scores.softmax(dim=-1)


def head_width(d_model: int, n_heads: int) -> int:
    """d_model / n_heads. Raises ValueError where heads of that number cannot share the width."""
    if d_model % n_heads:
        raise ValueError(f"d_model {d_model} is not a multiple of n_heads {n_heads}")
    return d_model // n_heads


class MultiHeadAttention(nn.Module):
    """Concat(head_1 … head_h) W_o with head_i = Attention(Q W_q^i, K W_k^i, V W_v^i) (Vaswani et al. 2017, §3.2.2).

    forward(query (B, T, d_model), memory (B, S, d_model), mask, causal) -> (B, T, d_model): project, turn to the places
    (`rotary`, with its base), attend, merge. `mask` is boolean, or is added to the scores, and broadcasts to (B, heads,
    T, S); causal: the last query sees all keys, each one before it a key less. The other methods are this for batches
    of other shapes.
    """

    def __init__(
        self, d_model: int, n_heads: int, *, dropout: float = 0.0, rotary: bool = False, base: float = 10000.0
    ) -> None:
        super().__init__()
        self.n_heads, self.d_head, self.dropout = n_heads, head_width(d_model, n_heads), dropout
        self.rotary, self.base = rotary, base
        self.query, self.key, self.value, self.output = (Linear(d_model, d_model) for _ in range(4))
        self.score: Dot = ScaledDot()
        self.weights = Tap()

    def forward(self, query: Tensor, memory: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        return self.merge(self.attend(*self.project(query, memory), mask, causal))

    def project(self, query: Tensor, memory: Tensor, start: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (B, heads, T, d_head), keys and values (B, heads, S, d_head); both sides begin at place `start`."""
        q, (k, v) = self.split(self.query(query)), self.keys_values(memory)
        return (rotate(q, start, self.base), rotate(k, start, self.base), v) if self.rotary else (q, k, v)

    def keys_values(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Keys, not turned, and values of what is attended to: two of (B, heads, S, d_head)."""
        return self.split(self.key(memory)), self.split(self.value(memory))

    def split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.d_head)).transpose(1, 2)  # (B, heads, T, d_head)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        """softmax(q kᵀ / √d_head) v within each head: (B, heads, T, d_head).

        By an engine where one is faster, but while someone listens to the tap `weights` (B, heads, T, S) by the
        equation, which alone has them.
        """
        p = self.dropout if self.training else 0.0
        if not self.weights.heard and engine_pays(q, mask, p):
            return fast_attention(q, k, v, mask, causal, p, self.score.scale)
        weights = self.weights(weigh(q, k, earlier(q, k, mask) if causal else mask, self.score))
        return dropout(weights, p, self.training) @ v

    def merge(self, heads: Tensor) -> Tensor:
        return self.output(heads.transpose(1, 2).flatten(2))  # (B, T, d_model)

    def joint(self, x: Tensor, start: int | Tensor = 0) -> Tensor:
        """Queries, keys and values of x in one product, turned as `rotate` says: (…, T, heads, d_head)."""
        parts = (self.query, self.key, self.value)
        bias = None if self.query.bias is None else torch.cat([part.bias for part in parts])
        heads = linear(x, torch.cat([part.weight for part in parts]), bias).unflatten(-1, (-1, self.d_head))
        return turned(heads, self.n_heads, start, self.base) if self.rotary else heads

    def causal(self, x: Tensor, mask: Tensor | None = None, past: Tensor | None = None) -> Tensor:
        """Self-attention of a decoder, of each position to those before it: (B, T, d_model) -> (B, T, d_model).

        mask: who may attend to whom, where that is not simply all that came before. past: keys and values of what came
        before, (2, B, heads, slots, d_head); the last T slots are for x.
        """
        heads = self.joint(x, 0 if past is None else past.shape[3] - x.shape[1])
        return self.merge(look_back(self.attend, heads, self.n_heads, mask, past))

    def packed(self, x: Tensor, packing: Packing, only: Tensor | None = None) -> Tensor:
        """Self-attention within each row of an unpadded batch: (tokens, d_model) -> (tokens, d_model).

        only: (n,) tokens whose context is wanted; the result is theirs, (n, d_model).
        """
        heads = self.joint(x, packing.position if self.rotary else 0)
        padded = x.is_cuda or packing.padded or self.weights.heard
        return self.output(chosen(look_within_rows(self.attend, heads, self.n_heads, packing, padded=padded), only))

    def step(self, query: Tensor, past: KeyValues, mask: Tensor | None = None) -> Tensor:
        """Self-attention of one new position (B, 1, d_model) over the cached ones and itself."""
        q, k, v = self.project(query, query, past.length)
        return self.merge(self.attend(q, *past.append(k, v), mask))

    def look(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        """Attention of (B·beam, 1, d_model) over keys and values (B, heads, S, d_head) projected beforehand.

        The beams of one sentence share its keys and values: they become positions of one batched attention. Raises
        ValueError for rotary attention, since these positions have no places.
        """
        if self.rotary:
            raise ValueError("keys that were projected beforehand are not turned: rotary attention cannot look at them")
        q = self.split(self.query(query.view(len(key), -1, query.shape[-1])))
        return self.merge(self.attend(q, key, value, mask)).view(query.shape)
