"""One suite for every translator: causality, padding, company, cached steps, learning, saving, compiling."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_model
from torch import Tensor, nn

from clew.batches import PairBatch
from clew.config import BatchConfig, BudgetConfig, build, resolve
from clew.data.batches import PairLoader, Pairs
from clew.decode.attention import attention_maps
from clew.decode.search import Limits, search
from clew.errors import DataError, RecipeError
from clew.inputs import TokenPair
from clew.models.transformer import Transformer, TransformerConfig
from clew.nn.taps import capture
from clew.objectives.translation import Translation, TranslationConfig
from clew.train.loop import fit
from clew.train.optim import Adam, AdamConfig
from clew.train.schedule import Constant

V = 13
IDS = {"pad_id": 0, "bos_id": 1, "eos_id": 2}
TRANSFORMER = {"d_model": 8, "d_ff": 16, "n_heads": 2, "n_encoder_layers": 2, "n_decoder_layers": 2}
ENCODER = {"d_model": 8, "d_ff": 16, "n_heads": 2, "max_length": 64}
T5 = {"d_model": 8, "d_kv": 3, "d_ff": 16, "n_heads": 2, "n_encoder_layers": 2, "n_decoder_layers": 2, "buckets": 8,
      "max_distance": 6}  # fmt: skip
SEQ2SEQ = {"d_embedding": 6, "d_model": 8}
CASES: dict[str, dict[str, Any]] = {
    "transformer": {"kind": "transformer", **TRANSFORMER},
    "transformer post": {"kind": "transformer", **TRANSFORMER, "norm": "post", "activation": "gelu"},
    "transformer learned": {"kind": "transformer", **TRANSFORMER, "positions": "learned", "share_embeddings": False},
    "transformer rotary": {"kind": "transformer", **TRANSFORMER, "positions": "rotary", "activation": "silu"},
    "transformer none": {"kind": "transformer", **TRANSFORMER, "positions": "none", "attention_dropout": 0.1},
    "t5": {"kind": "t5", **T5},
    "t5 v1.1": {"kind": "t5", **T5, "activation": "gated_gelu", "share_output": False},
    "encoder": {"kind": "encoder_translator", **ENCODER},
    "encoder of two": {"kind": "encoder_translator", **ENCODER, "n_layers": 2},
    "seq2seq": {"kind": "seq2seq", **SEQ2SEQ},
    "seq2seq projected": {"kind": "seq2seq", **SEQ2SEQ, "attention": {"score": "scaled_dot", "project": True}},
    "seq2seq fed": {"kind": "seq2seq", **SEQ2SEQ, "unit": "gru", "input_feeding": True, "n_layers": 2},
    "seq2seq blind": {"kind": "seq2seq", **SEQ2SEQ, "unit": "rnn", "attention": {"score": "none"}},
}
STEPWISE = [name for name in CASES if not name.startswith("encoder")]
LEARNERS = ["transformer", "transformer post", "transformer rotary", "t5", "encoder", "seq2seq"]
PAIRS = Pairs([[4, 5, 6, 7], [8], [9, 10, 4]], [[5, 4], [7, 6, 10, 9], [8, 8, 3]])


def make(case: str, **settings: Any) -> Any:
    torch.manual_seed(0)
    values = CASES[case] | settings
    return build("model", resolve("model", values["kind"]).Config(**values), TokenPair.of(V, V))


def scattered(case: str, **settings: Any) -> Any:
    """In evaluation mode, with weights large enough that everything matters."""
    model = make(case, **settings).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    return model


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> str:
    return request.param


def batch_of(pairs: Pairs, rows: list[int] | None = None) -> PairBatch:
    return pairs.batch(range(len(pairs)) if rows is None else rows, **IDS)


def assert_close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", STEPWISE)
@torch.no_grad()
def test_cached_steps_equal_forward(name: str) -> None:
    model, batch = scattered(name), batch_of(PAIRS)
    cache = model.start(model.encode(batch.source, batch.source_mask))
    stepped = torch.stack([model.step(tokens, cache) for tokens in batch.target_in.T], dim=1)
    assert_close(stepped, model(batch).hidden)


@pytest.mark.parametrize("name", STEPWISE)
@torch.no_grad()
def test_causality(name: str) -> None:
    """A target token changes no state before its own position, and does change that one."""
    model, batch = scattered(name), batch_of(PAIRS)
    target = batch.target_in.clone()
    target[:, 2] = (target[:, 2] + 1) % V
    before, after = model(batch).hidden, model(dataclasses.replace(batch, target_in=target)).hidden
    assert_close(before[:, :2], after[:, :2])
    assert not torch.isclose(before[:, 2], after[:, 2], atol=1e-4).all(dim=-1).any()


@pytest.mark.parametrize("name", ["encoder", "encoder of two"])
@torch.no_grad()
def test_the_encoder_alone_sees_no_target(name: str) -> None:
    model, batch = scattered(name), batch_of(PAIRS)
    other = dataclasses.replace(batch, target_in=torch.full_like(batch.target_in, 3))
    assert torch.equal(model(batch).hidden, model(other).hidden)


@torch.no_grad()
def test_one_alone_equals_one_of_many(case: str) -> None:
    model = scattered(case)
    many = model(batch_of(PAIRS)).hidden
    for row in range(len(PAIRS)):
        alone = model(batch_of(PAIRS, [row])).hidden[0]
        assert_close(many[row, : len(alone)], alone)


@torch.no_grad()
def test_what_stands_under_the_padding_changes_nothing(case: str) -> None:
    model, batch = scattered(case), batch_of(PAIRS)
    source, target = batch.source.clone(), batch.target_in.clone()
    source[~batch.source_mask], target[~batch.target_mask] = 5, 6
    other = dataclasses.replace(batch, source=source, target_in=target)
    real = batch.target_mask
    assert_close(model(other).hidden[real], model(batch).hidden[real])


@torch.no_grad()
def test_the_source_matters_token_by_token(case: str) -> None:
    model, batch = scattered(case), batch_of(PAIRS)
    before = model(batch).hidden
    for position in range(int(batch.source_mask[0].sum())):
        source = batch.source.clone()
        source[0, position] = 11
        after = model(dataclasses.replace(batch, source=source)).hidden
        assert not torch.allclose(after[0], before[0], atol=1e-4)
        assert_close(after[1:], before[1:])


@torch.no_grad()
def test_the_projection_is_the_output_table(case: str) -> None:
    model = scattered(case)
    hidden = model(batch_of(PAIRS)).hidden
    weight, bias = model.output_table()
    assert weight.shape[0] == len(bias) == V
    assert_close(nn.functional.linear(hidden, weight, bias), model.project(hidden))


@torch.no_grad()
def test_attention_maps_are_target_by_source(case: str) -> None:
    """Row t is y_t's, column s is x_s's; who listens changes no result; padding gets nothing."""
    model, batch = scattered(case), batch_of(PAIRS)
    if not model.target_attention:
        assert case == "seq2seq blind"
        return
    silent = model(batch).hidden
    with capture(model, model.target_attention):
        assert_close(model(batch).hidden, silent)
    for weights in attention_maps(model, batch).values():
        T, S = batch.target_in.shape[1], batch.source.shape[1]
        assert not weights[:, :, :T, :S].transpose(1, 3)[~batch.source_mask].any()
        for row in range(len(PAIRS)):
            alone = next(iter(attention_maps(model, batch_of(PAIRS, [row])).values()))
            t, s = len(PAIRS.target[row]) + 1, len(PAIRS.source[row]) + 1
            first = next(iter(attention_maps(model, batch).values()))
            assert_close(first[row, :, :t, :s], alone[0, :, :t, :s])
        if not model.parallel:
            assert weights.shape[2:] == (T, S)
            assert_close(weights.sum(-1), torch.ones(weights.shape[:3]))


@torch.no_grad()
def test_the_encoder_alone_looks_at_the_column_of_its_token() -> None:
    """Queries that equal the key of one source token: that token's column of the map is the largest, in every row."""
    model, batch = scattered("encoder", n_heads=1), batch_of(PAIRS, [0])
    attention = model.layers[0].attention
    nn.init.zeros_(attention.query.weight)
    nn.init.eye_(attention.key.weight)
    nn.init.ones_(model.norm.weight)  # all keys are equally long
    for s, token in enumerate(batch.source[0]):
        x = model.norm(model.embedding.weight[token] + model.positions.table[s + 1])
        attention.query.bias.copy_(100 * (x - model.norm.bias))
        (weights,) = attention_maps(model, batch).values()
        assert (weights[0, 0].argmax(dim=-1) == s).all()


def test_every_parameter_gets_a_gradient(case: str) -> None:
    model = make(case).train()
    loss = Translation(TranslationConfig())(model, batch_of(PAIRS))
    assert loss.count == sum(len(target) + 1 for target in PAIRS.target)
    loss.total.backward()
    assert not [name for name, parameter in model.named_parameters() if parameter.grad is None]


def test_the_loss_of_a_batch_is_the_sum_of_its_sentences(case: str) -> None:
    model, objective = scattered(case), Translation(TranslationConfig())
    with torch.no_grad():
        whole = objective(model, batch_of(PAIRS))
        parts = [objective(model, batch_of(PAIRS, [row])) for row in range(len(PAIRS))]
    assert whole.total.item() == pytest.approx(sum(part.total.item() for part in parts), rel=1e-5)
    assert whole.parts["nll"].item() == pytest.approx(sum(part.parts["nll"].item() for part in parts), rel=1e-5)


def reversals() -> Pairs:
    generator = torch.Generator().manual_seed(0)
    source = [torch.randint(4, V, (length,), generator=generator).tolist() for length in (3, 4, 5, 4, 3, 5, 4, 3, 5, 4)]
    return Pairs(source, [ids[::-1] for ids in source])


@pytest.mark.parametrize("name", LEARNERS)
def test_overfits_ten_examples(name: str) -> None:
    """fit() learns ten sentences and their reversals by heart, and the search gives them back."""
    wide = {"d_model": 32, "dropout": 0.0} | ({} if name == "seq2seq" else {"d_ff": 64})
    model, pairs = make(name, **wide), reversals()
    loader = PairLoader(pairs, batch=BatchConfig(tokens=1000), max_length=10, seed=1, **IDS)
    # Slower for T5, which is sure of itself so early that the beam fills with bad endings before the good one is due.
    optimizer = Adam(AdamConfig(lr=2e-3 if name == "t5" else 5e-3))(model)
    steps = fit(
        model, Translation(TranslationConfig(label_smoothing=0.0)), loader, optimizer,
        Constant(Constant.Config()), BudgetConfig(steps=400), clip_norm=1.0,
    )  # fmt: skip
    loss = next((step.loss for step in steps if step.loss < 0.003), None)
    assert loss is not None  # a sum below 0.15 nats: no token is less likely than 0.85
    model.eval()
    batch = batch_of(pairs)
    for beam in (1, 3):
        found = search(model, batch.source, batch.source_mask, Limits(1, 2, 12), beam)
        assert [hypotheses[0].ids for hypotheses in found] == pairs.target


@torch.no_grad()
def test_saved_and_loaded(case: str, tmp_path: Path) -> None:
    model, batch = scattered(case), batch_of(PAIRS)
    save_model(model, str(tmp_path / "model.safetensors"))
    other = make(case).eval()
    assert not torch.allclose(other(batch).hidden, model(batch).hidden)
    missing, unexpected = other.load_state_dict(load_file(tmp_path / "model.safetensors"), strict=False)
    assert not unexpected
    assert all(name in dict(model.state_dict()) and name not in dict(model.named_parameters()) for name in missing)
    assert torch.equal(other(batch).hidden, model(batch).hidden)


@pytest.mark.filterwarnings("ignore")  # the compiler's own
@pytest.mark.parametrize(
    ("name", "backend"),
    [
        ("encoder", "aot_eager"),  # traced and differentiated as for the compiler, run as it stands
        pytest.param("transformer rotary", "aot_eager", marks=pytest.mark.slow),
        pytest.param("encoder", "inductor", marks=pytest.mark.slow),  # a minute of C++ on a busy machine
    ],
)
def test_compiled_equals_eager(name: str, backend: str) -> None:
    """Outputs and gradients of torch.compile, over batches of two shapes."""
    layers = {} if name == "encoder" else {"n_encoder_layers": 1, "n_decoder_layers": 1}
    model, objective = scattered(name, dropout=0.0, **layers), Translation(TranslationConfig())
    compiled = torch.compile(model, dynamic=True, backend=backend)
    for rows in ([0, 1, 2], [0, 2]):
        gradients = []
        for each in (model, compiled):
            model.zero_grad()
            loss = objective(each, batch_of(PAIRS, rows))
            loss.total.backward()
            gradients.append([loss.total.detach(), *(parameter.grad.clone() for parameter in model.parameters())])
        for eager, fast in zip(*gradients, strict=True):
            torch.testing.assert_close(fast, eager, atol=1e-4, rtol=1e-4)


# Transformer alone


@torch.no_grad()
def test_without_positions_the_source_has_no_order() -> None:
    """Shuffled source words give the same translation only where nothing tells their order."""
    for name in ("transformer none", "transformer", "transformer rotary"):
        model = scattered(name)
        straight, shuffled = Pairs([[4, 5, 6]], [[7, 8]]), Pairs([[6, 4, 5]], [[7, 8]])
        same = torch.allclose(model(batch_of(straight)).hidden, model(batch_of(shuffled)).hidden, atol=1e-5)
        assert same is (name == "transformer none")


@torch.no_grad()
def test_beams_move_repeat_and_leave() -> None:
    """Two hypotheses of each sentence: reordered, then one sentence dropped, they go on as if decoded alone."""
    for name in ("transformer", "transformer rotary"):
        model, batch = scattered(name), batch_of(PAIRS)
        memory = model.encode(batch.source, batch.source_mask)
        history = torch.tensor([[1, 4], [1, 5], [1, 6], [1, 7], [1, 8], [1, 9]])
        cache = model.start(memory, beam=2)
        for tokens in history.T:
            model.step(tokens, cache)
        order, kept = torch.tensor([1, 1, 3, 2, 4, 4]), torch.tensor([0, 1, 4, 5])
        cache.reorder(order)
        cache.keep(torch.tensor([0, 2]), kept)
        hidden = model.step(last := torch.tensor([3, 4, 5, 6]), cache)
        for row, sentence in enumerate([0, 0, 2, 2]):
            alone = model.start(memory.select(torch.tensor([sentence])))
            for token in (*history[order][kept][row], last[row]):
                expected = model.step(token[None], alone)
            assert_close(hidden[row], expected[0])


def test_embeddings_are_shared_or_not_never_by_chance() -> None:
    shared = make("transformer")
    assert shared.source_embedding is shared.target_embedding
    assert shared.output_table()[0] is shared.source_embedding.weight
    apart = make("transformer", share_embeddings=False)
    assert apart.source_embedding.weight is not apart.target_embedding.weight
    with pytest.raises(RecipeError, match="13 and 14 tokens cannot share"):
        Transformer(TransformerConfig(**TRANSFORMER), TokenPair.of(V, V + 1))
    Transformer(TransformerConfig(**TRANSFORMER, share_embeddings=False), TokenPair.of(V, V + 1))


def test_settings_that_cannot_be() -> None:
    with pytest.raises(ValidationError, match="d_model 8 is not a multiple of n_heads 3"):
        TransformerConfig(d_model=8, n_heads=3)
    with pytest.raises(ValidationError, match="is odd"):
        TransformerConfig(d_model=6, n_heads=2, positions="rotary")
    model = make("encoder", max_length=5)
    with pytest.raises(DataError, match="6 tokens is longer than the 5 learned positions"):
        model(batch_of(PAIRS))
