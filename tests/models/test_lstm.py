"""The recurrent language model: its equation, where texts begin within a row, and the state that writing carries."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from clew.config import SampleConfig
from clew.decode.likeliest import beam, speculate
from clew.decode.sample import distribution, draw, sample
from clew.decode.writer import writer
from clew.errors import ClewError
from clew.inputs import Tokens
from clew.models.lstm import LSTM, LSTMConfig
from clew.nn.recurrent import lstm_unit

VOCABULARY = 30


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def make(dropout: float = 0.0) -> LSTM:
    torch.manual_seed(3)
    model = LSTM(LSTMConfig(d_model=24, n_layers=2, dropout=dropout), Tokens(VOCABULARY)).eval()
    for parameter in model.parameters():  # biases too, which begin at 0 or 1; far from an even distribution
        parameter.add_(torch.randn_like(parameter) * 0.4)
    return model


def ids(*shape: int) -> torch.Tensor:
    return torch.randint(0, VOCABULARY, shape, generator=torch.Generator().manual_seed(5))


def test_it_is_its_equation_written_as_a_loop() -> None:
    model, text = make(), ids(2, 7)
    weights = dict(model.recurrent.fused.named_parameters())
    states = [(torch.zeros(2, 24), torch.zeros(2, 24)) for _ in range(2)]
    for t in range(7):
        x = model.token.weight[text[:, t]]
        for layer in range(2):
            new = lstm_unit(
                x, states[layer],
                *(weights[f"{part}_l{layer}"] for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")),
            )  # fmt: skip
            states[layer], x = (new["h"], new["c"]), new["h"]
        expected = x @ model.token.weight.T + model.bias
        found = model.logits(model(text).hidden[:, t])
        assert torch.allclose(found, expected, atol=1e-5)


def test_sizes_and_what_is_tied() -> None:
    model, d = make(), 24
    assert sum(p.numel() for p in model.parameters()) == VOCABULARY * d + VOCABULARY + 2 * (8 * d * d + 8 * d)
    assert model.output_table()[0] is model.token.weight


def test_forget_gates_begin_open() -> None:
    model = LSTM(LSTMConfig(d_model=8, n_layers=2), Tokens(VOCABULARY))
    for layer in range(2):
        bias = getattr(model.recurrent.fused, f"bias_ih_l{layer}")
        assert bias.tolist() == [0.0] * 8 + [1.0] * 8 + [0.0] * 16


def test_no_token_sees_a_later_one() -> None:
    model, text = make(), ids(2, 12)
    before = model(text).hidden
    changed = text.clone()
    changed[:, 7] = (changed[:, 7] + 1) % VOCABULARY
    after = model(changed).hidden
    assert torch.allclose(before[:, :7], after[:, :7], atol=1e-6)
    assert not torch.allclose(before[:, 7:], after[:, 7:], atol=1e-3)


def test_documents_in_one_row_are_read_as_if_alone() -> None:
    model, text = make(), ids(2, 12)
    position = torch.tensor([[0, 1, 2, 3, 4, 0, 1, 0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 2]])
    together = model(text, position).hidden
    for row, begin, end in [(0, 0, 5), (0, 5, 7), (0, 7, 12), (1, 0, 9), (1, 9, 12)]:
        alone = model(text[row : row + 1, begin:end]).hidden[0]
        assert torch.allclose(together[row, begin:end], alone, atol=1e-5)


def test_no_gradient_comes_from_another_document() -> None:
    model, text = make(), ids(1, 8)
    with torch.enable_grad():
        x = model.token(text).detach().requires_grad_()
        model.token.forward = lambda _: x  # type: ignore[method-assign]
        model(text, torch.tensor([[0, 1, 2, 3, 0, 1, 2, 3]])).hidden[:, 4:].sum().backward()
    assert x.grad is not None
    assert x.grad[:, :4].abs().max() == 0 and x.grad[:, 4:].abs().min() > 0


def test_the_carried_state_gives_what_reading_at_once_gives() -> None:
    model, text = make(), ids(3, 14)
    whole = model(text).hidden
    cache = model.cache(3, 14)
    parts = [model(part, cache=cache).hidden for part in text.split([5, 1, 1, 4, 3], dim=1)]
    assert torch.allclose(torch.cat(parts, dim=1), whole, atol=1e-5) and cache.length == 14


def test_rows_padded_on_the_left_are_read_as_if_alone() -> None:
    model, text, more = make(), ids(2, 10), ids(2, 3)
    lengths = [10, 4]
    padded, position = torch.zeros(2, 2, 10, dtype=torch.long).unbind()
    for row, length in enumerate(lengths):
        padded[row, 10 - length :], position[row, 10 - length :] = text[row, :length], torch.arange(length)
    cache = model.cache(2, 14, ragged=True)
    found = [model(padded, position, cache).hidden[:, -1:]]
    found += [model(more[:, :1], cache=cache).hidden, model(more[:, 1:], cache=cache).hidden]
    for row, length in enumerate(lengths):
        alone = model(torch.cat([text[row, :length], more[row]])[None]).hidden[0, length - 1 :]
        assert torch.allclose(torch.cat(found, dim=1)[row], alone, atol=1e-5)


def naive(model: LSTM, prompt: list[int], how: SampleConfig, steps: int, row: int) -> list[int]:
    """The whole text read anew for each token, as the equation says."""
    text, stream = list(prompt), np.random.default_rng([how.seed, row])
    for _ in range(steps):
        logits = model.logits(model(torch.tensor([text])).hidden[:, -1])
        text.append(int(draw(distribution(logits, how), torch.tensor([stream.random()]))))
    return text[len(prompt) :]


@pytest.mark.parametrize("how", [SampleConfig(temperature=0), SampleConfig(top_k=5, seed=7)])
def test_writing_in_a_batch_is_the_naive_loop(how: SampleConfig) -> None:
    model = make()
    prompts = [[3, 4, 5, 6, 7], [8], [9, 10]]
    found = torch.stack([token for token, _ in sample(writer(model, "fp32"), prompts, how, steps=40)], dim=1)
    assert found.tolist() == [naive(model, prompt, how, 40, row) for row, prompt in enumerate(prompts)]


def test_a_beam_of_one_hypothesis_is_the_likeliest_text() -> None:
    model, prompts = make(), [[3, 4, 5], [8]]
    found = beam(model, prompts, width=VOCABULARY, steps=2, end_id=0, length_penalty=0.0)
    for prompt, hypotheses in zip(prompts, found, strict=True):
        first = model.logits(model(torch.tensor([prompt])).hidden[0, -1]).log_softmax(dim=0)
        texts = torch.tensor([[*prompt, i] for i in range(VOCABULARY)])
        second = model.logits(model(texts).hidden[:, -1]).log_softmax(dim=1)
        both = first[:, None] + second  # (V, V) of every text of two tokens
        both[0] = first[0]  # which ends
        best = both.flatten().max().item()
        assert hypotheses[0].score == pytest.approx(best, abs=1e-4)


def test_lower_precisions_write_nearly_the_same() -> None:
    model, text = make(), ids(2, 9)
    exact = model.logits(model(text).hidden)
    for precision, atol in (("bf16", 0.15), ("int8", 0.15)):
        other = writer(model, precision)  # type: ignore[arg-type]
        found = other.logits(other(text).hidden.flatten(0, 1)).view(exact.shape).float()
        assert 0 < (found - exact).abs().max() < atol * exact.abs().max()
    assert torch.equal(model.logits(model(text).hidden), exact)  # the model is as it was


def test_guesses_cannot_be_taken_back() -> None:
    model = make()
    with pytest.raises(ClewError, match="take back"):
        next(speculate(model, model, [1, 2], SampleConfig(seed=4), steps=20))
