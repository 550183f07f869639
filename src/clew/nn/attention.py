"""Attention: the score as a function, the equation that uses it, and the multi-head module with its fused engine."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clew.nn.dropout import dropout
from clew.nn.linear import Linear, linear
from clew.nn.packing import Packing
from clew.nn.positions import rotate
from clew.nn.softmax import ENGINES, scaled_softmax
from clew.nn.taps import Tap


class Score(nn.Module):
    """How well each query matches each key: `score(query (…, T, d_q), prepared (…, S, d)) -> (…, T, S)`.

    `prepare(key)` does the part that depends on the key alone, once; decoding keeps its result between steps.
    """

    def prepare(self, key: Tensor) -> Tensor:
        return key


class Dot(Score):
    """q·k (Luong et al. 2015, eq. 8)."""

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        return query @ key.transpose(-2, -1)


class ScaledDot(Score):
    """q·k / √d_k (Vaswani et al. 2017, eq. 1): keeps the variance of the scores at that of their terms."""

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
    """softmax(score(q, k)), (…, T, S); what is masked has weight 0."""
    scores = score(query, key)  # (…, T, S)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return scores.softmax(dim=-1)


class KeyValues:
    """Keys and values of the positions decoded so far, each (rows, heads, length, d_head)."""

    def __init__(self) -> None:
        self.keys: Tensor | None = None
        self.values: Tensor | None = None

    @property
    def length(self) -> int:
        return 0 if self.keys is None else self.keys.shape[2]

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Store one more position's (rows, heads, 1, d_head) and return all so far."""
        self.keys = key if self.keys is None else torch.cat([self.keys, key], dim=2)
        self.values = value if self.values is None else torch.cat([self.values, value], dim=2)
        return self.keys, self.values

    def select(self, rows: Tensor) -> None:
        """Keep the given rows, in that order (beam search moves, drops and repeats them)."""
        if self.keys is not None and self.values is not None:
            self.keys, self.values = self.keys.index_select(0, rows), self.values.index_select(0, rows)


def head_width(d_model: int, n_heads: int) -> int:
    """d_model / n_heads. Raises ValueError where heads of that number cannot share the width."""
    if d_model % n_heads:
        raise ValueError(f"d_model {d_model} is not a multiple of n_heads {n_heads}")
    return d_model // n_heads


class MultiHeadAttention(nn.Module):
    """Concat(head_1 … head_h) W_o with head_i = Attention(Q W_q^i, K W_k^i, V W_v^i) (Vaswani et al. 2017, §3.2.2).

    forward(query (B, T, d_model), memory (B, S, d_model), mask, causal) -> (B, T, d_model). Two paths give the same
    result: the equation (`attend`), taken while someone listens to the tap `weights` (B, heads, T, S), and the engine
    that is fastest (`attention`), taken otherwise. `mask` is boolean and broadcasts to (B, heads, T, S). `packed`
    attends within each row of an unpadded batch.
    """

    def __init__(self, d_model: int, n_heads: int, *, dropout: float = 0.0, rotary: bool = False) -> None:
        super().__init__()
        self.n_heads, self.d_head, self.dropout, self.rotary = n_heads, head_width(d_model, n_heads), dropout, rotary
        self.query = Linear(d_model, d_model)
        self.key = Linear(d_model, d_model)
        self.value = Linear(d_model, d_model)
        self.output = Linear(d_model, d_model)
        self.score = ScaledDot()
        self.weights = Tap()

    def split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.n_heads, self.d_head)).transpose(1, 2)  # (B, heads, T, d_head)

    def keys_values(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Project what is attended to: two of (B, heads, S, d_head)."""
        return self.split(self.key(memory)), self.split(self.value(memory))

    def forward(self, query: Tensor, memory: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        q, (k, v) = self.split(self.query(query)), self.keys_values(memory)
        if self.rotary:
            q, k = rotate(q), rotate(k)
        return self.merge(self.attention(q, k, v, mask, causal))

    def merge(self, heads: Tensor) -> Tensor:
        return self.output(heads.transpose(1, 2).flatten(2))  # (B, T, d_model)

    def attention(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        """Attention within each head, (B, heads, T, d_head), by the equation or by the engine.

        On the CPU torch's kernel has no dropout, and its gradient in bfloat16 takes several times the equation's: there
        the equation is the faster of the two, with an engine of its own for its softmax where there is no mask.
        """
        p = self.dropout if self.training else 0.0
        slow = p or (q.dtype == torch.bfloat16 and q.requires_grad)
        if not self.weights.heard and (q.is_cuda or not slow):
            return F.scaled_dot_product_attention(q, k, v, mask, p, is_causal=causal)
        if not self.weights.heard and mask is None and q.device.type == "cpu" and q.dtype in ENGINES:
            q, k, v = (each.contiguous() for each in (q, k, v))
            weights = scaled_softmax(q @ k.transpose(-2, -1), 1 / math.sqrt(self.d_head), causal)
            return dropout(weights, p, self.training) @ v
        if causal:
            mask = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=q.device).tril()
        weights = self.weights(weigh(q, k, mask, self.score))
        return dropout(weights, p, self.training) @ v

    def packed(self, x: Tensor, packing: Packing, only: Tensor | None = None) -> Tensor:
        """Self-attention within each row of an unpadded batch: (tokens, d_model) -> (tokens, d_model).

        only: (n,) tokens whose context is wanted; the result is theirs, (n, d_model).

        On the CPU each run of rows of one length is a dense batch; a GPU, an export and whoever listens get the padded
        batch with its mask.
        """
        qkv = self.joint(x)
        if x.is_cuda or packing.padded or self.weights.heard:
            heads = self.attention(*qkv_of(packing.unpack(qkv)), packing.mask[:, None, None, :], False)
            return self.output(chosen(packing.pack(heads.transpose(1, 2)).flatten(1), only))
        blocks = qkv.split([rows * length for rows, length in packing.runs])
        out = [
            self.attention(*qkv_of(block.unflatten(0, run)), None, False).transpose(1, 2).flatten(0, 1)
            for block, run in zip(blocks, packing.runs, strict=True)
        ]  # each (rows · length, heads, d_head)
        return self.output(chosen(torch.cat(out).flatten(1), only))

    def joint(self, x: Tensor) -> Tensor:
        """The three projections as one product: (…, d_model) -> (…, 3, heads, d_head)."""
        parts = (self.query, self.key, self.value)
        weight, bias = torch.cat([part.weight for part in parts]), torch.cat([part.bias for part in parts])
        return linear(x, weight, bias).unflatten(-1, (3, self.n_heads, self.d_head))

    def heads(self, x: Tensor, start: int) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (B, heads, T, d_head) of x (B, T, d_model), whose first place is `start`."""
        q, k, v = qkv_of(self.joint(x))
        return (rotate(q, start), rotate(k, start), v) if self.rotary else (q, k, v)

    def causal(self, x: Tensor, mask: Tensor | None = None, past: Tensor | None = None) -> Tensor:
        """Self-attention of a decoder, of each position to those before it: (B, T, d_model) -> (B, T, d_model).

        mask: who may attend to whom, where that is not simply all that came before. past: keys and values of what came
        before, (2, B, heads, slots, d_head); the last T slots are for x.
        """
        q, k, v = self.heads(x, 0 if past is None else past.shape[3] - x.shape[1])
        if past is not None:
            past[0, :, :, -q.shape[2] :], past[1, :, :, -q.shape[2] :] = k, v
            k, v = past
        return self.merge(self.attention(q, k, v, mask, causal=mask is None and q.shape[2] > 1))

    def step(self, query: Tensor, past: KeyValues) -> Tensor:
        """Self-attention of one new position (B, 1, d_model) over the cached ones and itself."""
        q, (k, v) = self.split(self.query(query)), self.keys_values(query)
        if self.rotary:
            q, k = rotate(q, past.length), rotate(k, past.length)
        k, v = past.append(k, v)
        return self.merge(self.attention(q, k, v, None, False))

    def look(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        """Attention of (B·beam, 1, d_model) over keys and values (B, heads, S, d_head) projected beforehand.

        The beams of one sentence share its keys and values: they become positions of one batched attention.
        """
        rows = query.shape[0]
        q = self.query(query).view(key.shape[0], -1, self.n_heads, self.d_head).transpose(1, 2)  # (B, heads, beam, d)
        heads = self.attention(q, key, value, mask, False)
        return self.output(heads.transpose(1, 2).reshape(rows, 1, -1))


def chosen(x: Tensor, only: Tensor | None) -> Tensor:
    """These rows of x, or all."""
    return x if only is None else x.index_select(0, only)


def qkv_of(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(B, T, 3, heads, d_head) -> queries, keys and values, each (B, heads, T, d_head)."""
    q, k, v = x.permute(2, 0, 3, 1, 4)
    return q, k, v
