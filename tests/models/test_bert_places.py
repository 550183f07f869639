"""BERT asked for the states of some places alone: the same as those among all, and the same gradients."""

from __future__ import annotations

import pytest
import torch

from clew.batches import TextBatch
from clew.data.batches import Texts
from clew.inputs import Tokens
from clew.models.bert import Bert, BertConfig
from clew.models.heads import with_head
from clew.nn.packing import Packing
from clew.nn.taps import capture

CONFIG = BertConfig(d_model=8, d_ff=12, n_heads=2, n_layers=2, max_length=16, dropout=0.0, attention_dropout=0.0)
TEXTS = [[5, 6, 7, 8, 9, 10], [11, 12], [3, 4, 13, 14], [15, 16, 17, 18]]


def batch() -> TextBatch:
    return Texts(TEXTS, [[1, 2], [3], [4], [5]], [3, 2, 1, 2], [[1, 4], [0], [2], [3]]).batch(range(4), pad_id=0)


def far(model: torch.nn.Module) -> torch.nn.Module:
    """Weights far from their beginning, so that a mistake shows."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model


@pytest.mark.parametrize("heard", [False, True], ids=["fused", "equation"])
def test_states_and_gradients_of_some_places(heard: bool) -> None:
    model, text = far(Bert(CONFIG, Tokens(19))), batch()
    at = torch.tensor([13, 0, 4, 0])  # in any order, and one of them twice
    every = model(text)
    expected = every.hidden[every.packing.token[at]]
    if heard:
        with capture(model, "*.attention.weights") as seen:
            found = model(text, at).hidden
        assert len(seen) == CONFIG.n_layers
    else:
        found = model(text, at).hidden
    torch.testing.assert_close(found, expected)
    upstream = torch.randn_like(expected)
    for one, other in zip(
        torch.autograd.grad(found, model.parameters(), upstream),
        torch.autograd.grad(expected, model.parameters(), upstream),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_the_last_layer_works_for_what_is_asked_alone() -> None:
    model, rows = far(Bert(CONFIG, Tokens(19))), []
    for layer in model.layers:
        layer.feedforward.register_forward_hook(lambda _module, inputs, _out: rows.append(len(inputs[0])))
    model(batch(), torch.tensor([0, 6]))
    assert rows == [sum(map(len, TEXTS)), 2]


def test_pretraining_reads_hidden_tokens_and_the_first() -> None:
    """Against the head over all states, where both a hidden token and [CLS] have a place."""
    text = batch()
    text.label, text.follows = torch.arange(5), torch.tensor([0, 1, 1, 0])
    model = far(with_head("masked_lm", CONFIG, Tokens(19), 2))
    every, out = model.encoder(text), model(text)
    torch.testing.assert_close(out.hidden, model.masked_lm(every.hidden[every.packing.token[text.at]]))
    torch.testing.assert_close(out.next, model.next_sentence(model.pooler(every.pooled)).flip(-1))


def test_mean_of_each_row() -> None:
    mask = torch.tensor([[True, True, True], [True, False, False], [True, True, False]])
    x = torch.randn(3, 3, 5)
    packing = Packing(mask)
    expected = torch.stack([row[real].mean(dim=0) for row, real in zip(x, mask, strict=True)])
    torch.testing.assert_close(packing.mean(packing.pack(x)), expected)
