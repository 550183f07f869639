"""Cross-entropy over a vocabulary: the equation, and an engine that never holds all the logits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

ROWS_AT_ONCE = 256  # 256 rows × 8,000 words × 4 bytes stay near the core


def smoothed_cross_entropy(logits: Tensor, target: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    """Σ_n [(1-ε)(-log p_n(y_n)) + ε/V Σ_v -log p_n(v)] (Szegedy et al. 2016, §7), and Σ_n -log p_n(y_n).

    logits (N, V), target (N,) ids; both results are scalars, the second without gradient.
    """
    log_p = logits.log_softmax(dim=-1)
    nll = -log_p.gather(1, target[:, None]).sum()
    uniform = -log_p.mean(dim=-1).sum()
    return (1 - smoothing) * nll + smoothing * uniform, nll.detach()


def _softmax(logits: Tensor, bias: Tensor) -> Tensor:
    """Turn logits (N, V) into softmax(logits + bias) in place; returns log Σ exp(logits + bias), (N,)."""
    if logits.device.type == "cpu" and logits.dtype == torch.float32:
        from clew.nn.elementwise import softmax_rows  # numba is imported where it is used

        log_z = logits.new_empty(len(logits))
        softmax_rows(logits.numpy(), bias.numpy(), log_z.numpy())
        return log_z
    logits += bias
    top = logits.amax(dim=-1, keepdim=True)
    z = logits.sub_(top).exp_().sum(dim=-1, keepdim=True)
    logits.div_(z)
    return (z.log_() + top)[:, 0]


class _LinearCrossEntropy(torch.autograd.Function):
    """Computes the gradients while the logits of a chunk are at hand: ∂L/∂logits = p - (1-ε) onehot(y) - ε/V.

    The last term, and the sum of all logits that the smoothing needs, are the same for every row: they are taken out
    of the chunks, as Σ_n Σ_v logits_nv = Σ_n h_n · Σ_v w_v + N Σ_v b_v.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, target: Tensor, smoothing: float
    ) -> tuple[Tensor, Tensor]:
        wide = torch.promote_types(hidden.dtype, torch.float32)  # of the softmax and of every sum
        bias_wide, each = bias.detach().to(wide), smoothing / len(weight)
        sum_hidden, sum_weight = hidden.sum(dim=0, dtype=wide), weight.sum(dim=0, dtype=wide)
        total = -each * (sum_hidden @ sum_weight + len(hidden) * bias_wide.sum())
        nll = total.new_zeros(())
        needs_gradient = any(ctx.needs_input_grad[:3])
        d_hidden = torch.empty_like(hidden)
        d_weight = (-each * sum_hidden).repeat(len(weight), 1)
        d_bias = torch.full_like(bias_wide, -each * len(hidden))
        buffer = hidden.new_empty(min(ROWS_AT_ONCE, len(hidden)), len(weight), dtype=wide)
        for h, y, d_h in zip(
            hidden.split(ROWS_AT_ONCE), target.split(ROWS_AT_ONCE), d_hidden.split(ROWS_AT_ONCE), strict=True
        ):
            logits = buffer[: len(h)]  # (rows, V); one buffer, written over and over: it stays in the cache
            torch.mm(h, weight.t(), out=logits) if hidden.dtype == wide else logits.copy_(h @ weight.t())
            gold = logits.gather(1, y[:, None])[:, 0] + bias_wide[y]
            log_z = _softmax(logits, bias_wide)
            chunk_nll = (log_z - gold).sum()
            nll += chunk_nll
            total += (1 - smoothing) * chunk_nll + smoothing * log_z.sum()
            if needs_gradient:
                d_logits = logits.scatter_add_(1, y[:, None], logits.new_full((len(y), 1), smoothing - 1))
                d_bias += d_logits.sum(dim=0)
                d_logits = d_logits.to(weight.dtype)
                torch.mm(d_logits, weight, out=d_h)
                d_weight.addmm_(d_logits.t(), h) if weight.dtype == wide else d_weight.add_(d_logits.t() @ h)
        d_hidden -= each * sum_weight
        ctx.save_for_backward(d_hidden, d_weight.to(weight.dtype), d_bias.to(bias.dtype))
        ctx.mark_non_differentiable(nll)
        return total, nll

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_total: Tensor, _d_nll: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        d_hidden, d_weight, d_bias = ctx.saved_tensors
        return d_hidden * d_total, d_weight * d_total, d_bias * d_total, None, None


def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, bias: Tensor, target: Tensor, smoothing: float
) -> tuple[Tensor, Tensor]:
    """`smoothed_cross_entropy(hidden @ weightᵀ + bias, target, smoothing)`, a few rows at a time.

    hidden (N, D), weight (V, D), bias (V,), target (N,). Under autocast the products run in the lower precision and
    the softmax in float32. It can be differentiated once.
    """
    if not torch.is_grad_enabled():
        hidden, weight, bias = hidden.detach(), weight.detach(), bias.detach()  # spare the gradients' work
    if torch.is_autocast_enabled(hidden.device.type):
        dtype = torch.get_autocast_dtype(hidden.device.type)
        hidden, weight, bias = hidden.to(dtype), weight.to(dtype), bias.to(dtype)
    with torch.autocast(hidden.device.type, enabled=False):
        return _LinearCrossEntropy.apply(hidden, weight, bias, target, smoothing)
