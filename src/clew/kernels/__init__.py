"""The engines that torch does not have: word-vector training in compiled loops over numpy arrays.

One file per objective, each with a `Settings` and a `train_slice(ids, ends, state, …, lr) → (summed loss, pairs)` that
moves its tables in place; `sampling.in_threads` runs one over several threads, `sampling.table` makes the tables.
Compiled code is cached on disk beside the source: it is built at the first call after an installation.
"""

from contextlib import suppress
from pathlib import Path

# numba compiles a function again when its own file changes, but not when a function that it calls does.
_here = Path(__file__).parent
_newest = max(path.stat().st_mtime for path in _here.glob("*.py"))
for _index in (_here / "__pycache__").glob("*.nbi"):
    with suppress(FileNotFoundError):  # another process was quicker
        if _index.stat().st_mtime < _newest:
            _index.unlink()
