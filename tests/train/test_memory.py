"""Freed memory stays with a process that trains."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import torch
from clew.train.memory import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()
size = 8 << 20  # numbers: 32 MB
for _ in range(20):
    torch.ones(size)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_pages_are_asked_for_once() -> None:
    faults = {
        how: int(subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, check=True).stdout)
        for how in ("given back", "kept")
    }
    pages = 32 * 2**20 // 4096
    assert faults["given back"] - faults["kept"] > 10 * pages
