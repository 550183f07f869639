"""What stands between the page and everyone else: who may ask, how much, and for how long."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

MAX_BODY = 64 * 1024  # bytes: a text, and nothing else, is ever sent here
BODY_SECONDS = 10.0  # to send it in
HEADER = "x-clew-token"

# Scripts and styles of this server alone, no request to any other, no frame, no form. Marks in SVG and MathML carry
# style attributes; no style sheet may be written into the page.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; connect-src 'self'; "
    "img-src 'self' data: blob:; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Refused(Exception):
    """A request that goes no further: a status and one sentence."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class Guard:
    """An ASGI application in front of another: it lets in who has the token, from this very page, within limits.

    hosts: the names, with port, under which the page may be asked for; any other is refused, so that a name made to
    point here (DNS rebinding) finds nothing. A request that names an origin must name one of them. Every answer carries
    HEADERS. The token comes once in the address (`/?token=…`), then as a cookie that no script sees, or as a header.
    """

    def __init__(self, app: Any, token: str, hosts: Iterable[str]) -> None:
        self.app, self.token = app, token
        self.hosts = {host.lower() for host in hosts}
        self.cookie = f"clew_{token[:8]}"  # each server its own: cookies do not tell ports apart

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close"})
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        started = False

        async def answer(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *own]
            await send(message)

        try:
            self.check_address(scope, headers)
            if self.has_just_come(scope):
                cookie = f"{self.cookie}={self.token}; Path=/; HttpOnly; SameSite=Strict"
                return await reply(answer, 303, "", [("location", "/"), ("set-cookie", cookie)])
            self.check_token(headers)
            body = await self.body(headers, receive) if scope["method"] == "POST" else b""
            await self.app(scope, replay(body, receive), answer)
        except Refused as refused:
            if not started:
                await reply(answer, refused.status, refused.reason)

    def check_address(self, scope: Message, headers: dict[str, str]) -> None:
        """Who is asked, by whom, and how."""
        if scope["method"] not in ("GET", "HEAD", "POST"):
            raise Refused(405, "This page is read, and asked for predictions; nothing else.")
        if headers.get("host", "").lower() not in self.hosts:
            raise Refused(421, "This page does not answer under that name.")
        origin = headers.get("origin")
        if origin is not None and origin.removeprefix("http://").lower() not in self.hosts:
            raise Refused(403, "Another page may not ask this one.")
        if headers.get("sec-fetch-site", "none") in ("cross-site", "same-site") and scope["path"] != "/":
            raise Refused(403, "Another page may not ask this one.")
        if scope["method"] == "POST" and origin is None and HEADER not in headers:
            raise Refused(403, "A request without an origin needs the token as a header.")

    def has_just_come(self, scope: Message) -> bool:
        """Whether the address carries the token, which then moves into a cookie and leaves the address."""
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0] if scope["path"] == "/" else ""
        return secrets.compare_digest(given.encode(), self.token.encode())

    def check_token(self, headers: dict[str, str]) -> None:
        jar: SimpleCookie = SimpleCookie()
        try:
            jar.load(headers.get("cookie", ""))
        except CookieError:
            jar.clear()
        found = headers.get(HEADER) or (jar[self.cookie].value if self.cookie in jar else "")
        if not secrets.compare_digest(found.encode(), self.token.encode()):
            raise Refused(401, "Open the address that `clew look` printed: it carries the token of this page.")

    async def body(self, headers: dict[str, str], receive: Receive) -> bytes:
        """The whole body, where it is small and arrives in time."""
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > MAX_BODY:
            raise Refused(413, f"A request holds at most {MAX_BODY:,} bytes.")
        if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise Refused(415, "A request is JSON.")
        parts = bytearray()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Refused(400, "The request broke off.")
                    parts += message.get("body", b"")
                    if len(parts) > MAX_BODY:
                        raise Refused(413, f"A request holds at most {MAX_BODY:,} bytes.")
                    if not message.get("more_body"):
                        return bytes(parts)
        except TimeoutError:
            raise Refused(408, "The request took too long to arrive.") from None


def replay(body: bytes, receive: Receive) -> Receive:
    """The body that has been read, then whatever comes after it."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def reply(send: Send, status: int, reason: str, headers: Iterable[tuple[str, str]] = ()) -> None:
    """A whole answer: the reason as JSON, in the form that every error of the page has."""
    content = json.dumps({"what": reason, "where": "", "fix": ""}).encode() if reason else b""
    own = [
        ("content-type", "application/json"),
        ("content-length", str(len(content))),
        ("connection", "close"),
        *headers,
    ]
    raw = [(name.encode(), value.encode()) for name, value in own]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": content})
