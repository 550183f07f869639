"""Checkpoints: resumed = uninterrupted to the bit; damage is told; what was there survives a killed write."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clew.config import BatchConfig, BudgetConfig, build, resolve
from clew.data.batches import PairLoader, Pairs
from clew.errors import CheckpointError
from clew.inputs import TokenPair
from clew.objectives.translation import Translation, TranslationConfig
from clew.train import checkpoint
from clew.train.average import Average
from clew.train.budget import Progress
from clew.train.loop import Step, fit

V = 12
IDS = {"pad_id": 0, "bos_id": 1, "eos_id": 2}
MODELS = {
    "transformer": {
        "d_model": 8,
        "d_ff": 16,
        "n_heads": 2,
        "n_encoder_layers": 1,
        "n_decoder_layers": 1,
        "dropout": 0.3,
    },
    "encoder_translator": {"d_model": 8, "d_ff": 16, "n_heads": 2, "dropout": 0.3},
    "seq2seq": {"d_embedding": 8, "d_model": 8, "dropout": 0.3, "tie_projection": True, "share_embeddings": True},
}
OPTIMIZERS = {"adam": {"lr": 0.01}, "adamw": {"lr": 0.01, "weight_decay": 0.1}, "sgd": {"lr": 0.1, "momentum": 0.9}}


class Training:
    """All that a checkpoint holds, for one small model, made from a seed."""

    def __init__(self, model: str = "transformer", optimizer: str = "adamw", averaged: bool = True) -> None:
        torch.manual_seed(7)
        config = resolve("model", model).Config(**MODELS[model])
        self.model: nn.Module = build("model", config, TokenPair.of(V, V))
        self.optimizer = build("optimizer", resolve("optimizer", optimizer).Config(**OPTIMIZERS[optimizer]))(self.model)
        generator = torch.Generator().manual_seed(0)
        texts = [torch.randint(3, V, (n % 5 + 1,), generator=generator).tolist() for n in range(40)]
        self.batches = PairLoader(
            Pairs(texts[:20], texts[20:]), batch=BatchConfig(tokens=12), max_length=9, seed=3, **IDS
        )
        self.average = Average(self.model, 0.9) if averaged else None
        self.progress, self.objective = Progress(), Translation(TranslationConfig())

    def train(self, steps: int) -> list[Step]:
        """Up to step `steps`; the schedule follows a budget of 10, as in the run that is not interrupted."""
        cosine = resolve("schedule", "cosine")
        stream = fit(
            self.model, self.objective, self.batches, self.optimizer,
            cosine(cosine.Config(warmup=3)), BudgetConfig(steps=10), progress=self.progress, average=self.average,
            accumulate=2, clip_norm=1.0,
        )  # fmt: skip
        return [next(stream) for _ in range(steps - self.progress.step)]

    def state(self) -> dict[str, Any]:
        names = ("model", "objective", "optimizer", "batches", "progress", "average")
        return {name: getattr(self, name) for name in names}

    def save(self, folder: Path, keep: int = 1) -> Path:
        return checkpoint.save(folder, **self.state(), extra={"best": 0.1 + 0.2, "names": ["a"]}, keep=keep)

    def everything(self) -> dict[str, Any]:
        """Every tensor and every number, flat."""
        out: dict[str, Any] = dict(self.model.state_dict())
        for index, entries in self.optimizer.state_dict()["state"].items():
            out |= {f"optimizer {index} {name}": value for name, value in entries.items()}
        out |= {f"average {i}": w for i, w in enumerate(self.average.weights)} if self.average else {}
        groups = [{k: v for k, v in group.items() if k != "params"} for group in self.optimizer.param_groups]
        out |= {"groups": json.loads(json.dumps(groups)), "random": torch.get_rng_state()}
        progress = {k: v for k, v in asdict(self.progress).items() if "seconds" not in k}
        return out | {"batches": self.batches.state_dict(), "progress": progress}


def assert_identical(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(value, Tensor):
            assert found[name].dtype == value.dtype, name
            assert torch.equal(found[name], value), name
        else:
            assert found[name] == value, name


@pytest.mark.parametrize(
    ("model", "optimizer", "averaged"),
    [
        ("transformer", "adamw", True),
        ("transformer", "sgd", False),
        ("encoder_translator", "adam", True),
        ("seq2seq", "adamw", True),
    ],
)
def test_resumed_equals_uninterrupted_to_the_bit(model: str, optimizer: str, averaged: bool, tmp_path: Path) -> None:
    """Ten steps at once, or five, saved, loaded into what another seed made, and five more."""
    whole = Training(model, optimizer, averaged)
    losses = [step.loss for step in whole.train(10)]
    expected = whole.everything()

    first = Training(model, optimizer, averaged)
    early = [step.loss for step in first.train(5)]
    path = first.save(tmp_path)
    at_five = first.everything()

    second = Training(model, optimizer, averaged)
    with torch.no_grad():
        for parameter in second.model.parameters():
            parameter.add_(1.0)
    torch.manual_seed(99)
    extra = checkpoint.load(path, **second.state())
    assert extra == {"best": 0.1 + 0.2, "names": ["a"]}
    assert_identical(second.everything(), at_five)
    assert asdict(second.progress) == asdict(first.progress)
    late = [step.loss for step in second.train(10)]
    assert early + late == losses
    assert len(set(losses)) == 10
    assert_identical(second.everything(), expected)


def test_tied_weights_stay_tied(tmp_path: Path) -> None:
    first = Training("seq2seq")
    first.train(1)
    second = Training("seq2seq")
    checkpoint.load(first.save(tmp_path), **second.state())
    assert second.model.projection.weight is second.model.source_embedding.weight
    assert torch.equal(second.model.projection.weight, first.model.projection.weight)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    training = Training()
    training.train(2)
    return training.save(tmp_path)


def flip(file: Path, position: int) -> None:
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("where", [0, 0.3, 0.7, -1])
@pytest.mark.parametrize("name", ["state.safetensors", "state.json", "sha256"])
def test_a_flipped_bit_is_seen(saved: Path, name: str, where: float) -> None:
    file = saved / name
    flip(file, int(where * file.stat().st_size) if where > 0 else int(where))
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(saved, **Training().state())
    assert str(saved) in str(caught.value)
    assert "delete" in caught.value.fix


@pytest.mark.parametrize("name", ["state.safetensors", "state.json", "sha256"])
def test_a_cut_or_missing_file_is_seen(saved: Path, name: str) -> None:
    file = saved / name
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(CheckpointError):
        checkpoint.load(saved, **Training().state())
    file.unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        checkpoint.load(saved, **Training().state())
    with pytest.raises(CheckpointError, match="cannot be read"):
        checkpoint.load(saved.parent / "step-00000099", **Training().state())


def test_damage_touches_nothing(saved: Path) -> None:
    flip(saved / "state.safetensors", -1)
    other = Training()
    before = other.everything()
    before = {name: value.clone() if isinstance(value, Tensor) else value for name, value in before.items()}
    with pytest.raises(CheckpointError, match="checksum"):
        checkpoint.load(saved, **other.state())
    assert_identical(other.everything(), before)


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    training = Training(averaged=False)
    assert checkpoint.latest(tmp_path / "nowhere") is None
    assert checkpoint.latest(tmp_path) is None
    for step in range(1, 5):
        training.train(step)
        path = training.save(tmp_path, keep=2)
        assert checkpoint.latest(tmp_path) == path
        assert training.save(tmp_path, keep=2) == path  # there already
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000003", "step-00000004"]


@pytest.mark.parametrize("moment", ["save_file", "sha256", "flush", "os.replace"])
def test_a_write_that_fails_leaves_the_old_one(saved: Path, moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At whatever moment: the old checkpoint is the newest and loads, and the next write cleans up."""
    training = Training()
    checkpoint.load(saved, **training.state())
    training.train(4)

    def fail(*_args: Any, **_options: Any) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(f"clew.train.checkpoint.{moment}", fail)
        with pytest.raises(OSError, match="no space left"):
            training.save(saved.parent)
    assert checkpoint.latest(saved.parent) == saved
    checkpoint.load(saved, **Training().state())
    path = training.save(saved.parent)
    assert [p.name for p in saved.parent.iterdir()] == [path.name]


KILLED = """
import os, sys
from pathlib import Path
import torch
from torch import nn
from clew.train import checkpoint
from clew.train.budget import Progress

class Batches:
    def state_dict(self): return {}

torch.set_num_threads(1)
model = nn.Linear(2, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
def save(step):
    checkpoint.save(Path(sys.argv[1]), model=model, optimizer=optimizer, batches=Batches(), objective=Batches(),
                    progress=Progress(step=step), average=None, extra={}, keep=1)
save(1)
real = checkpoint.flush
checkpoint.flush = lambda path: os.kill(os.getpid(), 9) if path.name == "state.json" else real(path)
save(2)
"""


def test_killed_while_writing(tmp_path: Path) -> None:
    """The process dies with its second checkpoint on its way: the first is still the newest, and whole."""
    process = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)], env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False
    )
    assert process.returncode == -9
    assert (tmp_path / ".writing").is_dir()
    newest = checkpoint.latest(tmp_path)
    assert newest is not None
    assert newest.name == "step-00000001"

    class Batches:
        def load_state_dict(self, state: dict[str, Any]) -> None:
            assert not state

    model, progress = nn.Linear(2, 2), Progress()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    options = {"model": model, "optimizer": optimizer, "batches": Batches(), "objective": Batches()}
    assert checkpoint.load(newest, **options, progress=progress, average=None) == {}
    assert progress.step == 1
    assert optimizer.param_groups[0]["lr"] == 0.1
