"""Muon: its orthogonal step by a decomposition, AdamW for the rest as torch's, and what it remembers."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from clew.nn.embedding import Embedding
from clew.train.optim import AdamW, Muon, orthogonal


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = Embedding(5, 4)
        self.inner = nn.Linear(4, 6)
        self.outer = nn.Linear(6, 4)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.outer(self.inner(self.table(ids)).tanh())


def step(model: Small, optimizer: torch.optim.Optimizer, n: int) -> None:
    for i in range(n):
        optimizer.zero_grad()
        model(torch.arange(5)).square().sum().mul(i + 1).backward()
        optimizer.step()


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 4, 16), (2, 16, 4)])
def test_singular_values_become_nearly_one(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x = torch.randn(shape)
    found = orthogonal(x)
    u, _, v = torch.linalg.svd(x, full_matrices=False)
    assert torch.linalg.svdvals(found).sub(1).abs().max() < 0.5
    inside = u.transpose(1, 2) @ found @ v.transpose(1, 2)  # diagonal: the singular vectors are kept
    assert torch.allclose(inside, torch.diag_embed(inside.diagonal(dim1=1, dim2=2)), atol=1e-4)
    assert (found - u @ v).norm() < 0.45 * (u @ v).norm()


def test_what_is_no_matrix_steps_as_under_adamw() -> None:
    torch.manual_seed(1)
    model = Small()
    for matrix in (model.inner.weight, model.outer.weight):
        matrix.requires_grad_(False)
    other = copy.deepcopy(model)
    settings = {"lr": 0.01, "betas": (0.9, 0.98), "eps": 1e-8, "weight_decay": 0.1}
    step(model, Muon(Muon.Config(**settings))(model), 4)
    step(other, AdamW(AdamW.Config(**settings))(other), 4)
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_the_first_step_of_a_matrix() -> None:
    torch.manual_seed(2)
    model = Small()
    before = model.inner.weight.detach().clone()
    model(torch.arange(5)).square().sum().backward()
    gradient = model.inner.weight.grad
    assert gradient is not None
    wanted = 0.9 * before - 0.5 * 0.2 * 6**0.5 * orthogonal(gradient[None])[0]
    Muon(Muon.Config(lr=0.5, weight_decay=0.2))(model).step()
    assert torch.allclose(model.inner.weight, wanted, atol=1e-5)


def test_matrices_step_as_under_torchs_own() -> None:
    """Nearly: torch's iterations are in bfloat16."""
    torch.manual_seed(4)
    model = nn.Sequential(nn.Linear(32, 16, bias=False), nn.Linear(16, 32, bias=False))
    other, before = copy.deepcopy(model), copy.deepcopy(model)
    settings = {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.1}
    ours = Muon(Muon.Config(**settings))(model)
    theirs = torch.optim.Muon(other.parameters(), **settings, adjust_lr_fn="match_rms_adamw")
    for _ in range(4):
        for a, b in zip(model.parameters(), other.parameters(), strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        ours.step()
        theirs.step()
    for a, b, start in zip(model.parameters(), other.parameters(), before.parameters(), strict=True):
        assert (a - b).norm() <= 0.02 * (b - start).norm()


def test_its_state_is_saved_and_loaded() -> None:
    torch.manual_seed(3)
    model = Small()
    optimizer = Muon(Muon.Config())(model)
    step(model, optimizer, 3)
    again = copy.deepcopy(model)
    resumed = Muon(Muon.Config())(again)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    step(model, optimizer, 2)
    step(again, resumed, 2)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
