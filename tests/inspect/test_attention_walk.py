"""The walk through attention: every step equals the engine, in every place of every model, and the golden figures."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest
import torch

from clew.data.batches import Pairs, Texts
from clew.errors import RecipeError
from clew.inputs import TokenPair, Tokens
from clew.inspect.walk import WIDE, Walk, gap, named, precise
from clew.inspect.walks.attention import attention_walk, by_hand, through
from clew.inspect.walks.places import place_of, places, visit
from clew.models.bert import Bert, BertConfig
from clew.models.encoder_translator import EncoderTranslator
from clew.models.heads import with_head
from clew.models.transformer import Transformer

IDS = {"pad_id": 0, "bos_id": 1, "eos_id": 2}
SOURCE, TARGET = ["a", "b", "c", "</s>"], ["<s>", "x", "y"]


def far(model: torch.nn.Module) -> Any:
    """Weights far from their beginning, so that a mistake shows."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model


def translator(**settings: Any) -> Transformer:
    sizes = {"d_model": 8, "d_ff": 12, "n_heads": 2, "n_encoder_layers": 2, "n_decoder_layers": 2}
    return far(Transformer(Transformer.Config(**(sizes | settings)), TokenPair.of(19, 19)))


def bert() -> Any:
    return far(
        with_head("masked_lm", BertConfig(d_model=8, d_ff=12, n_heads=2, n_layers=2, max_length=16), Tokens(19), 2)
    )


def checks(walk: Walk) -> dict[str, float | None]:
    return {step.name: step.check for step in walk.steps}


def values(walk: Walk, name: str) -> torch.Tensor:
    """The tensor of that name, of the last step that has it."""
    data = [value.data for step in walk.steps for value in step.values if value.name == name][-1]
    return torch.tensor(data, dtype=torch.float64)


def test_golden_figures() -> None:
    """ "He likes cats": the weights, and the variance that √d_k takes away."""
    x = torch.tensor([[1.0, 2.0], [2.0, 1.0], [1.5, 1.5]]).double()
    W_q, W_k = torch.tensor([[0.5, 2.0], [3.0, 1.5]]).double(), torch.tensor([[1.0, 0.4], [0.6, 1.2]]).double()
    walk = by_hand(["he", "likes", "cats"], x, W_q, W_k)
    golden = [[0.5047, 0.1876, 0.3077], [0.6624, 0.0915, 0.2461], [0.5874, 0.1331, 0.2796]]
    torch.testing.assert_close(values(walk, "α"), torch.tensor(golden).double(), atol=5e-5, rtol=0)
    assert (values(walk, "S").var() / values(walk, "scaled").var()).item() == pytest.approx(2.0)
    assert all(check < 1e-12 for check in checks(walk).values() if check is not None)


@pytest.mark.parametrize("settings", [
    {"norm": "pre"}, {"norm": "post"}, {"positions": "rotary"}, {"positions": "learned"}, {"positions": "none"},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("place", ["encoder", "decoder", "cross"])
@pytest.mark.parametrize("layer", [0, 1])
def test_transformer(settings: dict[str, Any], place: str, layer: int) -> None:
    model = translator(**settings)
    batch = Pairs([[4, 5, 6]], [[7, 8]]).batch([0], **IDS)
    rows = SOURCE if place == "encoder" else TARGET
    columns = TARGET if place == "decoder" else SOURCE
    walk = attention_walk(model, batch, rows, columns, place=place, layer=layer, head=1)
    found = checks(walk)
    must = {"embedding", "queries, keys, values", "scaled", "softmax", "context", "the heads together"}
    must |= {"norm before", "residual"} if settings.get("norm") != "post" else {"norm"}
    assert all(found[name] is not None and found[name] <= 1e-12 for name in must), found
    alpha = values(walk, "α")
    assert alpha.shape == (len(rows), len(columns))
    assert (alpha.triu(1).sum() == 0) == (place == "decoder")


@pytest.mark.parametrize("layer", [0, 1])
def test_bert(layer: int) -> None:
    batch = Texts([[2, 7, 8, 3, 9, 3]], [0], [4]).batch([0], pad_id=0)
    tokens = ["[CLS]", "a", "b", "[SEP]", "c", "[SEP]"]
    walk = attention_walk(bert(), batch, tokens, tokens, place="encoder", layer=layer, head=0)
    found = checks(walk)
    assert all(value <= 1e-12 for value in found.values() if value is not None), found
    assert {name for name, value in found.items() if value is None} <= {"what comes in", "mask", "residual"}


def test_encoder_translator_with_empty_slots() -> None:
    model = far(EncoderTranslator(EncoderTranslator.Config(d_model=8, d_ff=12, n_heads=2), TokenPair.of(19, 19)))
    batch = Pairs([[4, 5]], [[7, 8, 9, 10]]).batch([0], **IDS)
    rows = ["a", "b", "</s>", "(slot)", "(slot)", "[CLS]"]
    walk = attention_walk(model, batch, rows, rows, place="encoder", layer=0, head=1)
    assert all(value <= 1e-12 for value in checks(walk).values() if value is not None)
    assert (values(walk, "α")[:, 3:5] == 0).all()  # nobody looks at a slot


def test_torchs_own_module_says_the_same() -> None:
    """`nn.MultiheadAttention` with the layer's weights, in single precision, on what the walk says comes in."""
    model = bert()
    batch = Texts([[2, 7, 8, 3, 9, 3]], [0], [4]).batch([0], pad_id=0)
    own, theirs = model.encoder.layers[1].attention, torch.nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([own.query.weight, own.key.weight, own.value.weight]))
        theirs.in_proj_bias.copy_(torch.cat([own.query.bias, own.key.bias, own.value.bias]))
        theirs.out_proj.load_state_dict(own.output.state_dict())
        for head in range(2):
            walk = attention_walk(model, batch, "abcdef", "abcdef", place="encoder", layer=1, head=head)
            x = values(walk, "x").float()[None]
            y, alpha = theirs(x, x, x, average_attn_weights=False)
            torch.testing.assert_close(values(walk, "α").float(), alpha[0, head], atol=1e-6, rtol=0)
            torch.testing.assert_close(values(walk, "y of all heads").float(), y[0], atol=2e-6, rtol=0)


def test_a_wrong_equation_shows() -> None:
    """The engine of another model is far from these numbers."""
    batch = Texts([[2, 7, 8, 3]], [0]).batch([0], pad_id=0)
    model = precise(bert())
    place = place_of(model, "encoder", 0, 0)
    with torch.no_grad():
        site, weights = visit(model, batch, place, 0), visit(model, batch, place, 0, listen=True).weights
        site.attention.key.weight.add_(0.1)
        found = {step.name: step.check for step in through(site, weights, "abcd", "abcd", 0)}
    assert found["softmax"] > 1e-3 and found["context"] > 1e-3 and found["norm"] > 1e-3


def test_the_model_is_left_as_it_was() -> None:
    model = bert().train()
    batch = Texts([[2, 7, 3]], [0]).batch([0], pad_id=0)
    attention_walk(model, batch, "abc", "abc", place="encoder", layer=0, head=0)
    assert model.training and next(model.parameters()).dtype == torch.float32
    assert not any(module._forward_hooks for module in model.modules())


def test_json_and_its_size() -> None:
    walk = attention_walk(
        translator(), Pairs([[4, 5, 6]], [[7, 8]]).batch([0], **IDS), TARGET, TARGET, place="decoder", layer=0, head=0
    )
    text = json.dumps(asdict(walk), allow_nan=False)
    assert json.loads(text)["steps"][0]["name"] == "embedding"
    wide = named("x", torch.zeros(WIDE + 3, 2 * WIDE), [str(i) for i in range(WIDE + 3)])
    assert wide.shape == [WIDE + 3, 2 * WIDE] and len(wide.data) == WIDE == len(wide.data[0]) == len(wide.row_labels)


def test_gap() -> None:
    masked = torch.tensor([1.0, -torch.inf])
    assert gap(masked, masked) == 0 and gap(torch.tensor([1.0, 2.0]), torch.tensor([1.5, 2.0])) == 0.5


@pytest.mark.parametrize(("choice", "says"), [
    ({"place": "cross"}, "no attention"), ({"layer": 2}, "no layer 2"), ({"head": -1}, "no head -1"),
])  # fmt: skip
def test_what_is_not_there(choice: dict[str, Any], says: str) -> None:
    batch = Texts([[2, 7, 3]], [0]).batch([0], pad_id=0)
    with pytest.raises(RecipeError, match=says):
        attention_walk(bert(), batch, "abc", "abc", **({"place": "encoder", "layer": 0, "head": 0} | choice))


def test_places() -> None:
    assert [(each.name, each.n_layers, each.n_heads) for each in places(translator(n_decoder_layers=3))] == [
        ("encoder", 2, 2), ("decoder", 3, 2), ("cross", 3, 2),
    ]  # fmt: skip
    assert [
        each.name for each in places(far(Bert(BertConfig(d_model=8, n_heads=2, d_ff=8, n_layers=1), Tokens(9))))
    ] == ["encoder"]
