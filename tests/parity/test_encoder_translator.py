"""The encoder-only translator against torch.nn.TransformerEncoder, laid out as the paper's figure: [CLS] first."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clew.data.batches import Pairs
from clew.inputs import TokenPair
from clew.models.encoder_translator import EncoderTranslator, EncoderTranslatorConfig

NAMES = {
    "norm1": "around_attention.norm",
    "linear1": "feedforward.inner",
    "linear2": "feedforward.outer",
    "norm2": "around_feedforward.norm",
    "self_attn.out_proj": "attention.output",
}


def packed(state: dict[str, Tensor], layers: int) -> dict[str, Tensor]:
    """torch's tensors from ours, each of ours taken out of `state`."""
    out = {}
    for layer in range(layers):
        ours, theirs = f"layers.{layer}.", f"layers.{layer}."
        for kind in ("weight", "bias"):
            parts = [state.pop(f"{ours}attention.{part}.{kind}") for part in ("query", "key", "value")]
            out[f"{theirs}self_attn.in_proj_{kind}"] = torch.cat(parts)
            out |= {f"{theirs}{t}.{kind}": state.pop(f"{ours}{o}.{kind}") for t, o in NAMES.items()}
    return out


@pytest.mark.parametrize("n_layers", [1, 2])
@torch.no_grad()
def test_torch_encoder(n_layers: int) -> None:
    torch.manual_seed(0)
    config = EncoderTranslatorConfig(d_model=8, d_ff=12, n_heads=2, n_layers=n_layers, max_length=16)
    model = EncoderTranslator(config, TokenPair.of(13, 11)).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    state = dict(model.state_dict())
    layer = nn.TransformerEncoderLayer(8, 2, 12, activation="relu", batch_first=True, norm_first=False)
    theirs = nn.TransformerEncoder(layer, n_layers, enable_nested_tensor=False).eval()
    theirs.load_state_dict(packed(state, n_layers), strict=True)

    pairs = Pairs([[4, 5, 6, 7], [9], [10, 11]], [[5, 4], [7, 6, 10, 9, 8, 3], [8]])
    batch = pairs.batch([0, 1, 2], pad_id=0, bos_id=1, eos_id=2)
    size, width = len(batch.source), max(batch.source.shape[1], batch.target_out.shape[1]) + 1
    cls, slot = state.pop("cls_and_slot")
    x = torch.stack([cls, *[slot] * (width - 1)]).repeat(size, 1, 1)
    seen = torch.zeros(size, width, dtype=torch.bool)
    seen[:, 0] = True
    table = state.pop("embedding.weight")
    for row, (ids, mask) in enumerate(zip(batch.source, batch.source_mask, strict=True)):
        for t in range(int(mask.sum())):
            x[row, t + 1], seen[row, t + 1] = table[ids[t]], True
    x = F.layer_norm(x + state.pop("positions.table")[:width], (8,), state.pop("norm.weight"), state.pop("norm.bias"))
    expected = F.linear(theirs(x, src_key_padding_mask=~seen), state.pop("output.weight"), state.pop("output.bias"))
    assert not state  # every tensor was used
    logits = model.project(model(batch).hidden)
    torch.testing.assert_close(logits, expected[:, 1 : logits.shape[1] + 1], atol=1e-5, rtol=1e-5)
