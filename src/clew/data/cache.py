"""What clew keeps because it can be made again: by content, checked when it is read, flushed, and bounded in size."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from clew.errors import DataError

SUMS = "sha256.json"
LIMIT_GB = 20.0  # of all entries, unless $CLEW_CACHE_GB says otherwise: the longest unused go first


def cache() -> Path:
    """Return where it is, which is made: $CLEW_CACHE, or `clew` in the user's cache folder.

    Raise DataError where no folder can be written there.
    """
    given = os.environ.get("CLEW_CACHE")
    folder = Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "clew"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
        why = "it is read-only"
    except OSError as error:
        why = error.strerror or str(error)
    raise DataError(f"encoded texts cannot be kept there: {why}", where=str(folder), fix="name a folder in CLEW_CACHE")


def contents(paths: Iterable[Path]) -> str:
    """Return the SHA-256 of what files hold, one after the other; their names and times count for nothing."""
    found = hashlib.sha256()
    for path in paths:
        found.update(bytes.fromhex(sha256(path)))
    return found.hexdigest()


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def whole_entry(folder: Path) -> bool:
    """Return whether an entry is there and as it was written; one that is not is deleted, to be made again."""
    try:
        sums = json.loads((folder / SUMS).read_text())
        if sums and all(sha256(folder / name) == digest for name, digest in sums.items()):
            os.utime(folder)  # used now
            return True
    except (OSError, ValueError, AttributeError):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    return False


def keep_entry(written: Path, folder: Path) -> None:
    """Take a folder of files as an entry, whole or not at all, and make room for it. Raise OSError where it fails."""
    sums = {path.name: sha256(path) for path in sorted(written.iterdir())}
    (written / SUMS).write_text(json.dumps(sums))
    for path in written.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    try:
        os.replace(written, folder)
    except OSError:
        if not folder.is_dir():  # else another process has just written the same
            raise
    make_room(folder)


def entries() -> list[Path]:
    """Return the folders of all entries, the longest unused first."""
    found = [path for path in cache().glob("*/*") if path.is_dir() and len(path.name) == 32]
    return sorted(found, key=lambda path: path.stat().st_mtime)


def size(folder: Path) -> int:
    """Return the bytes that an entry takes."""
    return sum(path.stat().st_size for path in folder.iterdir())


def make_room(keep: Path) -> None:
    """Delete entries, the longest unused first, until all of them are within the limit; never the one to keep."""
    given = os.environ.get("CLEW_CACHE_GB") or LIMIT_GB
    try:
        limit = 1e9 * float(given)
    except ValueError as error:
        raise DataError(f"{given!r} is no number of GB", where="CLEW_CACHE_GB", fix="set it to 20, or not") from error
    sizes = {path: size(path) for path in entries()}
    total = sum(sizes.values())
    for path in sizes:
        if total <= limit:
            return
        if path != keep:
            shutil.rmtree(path, ignore_errors=True)
            total -= sizes[path]


def clear() -> tuple[int, int]:
    """Delete every entry; return how many there were, and their bytes."""
    sizes = {path: size(path) for path in entries()}
    for path in sizes:
        shutil.rmtree(path)
    return len(sizes), sum(sizes.values())
