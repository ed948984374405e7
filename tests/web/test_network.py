"""A real server on a socket: addresses, a port in use, and connections that send nothing."""

import asyncio
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from optlab.web import network
from optlab.web.middleware import MAX_BODY_BYTES, SecurityMiddleware
from optlab.web.network import LimitedHTTP, PortTaken, list_addresses, listen


async def hello(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    monkeypatch.setattr(network, "HEAD_SECONDS", 0.3)
    listener = listen("127.0.0.1", 0)
    config = uvicorn.Config(
        SecurityMiddleware(hello), http=LimitedHTTP, lifespan="off", log_level="warning",
        limit_concurrency=21,
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=asyncio.run, args=[server.serve(sockets=[listener])])
    thread.start()
    yield listener.getsockname()
    server.should_exit = True
    thread.join(timeout=10)


def is_closed_by_server(connection: socket.socket) -> bool:
    connection.settimeout(5)
    try:
        while connection.recv(1000):
            pass
        return True
    except ConnectionResetError:
        return True


def test_connections_without_a_whole_request_are_closed_and_others_served(
    address: tuple[str, int],
) -> None:
    idle = [socket.create_connection(address) for _ in range(20)]
    for connection in idle[:10]:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: local")
    finished_one = idle.pop()
    finished_one.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    finished_one.recv(1000)
    finished_one.sendall(b"GET / HTTP/1.1\r\n")  # and begins another, which has its own clock
    assert all(is_closed_by_server(connection) for connection in [*idle, finished_one])
    with urllib.request.urlopen("http://{}:{}/".format(*address), timeout=5) as answer:
        assert answer.read() == b"hello"
    for connection in [*idle, finished_one]:
        connection.close()


def test_client_that_sends_too_much_reads_why(address: tuple[str, int]) -> None:
    body = bytes(3 * MAX_BODY_BYTES)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen("http://{}:{}/".format(*address), data=body, timeout=20)
    assert refused.value.code == 413
    refused.value.close()


def test_port_in_use_is_reported_before_anything_starts() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(
            PortTaken, match=rf"{port} .*127\.0\.0\.1 .*\n\nhint: (?!.*--host).*--port "
        ):
            listen("127.0.0.1", port)
    with pytest.raises(PortTaken, match=r"70000 .*\b0\b.*\b65535\b.*\n\nhint: .*--port "):
        listen("127.0.0.1", 70_000)
    with pytest.raises(PortTaken, match=r"192\.0\.2\.1 .*\n\nhint: .*--host 127\.0\.0\.1 "):
        listen("192.0.2.1", 0)  # not an address of this computer


def test_address_to_type_is_one_that_other_computers_reach() -> None:
    assert list_addresses("192.168.1.5") == ["192.168.1.5"]
    assert list_addresses("::1") == ["[::1]"]
    for name in list_addresses("0.0.0.0"):
        socket.inet_aton(name)
        assert name != "0.0.0.0"
