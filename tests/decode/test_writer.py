"""The engine of writing beside the model: equal in float32, near in lower precision, at any batch and with a cache."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from clew.config import SampleConfig
from clew.decode.sample import sample
from clew.decode.writer import Writer
from clew.models.gpt2 import GPT2, GPT2Config
from clew.models.llama import Llama, LlamaConfig

SIZES: dict[str, Any] = {"d_model": 64, "n_heads": 4, "n_layers": 2, "max_length": 32, "dropout": 0.1}
IDS = torch.randint(0, 50, (2, 12), generator=torch.Generator().manual_seed(0))


def make(kind: str) -> GPT2:
    torch.manual_seed(4)
    if kind == "gpt2":
        return GPT2(GPT2Config(**SIZES), 50).eval()
    return Llama(LlamaConfig(**SIZES, n_groups=2, d_ff=96, tied=False, rotary_base=300.0), 50).eval()


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
