"""What a run folder may hold when somebody else made it: regular files of its own, of usual sizes."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NoReturn

from clew.config import trusted
from clew.errors import RunError

MB = 1 << 20
MOST = {".toml": MB, ".md": 16 * MB, ".json": 256 * MB, ".jsonl": 1024 * MB, ".txt": 1024 * MB}
"""Bytes of a file by its suffix; weights and whatever else is mapped, not read, may have any size."""
MOST_FILES = 100_000
MOST_NAMED = 8  # folders within one another


def check(folder: Path) -> None:
    """Look at every file of a run before any is opened. Raise RunError naming the first that no run has.

    That is one which is not regular (reading a pipe never ends), too large, or a link out of the folder; `--trust`
    allows links.
    """
    root, n, waiting = folder.resolve(), 0, [folder]
    while waiting:
        for entry in sorted(os.scandir(waiting.pop()), key=lambda entry: entry.name):
            n += 1
            name = Path(entry.path).relative_to(folder).as_posix()
            if n > MOST_FILES or name.count("/") >= MOST_NAMED:
                refuse(f"it holds more than {MOST_FILES:,} files, or folders within folders", folder)
            if entry.is_symlink() and not trusted() and not Path(entry.path).resolve().is_relative_to(root):
                refuse(f"{name!r} is a link out of the folder", folder, "copy what it names, or add --trust")
            try:
                found = entry.stat()
            except OSError as error:
                refuse(f"{name!r} cannot be read: {error.strerror}", folder)
            if stat.S_ISDIR(found.st_mode):
                if not entry.is_symlink():
                    waiting.append(Path(entry.path))
            elif not stat.S_ISREG(found.st_mode):
                refuse(f"{name!r} is no regular file", folder)
            elif found.st_size > MOST.get(Path(name).suffix, found.st_size):
                refuse(f"{name!r} has {found.st_size / MB:,.0f} MB, which no run needs", folder)


def refuse(what: str, folder: Path, fix: str = "remove it, where you know that you need not have it") -> NoReturn:
    """Raise RunError."""
    raise RunError(f"this is no run as clew writes it: {what}", where=str(folder), fix=fix)
