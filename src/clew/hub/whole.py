"""Which module of the hub keeps a model that transformers has as a whole, without a head of clew's."""

from __future__ import annotations

from types import ModuleType

from clew.hub import decoders, t5
from clew.models.gpt2 import GPT2
from clew.models.t5 import T5

KEEPERS: dict[type, ModuleType] = {GPT2: decoders, T5: t5}
"""Each has describe, state_to_hf, fill, start_config and start_from."""


def keeper(kind: type) -> ModuleType | None:
    """The module for a class of models, or None."""
    return next((module for known, module in KEEPERS.items() if issubclass(kind, known)), None)
