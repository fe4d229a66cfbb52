"""An HTTP transport for httpx that connects only to addresses that the guard has checked (`functions.net.guard`).

The name is resolved here and the connection goes to an address of that answer. TLS is still verified against the name.
"""

import queue
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from functools import cache

import httpcore
import httpx

from functions.net.guard import AddressRefused, Guard

SocketOption = httpcore.SOCKET_OPTION


class UnknownName(httpcore.ConnectError):
    """DNS says there is no such name. Reaches the caller of httpx as the cause of an httpx.ConnectError."""


class GuardedBackend(httpcore.NetworkBackend):
    """Opens connections for httpcore, to checked addresses only."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SocketOption] | None = None,
    ) -> httpcore.NetworkStream:
        end_s = _end_s(timeout)
        addresses = _resolve_within(self._guard, host, port, timeout)
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address, share_s in _shares(addresses, end_s):
            try:
                return self._plain.connect_tcp(address, port, share_s, local_address, socket_options or ())
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[SocketOption] | None = None
    ) -> httpcore.NetworkStream:
        raise AddressRefused(f"a Unix socket may not be called, got {path!r}; expected a host and port")


def _end_s(timeout_s: float | None) -> float | None:
    return None if timeout_s is None else time.monotonic() + timeout_s


def _shares(addresses: tuple[str, ...], end_s: float | None) -> Iterator[tuple[str, float | None]]:
    """Each address with its fair part of the time left, so that a dead first one leaves some for the next."""
    for count, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
        yield address, None if end_s is None else max(end_s - time.monotonic(), 0.001) / count


def _resolve_within(guard: Guard, host: str, port: int, timeout_s: float | None) -> tuple[str, ...]:
    """Guard.resolve with a time limit; getaddrinfo has none, so a thread is left behind when DNS hangs."""
    responses: queue.SimpleQueue[tuple[str, ...] | Exception] = queue.SimpleQueue()
    threading.Thread(target=lambda: responses.put(_outcome(guard, host, port)), daemon=True).start()
    try:
        return _response(responses.get(timeout=timeout_s), host)
    except queue.Empty:
        raise httpcore.ConnectTimeout(f"no DNS answer for {host} within {timeout_s} s") from None


def _outcome(guard: Guard, host: str, port: int) -> tuple[str, ...] | Exception:
    try:
        return guard.resolve(host, port)
    except Exception as error:  # carried to the waiting thread and raised there
        return error


def _response(outcome: tuple[str, ...] | Exception, host: str) -> tuple[str, ...]:
    if isinstance(outcome, OSError):
        unknown = outcome.errno in (socket.EAI_NONAME, socket.EAI_NODATA)
        raise (UnknownName if unknown else httpcore.ConnectError)(f"{host} cannot be resolved: {outcome}") from outcome
    if isinstance(outcome, UnicodeError):
        raise AddressRefused(f"host must be a DNS name, got {host!r}") from outcome
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


class BackendTransport(httpx.HTTPTransport):
    """httpx's transport over a network backend of ours; it offers no such argument itself."""

    def __init__(self, backend: httpcore.NetworkBackend, tls: ssl.SSLContext | None = None) -> None:
        context = tls or _tls_context()
        super().__init__(verify=context)
        self._pool = httpcore.ConnectionPool(context, network_backend=backend, max_connections=100)


@cache
def _tls_context() -> ssl.SSLContext:
    # cached: reading the certificate bundle takes longer than a request on this machine
    return httpx.create_ssl_context()


def guarded_transport(guard: Guard, *, tls: ssl.SSLContext | None = None) -> httpx.HTTPTransport:
    """For `httpx.Client(transport=guarded_transport(guard), trust_env=False)`.

    trust_env=False keeps .netrc passwords out; mounts= would bypass the guard. Redirects the client follows are checked
    like first requests. AddressRefused passes through httpx as it is. `tls` adds a private authority, for example.
    """
    return BackendTransport(GuardedBackend(guard), tls)
