"""GPT-2 and Llama against transformers: logits, both directions, nothing left over; runs and folders."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from clew import cli
from clew.config import SampleConfig, TokenizerConfig
from clew.decode.sample import sample
from clew.errors import RunError
from clew.hub.adapter import adapter_of, family_of
from clew.inputs import Tokens
from clew.models.gpt2 import GPT2, GPT2Config
from clew.models.llama import Llama, LlamaConfig
from clew.runs import Run
from clew.text.tokenizer import Tokenizer

transformers = pytest.importorskip("transformers", reason="needs the package transformers")

VOCABULARY = 40
SIZES: dict[str, Any] = {"d_model": 16, "n_heads": 4, "n_layers": 2, "max_length": 24, "dropout": 0.0}
MODELS = {
    "gpt2": lambda: GPT2(GPT2Config(**SIZES), Tokens(VOCABULARY)),
    "llama": lambda: Llama(LlamaConfig(**SIZES, n_groups=2, d_ff=24, rotary_base=500.0), Tokens(VOCABULARY)),
    "llama untied": lambda: Llama(LlamaConfig(**SIZES, n_groups=4, d_ff=24, tied=False), Tokens(VOCABULARY)),
}
IDS = torch.randint(0, VOCABULARY, (3, 20), generator=torch.Generator().manual_seed(2))


def config_to_hf(model: Any, end: int) -> dict[str, Any]:
    return adapter_of(model).config_to_hf(model, SimpleNamespace(eos_id=end, opening=[]))


def config_from_hf(settings: dict[str, Any], where: str) -> Any:
    return family_of(Llama if settings["model_type"] == "llama" else GPT2).config_from_hf(settings, where)


def fill(model: Any, state: Any, where: str) -> None:
    adapter_of(model).fill(model, state, where)


def state_to_hf(model: Any) -> Any:
    return adapter_of(model).to_hf(model)


def ours(kind: str) -> Any:
    """A model with random weights, far from their beginning, so that a mistake shows."""
    torch.manual_seed(len(kind))
    model = MODELS[kind]().eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    return model


def theirs(model: Any, folder: Path) -> Any:
    """What transformers makes of a model's config.json, with random weights of its own."""
    config = config_to_hf(model, 0)
    (folder / "config.json").write_text(json.dumps(config))
    made = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.from_pretrained(folder)).eval()
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.4)
    return made


@pytest.mark.parametrize("kind", MODELS)
@torch.no_grad()
def test_our_weights_there(kind: str, tmp_path: Path) -> None:
    model = ours(kind)
    peer = theirs(model, tmp_path)
    state = state_to_hf(model)
    told = peer.load_state_dict(state, strict=False)
    tied = [] if kind == "llama untied" else ["lm_head.weight"]
    assert told.missing_keys == tied and not told.unexpected_keys
    peer.tie_weights()
    logits = model.logits(model(IDS).hidden)
    assert torch.allclose(peer(IDS).logits, logits, atol=1e-5)
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in peer.parameters())


@pytest.mark.parametrize("kind", MODELS)
@torch.no_grad()
def test_their_weights_here(kind: str, tmp_path: Path) -> None:
    peer = theirs(ours(kind), tmp_path)
    config = config_from_hf(json.loads((tmp_path / "config.json").read_text()), "test")
    model: Any = (GPT2 if kind == "gpt2" else Llama)(config, Tokens(VOCABULARY)).eval()  # type: ignore[arg-type]
    fill(model, peer.state_dict(), "test")
    assert torch.allclose(peer(IDS).logits, model.logits(model(IDS).hidden), atol=1e-5)


@pytest.mark.parametrize("kind", MODELS)
def test_gradients_agree(kind: str, tmp_path: Path) -> None:
    model = ours(kind)
    peer = theirs(model, tmp_path)
    peer.load_state_dict(state_to_hf(model), strict=False)
    peer.tie_weights()
    theirs_loss = peer(IDS, labels=IDS).loss
    logits = model.logits(model(IDS[:, :-1]).hidden)
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), IDS[:, 1:].flatten())
    assert torch.allclose(loss, theirs_loss, atol=1e-5)
    loss.backward()
    theirs_loss.backward()
    name = "transformer.wte" if kind == "gpt2" else "model.embed_tokens"
    assert torch.allclose(model.token.weight.grad, peer.get_submodule(name).weight.grad, atol=1e-4)


@pytest.mark.parametrize("kind", MODELS)
def test_greedy_writing_is_theirs(kind: str, tmp_path: Path) -> None:
    model = ours(kind)
    peer = theirs(model, tmp_path)
    peer.load_state_dict(state_to_hf(model), strict=False)
    peer.tie_weights()
    prompt = IDS[:1, :5]
    settings = {"max_new_tokens": 12, "do_sample": False, "eos_token_id": -1, "pad_token_id": 0}
    wanted = peer.generate(prompt, attention_mask=torch.ones_like(prompt), **settings)[0, 5:]
    found = [int(token) for token, _ in sample(model, prompt.tolist(), SampleConfig(temperature=0), steps=12)]
    assert found == wanted.tolist()


def test_a_published_file_without_prefix_and_with_buffers() -> None:
    model = ours("gpt2")
    state = {name.removeprefix("transformer."): tensor for name, tensor in state_to_hf(model).items()}
    state["h.0.attn.bias"] = torch.ones(1, 1, 24, 24)
    again = MODELS["gpt2"]()
    fill(again, state, "test")
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))
    state["h.0.adapter.weight"] = torch.ones(1)
    with pytest.raises(RunError, match=r"no place in the model: transformer\.h\.0\.adapter"):
        fill(again, state, "test")
    with pytest.raises(RunError, match="should be a copy"):
        fill(again, state_to_hf(model) | {"lm_head.weight": torch.zeros(VOCABULARY, 16)}, "test")
    with pytest.raises(RunError, match=r"missing: transformer\.ln_f\.bias"):
        fill(again, {name: t for name, t in state_to_hf(model).items() if "ln_f.bias" not in name}, "test")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "bert"}, 'model_type is "bert"'),
        ({"activation_function": "relu"}, 'activation_function is "relu"'),
        ({"n_inner": 99}, 'n_inner is "99"'),
    ],
)
def test_another_form_is_told(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(RunError, match=said):
        config_from_hf(config_to_hf(ours("gpt2"), 0) | changes, "test")


def test_a_scaled_rotary_form_is_told() -> None:
    config = config_to_hf(ours("llama"), 0) | {"rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5}}
    with pytest.raises(RunError, match="rope_type = 'llama3'"):
        config_from_hf(config, "test")


@pytest.mark.parametrize("kind", ["gpt2", "llama", "llama untied"])
def test_a_folder_becomes_a_run_that_transformers_loads(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLEW_CACHE", str(tmp_path / "cache"))
    text = "A cat sat on the mat.\n  It  slept.\n"
    tokenizer = Tokenizer.train([text] * 3, TokenizerConfig(kind="gpt2", vocab_size=270))
    peer_config = config_to_hf(ours(kind), 0) | {"vocab_size": len(tokenizer)}
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "config.json").write_text(json.dumps(peer_config))
    auto = transformers.AutoModelForCausalLM
    peer = auto.from_config(transformers.AutoConfig.from_pretrained(tmp_path / "theirs")).eval()
    peer.save_pretrained(tmp_path / "theirs")
    tokenizer.save(tmp_path / "theirs" / "tokenizer.json")
    out = CliRunner().invoke(cli.app, ["import", str(tmp_path / "theirs"), "--out", str(tmp_path / "run")])
    assert out.exit_code == 0, out.output
    assert f"a {kind.split()[0]} for the task language_model" in out.output
    back = auto.from_pretrained(tmp_path / "run").eval()
    reader = transformers.AutoTokenizer.from_pretrained(tmp_path / "run")
    ids = reader(text)["input_ids"]
    assert ids == tokenizer.encode([text])[0] and reader.decode(ids) == text
    run = Run.open(tmp_path / "run")
    model: Any = run.model()
    with torch.no_grad():
        batch = torch.tensor([ids[:20]])
        for each in (peer, back):
            assert torch.allclose(each(batch).logits, model.logits(model(batch).hidden), atol=1e-5)
    out = CliRunner().invoke(cli.app, ["predict", str(run.path), "A cat"])
    assert out.exit_code == 0 and out.stdout.startswith("A cat"), out.output
