"""Seq2seq: cached steps = parallel forward, padding and batch invariance, causality, and it learns."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor

from clew.batches import PairBatch
from clew.data.batches import Pairs
from clew.errors import RecipeError
from clew.inputs import TokenPair
from clew.models.seq2seq import Seq2Seq, Seq2SeqConfig
from clew.nn.taps import capture

SCORES = ["none", "additive", "dot", "scaled_dot", "general", "cosine"]
VARIANTS: list[dict[str, Any]] = [
    *({"attention": {"score": score}, "n_layers": 2} for score in SCORES),
    *({"attention": {"score": score}, "input_feeding": True} for score in SCORES),
    {"unit": "rnn", "n_layers": 2},
    {"unit": "gru", "n_layers": 2, "input_feeding": True},
    {"unit": "gru", "bidirectional": False, "attention": {"score": "none"}},
    {"bidirectional": False, "n_layers": 2, "tie_projection": True, "share_embeddings": True, "d_embedding": 8},
]
V = 11


def make(**settings: Any) -> Seq2Seq:
    torch.manual_seed(0)
    config = Seq2SeqConfig(**{"d_embedding": 6, "d_model": 8, "dropout": 0.3} | settings)
    model = Seq2Seq(config, TokenPair.of(V, V if config.share_embeddings else V + 2)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model


def batch_of(pairs: Pairs, rows: list[int] | None = None) -> PairBatch:
    return pairs.batch(range(len(pairs)) if rows is None else rows, pad_id=0, bos_id=1, eos_id=2)


PAIRS = Pairs([[4, 5, 6, 7], [8], [9, 10, 4]], [[5, 4], [7, 6, 10, 9], [8, 8, 3]])


@pytest.fixture(params=VARIANTS, ids=lambda v: " ".join(str(x) for x in v.values()))
def model(request: pytest.FixtureRequest) -> Seq2Seq:
    return make(**request.param)


def stepped(model: Seq2Seq, batch: PairBatch) -> Tensor:
    cache = model.start(model.encode(batch.source, batch.source_mask))
    return torch.stack([model.step(tokens, cache) for tokens in batch.target_in.T], dim=1)


@torch.no_grad()
def test_cached_steps_equal_parallel_forward(model: Seq2Seq) -> None:
    batch = batch_of(PAIRS)
    torch.testing.assert_close(stepped(model, batch), model(batch).hidden, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_one_alone_equals_one_of_many(model: Seq2Seq) -> None:
    """Padding on either side, however much, changes nothing at real positions."""
    many = model(batch_of(PAIRS)).hidden
    for row in range(len(PAIRS)):
        alone = model(batch_of(PAIRS, [row])).hidden[0]
        torch.testing.assert_close(many[row, : len(alone)], alone, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_causality(model: Seq2Seq) -> None:
    """A target token changes no hidden state before its own position, and does change that one."""
    batch = batch_of(PAIRS)
    target = batch.target_in.clone()
    target[:, 2] = (target[:, 2] + 1) % V
    before, after = model(batch).hidden, model(dataclasses.replace(batch, target_in=target)).hidden
    torch.testing.assert_close(before[:, :2], after[:, :2], atol=1e-6, rtol=1e-6)
    assert not torch.isclose(before[:, 2], after[:, 2], atol=1e-4).all(dim=-1).any()


@torch.no_grad()
def test_beams_move_repeat_and_leave(model: Seq2Seq) -> None:
    """Two hypotheses of each sentence: reordered, then one sentence dropped, they go on as if decoded alone."""
    batch = batch_of(PAIRS)
    memory = model.encode(batch.source, batch.source_mask)
    history = torch.tensor([[1, 4], [1, 5], [1, 6], [1, 7], [1, 8], [1, 9]])  # rows: sentence 0, 0, 1, 1, 2, 2
    cache = model.start(memory, beam=2)
    for tokens in history.T:
        model.step(tokens, cache)
    order = torch.tensor([1, 1, 3, 2, 4, 4])
    cache.reorder(order)
    cache.keep(torch.tensor([0, 2]), torch.tensor([0, 1, 4, 5]))
    history = history[order][[0, 1, 4, 5]]
    last = torch.tensor([3, 4, 5, 6])
    hidden = model.step(last, cache)
    for row, sentence in enumerate([0, 0, 2, 2]):
        fresh = model.start(memory.select(torch.tensor([sentence])))
        for token in (*history[row], last[row]):
            alone = model.step(token[None], fresh)
        torch.testing.assert_close(hidden[row], alone[0], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_attention_is_seen(model: Seq2Seq) -> None:
    batch = batch_of(PAIRS)
    if model.config.attention.score == "none":
        assert model.target_attention == ""
        return
    with capture(model, model.target_attention) as seen:
        model(batch)
    (weights,) = seen[model.target_attention]
    assert weights.shape == (3, 1, batch.target_in.shape[1], batch.source.shape[1])
    torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:3]))
    assert not weights.transpose(1, 3)[~batch.source_mask].any()


@torch.no_grad()
def test_gates_are_seen_and_change_nothing() -> None:
    model, batch = make(n_layers=2), batch_of(PAIRS)
    with capture(model, "encoder.taps.*.f", "decoder.taps.l1.c") as seen:
        heard = model(batch).hidden
    torch.testing.assert_close(heard, model(batch).hidden, atol=1e-5, rtol=1e-5)
    assert seen["encoder.taps.l1_reverse.f"][0].shape == (3, 5, 4)
    assert seen["decoder.taps.l1.c"][0].shape == (3, 5, 8)


def test_every_parameter_gets_a_gradient(model: Seq2Seq) -> None:
    batch = batch_of(PAIRS)
    model.project(model(batch).hidden).square().sum().backward()
    unused = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert not unused
    if not model.config.tie_projection:  # a tied table is also the projection, which scores padding too
        assert not model.source_embedding.weight.grad[0].any()


@pytest.mark.parametrize("score", SCORES)
def test_overfits_ten_examples(score: str) -> None:
    """Ten random sentences to be reversed; greedy decoding gives them back."""
    generator = torch.Generator().manual_seed(0)
    source = [torch.randint(4, V, (length,), generator=generator).tolist() for length in (3, 4, 5, 4, 3, 5, 4, 3, 5, 4)]
    batch = batch_of(Pairs(source, [ids[::-1] for ids in source]))
    torch.manual_seed(0)
    model = Seq2Seq(
        Seq2SeqConfig(d_embedding=32, d_model=32, dropout=0.0, attention={"score": score}), TokenPair.of(V, V)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(200):
        optimizer.zero_grad()
        loss = F.cross_entropy(
            model.project(model(batch).hidden)[batch.target_mask], batch.target_out[batch.target_mask]
        )
        loss.backward()
        optimizer.step()
        if loss < 0.01:
            break
    assert loss < 0.05
    model.eval()
    cache, tokens, written = model.start(model.encode(batch.source, batch.source_mask)), torch.ones(10).long(), []
    for _ in range(batch.target_out.shape[1]):
        tokens = model.project(model.step(tokens, cache)).argmax(dim=-1)
        written.append(tokens)
    assert torch.equal(torch.stack(written, dim=1)[batch.target_mask], batch.target_out[batch.target_mask])


def test_output_table_is_the_projection(model: Seq2Seq) -> None:
    hidden = torch.randn(2, 3, 8)
    torch.testing.assert_close(F.linear(hidden, *model.output_table()), model.project(hidden))


def test_tied_tables_are_one_parameter() -> None:
    model = make(tie_projection=True, share_embeddings=True, d_embedding=8)
    assert model.projection.weight is model.target_embedding.weight is model.source_embedding.weight


def test_autocast_runs_both_ways() -> None:
    for unit in ("rnn", "lstm", "gru"):
        model, batch = make(unit=unit, input_feeding=unit == "gru").train(), batch_of(PAIRS)
        with torch.autocast("cpu", torch.bfloat16):
            logits = model.project(model(batch).hidden)
        logits.float().sum().backward()
        with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
            stepped(model.eval(), batch)


def test_settings_that_cannot_be() -> None:
    with pytest.raises(ValidationError, match="is odd"):
        Seq2SeqConfig(d_model=7)
    with pytest.raises(ValidationError, match="tie_projection needs"):
        Seq2SeqConfig(tie_projection=True, d_embedding=3)
    with pytest.raises(RecipeError, match="cannot share"):
        Seq2Seq(Seq2SeqConfig(share_embeddings=True), TokenPair.of(5, 6))
