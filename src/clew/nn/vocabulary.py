"""Cross-entropy over a vocabulary: the equation, and an engine that never holds all the logits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from clew.nn.embedding import check_ids
from clew.nn.linear import product

BYTES_AT_ONCE = 2048  # of a word's logits: 512 rows in float32; with 8,000 words they stay near the core


def smoothed_cross_entropy(logits: Tensor, target: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    """Σ_n [(1-ε)(-log p_n(y_n)) + ε/V Σ_v -log p_n(v)] (Szegedy et al. 2016, §7), and Σ_n -log p_n(y_n).

    logits (N, V), target (N,) ids; both results are scalars, the second without gradient.
    """
    log_p = logits.log_softmax(dim=-1)
    nll = -log_p.gather(1, target[:, None]).sum()
    uniform = -log_p.mean(dim=-1).sum()
    return (1 - smoothing) * nll + smoothing * uniform, nll.detach()


def _gradient(logits: Tensor, bias: Tensor, target: Tensor, share: float) -> tuple[Tensor, Tensor, Tensor]:
    """softmax(logits + bias) - share · onehot(target), (N, V) in the logits' own precision, computed in a wider one.

    Also log Σ exp(logits + bias) and (logits + bias)[target], (N,) each. May write over the logits.
    """
    if logits.device.type == "cpu" and logits.dtype in (torch.float32, torch.bfloat16):
        from clew.nn.elementwise import cross_entropy_rows, numbers  # numba is imported where it is used

        check_ids(target, len(bias), "target")  # compiled code would read outside the row
        logits, (log_z, gold) = logits.contiguous(), bias.new_empty(2, len(logits))
        rows, added, words = numbers(logits), numbers(bias), numbers(target)
        cross_entropy_rows(rows, added, words, share, log_z.numpy(), gold.numpy())
        return logits, log_z, gold
    wide = logits + bias
    log_z, gold = wide.logsumexp(dim=-1), wide.gather(1, target[:, None])[:, 0]
    p = wide.sub_(log_z[:, None]).exp_()
    p.scatter_add_(1, target[:, None], p.new_full((len(target), 1), -share))
    return p.to(logits.dtype), log_z, gold


class _LinearCrossEntropy(torch.autograd.Function):
    """Computes the gradients while the logits of a chunk are at hand: ∂L/∂logits = p - (1-ε) onehot(y) - ε/V.

    The last term, and the sum of all logits that the smoothing needs, are the same for every row: they are taken out
    of the chunks, as Σ_n Σ_v logits_nv = Σ_n h_n · Σ_v w_v + N Σ_v b_v.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, target: Tensor, smoothing: float, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        h_all, table = hidden.to(dtype), weight.to(dtype)  # of the products
        wide = torch.promote_types(dtype, torch.float32)  # of the softmax and of every sum
        bias_wide = bias.to(wide)
        total, nll = bias_wide.new_zeros(2)
        d_hidden, d_table = torch.empty_like(h_all), bias_wide.new_empty(hidden.shape[1], len(weight))
        d_bias, rows = torch.zeros_like(bias_wide), BYTES_AT_ONCE // dtype.itemsize
        chunks = zip(*(part.split(rows) for part in (h_all, target, d_hidden)), strict=True)
        for n, (h, y, d_h) in enumerate(chunks):
            d_logits, log_z, gold = _gradient(product(h, table), bias_wide, y, 1 - smoothing)  # (rows, V)
            chunk_nll = (log_z - gold).sum()
            nll += chunk_nll
            total += (1 - smoothing) * chunk_nll + smoothing * log_z.sum()
            if any(ctx.needs_input_grad):
                d_h.copy_(product(d_logits, table.t()))
                part = product(h.t(), d_logits.t())  # (d, V), which needs no copy of the logits
                d_table.add_(part) if n else d_table.copy_(part)
            if ctx.needs_input_grad[2]:
                d_bias += d_logits.sum(dim=0, dtype=wide)
        if smoothing:
            each = smoothing / len(weight)
            sum_hidden, sum_table = h_all.sum(dim=0, dtype=wide), table.sum(dim=0, dtype=wide)
            total -= each * (sum_hidden @ sum_table + len(hidden) * bias_wide.sum())
            d_hidden -= each * sum_table
            d_table -= each * sum_hidden[:, None]
            d_bias -= each * len(hidden)
        ctx.save_for_backward(d_hidden.to(hidden.dtype), d_table.to(weight.dtype), d_bias.to(bias.dtype))
        ctx.mark_non_differentiable(nll)
        return total, nll

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_total: Tensor, _d_nll: Tensor) -> tuple[Any, ...]:
        d_hidden, d_table, d_bias = ctx.saved_tensors
        d_weight = d_table.t().clone(memory_format=torch.contiguous_format).mul_(d_total)
        return d_hidden * d_total, d_weight, d_bias * d_total, None, None, None


def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, bias: Tensor, target: Tensor, smoothing: float
) -> tuple[Tensor, Tensor]:
    """`smoothed_cross_entropy(hidden @ weightᵀ + bias, target, smoothing)`, a few rows at a time.

    hidden (N, D), weight (V, D), bias (V,), target (N,). Under autocast the products run in the lower precision and
    the softmax in float32. It can be differentiated once.
    """
    if not torch.is_grad_enabled():
        hidden, weight, bias = hidden.detach(), weight.detach(), bias.detach()  # spare the gradients' work
    kind = hidden.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
    with torch.autocast(kind, enabled=False):
        return _LinearCrossEntropy.apply(hidden, weight, bias, target, smoothing, dtype)
