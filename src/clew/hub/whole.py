"""Which module of the hub keeps a model that transformers has as a whole, without a head of clew's."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from clew.hub import decoders, t5
from clew.hub.transformers_folder import Checkpoint
from clew.models.gpt2 import GPT2
from clew.models.t5 import T5

KEEPERS: dict[type, ModuleType] = {GPT2: decoders, T5: t5}
"""Each has describe, state_to_hf, fill and config_from_hf."""


def keeper(kind: type) -> ModuleType | None:
    """The module for a class of models, or None."""
    return next((module for known, module in KEEPERS.items() if issubclass(kind, known)), None)


def start_config(kept: ModuleType, name: str) -> Any:
    """The sizes of a model in a folder, a run or the hub."""
    found = Checkpoint.find(name)
    return kept.config_from_hf(found.settings, str(found.folder / "config.json"))


def start_from(kept: ModuleType, model: Any, name: str) -> str:
    """Give a model all weights of a checkpoint; says so. Raises RunError where the two do not fit."""
    found = Checkpoint.find(name)
    kept.fill(model, found.tensors, str(found.folder))
    return f"every weight from {name}"
