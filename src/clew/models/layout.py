"""How transformers keeps the models of a family: names of settings and tensors, ours → theirs, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Names = Mapping[str, str]
"""Module → module, `{}` standing for the number of a layer; several of ours with one of theirs are joined, in order."""


@dataclass(frozen=True)
class Layout:
    """A family's names, read in both directions. A variant says what differs with `dataclasses.replace`.

    names: of the backbone. heads: architecture → which of `clew.contracts.Head` it is, and the names of its modules.
    prefix: of the backbone's names there, which a file of the backbone alone leaves out. settings: of `config.json`.
    defaults: what transformers takes for settings that a `config.json` leaves out.
    fixed: what is written there, and must stand there (or nothing: these are transformers' defaults) to be read.
    tied: copies of other tensors, which files may hold or leave out. buffers: what older files hold, though it is no
    weight (a regular expression). spelling: how older files end some names. transposed: the modules whose matrices are
    stored as (in, out) (a regular expression). positions: the setting of their number, where it counts rows before the
    first one besides, as many as the number of the padding token and one.
    """

    model_type: str
    names: Names
    heads: Mapping[str, tuple[str, Mapping[str, str]]]
    prefix: str
    settings: Mapping[str, str]
    fixed: Mapping[str, Any]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    tied: Mapping[str, str] = field(default_factory=dict)
    buffers: str = "(?!)"
    spelling: Mapping[str, str] = field(default_factory=dict)
    transposed: str = "(?!)"
    positions: str = ""
