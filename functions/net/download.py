"""Download a source URL into memory: checked addresses only, within a time and a size.

It speaks to httpx's transport without a client: no cookies, proxies, .netrc, and no log line with the query string of a
signed URL. Redirects are followed by hand and each hop passes every check again. The body is asked for, and accepted,
as it is (`Accept-Encoding: identity`): one that comes with another Content-Encoding is refused, so no bomb is unpacked.

    ValueError
      SourceRefused          cannot be done: a retry changes nothing
    Exception
      SourceUnavailable      may work later: worth a retry
"""

import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urljoin

import httpx

from functions.net.guard import AddressRefused, Guard
from functions.net.transport import END_S, GuardedTransport, UnknownName
from functions.net.url import Url, parsed

LENGTH_DIGITS: Final = 18  # of a Content-Length; int() itself raises for some thousands
LONGEST_WAIT_S: Final = 86_400.0
_LATER = frozenset({408, 425, 429})  # RFC 9110 15.5.9, RFC 8470 5.2, RFC 6585 4
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class SourceRefused(ValueError):
    """The source cannot be had: bad URL, refused address, too big, answered 4xx, too many redirects."""


class SourceUnavailable(Exception):
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
    """The content behind an http or https URL; raises SourceRefused or SourceUnavailable.

    `timeout_s` covers everything together: names, connections, redirects, a body sent a byte at a time.
    """
    end_s = time.monotonic() + timeout_s
    target, transport = _read(url), GuardedTransport(guard, tls=tls)
    for _ in range(redirects + 1):
        with _explained(target, timeout_s):
            found = _get(transport, target, end_s, limit_bytes)
        if isinstance(found, Download):
            return found
        target = _read(found)
    raise SourceRefused(f"{target.shown} is one redirect too many, expected at most {redirects}")


def _read(text: str) -> Url:
    """The URL, a blank in it encoded as browsers do (no host has one)."""
    try:
        return parsed(text.replace(" ", "%20"))
    except ValueError as error:
        raise SourceRefused(f"source URL {error}") from error


@contextmanager
def _explained(url: Url, timeout_s: float) -> Iterator[None]:
    """Turns what httpx and the guard raise into SourceRefused and SourceUnavailable."""
    try:
        yield
    except UnknownName as error:
        raise SourceRefused(f"{url.shown}: {error}") from error
    except httpx.TimeoutException as error:
        raise SourceUnavailable(f"{url.shown} did not answer in full within {timeout_s} s") from error
    except httpx.TransportError as error:
        raise SourceUnavailable(f"{url.shown}: {error or type(error).__name__}") from error
    except (AddressRefused, httpx.InvalidURL, UnicodeError) as error:  # an IDNAError is of the last kind
        raise SourceRefused(f"{url.shown}: {error}") from error


def _get(transport: httpx.BaseTransport, url: Url, end_s: float, limit_bytes: int) -> Download | str:
    """The content, or where the server sends us."""
    headers = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "errands", "Connection": "close"}
    response = transport.handle_request(httpx.Request("GET", str(url), headers=headers, extensions={END_S: end_s}))
    try:
        if response.status_code in _REDIRECTS:
            return _location(response, url)
        _check_status(response, url)
        _check_headers(response, url, limit_bytes)
        return Download(str(url), _body(response, url, limit_bytes), response.headers.get("content-type"))
    finally:
        response.close()


def _location(response: httpx.Response, url: Url) -> str:
    location = response.headers.get("location", "")
    if not location:
        raise SourceRefused(f"{url.shown} answered {response.status_code} without a Location")
    try:
        return str(urljoin(str(url), location))
    except ValueError as error:
        raise SourceRefused(f"{url.shown} redirects to an invalid URL") from error


def _check_status(response: httpx.Response, url: Url) -> None:
    status = response.status_code
    if status == 200:
        return
    message = f"{url.shown} answered {status}, expected 200"
    if status >= 500 or status in _LATER:
        raise SourceUnavailable(message, _retry_after_s(response.headers.get("retry-after")))
    raise SourceRefused(message)


def _retry_after_s(value: str | None) -> float | None:
    """Seconds or an HTTP date (RFC 9110 10.2.3), at most LONGEST_WAIT_S; None for anything else."""
    if value is None:
        return None
    if value.isascii() and value.isdigit():
        return min(float(value), LONGEST_WAIT_S)
    try:
        date = parsedate_to_datetime(value)
        # the parser gives no zone for "-0000"; HTTP dates are in GMT
        left_s = date.replace(tzinfo=date.tzinfo or UTC).timestamp() - time.time()
        return min(max(left_s, 0.0), LONGEST_WAIT_S)
    except (ValueError, OverflowError):
        return None


def _check_headers(response: httpx.Response, url: Url, limit_bytes: int) -> None:
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", ""):
        raise SourceRefused(f"{url.shown} is sent as {encoding!r}, expected no Content-Encoding")
    length = response.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and (len(length) > LENGTH_DIGITS or int(length) > limit_bytes):
        raise SourceRefused(f"{url.shown} has {length[:LENGTH_DIGITS]} bytes, expected at most {limit_bytes}")


def _body(response: httpx.Response, url: Url, limit_bytes: int) -> bytes:
    body = bytearray()
    for chunk in response.iter_raw():
        body += chunk
        if len(body) > limit_bytes:
            raise SourceRefused(f"{url.shown} has more than {limit_bytes} bytes, the most that is read")
    return bytes(body)
