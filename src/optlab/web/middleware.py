"""Middleware: check host, body size and time of requests; add security headers to answers.

Plain ASGI, so a body is refused before any handler sees a byte of it.
"""

import asyncio
import base64
import hashlib
from collections.abc import Collection, Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 4 * 1024 * 1024  # larger bodies are refused
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


def hash_sources(scripts: Iterable[str]) -> str:
    """Return the sources of a Content-Security-Policy that allow these inline scripts."""
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)


class SecurityMiddleware:
    """ASGI middleware around the whole application.

    Args:
        app: what to protect.
        allowed_hosts: names that the Host header may carry (without port), None for any. On a
            loopback server this keeps other sites' pages out, which could otherwise point a name
            of their own at 127.0.0.1.
    """

    def __init__(self, app: ASGIApp, allowed_hosts: Collection[str] | None = None) -> None:
        self.app = app
        self.allowed_hosts = allowed_hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    answered.setdefault(name, value)
            await send(message)

        async def refuse(status: int, sentence: str) -> None:
            # An unread body may still be on its way
            answer = JSONResponse({"detail": sentence}, status, {"connection": "close"})
            await answer(scope, receive, send_guarded)

        host = _host_name(headers.get("host", ""))
        if self.allowed_hosts is not None and host not in self.allowed_hosts:
            return await refuse(400, "This server does not answer to that host name.")
        length = headers.get("content-length", "0")
        if not length.isdecimal():
            return await refuse(400, "Content-Length is not a number.")
        too_large = f"The body is larger than {MAX_BODY_BYTES:,} bytes."
        # This client sends nothing before it is asked to, so it can read the refusal at once
        waits = headers.get("expect", "").lower() == "100-continue"
        if waits and int(length[:20]) > MAX_BODY_BYTES:
            return await refuse(413, too_large)
        try:
            async with asyncio.timeout(MAX_BODY_SECONDS):
                body = await _read_body(receive)
        except TimeoutError:
            return await refuse(408, "The body took too long to arrive.")
        if body is None:
            return await refuse(413, too_large)

        handed_over = False

        async def receive_again() -> Message:
            nonlocal handed_over
            if handed_over:
                return await receive()
            handed_over = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, receive_again, send_guarded)


async def _read_body(receive: Receive) -> bytes | None:
    """Return the whole body; None where it is larger than the limit.

    What is beyond the limit is read and thrown away, because a client that is still sending when
    the connection closes never reads the answer.
    """
    body = bytearray()
    num_bytes = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":  # the client went away
            return bytes(body)
        chunk = message.get("body", b"")
        num_bytes += len(chunk)
        if num_bytes <= MAX_BODY_BYTES:
            body += chunk
        else:
            body.clear()
        if num_bytes > DISCARD_FACTOR * MAX_BODY_BYTES:
            return None
        if not message.get("more_body", False):
            return bytes(body) if num_bytes <= MAX_BODY_BYTES else None


def _host_name(host: str) -> str:
    """Return the Host header without its port; an IPv6 address keeps its brackets."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).lower()
