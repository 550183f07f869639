"""Fine-tuning in every way: what learns, when and how fast; what a run keeps; resumed = uninterrupted."""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from clew.batches import TextBatch
from clew.config import KINDS, Recipe, build, resolve
from clew.data.batches import Texts
from clew.errors import RecipeError
from clew.hub.adapter import adapter_of
from clew.inputs import Tokens
from clew.models.bert import BertConfig
from clew.models.heads import with_head
from clew.models.text_classifier import TextClassifier, TextClassifierConfig
from clew.nn.low_rank import merged_state
from clew.runs import Run
from clew.runs.training import open_training, train
from clew.tensor_file import save_file
from clew.train.optim import AdamW

VOCABULARY = 23
CONFIG = BertConfig(d_model=8, d_ff=12, n_heads=2, n_layers=2, max_length=16, dropout=0.2)
TEXTS = Texts([[2, 6, 7, 8, 9, 3], [2, 12, 3], [2, 4, 13, 3]], [0, 1, 2], [3, 3, 2])
KIND_NAMES = list(KINDS["tuning"])


def tuned(kind: str, head: str = "classify", **settings: Any) -> tuple[Any, Any]:
    """A model, and the tuning that was made on it."""
    torch.manual_seed(0)
    model = with_head(head, CONFIG, Tokens(VOCABULARY), 3)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.4)  # far from the beginning, so that a mistake shows
    return model, build("tuning", resolve("tuning", kind).Config(**settings), model)


def batch() -> TextBatch:
    return TEXTS.batch(range(3), pad_id=0)


def logits(model: Any) -> Tensor:
    with torch.no_grad():
        return model.eval()(batch()).logits


def update(model: nn.Module) -> None:
    """As if it had learned: the second factor of each update is no longer zero."""
    for name, parameter in model.named_parameters():
        if name.endswith(".B"):
            nn.init.normal_(parameter, std=0.5)


def test_lora_begins_as_the_base() -> None:
    base, _ = tuned("full")
    model, _ = tuned("lora", rank=3)
    assert torch.equal(logits(model), logits(base))
    learn = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    inside = [name for name in learn if name.startswith("encoder.")]
    assert len(inside) == 2 * 2 * 2 and all(name.endswith((".A", ".B")) for name in inside)  # layers, q and v, A and B
    assert len(learn) == len(inside) + 4  # pooler and output


def test_lora_is_the_equation_and_merges() -> None:
    model, _ = tuned("lora", rank=3, alpha=5.0, targets=("query", "value", "inner"))
    update(model)
    layer, x = model.encoder.layers[1].feedforward.inner, torch.randn(4, 8)
    low = layer.parametrizations.weight[0]
    W = layer.parametrizations.weight.original
    for n in range(4):
        for j in range(12):
            down = [sum(low.A[r, i] * x[n, i] for i in range(8)) for r in range(3)]
            expected = sum(W[j, i] * x[n, i] for i in range(8)) + layer.bias[j]
            expected += 5 / 3 * sum(low.B[j, r] * down[r] for r in range(3))
            assert layer(x)[n, j].item() == pytest.approx(expected.item(), abs=1e-5)
    plain, _ = tuned("full")
    begun = logits(plain)
    plain.load_state_dict(merged_state(model))
    assert torch.equal(logits(plain), logits(model))
    assert not torch.allclose(logits(plain), begun, atol=0.05)
    with pytest.raises(RecipeError, match='called "attention"') as caught:
        tuned("lora", targets=("query", "attention"))
    assert "query, key, value, output, inner, outer" in caught.value.fix


PEFT = """
import json, sys, torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import BertForSequenceClassification
folder = sys.argv[1]
model = BertForSequenceClassification.from_pretrained(folder, attn_implementation="eager")
model = get_peft_model(model, LoraConfig(r=3, lora_alpha=5, target_modules=["query", "value"])).eval()
state, given = model.state_dict(), load_file(f"{folder}/updates.safetensors")
for name, value in given.items():
    layer, where, part = name.split(".")
    state[f"base_model.model.bert.encoder.layer.{layer}.attention.self.{where}.lora_{part}.default.weight"].copy_(value)
with torch.no_grad():
    print(json.dumps(model(**{k: torch.tensor(v) for k, v in json.load(sys.stdin).items()}).logits.tolist()))
"""


@pytest.mark.peers
def test_lora_equals_peft(tmp_path: Path) -> None:
    python = Path(os.environ.get("CLEW_PEERS", "../peers")) / "peft" / "bin" / "python"
    if not python.is_file():
        pytest.skip(f"peft is not installed beside clew ({python})")
    base, _ = tuned("full")
    (tmp_path / "config.json").write_text(
        json.dumps(adapter_of(base).config_to_hf(base, SimpleNamespace(spec=Tokens(VOCABULARY), labels=())))
    )
    save_file(adapter_of(base).to_hf(base), tmp_path / "model.safetensors", {"format": "pt"})
    model, _ = tuned("lora", rank=3, alpha=5.0)
    update(model)
    found = {
        f"{i}.{where}.{part}": getattr(getattr(layer.attention, where).parametrizations.weight[0], part)
        for i, layer in enumerate(model.encoder.layers) for where in ("query", "value") for part in "AB"
    }  # fmt: skip
    save_file(found, tmp_path / "updates.safetensors")
    b = batch()
    inputs = {"input_ids": b.text, "attention_mask": b.mask.long(), "token_type_ids": b.segment}
    given = json.dumps({name: value.tolist() for name, value in inputs.items()})
    done = subprocess.run([python, "-c", PEFT, tmp_path], input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    torch.testing.assert_close(logits(model), torch.tensor(json.loads(done.stdout)), atol=1e-5, rtol=0)
    assert not torch.allclose(logits(model), logits(base), atol=1e-2)


def test_frozen_features_do_not_change() -> None:
    model, tuning = tuned("frozen")
    model.train()
    tuning.before_step(0.0)
    first, again = model.encoder(batch()).hidden, model.encoder(batch()).hidden
    assert torch.equal(first, again) and not first.requires_grad  # nothing dropped out; no graph
    assert model.training and model.dropout.training
    model(batch()).logits.sum().backward()
    have = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert have == {"pooler.dense.weight", "pooler.dense.bias", "output.weight", "output.bias"}


def test_layerwise_rates() -> None:
    model, tuning = tuned("layerwise", decay=0.5)
    optimizer = AdamW(AdamW.Config(lr=0.8))(model, tuning.factor)
    assert optimizer.param_groups[0]["lr"] == 0.8  # the head's, which is what is logged
    rate = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    found = {(name.split(".layers.")[0][:18], name.partition(".layers.")[2][:1], rate[id(parameter)])
             for name, parameter in model.named_parameters()}  # fmt: skip
    assert found == {
        ("output.weight", "", 0.8), ("output.bias", "", 0.8), ("pooler.dense.weigh", "", 0.8),
        ("pooler.dense.bias", "", 0.8), ("encoder", "1", 0.4), ("encoder", "0", 0.2), ("encoder.embeddings", "", 0.1),
    }  # fmt: skip


def test_gradual_unfreezing() -> None:
    model, tuning = tuned("gradual", until=0.6)
    begun = AdamW(AdamW.Config())(model, tuning.factor)
    assert sum(len(group["params"]) for group in begun.param_groups) == len(list(model.parameters()))

    def learning(done: float) -> set[str]:
        tuning.before_step(done)
        return {n.partition(".layers.")[2][:1] or n.split(".")[-3] if n.startswith("encoder") else "head"
                for n, parameter in model.named_parameters() if parameter.requires_grad}  # fmt: skip

    stages = {0.0: {"head"}, 0.19: {"head"}, 0.2: {"head", "1"}, 0.39: {"head", "1"}, 0.41: {"head", "1", "0"}}
    assert {done: learning(done) for done in stages} == stages
    everything = learning(0.6)
    assert "embeddings" in everything and all(parameter.requires_grad for parameter in model.parameters())
    assert learning(0.99) == everything
    learning(0.2)
    model(batch()).logits.sum().backward()
    assert all((p.grad is not None) == p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("kind", KIND_NAMES[1:])
def test_what_has_no_encoder_is_refused(kind: str) -> None:
    model = TextClassifier(TextClassifierConfig(d_embedding=4), Tokens(9), 2)
    with pytest.raises(RecipeError, match="TextClassifier does not have") as caught:
        build("tuning", resolve("tuning", kind).Config(), model)
    assert caught.value.where == "train.tuning.kind"
    before = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    build("tuning", resolve("tuning", "full").Config(), model)
    assert before == {name: parameter.requires_grad for name, parameter in model.named_parameters()}


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reviews, good or bad by one word."""
    folder, rng = tmp_path_factory.mktemp("tuning"), random.Random(0)
    for name, n in [("train", 60), ("valid", 12)]:
        rows = [f"the film is {rng.choice(words)}{' indeed' * rng.randint(0, 3)}\t{label}" for _ in range(n // 2)
                for label, words in [("good", ["fine", "great"]), ("bad", ["poor", "dull"])]]  # fmt: skip
        (folder / f"{name}.tsv").write_text("text\tlabel\n" + "\n".join(rows) + "\n")
    return folder


def recipe(tables: Path, kind: str, **settings: Any) -> Recipe:
    return Recipe.model_validate({
        "name": kind, "task": {"kind": "classify", "text": "text", "label": "label", "max_length": 12},
        "data": {"kind": "files", "columns": ["text", "label"],
                 **{split: [str(tables / f"{split}.tsv")] for split in ("train", "valid")}},
        "tokenizer": {"kind": "wordpiece", "vocab_size": 60},
        "model": {"kind": "bert", "d_model": 8, "d_ff": 16, "n_heads": 2, "n_layers": 2, "max_length": 16},
        "objective": {"kind": "classification", "class_weights": "balanced"},
        "train": {"batch": {"tokens": 48}, "device": "cpu", "tuning": {"kind": kind}, "schedule": {"kind": "constant"},
                  "optimizer": {"kind": "adamw", "lr": 1e-2, "weight_decay": 0.1}, "budget": {"steps": 12},
                  "save_every": 3, "evaluate_every": 6, **settings},
    })  # fmt: skip


MORE = {"average": 0.5, "accumulate": 2, "clip_norm": 0.1, "precision": "bf16"}


@pytest.mark.parametrize(("kind", "more"), [(kind, MORE if kind in ("gradual", "lora") else {}) for kind in KIND_NAMES])
def test_through_a_run(tables: Path, tmp_path: Path, kind: str, more: dict[str, Any]) -> None:
    """Killed and resumed, it ends with the same numbers; what it keeps are plain weights that predict as it did."""
    chosen = recipe(tables, kind, **more)
    for moment in train(chosen, tmp_path / "whole"):
        assert moment.step.grad_norm > 0
    killed = train(chosen, tmp_path / "killed")
    for moment in killed:
        if moment.step.number == 5:  # of the gradual: the top layer has just begun to learn, the others have not
            killed.close()
    for _ in train(chosen, tmp_path / "killed", resume=True):
        pass
    whole, again = Run(tmp_path / "whole"), Run(tmp_path / "killed")
    left, right = (load_file(run.path / "model.safetensors") for run in (whole, again))
    assert left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)
    assert not any("parametrizations" in name for name in left)
    results, model = whole.results(), whole.model()
    assert results["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    head = 8 * 8 + 8 + 8 * 2 + 2
    trained = {"frozen": head, "lora": head + 2 * 2 * 8 * (8 + 8)}.get(kind, results["parameters"])
    assert results["trained_parameters"] == trained
    valid = whole.task.evaluate(model, whole.preprocessor(), build("data", chosen.data).split("valid"), chosen.decode)
    assert valid["accuracy"].items() >= {"value": results["splits"]["valid"]["accuracy"]["value"]}.items()


def test_a_run_freezes_before_its_first_step(tables: Path, tmp_path: Path) -> None:
    """From one beginning, one step: the encoder stays as it is in a frozen and a gradual run, not in a full one."""
    encoders, heads = {}, {}
    for kind in ("frozen", "gradual", "full"):
        training = open_training(recipe(tables, kind, evaluate_every=9), tmp_path / kind)
        assert training is not None
        begun = {name: value.clone() for name, value in training.model.state_dict().items()}
        steps = training.go()
        next(steps)
        changed = {name for name, value in training.model.state_dict().items() if not torch.equal(value, begun[name])}
        encoders[kind] = {name for name in changed if name.startswith("encoder.")}
        heads[kind] = changed - encoders[kind]
        assert training.model.training and training.model.encoder.training == (kind != "frozen")
        steps.close()
    assert not encoders["frozen"] and not encoders["gradual"] and len(encoders["full"]) > 20
    assert heads["frozen"] == heads["gradual"] == heads["full"]
    assert heads["full"] == {"pooler.dense.weight", "pooler.dense.bias", "output.weight", "output.bias"}
