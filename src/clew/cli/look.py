"""`clew look`: the browser page over a folder of runs."""

from __future__ import annotations

import atexit
import os
from pathlib import Path
from typing import Annotated

import typer

from clew.cli.say import echo
from clew.cli.trust import Trust
from clew.errors import RunError


def look(
    runs: Annotated[Path, typer.Argument(metavar="[RUNS]", help="A folder of runs, or one run.")] = Path("runs"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 is any that is free.")] = 0,
    host: Annotated[
        str,
        typer.Option(help="The address to listen on. Beyond this machine, whoever has the printed address may look."),
    ] = "127.0.0.1",
    browser: Annotated[bool, typer.Option(help="Open the page at once.")] = True,
    trust: Trust = False,
) -> None:
    """Open the browser page over a folder of runs: curves, attention, predictions. Stop it with Ctrl-C."""
    if not runs.is_dir():
        raise RunError("there is no such folder", where=str(runs), fix="name the folder that holds your runs")
    from clew.web.serve import Listener, Page

    listener = Listener(host, port)
    echo(f"{runs}: {listener.address}")
    page = Page(runs, listener)
    if browser:
        show(listener.address)
    page.serve()


def show(address: str) -> None:
    """Open an address by a file that leads there, for its token would stand in the list of processes."""
    import tempfile
    import webbrowser

    handle, name = tempfile.mkstemp(prefix="clew-", suffix=".html")  # which nobody else may read
    with os.fdopen(handle, "w") as file:
        file.write(f'<!doctype html><meta http-equiv="refresh" content="0; url={address}"><title>clew</title>')
    atexit.register(Path(name).unlink, missing_ok=True)
    webbrowser.open(Path(name).as_uri())
