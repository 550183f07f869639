"""Beams beside all continuations; guesses of a smaller model leave what is written as it would be."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from clew.config import SampleConfig
from clew.decode.likeliest import beam, speculate
from clew.decode.sample import distribution, sample
from clew.errors import ClewError
from clew.inputs import Tokens
from clew.models.gpt2 import GPT2, GPT2Config

V = 5


def make(seed: int, layers: int = 1) -> GPT2:
    torch.manual_seed(seed)
    model = GPT2(GPT2Config(d_model=8, n_heads=2, n_layers=layers, max_length=12, dropout=0.0), Tokens(V)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model


@torch.no_grad()
def log_p(model: GPT2, prompt: list[int], rest: tuple[int, ...]) -> float:
    ids = torch.tensor([[*prompt, *rest]])
    found = model.logits(model(ids[:, :-1]).hidden[0]).log_softmax(dim=1)
    return float(found[torch.arange(len(prompt) - 1, ids.shape[1] - 1), ids[0, len(prompt) :]].sum())


def test_a_wide_beam_finds_the_likeliest_of_all() -> None:
    model, prompts = make(1, 2), [[1, 2, 3], [4]]
    found = beam(model, prompts, width=V * V, steps=3, end_id=99, length_penalty=0.0)
    for prompt, hypotheses in zip(prompts, found, strict=True):
        every = sorted(product(range(V), repeat=3), key=lambda rest: -log_p(model, prompt, rest))
        assert tuple(hypotheses[0].ids) == every[0]
        assert hypotheses[0].score == pytest.approx(log_p(model, prompt, every[0]), abs=1e-4)
        assert tuple(hypotheses[1].ids) == every[1]


def test_a_beam_that_does_not_fit_is_told() -> None:
    with pytest.raises(ClewError, match="longer than the model reads"):
        beam(make(1), [[1]], width=2, steps=12, end_id=0, length_penalty=0.0)


def test_greedy_guessing_writes_what_greedy_writes() -> None:
    model, how = make(2, 2), SampleConfig(temperature=0)
    wanted = [int(token) for token, _ in sample(model, [[1, 2]], how, steps=9)]
    for draft in (make(3), model):
        for ahead in (1, 3, 20):
            assert [*speculate(model, draft, [1, 2], how, steps=9, ahead=ahead)] == wanted


@torch.no_grad()
def test_guessed_texts_are_distributed_as_the_model_has_it() -> None:
    model, draft, prompt = make(4, 2), make(5), [1, 2]
    wanted = np.zeros((V, V))
    first = distribution(model.logits(model(torch.tensor([prompt])).hidden[0, -1:]), SampleConfig())[0]
    for i in range(V):
        logits = model.logits(model(torch.tensor([[*prompt, i]])).hidden[0, -1:])
        wanted[i] = first[i] * distribution(logits, SampleConfig())[0]
    found, n = np.zeros((V, V)), 600
    for seed in range(n):
        a, b = speculate(model, draft, prompt, SampleConfig(seed=seed), steps=2, ahead=2)
        found[a, b] += 1 / n
    assert 0.5 * np.abs(found - wanted).sum() < 0.09  # of 600 fair draws from such a table: 0.05 on average
    other = np.zeros(V)
    logits = draft.logits(draft(torch.tensor([prompt])).hidden[0, -1:])
    other[:] = distribution(logits, SampleConfig())[0]
    assert 0.5 * np.abs(other - wanted.sum(axis=1)).sum() > 0.2  # the draft alone would show


def test_what_cannot_be_guessed_is_told() -> None:
    with pytest.raises(ClewError, match="cannot be guessed ahead"):
        [*speculate(make(1), make(2), [1], SampleConfig(repetition_penalty=2.0), steps=3)]
