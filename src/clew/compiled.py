"""numba's `njit`, also where what it compiles can be kept nowhere: in a read-only installation without a home."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import warnings

from numba import config, njit

__all__ = ["njit"]


def probe() -> None:
    """Be compiled."""


try:
    njit(cache=True)(probe)
except RuntimeError:  # numba's "no locator available"
    folder = tempfile.mkdtemp(prefix="clew-")
    os.environ["NUMBA_CACHE_DIR"] = folder
    config.reload_config()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    warnings.warn(
        "compiled code can be kept nowhere, and is compiled anew each time: name a folder in NUMBA_CACHE_DIR",
        stacklevel=2,
    )
