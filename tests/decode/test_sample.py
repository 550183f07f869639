"""Drawing the next token: each cut of the distribution by hand, the draw, and the loop beside the naive one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from clew.config import SampleConfig
from clew.decode.sample import distribution, draw, sample
from clew.inputs import Tokens
from clew.models.gpt2 import GPT2, GPT2Config

P = torch.tensor([[0.4, 0.3, 0.2, 0.1]])


def cut(**how: Any) -> list[float]:
    return [round(value, 4) for value in distribution(P.log(), SampleConfig(**how))[0].tolist()]


@pytest.mark.parametrize(
    ("how", "kept"),
    [
        ({}, [0.4, 0.3, 0.2, 0.1]),
        ({"temperature": 0}, [1, 0, 0, 0]),
        ({"temperature": 0.5}, [0.5333, 0.3, 0.1333, 0.0333]),
        ({"top_k": 2}, [0.5714, 0.4286, 0, 0]),
        ({"top_k": 9}, [0.4, 0.3, 0.2, 0.1]),
        ({"top_p": 0.69}, [0.5714, 0.4286, 0, 0]),
        ({"top_p": 0.71}, [0.4444, 0.3333, 0.2222, 0]),
        ({"top_p": 0.01}, [1, 0, 0, 0]),
        ({"min_p": 0.6}, [0.5714, 0.4286, 0, 0]),
        ({"top_k": 3, "top_p": 0.7}, [0.5714, 0.4286, 0, 0]),
    ],
)
def test_what_is_kept_of_a_distribution(how: dict[str, Any], kept: list[float]) -> None:
    assert cut(**how) == pytest.approx(kept, abs=1e-4)


def test_tokens_of_the_text_are_penalised() -> None:
    logits, seen = torch.tensor([[2.0, -1.0, 1.0]]), torch.tensor([[True, True, False]])
    found = distribution(logits, SampleConfig(repetition_penalty=2.0), seen)
    assert torch.allclose(found, torch.tensor([[1.0, -2.0, 1.0]]).softmax(dim=1))


def test_the_draw_is_where_the_sum_passes_u() -> None:
    u = torch.tensor([0.0, 0.39, 0.41, 0.69, 0.71, 0.999])
    assert draw(P.expand(6, -1), u).tolist() == [0, 0, 1, 1, 2, 3]
    assert draw(torch.tensor([[0.0, 1.0, 0.0]]), torch.tensor([0.0])).tolist() == [1]


def make() -> GPT2:
    torch.manual_seed(1)
    model = GPT2(GPT2Config(d_model=32, n_heads=2, n_layers=2, max_length=16, dropout=0.0), Tokens(30)).eval()
    for parameter in model.parameters():  # far from an even distribution
        torch.nn.init.normal_(parameter, std=0.4)
    return model


def naive(model: GPT2, prompt: list[int], how: SampleConfig, steps: int, row: int) -> list[int]:
    """The whole text read anew for each token, as the equation says."""
    text, stream = list(prompt), np.random.default_rng([how.seed, row])
    for _ in range(steps):
        logits = model.logits(model(torch.tensor([text])).hidden[:, -1])
        seen = torch.zeros(1, 30, dtype=torch.bool)
        seen[0, text] = True
        p = distribution(logits, how, seen)
        text.append(int(draw(p, torch.tensor([stream.random()]))))
    return text[len(prompt) :]


@pytest.mark.parametrize(
    "how",
    [
        {"temperature": 0},
        {"temperature": 1.3},
        {"top_k": 5, "seed": 7},
        {"top_p": 0.8, "repetition_penalty": 1.5},
        {"min_p": 0.1},
    ],
)
def test_the_cached_batch_writes_what_the_naive_loop_writes(how: dict[str, Any]) -> None:
    model, settings = make(), SampleConfig(**how)
    prompts = [[3, 4, 5, 6, 7], [8], [9, 10]]
    steps = [token for token, _ in sample(model, prompts, settings, steps=9)]
    found = torch.stack(steps, dim=1).tolist()
    with torch.no_grad():
        assert found == [naive(model, prompt, settings, 9, row) for row, prompt in enumerate(prompts)]


def test_a_text_is_the_same_in_any_batch() -> None:
    model, how = make(), SampleConfig()
    together = torch.stack([t for t, _ in sample(model, [[1, 2], [3], [4, 5, 6]], how, steps=8)], dim=1)
    alone = torch.stack([t for t, _ in sample(model, [[4, 5, 6]], how, steps=8, first=2)], dim=1)
    assert together[2].tolist() == alone[0].tolist()
    other = torch.stack([t for t, _ in sample(model, [[4, 5, 6]], SampleConfig(seed=2), steps=8, first=2)], dim=1)
    assert other.tolist() != alone.tolist()


def test_a_text_may_outgrow_what_the_model_reads() -> None:
    model, how = make(), SampleConfig(temperature=0)
    prompt = list(range(20))  # of which the model reads the last 16
    found = [int(token) for token, _ in sample(model, [prompt], how, steps=30)]
    assert len(found) == 30
    text = prompt[-16:]
    with torch.no_grad():
        for token in found:
            assert token == int(model.logits(model(torch.tensor([text])).hidden[0, -1]).argmax())
            text = [*text, token] if len(text) < 16 else [*text, token][-8:]


def test_the_log_probability_is_the_models() -> None:
    model = make()
    (token, log_p), *_ = sample(model, [[1, 2, 3]], SampleConfig(temperature=0.3), steps=1)
    with torch.no_grad():
        expected = model.logits(model(torch.tensor([[1, 2, 3]])).hidden[0, -1]).log_softmax(dim=0)[token]
    assert torch.allclose(log_p, expected, atol=1e-5)


def test_who_watches_sees_what_is_drawn_from() -> None:
    model, how, told = make(), SampleConfig(top_k=3, temperature=0.5), []
    drawn = [*sample(model, [[1, 2, 3]], how, steps=5, watch=lambda logits, p: told.append((logits.clone(), p)))]
    assert len(told) == 5
    for (token, log_p), (logits, p) in zip(drawn, told, strict=True):
        assert p[0, token] > 0 and int((p > 0).sum()) == 3
        torch.testing.assert_close(logits.log_softmax(dim=1)[0, token], log_p)
        torch.testing.assert_close(distribution(logits, how), p)
