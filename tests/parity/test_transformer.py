"""The Transformer against torch.nn.Transformer and against transformers' MarianMTModel, with the same tiny weights."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clew.batches import PairBatch
from clew.data.batches import Pairs
from clew.inputs import TokenPair
from clew.models.transformer import Transformer, TransformerConfig

V, D = 17, 8
SIZES = {"d_model": D, "d_ff": 12, "n_heads": 2, "n_encoder_layers": 2, "n_decoder_layers": 3, "dropout": 0.1}


def make(**settings: Any) -> Transformer:
    torch.manual_seed(0)
    model = Transformer(TransformerConfig(**SIZES | settings), TokenPair.of(V, V)).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    return model


def batch() -> PairBatch:
    pairs = Pairs([[4, 5, 6, 7, 8], [9], [10, 11, 4]], [[5, 4], [7, 6, 10, 9], [8]])
    return pairs.batch([0, 1, 2], pad_id=0, bos_id=1, eos_id=2)


def assert_same(ours: Tensor, theirs: Tensor, mask: Tensor) -> None:
    torch.testing.assert_close(ours[mask], theirs[mask], atol=1e-5, rtol=1e-5)


# torch.nn.Transformer

TORCH = {
    "encoder": {
        "self_attn": "attention",
        "norm1": "around_attention.norm",
        "linear1": "feedforward.inner",
        "linear2": "feedforward.outer",
        "norm2": "around_feedforward.norm",
    },
    "decoder": {
        "self_attn": "self_attention",
        "multihead_attn": "cross_attention",
        "norm1": "around_self.norm",
        "norm2": "around_cross.norm",
        "linear1": "feedforward.inner",
        "linear2": "feedforward.outer",
        "norm3": "around_feedforward.norm",
    },
}


def as_torch(name: str, value: Tensor) -> dict[str, Tensor]:
    """Our names of one of torch's tensors, and what they hold: packed projections come apart."""
    stack, _, rest = name.partition(".")
    if rest.startswith("norm"):
        return {name: value}
    _, layer, part, *leaf = rest.split(".")
    ours = f"{stack}.layers.{layer}.{TORCH[stack][part]}"
    if leaf[0].startswith("in_proj_"):
        kind = leaf[0].removeprefix("in_proj_")
        return {f"{ours}.{p}.{kind}": v for p, v in zip(("query", "key", "value"), value.chunk(3), strict=True)}
    return {".".join([ours, *("output" if part == "out_proj" else part for part in leaf)]): value}


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")  # nn.Transformer says so of its own default
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_torch_transformer(norm: str, activation: str) -> None:
    torch.manual_seed(1)
    theirs = nn.Transformer(
        D, 2, 2, 3, 12, dropout=0.1, activation=activation, batch_first=True, norm_first=norm == "pre"
    ).eval()
    if norm == "post":  # the paper has no norm after the last layer's own
        theirs.encoder.norm = theirs.decoder.norm = None
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.4)
    model = make(norm=norm, activation=activation)
    mapped: dict[str, Tensor] = {}
    for name, value in theirs.state_dict().items():
        mapped |= as_torch(name, value)
    missing, unexpected = model.load_state_dict(mapped, strict=False)
    assert not unexpected
    assert sorted(missing) == ["bias", "source_embedding.weight", "target_embedding.weight"]

    pairs = batch()
    # with gradients on: torch's layers then take their plain path, which warns of nothing
    x, y = (embed(model.source_embedding.weight, ids) for ids in (pairs.source, pairs.target_in))
    padding, length = ~pairs.source_mask, y.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool).triu(1)  # torch's masks say what may not be seen
    hidden = theirs(x, y, tgt_mask=causal, src_key_padding_mask=padding, memory_key_padding_mask=padding)
    logits = F.linear(hidden, model.source_embedding.weight, model.bias)
    assert_same(model(pairs).hidden, hidden, pairs.target_mask)
    assert_same(model.project(model(pairs).hidden), logits, pairs.target_mask)


def embed(table: Tensor, ids: Tensor) -> Tensor:
    """√d · embedding plus the sinusoids, sines first, by their formula."""
    d = table.shape[1]
    positions = torch.tensor(
        [
            [math.sin(t / 10000 ** (2 * i / d)) for i in range(d // 2)]
            + [math.cos(t / 10000 ** (2 * i / d)) for i in range(d // 2)]
            for t in range(ids.shape[1])
        ]
    )
    return table[ids] * math.sqrt(d) + positions


# transformers' MarianMTModel

MARIAN = {
    "k_proj": "key",
    "q_proj": "query",
    "v_proj": "value",
    "out_proj": "output",
    "fc1": "feedforward.inner",
    "fc2": "feedforward.outer",
    "final_layer_norm": "around_feedforward.norm",
}
MARIAN_STACK = {
    "encoder": {"self_attn": "attention", "self_attn_layer_norm": "around_attention.norm"},
    "decoder": {
        "self_attn": "self_attention",
        "self_attn_layer_norm": "around_self.norm",
        "encoder_attn": "cross_attention",
        "encoder_attn_layer_norm": "around_cross.norm",
    },
}
SHARED = {"model.shared.weight", "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight"}
SHARED |= {"lm_head.weight"}


def as_marian(name: str, value: Tensor) -> dict[str, Tensor]:
    """Our names of one of Marian's tensors."""
    if name in SHARED:
        return {"source_embedding.weight": value, "target_embedding.weight": value}
    if name == "final_logits_bias":
        return {"bias": value[0]}
    _, stack, _, layer, *parts, kind = name.split(".")
    names = MARIAN | MARIAN_STACK[stack]
    return {".".join([stack, "layers", layer, *(names[part] for part in parts), kind]): value}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_marian() -> None:
    transformers = pytest.importorskip("transformers", reason="needs the extra `hub`")
    torch.manual_seed(2)
    config = transformers.MarianConfig(
        vocab_size=V, d_model=D, encoder_layers=2, decoder_layers=3, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=12, decoder_ffn_dim=12, activation_function="relu",
        scale_embedding=True, share_encoder_decoder_embeddings=True, tie_word_embeddings=True, dropout=0.1,
        max_position_embeddings=32, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
    )  # fmt: skip
    theirs = transformers.MarianMTModel(config).eval()
    for name, parameter in theirs.named_parameters():
        if "embed_positions" not in name:  # a fixed table, though it is a parameter there
            nn.init.normal_(parameter, std=0.4)
    nn.init.normal_(theirs.final_logits_bias)
    model = make(norm="post")
    state = {name: value for name, value in theirs.state_dict().items() if "embed_positions" not in name}
    mapped: dict[str, Tensor] = {}
    for name, value in state.items():
        mapped |= as_marian(name, value)
    assert len(mapped) == len(state) - len(SHARED & set(state)) + 2
    model.load_state_dict(mapped, strict=True)
    for stack in (theirs.model.encoder, theirs.model.decoder):
        positions = stack.embed_positions.weight
        torch.testing.assert_close(model.positions.table[: len(positions)], positions.detach())

    pairs = batch()
    with torch.no_grad():
        out = theirs(input_ids=pairs.source, attention_mask=pairs.source_mask.long(), decoder_input_ids=pairs.target_in)
        memory = model.encode(pairs.source, pairs.source_mask)
        assert_same(memory.states, out.encoder_last_hidden_state, pairs.source_mask)
        assert_same(model.project(model(pairs).hidden), out.logits, pairs.target_mask)
