"""Connections on which no whole request arrives are closed: else some hundreds of them shut out everybody."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

SECONDS = 10.0


class Impatient(H11Protocol):
    """Looks every SECONDS whether it waits for the same request as the last time."""

    n_requests = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.watch = self.loop.call_later(SECONDS, self.look, 0)

    def connection_lost(self, exc: Exception | None) -> None:
        self.watch.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        self.n_requests += 1
        super().on_response_complete()

    def look(self, n_requests: int) -> None:
        """Close where nothing was answered since the last look, and the request is not yet whole."""
        if n_requests == self.n_requests and self.conn.their_state in (h11.IDLE, h11.SEND_BODY):
            self.transport.close()
        else:
            self.watch = self.loop.call_later(SECONDS, self.look, self.n_requests)
