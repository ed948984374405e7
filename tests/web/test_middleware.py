"""Hosts, body sizes, times and headers, asked in bare ASGI."""

import asyncio
import json
from typing import Any

import pytest

from optlab.web import middleware
from optlab.web.middleware import DISCARD_FACTOR, SECURITY_HEADERS, SecurityMiddleware


class Listener:
    """An application that notes what reaches it."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.bodies.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"heard"})


def talk(
    chunks: list[bytes], headers: dict[str, str] | None = None, pause_s: float = 0, **options: Any
) -> tuple[int, dict[str, str], bytes, list[bytes], int]:
    """Status, headers and body of the answer, what the application heard, chunks taken."""
    listener = Listener()
    sent: list[Any] = []
    taken = 0

    async def receive() -> dict[str, Any]:
        nonlocal taken
        await asyncio.sleep(pause_s)
        chunk = chunks[taken]
        taken += 1
        return {"type": "http.request", "body": chunk, "more_body": taken < len(chunks)}

    async def send(message: Any) -> None:
        sent.append(message)

    pairs = {"host": "localhost:8000", **(headers or {})}.items()
    scope = {"type": "http", "headers": [(k.encode(), v.encode()) for k, v in pairs]}
    asyncio.run(SecurityMiddleware(listener, **options)(scope, receive, send))
    answer = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], answer, sent[1]["body"], listener.bodies, taken


def test_body_arrives_whole_and_the_answer_has_security_headers() -> None:
    status, headers, body, heard, _ = talk([b"ab", b"", b"cd"])
    assert (status, body, heard) == (200, b"heard", [b"abcd"])
    assert SECURITY_HEADERS.items() <= headers.items()
    assert "unsafe" not in headers["content-security-policy"]


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bodies of at most 10 bytes."""
    monkeypatch.setattr(middleware, "MAX_BODY_BYTES", 10)


@pytest.mark.usefixtures("limit")
def test_client_that_expects_100_continue_is_refused_at_once() -> None:
    waiting = {"content-length": "11", "expect": "100-continue"}
    status, headers, body, heard, taken = talk([b"x"], waiting)
    assert (status, heard, taken) == (413, [], 0)
    assert "10 bytes" in json.loads(body)["detail"]
    assert headers["connection"] == "close"
    assert SECURITY_HEADERS.items() <= headers.items()


@pytest.mark.usefixtures("limit")
@pytest.mark.parametrize("headers", [{}, {"content-length": "3"}, {"content-length": "100"}])
def test_body_over_the_limit_is_read_to_its_end_before_the_answer(
    headers: dict[str, str],
) -> None:
    status, _, _, heard, taken = talk([b"12345"] * 20, headers)
    assert (status, heard, taken) == (413, [], 20)


@pytest.mark.usefixtures("limit")
def test_body_without_end_is_cut_off() -> None:
    status, _, _, heard, taken = talk([b"x" * 10] * 100)
    assert (status, heard, taken) == (413, [], DISCARD_FACTOR + 1)


@pytest.mark.parametrize("length", ["-1", "1e3", "", "\u00b2", "0x10"])
def test_content_length_that_is_not_a_number_is_refused(length: str) -> None:
    status, _, body, heard, _ = talk([b"x"], {"content-length": length})
    assert (status, heard) == (400, [])
    assert "Content-Length" in json.loads(body)["detail"]


def test_enormous_length_is_refused() -> None:
    assert talk([b"x"], {"content-length": "9" * 5000, "expect": "100-continue"})[0] == 413


def test_slow_body_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middleware, "MAX_BODY_SECONDS", 0.1)
    status, _, body, heard, _ = talk([b"x"] * 9, pause_s=0.05)
    assert (status, heard) == (408, [])
    assert json.loads(body)["detail"]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200),
        ("LOCALHOST", 200),
        ("[::1]:8000", 200),
        ("[::1]", 200),
        ("evil.example:8000", 400),
        ("127.0.0.1.evil.example", 400),
        ("", 400),
    ],
)
def test_only_allowed_hosts_are_answered(host: str, status: int) -> None:
    allowed = {"127.0.0.1", "localhost", "[::1]"}
    assert talk([b""], {"host": host}, allowed_hosts=allowed)[0] == status
