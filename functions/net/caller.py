"""Makes one call: no redirect, within a time and a size, to an address that the guard lets through."""

import gc
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Final

from events.problem import JobFailed
from functions.net.client import Connections
from functions.net.dial import GuardedDial
from functions.net.exchange import Bounds, Broken, Late, NotConnected, ServerResponse
from functions.net.guard import AddressRefused, Guard
from functions.net.url import Url

SHOWN_BYTES: Final = 1_024
SHOWN_CHARACTERS: Final = 300
HEAD_LIMIT_BYTES: Final = 65_536
# Shorter than a web server keeps an idle connection (Apache 5 s), so that it is seldom the server that closes it.
KEEP_ALIVE_S: Final = 4.0
RETRY_LIMIT_S: Final = 3_600.0


class NoResponse(Exception):
    """The endpoint cannot be reached, or did not answer in time or not in HTTP.

    `connected` tells what its host says from what one path of it can bring about.
    """

    def __init__(self, what: str, *, connected: bool) -> None:
        super().__init__(what)
        self.connected = connected


@dataclass(frozen=True, slots=True)
class Call:
    """One request to an endpoint."""

    method: str
    url: Url
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class Caller:
    """Calls over the process's connections, which are kept open between calls.

    Of a response the first `start_bytes` are enough; with None it is read to its end, or to the limit.
    """

    guard: Guard
    connect_timeout_s: float
    response_limit_bytes: int
    start_bytes: int | None = SHOWN_BYTES

    async def call(self, call: Call, *, timeout_s: float) -> ServerResponse:
        """The endpoint's answer, of its body the start; raise NoResponse when there is none, JobFailed when its address
        may not be called.

        It is sent again where a kept connection turns out to be closed: a callback says by its webhook-id that it is
        the same, and the broker would deliver it again in any case, but later, and the host be taken for down.
        """
        connect_timeout_s = min(self.connect_timeout_s, timeout_s)
        try:
            return await self._connections.request(
                call.method,
                call.url,
                call.headers,
                call.body,
                connect_timeout_s=connect_timeout_s,
                timeout_s=timeout_s,
                again=True,
            )
        except AddressRefused as error:
            raise JobFailed("callback-refused", f"{call.url.shown}: {error} (ALLOWED_NETWORKS)") from error
        except NotConnected as error:
            raise NoResponse(f"could not be connected to within {connect_timeout_s:.2g} s", connected=False) from error
        except Late as error:
            raise NoResponse(f"did not answer within {timeout_s:.2g} s", connected=True) from error
        except Broken as error:
            connected = not isinstance(error.__cause__, OSError)  # of the connection that could not be made
            raise NoResponse(f"cannot be reached: {error}"[:SHOWN_CHARACTERS], connected=connected) from error

    def close(self) -> None:
        """Close the connections that no call uses now."""
        self._connections.close()
        self._dial.close()

    @cached_property
    def _dial(self) -> GuardedDial:
        return GuardedDial(self.guard)

    @cached_property
    def _connections(self) -> Connections:
        """Made at the first call, when all is loaded."""
        _collect_seldom()
        return Connections(
            self._dial,
            Bounds(
                head_bytes=HEAD_LIMIT_BYTES,
                body_bytes=self.response_limit_bytes,
                start_bytes=self.start_bytes,
                idle_s=KEEP_ALIVE_S,
            ),
        )


def retry_after_s(value: str | None, *, now_s: float) -> float | None:
    """The wait that a Retry-After header asks for, in seconds or as a date (RFC 9110 10.2.3), at most an hour."""
    if value is None:
        return None
    if re.fullmatch(r"[0-9]{1,9}", value.strip()):
        return min(float(value), RETRY_LIMIT_S)
    try:
        date = parsedate_to_datetime(value)
        # the parser gives no zone for "-0000"; HTTP dates are in GMT
        left_s = date.replace(tzinfo=date.tzinfo or UTC).timestamp() - now_s
    except (ValueError, OverflowError):  # a year or a zone of many digits
        return None
    return min(max(math.ceil(left_s), 0.0), RETRY_LIMIT_S)


def _collect_seldom() -> None:
    """A seventh of a callback's processor time went into looking for cycles among what the start has made."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
