"""Download a source URL into memory: checked addresses only, within a time and a size.

It speaks to httpx's transport without a client: no cookies, proxies, .netrc, and no log line with the query string of a
signed URL. Redirects are followed by hand and each hop passes every check again. The body is asked for, and accepted,
as it is (`Accept-Encoding: identity`): an answer with another Content-Encoding is refused, so no bomb is ever unpacked.

    ValueError
      Refused        cannot be done: a retry changes nothing
    Exception
      Unavailable    may work later: worth a retry
"""

import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import httpcore
import httpx

from functions.net.guard import AddressRefused, Guard
from functions.net.transport import BackendTransport, GuardedBackend, SocketOption, UnknownName

_LATER = frozenset({408, 425, 429})  # RFC 9110 15.5.9, RFC 8470 5.2, RFC 6585 4
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Refused(ValueError):
    """The source cannot be had: bad URL, refused address, too big, answered 4xx, too many redirects."""


class Unavailable(Exception):
    """The source cannot be had now. `retry_after_s` is what the server asked for, if it did."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class Download:
    """`url` is where the last redirect led, query included; `media_type` is the server's word, unchecked."""

    url: str
    content: bytes
    media_type: str | None


def download(
    url: str,
    *,
    guard: Guard,
    limit_bytes: int,
    timeout_s: float = 30.0,
    redirects: int = 3,
    tls: ssl.SSLContext | None = None,
) -> Download:
    """The content behind an http or https URL; raises Refused or Unavailable.

    `timeout_s` covers everything together: names, connections, redirects, a body sent a byte at a time.
    """
    end_s = time.monotonic() + timeout_s
    target = _parsed(url)
    with BackendTransport(_DeadlineBackend(GuardedBackend(guard), end_s), tls) as transport:
        for _ in range(redirects + 1):
            with _explained(target, timeout_s):
                response = _get(transport, target, limit_bytes)
            if isinstance(response, Download):
                return response
            target = _parsed(response)
    raise Refused(f"{_shown(target)} is one redirect too many, expected at most {redirects}")


def _parsed(url: str | httpx.URL) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise Refused(f"source URL must be an http or https URL: {error}") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise Refused(f"source URL must be an http or https URL, got {_shown(parsed)}")
    if parsed.userinfo:
        raise Refused(f"source URL must not hold a user name or password, got one for {_shown(parsed)}")
    return parsed


def _shown(url: httpx.URL) -> str:
    # never the query or the user: they may hold a signature or a password
    return f"{url.scheme}://{url.netloc.decode('ascii')}{url.path}"


@contextmanager
def _explained(url: httpx.URL, timeout_s: float) -> Iterator[None]:
    """Turns what httpx and the guard raise into Refused and Unavailable."""
    try:
        yield
    except AddressRefused as error:
        raise Refused(f"{_shown(url)}: {error}") from error
    except httpx.TimeoutException as error:
        raise Unavailable(f"{_shown(url)} did not answer in full within {timeout_s} s") from error
    except httpx.TransportError as error:
        unknown = isinstance(error.__cause__, UnknownName)
        raise (Refused if unknown else Unavailable)(f"{_shown(url)}: {error or type(error).__name__}") from error


def _get(transport: httpx.BaseTransport, url: httpx.URL, limit_bytes: int) -> Download | httpx.URL:
    """The content, or where the server sends us."""
    headers = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "errands", "Connection": "close"}
    request = httpx.Request("GET", url, headers=headers)
    response = transport.handle_request(request)
    response.request = request
    try:
        if response.status_code in _REDIRECTS:
            return _location(response)
        _check_status(response)
        _check_headers(response, limit_bytes)
        return Download(str(url), _body(response, limit_bytes), response.headers.get("content-type"))
    finally:
        response.close()


def _location(response: httpx.Response) -> httpx.URL:
    location = response.headers.get("location", "")
    if not location:
        raise Refused(f"{_shown(response.url)} answered {response.status_code} without a Location")
    try:
        return response.url.join(location)
    except httpx.InvalidURL as error:
        raise Refused(f"{_shown(response.url)} redirects to an invalid URL: {error}") from error


def _check_status(response: httpx.Response) -> None:
    status = response.status_code
    if status == 200:
        return
    message = f"{_shown(response.url)} answered {status}, expected 200"
    if status >= 500 or status in _LATER:
        raise Unavailable(message, _retry_after_s(response.headers.get("retry-after")))
    raise Refused(message)


def _retry_after_s(value: str | None) -> float | None:
    """Seconds or an HTTP date (RFC 9110 10.2.3); None for anything else."""
    if value is None:
        return None
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        return max(parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    except ValueError:
        return None


def _check_headers(response: httpx.Response, limit_bytes: int) -> None:
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", ""):
        raise Refused(f"{_shown(response.url)} is sent as {encoding!r}, expected no Content-Encoding")
    length = response.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length) > limit_bytes:
        raise Refused(f"{_shown(response.url)} has {length} bytes, expected at most {limit_bytes}")


def _body(response: httpx.Response, limit_bytes: int) -> bytes:
    body = bytearray()
    for chunk in response.iter_raw():
        body += chunk
        if len(body) > limit_bytes:
            raise Refused(f"{_shown(response.url)} has more than {limit_bytes} bytes, the most that is read")
    return bytes(body)


class _DeadlineBackend(httpcore.NetworkBackend):
    """Cuts every wait to the time left: httpx's own timeouts begin anew with each byte received."""

    def __init__(self, plain: httpcore.NetworkBackend, end_s: float) -> None:
        self._plain, self._end_s = plain, end_s

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SocketOption] | None = None,
    ) -> httpcore.NetworkStream:
        left_s = _left_s(self._end_s, httpcore.ConnectTimeout)
        stream = self._plain.connect_tcp(host, port, left_s, local_address, socket_options)
        return _DeadlineStream(stream, self._end_s)


class _DeadlineStream(httpcore.NetworkStream):
    def __init__(self, plain: httpcore.NetworkStream, end_s: float) -> None:
        self._plain, self._end_s = plain, end_s

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._plain.read(max_bytes, _left_s(self._end_s, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._plain.write(buffer, _left_s(self._end_s, httpcore.WriteTimeout))

    def close(self) -> None:
        self._plain.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left_s = _left_s(self._end_s, httpcore.ConnectTimeout)
        return _DeadlineStream(self._plain.start_tls(ssl_context, server_hostname, left_s), self._end_s)

    def get_extra_info(self, info: str) -> object:
        return self._plain.get_extra_info(info)


def _left_s(end_s: float, late: Callable[[str], Exception]) -> float:
    left_s = end_s - time.monotonic()
    if left_s <= 0:
        raise late("the time is over")
    return left_s
