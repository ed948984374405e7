"""Middleware: check host, body size and time of requests; add security headers to answers.

Plain ASGI, so a body is refused before any handler sees a byte of it.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

MAX_BODY_BYTES = 4 * 1024 * 1024
MAX_BODY_SECONDS = 20.0  # a sender slower than this is cut off
DISCARD_FACTOR = 16  # so many times the limit are read and thrown away, then the client is cut off

SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}


class SecurityMiddleware:
    """ASGI middleware around the whole application.

    Args:
        app: what to protect.
        allowed_hosts: names that the Host header may carry (without port), None for any. On a
            loopback server this keeps other sites' pages out, which could otherwise point a name
            of their own at 127.0.0.1.
        max_body_bytes: larger bodies are refused.
        max_body_seconds: time within which a body has to arrive.
    """

    def __init__(
        self,
        app: App,
        allowed_hosts: Collection[str] | None = None,
        max_body_bytes: int = MAX_BODY_BYTES,
        max_body_seconds: float = MAX_BODY_SECONDS,
    ) -> None:
        self.app = app
        self.allowed_hosts = allowed_hosts
        self.max_body_bytes = max_body_bytes
        self.max_body_seconds = max_body_seconds

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                message["headers"] = list(message["headers"]) + [
                    (name.encode(), value.encode())
                    for name, value in SECURITY_HEADERS.items()
                    if name.encode() not in present
                ]
            await send(message)

        host = _host_name(headers.get(b"host", b"").decode("latin-1"))
        if self.allowed_hosts is not None and host not in self.allowed_hosts:
            await _refuse(send_guarded, 400, "This server does not answer to that host name.")
            return
        length = headers.get(b"content-length", b"0")
        if not length.isdigit():
            await _refuse(send_guarded, 400, "Content-Length is not a number.")
            return
        # This client sends nothing before it is asked to, so it can read the refusal at once
        waits = headers.get(b"expect", b"").lower() == b"100-continue"
        if waits and int(length[:20]) > self.max_body_bytes:
            await _refuse(send_guarded, 413, self._too_large())
            return
        try:
            async with asyncio.timeout(self.max_body_seconds):
                body = await self._read(receive)
        except TimeoutError:
            await _refuse(send_guarded, 408, "The body took too long to arrive.")
            return
        if body is None:
            await _refuse(send_guarded, 413, self._too_large())
            return

        handed_over = False

        async def receive_again() -> Message:
            nonlocal handed_over
            if handed_over:
                return await receive()
            handed_over = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, receive_again, send_guarded)

    async def _read(self, receive: Receive) -> bytes | None:
        """The whole body; None where it is larger than the limit.

        What is beyond the limit is read and thrown away, because a client that is still sending
        when the connection closes never reads the answer.
        """
        body = bytearray()
        num_bytes = 0
        while True:
            message = await receive()
            if message["type"] != "http.request":  # the client went away
                return bytes(body)
            chunk = message.get("body", b"")
            num_bytes += len(chunk)
            if num_bytes <= self.max_body_bytes:
                body += chunk
            else:
                body.clear()
            if num_bytes > DISCARD_FACTOR * self.max_body_bytes:
                return None
            if not message.get("more_body", False):
                return bytes(body) if num_bytes <= self.max_body_bytes else None

    def _too_large(self) -> str:
        return f"The body is larger than {self.max_body_bytes:,} bytes."


def _host_name(host: str) -> str:
    """The Host header without its port; an IPv6 address keeps its brackets."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).lower()


async def _refuse(send: Send, status: int, sentence: str) -> None:
    body = json.dumps({"detail": sentence}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),  # an unread body may still be on its way
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
