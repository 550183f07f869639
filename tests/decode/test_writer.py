"""The engine of writing beside the model: equal in float32, near in lower precision, at any batch and with a cache."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from clew.config import SampleConfig
from clew.decode.attend import attend_to_past
from clew.decode.sample import sample
from clew.decode.writer import Writer
from clew.inputs import Tokens
from clew.models.gpt2 import GPT2, GPT2Config
from clew.models.llama import Llama, LlamaConfig
from clew.nn.elementwise import numbers

SIZES: dict[str, Any] = {"d_model": 64, "n_heads": 4, "n_layers": 2, "max_length": 32, "dropout": 0.1}
IDS = torch.randint(0, 50, (2, 12), generator=torch.Generator().manual_seed(0))


def make(kind: str) -> GPT2:
    torch.manual_seed(4)
    if kind == "gpt2":
        return GPT2(GPT2Config(**SIZES), Tokens(50)).eval()
    return Llama(LlamaConfig(**SIZES, n_groups=2, d_ff=96, tied=False, rotary_base=300.0), Tokens(50)).eval()


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@pytest.mark.parametrize(("precision", "off"), [("fp32", 1e-5), ("bf16", 0.05), ("int8", 0.05)])
@torch.no_grad()
def test_it_reads_as_the_model_does(kind: str, precision: Any, off: float) -> None:
    model = make(kind)
    fast = Writer(model, precision)
    wanted = model.logits(model(IDS).hidden)
    for rows in (1, 2):
        found = fast.logits(fast(IDS[:rows]).hidden).float()
        assert (found - wanted[:rows]).abs().max() < off * wanted.abs().max()
        cache = fast.cache(rows, 12)
        parts = [fast.logits(fast(part, cache=cache).hidden) for part in IDS[:rows].split([7, 1, 1, 3], dim=1)]
        assert (torch.cat(parts, dim=1).float() - wanted[:rows]).abs().max() < off * wanted.abs().max()


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_it_writes_what_the_model_writes(kind: str) -> None:
    model, how = make(kind), SampleConfig(temperature=1.2)
    prompts = [[1, 2, 3, 4], [5]]
    a, b = (torch.stack([t for t, _ in sample(m, prompts, how, steps=40)]) for m in (model, Writer(model, "fp32")))
    assert torch.equal(a, b)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_attention_of_a_new_position(dtype: torch.dtype, groups: int) -> None:
    """Beside torch's own, for texts that begin at different slots; keys and values of the position are put in place."""
    torch.manual_seed(0)
    rows, n, width, room, slot = 3, 4, 24, 20, 16
    heads = torch.randn(rows, n + 2 * groups, width).to(dtype)
    past, begin = torch.randn(2, rows, groups, room, width).to(dtype), torch.tensor([0, 5, slot])
    expected_past = past.clone()
    expected_past[:, :, :, slot] = heads[:, n:].unflatten(1, (2, groups)).transpose(0, 1)
    key, value = expected_past[..., : slot + 1, :].double().repeat_interleave(n // groups, dim=2)
    mask = torch.arange(slot + 1) >= begin[:, None, None, None]
    expected = F.scaled_dot_product_attention(heads[:, :n, None].double(), key, value, mask, scale=0.2)[:, :, 0]
    out = torch.empty(rows, n, width, dtype=dtype)
    attend_to_past(numbers(heads), numbers(past), slot, begin.numpy(), 0.2, numbers(out))
    torch.testing.assert_close(out, expected.to(dtype), rtol=None, atol=None)
    assert torch.equal(past, expected_past)
