"""T5 1.0 and 1.1 against transformers: both directions, tiny random weights, padding in the batch."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clew.batches import PairBatch
from clew.data.batches import Pairs
from clew.decode.search import Limits, search
from clew.errors import RunError
from clew.hub.adapter import adapter_of, family_of
from clew.inputs import TokenPair
from clew.models.t5 import SIZES, T5, T5Config, bucket
from clew.nn.taps import capture
from clew.tensor_file import save_file

transformers = pytest.importorskip("transformers", reason="needs the package transformers")

V = 19
IDS = {"pad_id": 0, "bos_id": 1, "eos_id": 2}
SMALL = {"d_model": 8, "d_kv": 3, "d_ff": 12, "n_heads": 2, "n_encoder_layers": 2, "n_decoder_layers": 3, "buckets": 8,
         "max_distance": 10}  # fmt: skip
VERSIONS = {
    "1.0": T5Config(**SMALL),
    "1.1": T5Config(**SMALL, activation="gated_gelu", share_output=False),
}
# Longer than max_distance, so that the last bucket is reached.
BATCH = Pairs([[*range(4, 19)] * 2, [8], [9, 10, 4]], [[5, 4], [*range(3, 18)], [8, 8, 3]]).batch(range(3), **IDS)


@pytest.fixture(params=VERSIONS)
def config(request: pytest.FixtureRequest) -> T5Config:
    return VERSIONS[request.param]


def config_to_hf(model: Any, ids: dict[str, int]) -> dict[str, Any]:
    return adapter_of(model).config_to_hf(model, SimpleNamespace(ids=ids))


def config_from_hf(settings: dict[str, Any], where: str) -> Any:
    return family_of(T5).config_from_hf(settings, where)


def fill(model: Any, state: Any, where: str) -> None:
    adapter_of(model).fill(model, state, where)


def state_to_hf(model: Any) -> Any:
    return adapter_of(model).to_hf(model)


def scattered(model: Any) -> Any:
    torch.manual_seed(3)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    return model.eval()


def ours(config: T5Config) -> T5:
    return scattered(T5(config, TokenPair.of(V, V)))


def theirs(config: T5Config) -> Any:
    said = {k: v for k, v in config_to_hf(ours(config), IDS).items() if k != "architectures"}
    model = transformers.T5ForConditionalGeneration(transformers.T5Config(**said))
    if not config.share_output:  # recent versions tie what version 1.1 does not
        model.lm_head.weight = nn.Parameter(torch.empty(V, config.d_model))
    return scattered(model)


def logits(model: T5) -> Tensor:
    return model.project(model(BATCH).hidden)[BATCH.target_mask]


def expected(model: Any, batch: PairBatch = BATCH) -> Tensor:
    out = model(
        input_ids=batch.source, attention_mask=batch.source_mask.long(), decoder_input_ids=batch.target_in,
    )  # fmt: skip
    return out.logits[batch.target_mask]


def same(left: Tensor, right: Tensor) -> None:
    torch.testing.assert_close(left, right, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_ours_there(tmp_path: Path, config: T5Config) -> None:
    model = ours(config)
    save_file(state_to_hf(model), tmp_path / "model.safetensors", {"format": "pt"})
    described = transformers.T5Config(**config_to_hf(model, IDS))
    transformers.GenerationConfig().save_pretrained(tmp_path)  # without which recent versions read no model
    kind = transformers.T5ForConditionalGeneration
    there, info = kind.from_pretrained(tmp_path, config=described, output_loading_info=True)
    assert not any(info.values()), info  # nothing missing, nothing left over
    same(logits(model), expected(there.eval()))


@torch.no_grad()
def test_theirs_here(config: T5Config) -> None:
    there = theirs(config)
    assert config_from_hf(there.config.to_dict(), "there") == config
    model = T5(config, TokenPair.of(V, V)).eval()
    fill(
        model,
        there.state_dict()
        | {"decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight": torch.zeros(8, 2)},
        "there",
    )  # nothing else is left over, or it raises
    same(logits(model), expected(there))


@torch.no_grad()
def test_there_and_back(config: T5Config) -> None:
    model, back = ours(config), T5(config, TokenPair.of(V, V))
    fill(back, state_to_hf(model), "here")
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), back.state_dict().values(), strict=True))


def test_the_same_is_written(config: T5Config) -> None:
    """Greedy decoding here, with the cache, and `generate` there."""
    there = theirs(config)
    model = T5(config, TokenPair.of(V, V)).eval()
    fill(model, there.state_dict(), "there")
    found = search(model, BATCH.source, BATCH.source_mask, Limits(1, 2, 15), 1)
    written = there.generate(
        input_ids=BATCH.source, attention_mask=BATCH.source_mask.long(), do_sample=False, num_beams=1,
        max_new_tokens=15, use_cache=False, decoder_start_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    for (hypothesis,), ids in zip(found, written.tolist(), strict=True):
        kept = [*ids[1:], 2]
        assert hypothesis.ids == kept[: kept.index(2)][: len(hypothesis.ids)] and hypothesis.ids


@torch.no_grad()
def test_the_equation_is_the_engine(config: T5Config) -> None:
    model = ours(config)
    fast = logits(model)
    with capture(model, "*attention.weights") as seen:
        slow = logits(model)
    assert len(seen) == 2 + 3 + 3
    same(slow, fast)


@pytest.mark.parametrize(("n", "far", "causal"), [(32, 128, False), (32, 128, True), (8, 10, False), (16, 40, True)])
def test_buckets(n: int, far: int, causal: bool) -> None:
    distance = torch.arange(-300, 301)
    found = transformers.models.t5.modeling_t5.T5Attention._relative_position_bucket(distance, not causal, n, far)
    assert torch.equal(bucket(distance, n, far, causal), found)


@pytest.mark.parametrize("size", SIZES)
def test_published_sizes(size: str) -> None:
    """Parameters as counted on the published checkpoints, of 32,128 tokens."""
    counts = {
        "small": 60_506_624, "base": 222_903_552, "large": 737_668_096,
        "v1.1-small": 76_961_152, "v1.1-base": 247_577_856, "v1.1-large": 783_150_080,
    }  # fmt: skip
    with torch.device("meta"):
        model = T5(T5Config.model_validate({"size": size}), TokenPair.of(32_128, 32_128))
    assert sum(parameter.numel() for parameter in model.parameters()) == counts[size]


def test_faults_are_named() -> None:
    model, state = T5(VERSIONS["1.0"], TokenPair.of(V, V)), state_to_hf(ours(VERSIONS["1.0"]))
    short = {name: tensor for name, tensor in state.items() if name != "encoder.final_layer_norm.weight"}
    with pytest.raises(RunError, match=r"missing: encoder.final_layer_norm.weight"):
        fill(model, short, "there")
    with pytest.raises(RunError, match="no place in the model: more"):
        fill(model, {**state, "more": torch.zeros(1)}, "there")
    with pytest.raises(RunError, match=r"shared.weight \[3, 8\], not \[19, 8\]"):
        fill(model, {**state, "shared.weight": torch.zeros(3, 8)}, "there")
    with pytest.raises(RunError, match=r"lm_head.weight is not shared.weight"):
        fill(model, {**state, "lm_head.weight": torch.zeros(V, 8)}, "there")
    with pytest.raises(RunError, match='model_type is "bert"'):
        config_from_hf({"model_type": "bert"}, "there")
