"""The training loop: a generator. Logging, validating, saving and stopping belong to the caller's `for`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from clew.config import BudgetConfig
from clew.contracts import Loader, Objective
from clew.errors import NonFiniteLoss
from clew.nn.work import Work
from clew.train.average import Average
from clew.train.budget import Progress, agreed
from clew.train.memory import keep_freed_memory


@dataclass
class Step:
    """One optimizer step: its number, loss and named parts per item, rate, gradient norm, items, tokens read, times."""

    number: int
    loss: float
    parts: dict[str, float]
    lr: float
    grad_norm: float
    count: int
    tokens: int
    cpu_seconds: float
    done: float  # share of the budget used, 1 at the end


def fit(
    model: Any,
    objective: Objective,
    batches: Loader,
    optimizer: Optimizer,
    schedule: Callable[[int, float], float],
    budget: BudgetConfig,
    *,
    progress: Progress | None = None,
    average: Average | None = None,
    accumulate: int = 1,
    clip_norm: float | None = None,
    precision: str = "fp32",
    before_step: Callable[[float], None] | None = None,
) -> Iterator[Step]:
    """Train until the budget is used or the objective is at its minimum, yielding after every optimizer step.

    Losses are sums: gradients of `accumulate` batches add up and are divided once by their common count, so that
    accumulation is exact. `progress` is updated in place; give one that was saved to go on from there.
    `before_step` is told the used share of the budget once the model is in training mode: it may freeze parts of it.
    Of several processes (torch.distributed) all go by the first one's share of the budget.
    Raises NonFiniteLoss (before the weights are touched) naming the batch.
    """
    progress = progress if progress is not None else Progress()
    device = next(model.parameters()).device
    keep_freed_memory()
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    peaks = [group["lr"] for group in optimizer.param_groups]
    peaks = [group.setdefault("peak_lr", peak) for group, peak in zip(optimizer.param_groups, peaks, strict=True)]
    work, stream = Work(model), iter(batches)
    done = agreed(progress.share(budget), device)
    while done < 1 and not objective.finished:
        cpu, wall = time.process_time(), time.perf_counter()
        factor = schedule(progress.step + 1, done)
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * factor
        model.train()
        if before_step is not None:
            before_step(done)
        total, count, tokens, per_token = 0.0, 0, 0, work.training()
        parts: dict[str, float] = {}
        used = []
        for batch in islice(stream, accumulate):
            used.append(batch)
            with autocast(device, precision):
                loss = objective(model, batch.to(device))
            if loss.total.requires_grad:  # a compiled engine has updated its tables by now
                loss.total.backward()
            total, count, tokens = total + loss.total.item(), count + loss.count, tokens + loss.tokens
            for name, value in loss.parts.items():
                parts[name] = parts.get(name, 0.0) + value.item()
            if not math.isfinite(total):
                raise NonFiniteLoss(f"the loss became {total}", where=name_rows(progress.step + 1, [batch]), fix=ADVICE)
        norm = scale_gradients(parameters, count, clip_norm)
        if not math.isfinite(norm):
            where = name_rows(progress.step + 1, used)
            raise NonFiniteLoss(f"the gradient norm became {norm}", where=where, fix=ADVICE)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        progress.step, progress.tokens, progress.epoch = progress.step + 1, progress.tokens + count, batches.epochs_done
        progress.read += tokens
        progress.flops += per_token * tokens + objective.extra_flops()
        if average is not None:
            average.update(progress.step)
        seconds = time.process_time() - cpu
        progress.cpu_seconds += seconds
        progress.wall_seconds += time.perf_counter() - wall
        done = agreed(progress.share(budget), device)
        yield Step(
            progress.step, total / count, {name: value / count for name, value in parts.items()},
            optimizer.param_groups[0]["lr"], norm, count, tokens, seconds, 1.0 if objective.finished else done,
        )  # fmt: skip


ADVICE = "lower train.optimizer.lr, set train.clip_norm, or look at these rows of the training data"


def name_rows(step: int, batches: list[Any]) -> str:
    """Where a failure happened: the step, and the rows of the batches that may have caused it."""
    rows = [row for batch in batches for row in batch.row_numbers()]
    more = f" and {len(rows) - 20} more" if len(rows) > 20 else ""
    return f"step {step}" + (f", data rows {rows[:20]}{more}" if rows else "")


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """bfloat16 where the recipe asks for it."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


@torch.no_grad()
def scale_gradients(parameters: list[nn.Parameter], count: int, clip_norm: float | None) -> float:
    """Turn summed gradients into means over `count`, clip their norm, and return the norm before clipping."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return 0.0
    norm = torch.nn.utils.get_total_norm(gradients).item() / count
    scale = 1.0 if clip_norm is None or norm <= clip_norm else clip_norm / norm
    torch._foreach_mul_(gradients, scale / count)
    return norm
