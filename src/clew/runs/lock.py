"""One process at a time trains a run."""

from __future__ import annotations

import json
import os
import socket
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from clew.errors import RunError

LOCK, OWNER = ".lock", ".owner.json"


class Lock:
    """Holds a run folder, which is made where there is none, until `release`; the system lets go of it when the process
    ends, however it ends, so that a lock is never left behind.

    Raise RunError, naming process and machine, where another one holds it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.made = folder, [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        self.file = FileLock(folder / LOCK, thread_local=False)
        try:
            self.file.acquire(timeout=0)
        except Timeout:
            raise RunError(
                f"another process is training this run: {owner(folder)}", where=str(folder),
                fix="wait for it, stop it, or choose another --out",
            ) from None  # fmt: skip
        who = {"pid": os.getpid(), "host": socket.gethostname(), "since": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"}
        (folder / OWNER).write_text(json.dumps(who), encoding="utf-8")

    def release(self) -> None:
        """Let others have the folder; one that was made here and holds nothing goes."""
        if not self.file.is_locked:
            return
        for name in (OWNER, LOCK):
            (self.folder / name).unlink(missing_ok=True)
        self.file.release()
        with suppress(OSError):  # not empty: a run has been written
            for path in self.made:
                path.rmdir()


def owner(folder: Path) -> str:
    """Say who holds a folder."""
    try:
        who = json.loads((folder / OWNER).read_text(encoding="utf-8"))
        return f"process {who['pid']} on {who['host']}, since {who['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "its name could not be read"
