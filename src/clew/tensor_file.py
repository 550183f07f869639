"""Safetensors files, written from where the tensors lie: the library's own writer copies all of them first."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from torch import Tensor

TYPES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8",
    "uint8": "U8", "bool": "BOOL",
}  # fmt: skip
PART = 1 << 20  # bytes copied at a time


def save_file(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors by their names; one that stands under two names (tied weights) is written twice."""
    with path.open("wb") as file:
        write(file, {name: tensor.numpy(force=True) for name, tensor in tensors.items()}, metadata)


def write(file: IO[bytes], arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None) -> None:
    """Write arrays of any layout, the widest numbers first so that each lies aligned to its type; O(1) memory.

    Eight bytes say how long the header is, which is JSON: of each tensor its type, shape and place among the bytes
    that follow (github.com/huggingface/safetensors, "Format"). KeyError for a type that is not in TYPES.
    """
    order = sorted(arrays, key=lambda name: -arrays[name].itemsize)
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    at = 0
    for name in order:
        array = arrays[name]
        entry = {"dtype": TYPES[array.dtype.name], "shape": array.shape, "data_offsets": [at, at + array.nbytes]}
        header[name], at = entry, at + array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write(struct.pack("<Q", len(text)) + text)
    for name in order:
        rows = np.atleast_1d(arrays[name])
        step = max(1, PART * len(rows) // max(rows.nbytes, 1))
        for start in range(0, len(rows), step):
            file.write(np.ascontiguousarray(rows[start : start + step]).data)
