"""Adafactor beside its equations, written as a loop."""

from __future__ import annotations

import torch
from torch import nn

from clew.nn.embedding import Embedding
from clew.train.optim import Adafactor


def root_mean_square(x: torch.Tensor) -> torch.Tensor:
    return x.square().mean().sqrt()


def test_its_steps_are_those_of_the_paper() -> None:
    torch.manual_seed(4)
    model = nn.ModuleDict({"table": Embedding(7, 5), "inner": nn.Linear(5, 3)})
    optimizer = Adafactor(Adafactor.Config(lr=0.02))(model)
    own = {name: p.detach().clone() for name, p in model.named_parameters()}
    rows = {name: torch.zeros(len(p), 1) for name, p in own.items() if p.ndim == 2}
    columns = {name: torch.zeros(1, p.shape[1]) for name, p in own.items() if p.ndim == 2}
    squares = {name: torch.zeros_like(p) for name, p in own.items() if p.ndim == 1}
    for t in range(1, 5):
        optimizer.zero_grad()
        model["inner"](model["table"](torch.arange(7))).square().sum().mul(3**t).backward()
        gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        optimizer.step()
        beta = 1 - t**-0.8
        for name, g in gradients.items():
            if g.ndim == 2:
                rows[name] = beta * rows[name] + (1 - beta) * g.square().mean(dim=1, keepdim=True)
                columns[name] = beta * columns[name] + (1 - beta) * g.square().mean(dim=0, keepdim=True)
                v = rows[name] * columns[name] / rows[name].mean()
            else:
                v = squares[name] = beta * squares[name] + (1 - beta) * g.square()
            u = g / v.sqrt()
            u = u / max(1.0, float(root_mean_square(u)))
            own[name] -= 0.02 * max(1e-3, float(root_mean_square(own[name]))) * u
    for name, p in model.named_parameters():
        assert torch.allclose(p, own[name], atol=1e-6), name


def test_a_wide_table_moves_as_far_as_its_size_asks() -> None:
    torch.manual_seed(4)
    wide, narrow = Embedding(50, 8), Embedding(50, 8)
    narrow.weight.data = wide.weight.detach() * 0.01
    moved = []
    for table in (wide, narrow):
        before = table.weight.detach().clone()
        optimizer = Adafactor(Adafactor.Config(lr=0.01))(table)
        table(torch.arange(50)).sum().backward()
        optimizer.step()
        moved.append(float(root_mean_square(table.weight.detach() - before) / root_mean_square(before)))
    assert all(abs(each - 0.01) < 1e-4 for each in moved)
