"""The encoder written out for reading, against the model itself."""

from __future__ import annotations

from typing import Literal

import pytest
import torch

from clew.batches import TextBatch
from clew.data.batches import Texts
from clew.decode.encoder import EncoderEngine, reader
from clew.errors import RecipeError
from clew.inputs import Tokens
from clew.models.bert import Bert, BertConfig
from clew.models.heads import with_head
from clew.models.text_classifier import TextClassifierConfig
from clew.nn.feedforward import FeedForward


@pytest.fixture
def model() -> Bert:
    torch.manual_seed(0)
    model = Bert(BertConfig(d_model=64, d_ff=128, n_heads=2, n_layers=3, max_length=16), Tokens(50))
    for parameter in model.parameters():  # biases too, or one left out would not show
        torch.nn.init.normal_(parameter, std=0.2)
    return model


@pytest.fixture
def batch() -> TextBatch:
    """Rows of several lengths, some of them alike, and second segments."""
    ids = [[*range(5, 5 + n)] for n in (7, 1, 4, 7, 12, 4)]
    return Texts(ids, [0] * 6, [3, 1, 2, 7, 5, 1]).batch(range(6), pad_id=0)


def test_fp32_is_the_model(model: Bert, batch: TextBatch) -> None:
    found = EncoderEngine(model)(batch)
    expected = model.eval()(batch)
    torch.testing.assert_close(found.hidden, expected.hidden, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.pooled, expected.pooled, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.mean, expected.mean, atol=1e-5, rtol=1e-5)
    assert not found.hidden.requires_grad


def test_layers_with_other_settings(model: Bert, batch: TextBatch) -> None:
    """What a variant of BERT may choose: rotary attention of its own base, a gated feed-forward."""
    for layer in model.layers:
        layer.attention.rotary, layer.attention.base = True, 50.0
        layer.feedforward = FeedForward(64, 96, activation="silu", gated=True)
    found, expected = EncoderEngine(model)(batch), model.eval()(batch)
    torch.testing.assert_close(found.hidden, expected.hidden, atol=1e-5, rtol=1e-5)


def test_of_some_places(model: Bert, batch: TextBatch) -> None:
    at = torch.tensor([0, 3, 12, 25])  # among the places of the padded batch
    found, expected = EncoderEngine(model)(batch, at).hidden, model.eval()(batch, at).hidden
    assert found.shape == (4, 64)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("precision", ["bf16", "int8"])
@pytest.mark.parametrize("head", ["classify", "tag", "choose", "answer"])
def test_a_model_reads_under_its_head(batch: TextBatch, head: str, precision: Literal["bf16", "int8"]) -> None:
    torch.manual_seed(0)
    model = with_head(head, BertConfig(d_model=64, d_ff=128, n_heads=2, n_layers=3, max_length=16), Tokens(50), 2)
    batch.at = torch.tensor([0, 3, 12, 25])
    with torch.no_grad():
        found, expected = reader(model, precision)(batch), model(batch)
    for name, value in vars(expected).items():
        seen = value.isfinite()
        near, far = getattr(found, name)[seen], value[seen]
        assert near.dtype == torch.float32 and not torch.equal(near, far)
        assert torch.cosine_similarity(near.flatten(), far.flatten(), dim=0) > 0.99
    assert reader(model, "fp32") is model
    assert isinstance(model.encoder, Bert)  # it is left as it is


def test_what_has_no_such_engine_says_so() -> None:
    model = with_head("classify", TextClassifierConfig(encoder="mean", d_embedding=8, d_model=8), Tokens(50), 2)
    with pytest.raises(RecipeError, match="in fp32 alone"):
        reader(model, "int8")


def test_int8_is_near_the_model(model: Bert, batch: TextBatch) -> None:
    found, expected = EncoderEngine(model, "int8")(batch), model.eval()(batch)
    assert torch.cosine_similarity(found.hidden, expected.hidden).min() > 0.99
    assert not torch.equal(found.hidden, expected.hidden)


def test_training_goes_on_beside_it(model: Bert, batch: TextBatch) -> None:
    """Making an engine leaves the model in evaluation mode, as it says, with weights that still learn."""
    EncoderEngine(model, "int8")
    assert not model.training
    model(batch).hidden.sum().backward()
    assert all(parameter.requires_grad for parameter in model.parameters())
