"""Makes one call: no redirect, within a time and a size, to an address that the guard lets through."""

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from yarl import URL

from events.problem import JobFailed
from functions.addresses import AddressRefused, Guard
from functions.notifier.destination import shown

if TYPE_CHECKING:
    import aiohttp

SHOWN_BYTES: Final = 1_024
SHOWN_CHARACTERS: Final = 300


class NoAnswer(Exception):
    """The endpoint cannot be reached, or did not answer in time or not in HTTP."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request to an endpoint."""

    method: str
    url: URL
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the endpoint said; `text` is the start of the body."""

    status: int
    headers: Mapping[str, str]  # whatever the case of a name
    text: bytes


@dataclass(frozen=True)
class Caller:
    """Calls with the process's one session, which keeps connections open between callbacks."""

    guard: Guard
    connect_timeout_s: float
    answer_limit_bytes: int

    @cached_property
    def session(self) -> "aiohttp.ClientSession":
        """Made at the first call: before it, the server's workers are not forked yet, and there is no loop."""
        import aiohttp  # 0.15 s, which the process need not take before its port is open

        from functions.notifier.connection import guarded_connector

        _collect_seldom()
        # no cookie is kept from one callback to the next; of the environment neither proxy nor .netrc is read
        return aiohttp.ClientSession(
            connector=guarded_connector(self.guard), cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
        )

    async def call(self, call: Call, *, timeout_s: float) -> Answer:
        """The endpoint's answer; raise NoAnswer when there is none, JobFailed when its address may not be called."""
        import aiohttp

        # `connect` covers the name, the connection and TLS; `total` everything, a body sent a byte at a time too
        timeout = aiohttp.ClientTimeout(total=timeout_s, connect=min(self.connect_timeout_s, timeout_s))
        request = self.session.request(
            call.method, call.url, data=call.body or None, headers=call.headers, timeout=timeout, allow_redirects=False
        )
        with self._explained(call.url, timeout_s):
            async with request as answer:
                return Answer(answer.status, answer.headers, await self._start(answer))

    @contextmanager
    def _explained(self, url: URL, timeout_s: float) -> Iterator[None]:
        """Turns what aiohttp and the guard raise into NoAnswer and JobFailed."""
        import aiohttp

        try:
            yield
        except AddressRefused as error:
            raise JobFailed("callback-refused", f"{shown(url)}: {error}") from error
        except aiohttp.ConnectionTimeoutError as error:
            raise NoAnswer(f"could not be connected to within {self.connect_timeout_s:.2g} s") from error
        except TimeoutError as error:
            raise NoAnswer(f"did not answer within {timeout_s:.2g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise NoAnswer(f"cannot be reached: {_words(error)}") from error

    async def _start(self, answer: "aiohttp.ClientResponse") -> bytes:
        """The start of the body; read on to the limit, because a connection is used again only when read to its end.

        What goes wrong here is of no consequence: the status has arrived.
        """
        import aiohttp

        body = bytearray()
        with suppress(aiohttp.ClientError, OSError, TimeoutError):
            async for chunk in answer.content.iter_any():
                body += chunk
                if len(body) >= self.answer_limit_bytes:
                    break
        return bytes(body[:SHOWN_BYTES])


def _words(error: Exception) -> str:
    import aiohttp

    # aiohttp's own text of these has the URL, whose query may be a signature
    if isinstance(error, aiohttp.ClientResponseError):
        return f"what it answered is no HTTP: {error.message}"[:SHOWN_CHARACTERS]
    if isinstance(error, aiohttp.InvalidURL):
        return "its URL is not one that can be called"
    return str(error)[:SHOWN_CHARACTERS] or type(error).__name__


def _collect_seldom() -> None:
    """A seventh of a callback's processor time went into looking for cycles among what the start has made."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
