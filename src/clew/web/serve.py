"""Put the page on a port of this machine."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path

from clew.errors import RecipeError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
CONNECTIONS = 512


class Listener:
    """A socket that listens, where whoever connects waits for a `Page`; `address` opens the page, with its token."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.socket = listen(host, port)
        port = self.socket.getsockname()[1]
        names = [*LOOPBACK[:2], "[::1]"] if host in LOOPBACK else [host, *LOOPBACK[:2], socket.gethostname()]
        self.hosts = [f"{name}:{port}" for name in names]
        self.token = secrets.token_urlsafe(24)
        self.address = f"http://{f'[{host}]' if ':' in host else host}:{port}/?token={self.token}"


class Page:
    """The page over `root`, not yet answering: `serve` answers until it stops."""

    def __init__(self, root: Path, listener: Listener) -> None:
        # Here, because the models come with them, which take seconds to import: by then the listener is known.
        import uvicorn

        from clew.web.app import make_app

        self.listener = listener
        from clew.web.patience import Impatient

        config = uvicorn.Config(
            make_app(root, listener.token, listener.hosts), http=Impatient,
            log_level="error", access_log=False, server_header=False, date_header=False, ws="none",
            lifespan="off", limit_concurrency=CONNECTIONS, timeout_keep_alive=10, timeout_graceful_shutdown=2,
            h11_max_incomplete_event_size=16 * 1024,
        )  # fmt: skip
        self.server = uvicorn.Server(config)

    def serve(self) -> None:
        """Answer until interrupted."""
        self.server.run(sockets=[self.listener.socket])


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raise RecipeError where there is none to be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        found = socket.socket(family)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen()
    except OSError as error:
        raise RecipeError(
            f"cannot listen there: {error}", where=f"{host}:{port}", fix="choose another --port"
        ) from error
    return found
