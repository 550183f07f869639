"""The loss of running text against one written as a loop."""

from __future__ import annotations

import torch

from clew.batches import Block
from clew.inputs import Tokens
from clew.models.gpt2 import GPT2, GPT2Config
from clew.objectives.language_model import LanguageModel, LanguageModelConfig


def test_the_loss_is_a_sum_over_tokens() -> None:
    torch.manual_seed(0)
    model = GPT2(GPT2Config(d_model=16, n_heads=2, n_layers=1, max_length=8, dropout=0.0), Tokens(20))
    ids = torch.randint(0, 20, (3, 7))
    counted = torch.rand(3, 6) < 0.6
    for only in (None, counted):
        batch = Block(ids[:, :-1], ids[:, 1:], torch.arange(3), counted=only)
        loss = LanguageModel(LanguageModelConfig())(model, batch)
        total, n = torch.zeros(()), 0
        for row in range(3):
            for t in range(6):
                if only is None or only[row, t]:
                    logits = model.logits(model(ids[row : row + 1, : t + 1]).hidden[0, -1])
                    total, n = total - logits.log_softmax(dim=0)[ids[row, t + 1]], n + 1
        assert loss.count == n
        assert torch.allclose(loss.total, total, atol=1e-4)
        found = torch.autograd.grad(loss.total, [*model.parameters()])
        wanted = torch.autograd.grad(total, [*model.parameters()])
        assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(found, wanted, strict=True))
