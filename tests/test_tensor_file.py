"""What is written from where it lies is what safetensors reads, whatever its layout."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from clew import tensor_file


def test_the_library_reads_what_is_written(tmp_path: Path) -> None:
    rows = torch.randn(5000, 112)
    tensors = {
        "padded": rows[:, :100], "again": rows[:, :100], "turned": torch.arange(6.0).reshape(2, 3).T,
        "number": torch.tensor(3.0), "empty": torch.zeros(0, 4), "flag": torch.tensor([True]),
        "bytes": torch.get_rng_state(), "half": torch.randn(3).half(), "whole": torch.arange(7),
    }  # fmt: skip
    tensor_file.save_file(tensors, tmp_path / "all.safetensors")
    found = load_file(tmp_path / "all.safetensors")
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype, name
        assert torch.equal(found[name], tensor), name


def test_a_type_that_has_no_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="complex64"):
        tensor_file.save_file({"a": torch.zeros(2, dtype=torch.complex64)}, tmp_path / "a.safetensors")
