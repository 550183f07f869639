"""clew: one workbench for the whole thread from word2vec to the Transformer."""

import os
from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# oneDNN keeps a kernel with its buffers for each shape of a batch, by default for 1,024 of them, which fills gigabytes
# with batches of sentences. It reads this when torch first computes.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16")


def __getattr__(name: str) -> Any:
    """`clew.look`, for notebooks: found when it is asked for, so that `import clew` stays light."""
    if name == "look":
        return import_module("clew.web.notebook").look
    raise AttributeError(f"module 'clew' has no attribute {name!r}")
