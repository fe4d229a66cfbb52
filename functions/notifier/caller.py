"""Makes the call: one POST, no redirect, within a time and a size, to an address that the guard lets through.

A 2xx is success, also where the answer's body is late or too long: the API has the event. 410 is the end as well: the
API wants no more of these (Standard Webhooks 1.0). 429 and 503 are tried again when Retry-After says, anything else is
tried again too: a 3xx is a failure, a 4xx may be a receiver with a stale secret, and what never succeeds is kept as a
dead letter.
"""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final

import httpx

from events.problem import TryAgain
from functions.addresses import AddressRefused, Guard, guarded_async_transport
from functions.notifier.callback import retry_after_s
from functions.notifier.destination import CallbackRefused, shown

log = logging.getLogger("errands.notifier")

GONE: Final = 410
BUSY: Final = frozenset({429, 503})
DEFAULT_RETRY_S: Final = 5.0
SHOWN_BYTES: Final = 1_024


@dataclass(frozen=True)
class Caller:
    """Calls with the process's one client, which keeps connections open between callbacks."""

    guard: Guard
    connect_timeout_s: float
    timeout_s: float
    answer_limit_bytes: int

    @cached_property
    def client(self) -> httpx.AsyncClient:
        """Made at the first call: before it, the server's workers are not forked yet."""
        timeout = httpx.Timeout(self.timeout_s, connect=self.connect_timeout_s)
        transport = guarded_async_transport(self.guard)
        cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))  # none is kept from one callback to the next
        return httpx.AsyncClient(transport=transport, timeout=timeout, cookies=cookies, trust_env=False)

    async def call(self, url: httpx.URL, body: bytes, headers: dict[str, str], *, now: datetime) -> None:
        """POST; raise TryAgain when it did not succeed, CallbackRefused when the address may not be called."""
        # a deadline, because httpx's own timeouts begin anew with each byte received
        end_s = asyncio.get_running_loop().time() + self.timeout_s
        request = self.client.build_request("POST", url, content=body, headers=headers)
        try:
            async with asyncio.timeout_at(end_s):
                answer = await self.client.send(request, stream=True)
        except AddressRefused as error:
            raise CallbackRefused(f"{shown(url)}: {error}") from error
        except (TimeoutError, httpx.TimeoutException) as error:
            raise TryAgain(f"callback {shown(url)} did not answer within {self.timeout_s} s") from error
        except httpx.TransportError as error:
            raise TryAgain(f"callback {shown(url)} cannot be reached: {error or type(error).__name__}") from error
        text = await self._body(answer, end_s)
        _judge(answer, url, text, now)

    async def _body(self, answer: httpx.Response, end_s: float) -> bytes:
        """The start of the answer; read on to the limit, because a connection is used again only when read to its end.

        What goes wrong here is of no consequence: the status has arrived.
        """
        body = bytearray()
        with suppress(httpx.TransportError, TimeoutError):
            async with asyncio.timeout_at(end_s):
                async for chunk in answer.aiter_raw():
                    body += chunk
                    if len(body) >= self.answer_limit_bytes:
                        break
        await answer.aclose()
        return bytes(body[:SHOWN_BYTES])


def _judge(answer: httpx.Response, url: httpx.URL, text: bytes, now: datetime) -> None:
    if answer.is_success:
        return
    if answer.status_code == GONE:
        log.warning("callback %s answered 410: the API wants no more of these", shown(url))
        return
    asked_s = retry_after_s(answer.headers.get("retry-after"), now=now) if answer.status_code in BUSY else None
    words = text.decode(errors="replace")
    wait_s = DEFAULT_RETRY_S if asked_s is None else asked_s
    raise TryAgain(f"callback answered {answer.status_code}: {words}", retry_after_s=wait_s)
