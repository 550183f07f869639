"""The backward pass of attention by local derivatives equals autograd's, in every place and under every head."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from clew.data.batches import Pairs, Texts
from clew.errors import RecipeError
from clew.inputs import TokenPair, Tokens
from clew.inspect.walk import Walk
from clew.inspect.walks.backward import backward_walk, softmax_jacobian, through_softmax
from clew.models.bert import Bert, BertConfig
from clew.models.encoder_translator import EncoderTranslator
from clew.models.heads import with_head
from clew.models.transformer import Transformer

PAIR = Pairs([[4, 5, 6]], [[7, 8]]).batch([0], pad_id=0, bos_id=1, eos_id=2)
TEXT = Texts([[2, 7, 8, 3, 9, 3]], [0], [4]).batch([0], pad_id=0)
SOURCE, TARGET, TOKENS = ["a", "b", "c", "</s>"], ["<s>", "x", "y"], ["a", "b", "c", "d", "e", "f"]
BERT = BertConfig(d_model=8, d_ff=12, n_heads=2, n_layers=2, max_length=16)


def far(model: torch.nn.Module) -> Any:
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model


def close(walk: Walk) -> None:
    assert len(walk.steps) == 9
    for step in walk.steps[1:]:
        size = max(float(torch.tensor(value.data).abs().max()) for value in step.values)
        assert step.check is not None and 0 <= step.check <= min(1e-10, 1e-6 * size), step.name  # not zeros with zeros


@pytest.mark.parametrize("settings", [{"norm": "pre"}, {"norm": "post"}, {"positions": "rotary"}], ids=str)
@pytest.mark.parametrize("place", ["encoder", "decoder", "cross"])
@pytest.mark.parametrize("layer", [0, 1])
def test_transformer(settings: dict[str, str], place: str, layer: int) -> None:
    sizes = {"d_model": 8, "d_ff": 12, "n_heads": 2, "n_encoder_layers": 2, "n_decoder_layers": 2}
    model = far(Transformer(Transformer.Config(**sizes, **settings), TokenPair.of(19, 19)))
    rows, columns = SOURCE if place == "encoder" else TARGET, TARGET if place == "decoder" else SOURCE
    close(backward_walk(model, PAIR, rows, columns, place=place, layer=layer, head=1, at=2))


@pytest.mark.parametrize("head", ["masked_lm", "classify", "tag", "answer", "choose"])
@pytest.mark.parametrize("layer", [0, 1])
def test_bert_under_its_heads(head: str, layer: int) -> None:
    """The last layer works for some places alone, and for [CLS] twice where sentences are told apart too."""
    model = far(with_head(head, BERT, Tokens(19), 2))
    close(backward_walk(model, TEXT, TOKENS, TOKENS, place="encoder", layer=layer, head=0))


def test_an_encoder_alone_a_score_and_empty_slots() -> None:
    close(backward_walk(far(Bert(BERT, Tokens(19))), TEXT, TOKENS, TOKENS, place="encoder", layer=1, head=1))
    score = far(with_head("classify", BERT, Tokens(19), 1))
    walk = backward_walk(score, TEXT, TOKENS, TOKENS, place="encoder", layer=0, head=1)
    assert "score" in walk.steps[0].note
    close(walk)
    model = far(EncoderTranslator(EncoderTranslator.Config(d_model=8, d_ff=12, n_heads=2), TokenPair.of(19, 19)))
    pair = Pairs([[4, 5]], [[7, 8, 9, 10]]).batch([0], pad_id=0, bos_id=1, eos_id=2)
    close(backward_walk(model, pair, TOKENS, TOKENS, place="encoder", layer=0, head=0))


def test_frozen_weights_have_gradients_too() -> None:
    model = far(with_head("classify", BERT, Tokens(19), 2)).requires_grad_(False)
    close(backward_walk(model, TEXT, TOKENS, TOKENS, place="encoder", layer=0, head=0))
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_softmax_by_finite_differences() -> None:
    torch.manual_seed(0)
    s, g = torch.randn(4).double(), torch.randn(4).double()
    step = 1e-6 * torch.eye(4).double()
    numeric = torch.stack([((s + h).softmax(0) - (s - h).softmax(0)) / 2e-6 for h in step], dim=1)
    torch.testing.assert_close(softmax_jacobian(s.softmax(0)), numeric, atol=1e-9, rtol=0)
    torch.testing.assert_close(through_softmax(s.softmax(0), g), numeric.T @ g, atol=1e-9, rtol=0)


def test_no_such_token() -> None:
    with pytest.raises(RecipeError, match="no token 6"):
        backward_walk(far(Bert(BERT, Tokens(19))), TEXT, TOKENS, TOKENS, place="encoder", layer=0, head=0, at=6)
