"""How a new BERT looks at its text before it has learned anything."""

from __future__ import annotations

import pytest
import torch

from clew.data.batches import Texts
from clew.inputs import Tokens
from clew.models.bert import LOCAL_LAYERS, Bert, BertConfig
from clew.nn.taps import capture


@pytest.mark.parametrize("d_model", [128, 256])
def test_heads_of_the_first_layers_look_at_neighbours(d_model: int) -> None:
    torch.manual_seed(0)
    config = BertConfig(d_model=d_model, d_ff=16, n_heads=4, n_layers=LOCAL_LAYERS + 1, max_length=48, dropout=0.0)
    model = Bert(config, Tokens(500))
    texts = torch.randint(1, 500, (64, 48)).tolist()
    with capture(model, "*.attention.weights") as seen:
        model.eval()(Texts(texts, [0] * 64).batch(range(64), pad_id=0))
    weights = [seen[f"layers.{n}.attention.weights"][0].mean(dim=0) for n in range(LOCAL_LAYERS + 1)]  # (heads, T, T)
    inside = torch.arange(4, 44)
    for layer in weights[:LOCAL_LAYERS]:
        for head, offset in zip(layer, [-1, 1, -2, 2], strict=True):
            assert head[inside, inside + offset].mean() > 0.35 > 10 * head[inside, inside].mean()
    for head in weights[-1]:  # those above are free
        assert head[inside].max() < 0.2
