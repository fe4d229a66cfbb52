"""A transport for httpx that connects only to addresses that the guard has checked (`functions.net.dial`).

The socket is opened here, TLS included, and httpcore is handed a stream over it: it parses HTTP and never connects. A
release of httpx or httpcore that renames what is used here therefore ends in an error, and not in a connection past the
guard; a response that came over any other stream is refused as well.
"""

import os
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import httpcore
import httpx

from functions.net.configured import tls_context
from functions.net.dial import opened
from functions.net.guard import AddressRefused, Guard
from functions.net.url import Url, parsed

# A request's extension: the moment of time.monotonic() at which all of it must be over, the response's body included.
END_S: Final = "errands.end_s"

_OF_HTTPX: Final[dict[type[Exception], type[httpx.TransportError]]] = {
    httpcore.ReadTimeout: httpx.ReadTimeout,
    httpcore.WriteTimeout: httpx.WriteTimeout,
    httpcore.ReadError: httpx.ReadError,
    httpcore.WriteError: httpx.WriteError,
    httpcore.LocalProtocolError: httpx.LocalProtocolError,
    httpcore.RemoteProtocolError: httpx.RemoteProtocolError,
}


class UnknownName(httpx.ConnectError):
    """DNS says there is no such name."""


class GuardedTransport(httpx.BaseTransport):
    """For `httpx.Client(transport=GuardedTransport(guard), trust_env=False)`; it keeps nothing open between requests.

    trust_env=False keeps .netrc passwords out; mounts= would bypass the guard. Redirects the client follows are checked
    like first requests. AddressRefused passes through httpx as it is. `tls` adds a private authority, for example.
    """

    def __init__(self, guard: Guard, *, tls: ssl.SSLContext | None = None) -> None:
        self._guard = guard
        self._tls = tls

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """The head of the response; its body is read as it is asked for."""
        url = _read(request.url)
        end_s = request.extensions.get(END_S)
        stream = SocketStream(self._opened(url, request.extensions.get("timeout", {}).get("connect"), end_s), end_s)
        try:
            response, connection = _exchanged(request, stream)
        except BaseException:
            stream.close()
            raise
        body = _Body(response, connection)
        return httpx.Response(response.status, headers=response.headers, stream=body, extensions=response.extensions)

    def _opened(self, url: Url, timeout_s: float | None, end_s: float | None) -> socket.socket:
        """A socket to the URL's host, with TLS for https; raise AddressRefused or what httpx's own transport would."""
        try:
            sock = opened(self._guard, url, _left_s(timeout_s, end_s))
        except TimeoutError as error:
            raise httpx.ConnectTimeout(str(error) or f"no connection to {url.host} in time") from error
        except socket.gaierror as error:
            kind = UnknownName if error.errno in (socket.EAI_NONAME, socket.EAI_NODATA) else httpx.ConnectError
            raise kind(f"{url.host} cannot be resolved: {error}") from error
        except OSError as error:  # asyncio's words hold the address
            raise httpx.ConnectError(os.strerror(error.errno) if error.errno else str(error)) from error
        return self._secured(sock, url, timeout_s, end_s) if url.scheme == "https" else sock

    def _secured(self, sock: socket.socket, url: Url, timeout_s: float | None, end_s: float | None) -> socket.socket:
        try:
            with _failing(httpx.ConnectTimeout, httpx.ConnectError):
                sock.settimeout(_left_s(timeout_s, end_s))
                return (self._tls or tls_context()).wrap_socket(sock, server_hostname=url.host.rstrip("."))
        except BaseException:
            sock.close()
            raise


class SocketStream(httpcore.NetworkStream):
    """What httpcore writes to and reads from; every wait ends at `end_s`, whatever time httpx gives each of them."""

    def __init__(self, sock: socket.socket, end_s: float | None) -> None:
        self._sock, self._end_s = sock, end_s

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """What has come, at most so much; nothing where the server has closed."""
        with _failing(httpcore.ReadTimeout, httpcore.ReadError):
            self._sock.settimeout(_left_s(timeout, self._end_s))
            return self._sock.recv(max_bytes)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all of the buffer."""
        with _failing(httpcore.WriteTimeout, httpcore.WriteError):
            self._sock.settimeout(_left_s(timeout, self._end_s))
            self._sock.sendall(buffer)

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()


class _Body(httpx.SyncByteStream):
    """The rest of a response; with its end the connection is closed."""

    def __init__(self, response: httpcore.Response, connection: httpcore.HTTP11Connection) -> None:
        self._response, self._connection = response, connection

    def __iter__(self) -> Iterator[bytes]:
        with _as_of_httpx():
            yield from self._response.iter_stream()

    def close(self) -> None:
        self._response.close()
        self._connection.close()


def _exchanged(request: httpx.Request, stream: SocketStream) -> tuple[httpcore.Response, httpcore.HTTP11Connection]:
    url = httpcore.URL(
        scheme=request.url.raw_scheme, host=request.url.raw_host, port=request.url.port, target=request.url.raw_path
    )
    with _as_of_httpx():
        connection = httpcore.HTTP11Connection(origin=url.origin, stream=stream)
        response = connection.handle_request(
            httpcore.Request(
                request.method,
                url,
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
    if response.extensions.get("network_stream") is not stream:
        raise AddressRefused(f"{url.host.decode()} may not be called: the guard did not open its connection")
    return response, connection


def _read(url: httpx.URL) -> Url:
    """By the same reading as everywhere (functions/net/url.py)."""
    try:
        return parsed(str(url))
    except ValueError as error:
        raise AddressRefused(f"the URL {error}") from error


def _left_s(timeout_s: float | None, end_s: float | None) -> float | None:
    """The shorter of the two; TimeoutError where the end has come."""
    if end_s is None:
        return timeout_s
    left_s = end_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("the time is over")
    return left_s if timeout_s is None else min(left_s, timeout_s)


@contextmanager
def _failing(late: type[Exception], broken: type[Exception]) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise late(str(error)) from error
    except OSError as error:
        raise broken(str(error)) from error


@contextmanager
def _as_of_httpx() -> Iterator[None]:
    try:
        yield
    except tuple(_OF_HTTPX) as error:
        raise _OF_HTTPX[type(error)](str(error)) from error
