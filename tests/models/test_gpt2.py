"""GPT-2 and Llama: published sizes, what it may see, and that its cached path is its equation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from clew.inputs import Tokens
from clew.models.gpt2 import GPT2, GPT2Config
from clew.models.llama import GroupedAttention, Llama, LlamaConfig
from clew.nn.attention import MultiHeadAttention
from clew.nn.attention_engine import KeyValues
from clew.nn.packing import Packing
from clew.nn.taps import Tap

VOCABULARY = 50
SMALL: dict[str, Any] = {"d_model": 32, "n_heads": 4, "n_layers": 3, "max_length": 24, "dropout": 0.0}


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


KINDS = pytest.mark.parametrize("kind", ["gpt2", "llama"])


def make(kind: str = "gpt2") -> GPT2:
    torch.manual_seed(3)
    model = GPT2(GPT2Config(**SMALL), Tokens(VOCABULARY)).eval()
    if kind == "llama":
        model = Llama(LlamaConfig(**SMALL, n_groups=2, d_ff=40), Tokens(VOCABULARY)).eval()
    for parameter in model.parameters():  # biases too, which begin at 0
        parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def ids(*shape: int) -> torch.Tensor:
    return torch.randint(0, VOCABULARY, shape, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize(
    ("size", "count"),
    [("small", 124_439_808), ("medium", 354_823_168), ("large", 774_030_080), ("xl", 1_557_611_200)],
)
def test_the_published_sizes(size: str, count: int) -> None:
    with torch.device("meta"):
        model = GPT2(GPT2Config.model_validate({"size": size}), Tokens(50257))
    assert sum(parameter.numel() for parameter in model.parameters()) == count


@KINDS
def test_no_token_sees_a_later_one(kind: str) -> None:
    model, text = make(kind), ids(2, 12)
    before = model(text).hidden
    changed = text.clone()
    changed[:, 7] = (changed[:, 7] + 1) % VOCABULARY
    after = model(changed).hidden
    assert torch.allclose(before[:, :7], after[:, :7], atol=1e-6)
    assert not torch.allclose(before[:, 7:], after[:, 7:], atol=1e-3)


@KINDS
def test_documents_in_one_row_are_read_as_if_alone(kind: str) -> None:
    model, text = make(kind), ids(1, 12)
    position = torch.tensor([[0, 1, 2, 3, 4, 0, 1, 0, 1, 2, 3, 4]])
    together = model(text, position).hidden[0]
    for begin, end in [(0, 5), (5, 7), (7, 12)]:
        alone = model(text[:, begin:end]).hidden[0]
        assert torch.allclose(together[begin:end], alone, atol=1e-5)


@KINDS
def test_the_cache_gives_what_reading_at_once_gives(kind: str) -> None:
    model, text = make(kind), ids(3, 14)
    whole = model(text).hidden
    cache = model.cache(3, 14)
    parts = [model(part, cache=cache).hidden for part in text.split([5, 1, 1, 4, 3], dim=1)]
    assert torch.allclose(torch.cat(parts, dim=1), whole, atol=1e-5)
    cache.back(3)
    assert torch.allclose(model(text[:, -3:], cache=cache).hidden, whole[:, -3:], atol=1e-5)


@KINDS
def test_rows_padded_on_the_left_are_read_as_if_alone(kind: str) -> None:
    model, text = make(kind), ids(2, 10)
    lengths = [10, 4]
    padded, position = torch.zeros(2, 2, 10, dtype=torch.long).unbind()
    for row, length in enumerate(lengths):
        padded[row, 10 - length :], position[row, 10 - length :] = text[row, :length], torch.arange(length)
    cache = model.cache(2, 14, ragged=True)
    found = [model(padded, position, cache).hidden[:, -1:]]
    more = ids(2, 3)
    found += [model(more[:, :1], cache=cache).hidden, model(more[:, 1:], cache=cache).hidden]
    for row, length in enumerate(lengths):
        alone = model(torch.cat([text[row, :length], more[row]])[None]).hidden[0, length - 1 :]
        assert torch.allclose(torch.cat(found, dim=1)[row], alone, atol=1e-5)


@KINDS
def test_selected_rows_of_a_cache_go_on_alone(kind: str) -> None:
    model, text = make(kind), ids(3, 8)
    cache = model.cache(3, 8)
    model(text[:, :7], cache=cache)
    cache.select(torch.tensor([2, 0]))
    found = model(text[[2, 0], 7:], cache=cache).hidden
    assert torch.allclose(found, model(text[[2, 0]]).hidden[:, 7:], atol=1e-5)


@KINDS
def test_the_equation_of_attention_is_taken_while_someone_listens(kind: str) -> None:
    model, text = make(kind), ids(2, 9)
    fast, seen = model(text).hidden, []
    for module in model.modules():
        if isinstance(module, MultiHeadAttention):
            assert isinstance(module.weights, Tap)
            module.weights.register_forward_hook(lambda module, args, output: seen.append(output))
    assert torch.allclose(model(text).hidden, fast, atol=1e-5)
    assert len(seen) == 3 and all(torch.equal(each, each.tril()) for each in seen)


@pytest.mark.parametrize("way", ["forward", "step", "packed"])
def test_grouped_attention_is_the_same_in_every_way(way: str) -> None:
    """Llama's attention, with a base of its own, against the way that a decoder takes."""
    torch.manual_seed(0)
    module = GroupedAttention(LlamaConfig(d_model=8, n_heads=4, n_groups=2, rotary_base=50.0))
    x, past = torch.randn(3, 6, 8), KeyValues()
    whole = module.causal(x)
    if way == "forward":
        found = module(x, x, causal=True)
    elif way == "step":
        found = torch.cat([module.step(x[:, t : t + 1], past) for t in range(6)], dim=1)
    else:
        packing = Packing(torch.ones(3, 6, dtype=torch.bool))
        found, whole = module.packed(packing.pack(x), packing), packing.pack(module(x, x))
    torch.testing.assert_close(found, whole, atol=1e-5, rtol=1e-5)


def test_groups_that_heads_cannot_share_are_told() -> None:
    with pytest.raises(ValueError, match="not a multiple of n_groups"):
        LlamaConfig(**SMALL, n_groups=3)


def test_a_width_that_heads_cannot_share_is_told() -> None:
    with pytest.raises(ValueError, match="not a multiple"):
        GPT2Config(d_model=30, n_heads=4)
