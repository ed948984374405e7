"""The server's socket: its address, the names it answers to, and a time limit on connections."""

import errno
import socket
from typing import Any

import psutil
from uvicorn.protocols.http.h11_impl import H11Protocol

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
HEAD_SECONDS = 10.0  # from a connection, or a request's first byte, to the end of its header
ANY_ADDRESS = {"0.0.0.0", "::", ""}


class PortTaken(ValueError):
    """The address cannot be listened on; the message says what to do."""


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket, so that a port in use is noticed before anything is started.

    Raises:
        PortTaken: another program listens there, or the address is not this computer's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if not 0 <= port < 2**16:
        raise PortTaken(f"Port {port} cannot be used: ports are 0 to 65535.\n\nhint: --port 8000")
    both = host == "::" and socket.has_dualstack_ipv6()
    try:
        return socket.create_server((host, port), family=family, dualstack_ipv6=both)
    except OSError as error:
        reason = error.strerror or error
        problem, hint = f"cannot be used: {reason}", "use --host 127.0.0.1 --port 8000"
        if error.errno == errno.EADDRINUSE:
            problem = "is in use by another program"
            hint = "stop that program, or choose another port, for example --port 8010"
        raise PortTaken(f"Port {port} of {host} {problem}.\n\nhint: {hint}") from None


def list_addresses(host: str) -> list[str]:
    """Return how the Host header names this server, the one to type first; IPv6 in brackets."""
    if host not in ANY_ADDRESS:
        return [f"[{host}]" if ":" in host else host]
    found = [
        address.address
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family == socket.AF_INET and not address.address.startswith("127.")
    ]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing, only asks which way out is taken
            found.insert(0, probe.getsockname()[0])
        except OSError:  # no network
            pass
    return list(dict.fromkeys(found)) or ["127.0.0.1"]


class LimitedHTTP(H11Protocol):
    """uvicorn's HTTP connection, closed when a request's header takes longer than HEAD_SECONDS.

    uvicorn closes connections only after their first answer, so connections that never send a
    whole request would stay for ever.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_timer: Any = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._watch_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._head_timer is not None:
            self._head_timer.cancel()

    def _watch_head(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:  # a request is in work
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._close_without_request)

    def _close_without_request(self) -> None:
        self._head_timer = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
