"""Put the page on a port of this machine."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn

from clew.errors import RecipeError
from clew.web.app import make_app, new_token

LOOPBACK = ("127.0.0.1", "localhost", "::1")
CONNECTIONS = 512


class Page:
    """The page over `root`, listening but not yet answering: `address` opens it, `serve` answers until it stops."""

    def __init__(self, root: Path, host: str = "127.0.0.1", port: int = 0) -> None:
        self.socket = listen(host, port)
        port = self.socket.getsockname()[1]
        token = new_token()
        names = [*LOOPBACK[:2], "[::1]"] if host in LOOPBACK else [host, *LOOPBACK[:2], socket.gethostname()]
        shown = f"[{host}]" if ":" in host else host
        app = make_app(root, token, [f"{name}:{port}" for name in names])
        self.address = f"http://{shown}:{port}/?token={token}"
        config = uvicorn.Config(
            app, log_level="error", access_log=False, server_header=False, date_header=False, ws="none",
            lifespan="off", limit_concurrency=CONNECTIONS, timeout_keep_alive=10, timeout_graceful_shutdown=2,
            h11_max_incomplete_event_size=16 * 1024,
        )  # fmt: skip
        self.server = uvicorn.Server(config)

    def serve(self, ready: Callable[[], None] = lambda: None) -> None:
        """Answer until interrupted."""
        ready()
        self.server.run(sockets=[self.socket])


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises RecipeError where there is none to be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        found = socket.socket(family)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
    except OSError as error:
        raise RecipeError(
            f"cannot listen there: {error}", where=f"{host}:{port}", fix="choose another --port"
        ) from error
    return found
