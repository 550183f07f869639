"""Checkpoints: a folder each, written whole or not at all, checked when read: safetensors for tensors, JSON beside."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.optim import Optimizer

from clew.contracts import Loader, Objective
from clew.errors import CheckpointError
from clew.tensor_file import save_file
from clew.train.average import Average
from clew.train.budget import Progress


def save(
    folder: Path, *, model: nn.Module, objective: Objective, optimizer: Optimizer, batches: Loader, progress: Progress,
    average: Average | None, extra: dict[str, Any], keep: int,
) -> Path:  # fmt: skip
    """Write `folder/step-N` atomically, then delete all but the newest `keep`; one that exists already is left alone.

    `extra` is plain JSON data of the caller.
    """
    target = folder / f"step-{progress.step:08d}"
    if target.exists():
        return target
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    state = optimizer.state_dict()
    for index, entries in state["state"].items():
        for name, value in entries.items():
            tensors[f"optimizer.{index}.{name}"] = value
    if average is not None:
        tensors |= {f"average.{index}": value for index, value in enumerate(average.weights)}
    own, plain = parted(objective.state_dict())
    tensors |= {f"objective.{name}": tensor for name, tensor in own.items()}
    tensors["random.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    scalars = {
        "groups": state["param_groups"], "objective": plain, "batches": batches.state_dict(),
        "progress": asdict(progress), "extra": extra,
    }  # fmt: skip

    temporary = folder / ".writing"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    save_file(tensors, temporary / "state.safetensors")
    digest = sha256(temporary / "state.safetensors")
    (temporary / "state.json").write_text(json.dumps({"sha256": digest, **scalars}))
    (temporary / "sha256").write_text(sha256(temporary / "state.json"))
    for file in temporary.iterdir():
        flush(file)
    os.replace(temporary, target)
    flush(folder)
    for old in sorted(folder.glob("step-*"))[:-keep]:
        shutil.rmtree(old)
    return target


def latest(folder: Path) -> Path | None:
    """The newest complete checkpoint, or None where there is none."""
    found = sorted(folder.glob("step-*")) if folder.is_dir() else []
    return found[-1] if found else None


def broken(folder: Path) -> list[Path]:
    """Return the checkpoints that do not match their checksums."""
    return [path for path in sorted(folder.glob("step-*")) if not genuine(path)]


def genuine(path: Path) -> bool:
    """Return whether a checkpoint is as it was written."""
    try:
        digest = json.loads((path / "state.json").read_text())["sha256"]
        same = sha256(path / "state.json") == (path / "sha256").read_text()
        return same and sha256(path / "state.safetensors") == digest
    except (OSError, ValueError, KeyError, TypeError):
        return False


def load(
    path: Path,
    *,
    model: nn.Module,
    objective: Objective,
    optimizer: Optimizer,
    batches: Loader,
    progress: Progress,
    average: Average | None,
) -> dict[str, Any]:
    """Put everything back where it was, and return `extra`.

    Raises CheckpointError where the checkpoint is damaged, or is of another model, as former ones of PPO are.
    """
    advice = f"delete {path} to go on from the checkpoint before it, or from the start"
    try:
        genuine = sha256(path / "state.json") == (path / "sha256").read_text()
        scalars = json.loads((path / "state.json").read_text()) if genuine else {}
        if not genuine or sha256(path / "state.safetensors") != scalars["sha256"]:
            raise CheckpointError("the checkpoint does not match its checksums", where=str(path), fix=advice)
        tensors = load_file(path / "state.safetensors")
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"the checkpoint cannot be read: {error}", where=str(path), fix=advice) from error
    try:
        model.load_state_dict(part(tensors, "model."))
    except RuntimeError as error:
        raise CheckpointError(f"the checkpoint is of another model: {error}", where=str(path), fix=advice) from error
    states: dict[int, dict[str, Tensor]] = {}
    for name, value in part(tensors, "optimizer.").items():
        number, _, entry = name.partition(".")
        states.setdefault(int(number), {})[entry] = value
    optimizer.load_state_dict({"state": states, "param_groups": scalars["groups"]})
    if average is not None:
        for index, weight in enumerate(average.weights):
            weight.copy_(tensors[f"average.{index}"])
    torch.set_rng_state(tensors["random.cpu"])
    if "random.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["random.cuda"])
    objective.load_state_dict(joined(part(tensors, "objective."), scalars.get("objective", {})))
    batches.load_state_dict(scalars["batches"])
    vars(progress).update(scalars["progress"])
    extra: dict[str, Any] = scalars["extra"]
    return extra


def parted(state: Mapping[str, Any], prefix: str = "") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors of a nested state by dotted names, and the rest as it is nested."""
    tensors: dict[str, Tensor] = {}
    plain: dict[str, Any] = {}
    for name, value in state.items():
        if torch.is_tensor(value):
            tensors[prefix + name] = value
        elif type(value) is dict:
            more, plain[name] = parted(value, f"{prefix}{name}.")
            tensors |= more
        else:
            plain[name] = value
    return tensors, plain


def joined(tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state that was parted."""
    state: dict[str, Any] = json.loads(json.dumps(plain))
    for name, tensor in tensors.items():
        *path, last = name.split(".")
        inner = state
        for key in path:
            inner = inner[key]
        inner[last] = tensor
    return state


def part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors under a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def flush(path: Path) -> None:
    """Wait until a file, or a folder's entries, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
