"""The command `clew`, also as `python -m clew`: from the first moment on, it may be asked to stop."""

from __future__ import annotations

import os
import signal
from typing import Any


def main() -> None:
    """Run the command line; exit code 130 where it was interrupted."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
    from clew.cli import main as command_line

    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGINT, interrupt)
    command_line()


def leave(number: int, frame: Any) -> None:
    """End at once: nothing has begun, and imports may swallow an exception."""
    os.write(2, b"\nstopped at your request\n")
    os._exit(130)


def interrupt(number: int, frame: Any) -> None:
    """Do on SIGTERM what Ctrl-C does."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
