"""Half-open connections do not stay."""

from __future__ import annotations

import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from small_runs import serving

from clew.web import patience


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HTTP/1.1\r\nHost: ", b"POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf"]
)
def test_a_request_that_does_not_arrive_is_given_up(
    sent: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "SECONDS", 0.2)
    with serving() as start:
        address = urlsplit(start(tmp_path))
        with socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=20) as client:
            client.sendall(sent)
            while client.recv(4096):  # what is refused at once is answered, and then closed too
                pass
