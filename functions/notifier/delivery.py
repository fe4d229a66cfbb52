"""Delivers an event to its endpoints, and says what each answer means.

    2xx                     done, also where the answer's body is late or too long: the API has the event
    410                     done: the endpoint is gone (Standard Webhooks 1.0); marked, and not called until resumed
    429, 503 + Retry-After  not now; the whole origin is left alone until then
    anything else           tried again by the broker, at last a dead letter: a 3xx is a failure, a 4xx may be a
                            receiver with a stale secret

Retry-After: a Knative broker waits by its own schedule and ignores the header, so the wait is kept here. An event that
comes too early is answered 503 without a call; that costs one of the retries, and where the last of them comes too
early as well the event is a dead letter, to be replayed.

An event with several endpoints is done when all of them have it: those that took it are remembered in the store while
another one did not, and are not called again.
"""

import asyncio
import logging
import math
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import msgspec

from events.http import Event, structured
from events.problem import JobFailed, TryAgain
from functions.net.exchange import Response
from functions.net.url import Url
from functions.notifier.caller import Call, Caller, NoResponse
from functions.notifier.circuits import Circuit, Circuits
from functions.notifier.destination import Target
from functions.notifier.endpoint_state import EndpointStates
from functions.notifier.handshake import Handshake
from functions.runtime.adapter import NAMESPACE
from functions.storage.store import LEDGER, Store, job_key

log = logging.getLogger("errands.notifier")

GONE: Final = 410
BUSY: Final = frozenset({429, 503})
DOWN: Final = frozenset({502, 503, 504})  # said of the host; a 500 is its answer to one event
RETRY_LIMIT_S: Final = 3_600.0
# A dead letter keeps 1,024 bytes of our answer (Knative delivery specification), its JSON around the words included.
FAILURE_REPORT_BYTES: Final = 920


@dataclass(frozen=True)
class Delivery:
    """Delivers with what this process knows; `timeout_s` covers one endpoint's handshake and callback together."""

    caller: Caller
    circuits: Circuits
    endpoint_states: EndpointStates
    store: Store
    handshake: Handshake | None
    timeout_s: float
    clock: Callable[[], float]  # seconds since 1970

    async def deliver(self, event: Event, targets: tuple[Target, ...]) -> None:
        """Raise TryAgain when an endpoint did not take the event, JobFailed when it may not be called."""
        body = structured(event)
        if len(targets) == 1:
            await self._call(event, body, targets[0])
        elif targets:
            await self._call_all(event, body, targets)

    async def _call_all(self, event: Event, body: bytes, targets: tuple[Target, ...]) -> None:
        keys = {target: _taken_key(event, target.url) for target in targets}
        taken = [await asyncio.to_thread(self.store.read, key) is not None for key in keys.values()]
        left = [target for target, has_it in zip(targets, taken, strict=True) if not has_it]
        results = await asyncio.gather(*(self._call(event, body, each) for each in left), return_exceptions=True)
        failures = [each for each in results if each is not None]
        for target, result in zip(left, results, strict=True):
            if failures and result is None:
                await asyncio.to_thread(self.store.create, keys[target], b"{}")
        # one that may be tried again decides; a refused one then comes to light with the last attempt
        failures.sort(key=lambda each: not isinstance(each, TryAgain))
        if failures:
            raise failures[0]

    async def _call(self, event: Event, body: bytes, target: Target) -> None:
        url, end_s = target.url, asyncio.get_running_loop().time() + self.timeout_s
        if await self.endpoint_states.is_gone(url):
            self.circuits.of(url.origin).counts["skipped"] += 1
            log.warning("%s is gone: not called until it is resumed", url.shown, extra={"event": event.id})
            return
        async with self.circuits.place(url.origin) as circuit:
            if self.handshake is not None:
                await self.handshake.require(url, lambda call: self._attempt(circuit, call, end_s))
            headers = target.signer.headers(event, body, now=datetime.fromtimestamp(self.clock(), UTC))
            response = await self._attempt(circuit, Call("POST", url, headers, body), end_s)
            if 200 <= response.status < 300:
                circuit.counts["delivered"] += 1
            else:
                await self._refused(response, url, event, circuit)

    async def _attempt(self, circuit: Circuit, call: Call, end_s: float) -> Response:
        timeout_s = max(end_s - asyncio.get_running_loop().time(), 0.001)
        try:
            response = await self.caller.call(call, timeout_s=timeout_s)
        except NoResponse as failure:
            circuit.counts["failed"] += 1
            await self._failed(circuit, str(failure))
            raise TryAgain(f"callback {call.url.shown} {failure}") from failure
        except JobFailed:
            circuit.counts["refused"] += 1
            raise
        if response.status in DOWN:
            await self._failed(circuit, f"answered {response.status}")
        else:
            circuit.succeeded()
        return response

    async def _refused(self, response: Response, url: Url, event: Event, circuit: Circuit) -> None:
        now_s = self.clock()
        if response.status == GONE:
            circuit.counts["gone"] += 1
            log.warning("callback %s answered 410: not called until it is resumed", url.shown)
            await self.endpoint_states.mark_gone(url, event.id, now=datetime.fromtimestamp(now_s, UTC))
            return
        circuit.counts["failed"] += 1
        wait_s = retry_after_s(response.headers.get("retry-after"), now_s=now_s) if response.status in BUSY else None
        if wait_s:
            await self._pause(circuit, now_s + wait_s, f"it answered {response.status} with Retry-After")
        words = failure_report(f"callback {url.shown} answered {response.status}: ", response.body)
        raise TryAgain(words) if wait_s is None else TryAgain(words, retry_after_s=wait_s)

    async def _failed(self, circuit: Circuit, reason: str) -> None:
        if circuit.failed(reason, self.clock()):
            await self.endpoint_states.pause(circuit.origin, until_s=circuit.until_s, reason=circuit.reason)

    async def _pause(self, circuit: Circuit, until_s: float, reason: str) -> None:
        if until_s > circuit.until_s:
            circuit.pause(until_s, reason)
            await self.endpoint_states.pause(circuit.origin, until_s=until_s, reason=reason)


def retry_after_s(value: str | None, *, now_s: float) -> float | None:
    """The wait that a Retry-After header asks for, in seconds or as a date (RFC 9110 10.2.3), at most an hour."""
    if value is None:
        return None
    if re.fullmatch(r"[0-9]{1,9}", value.strip()):
        return min(float(value), RETRY_LIMIT_S)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    # the parser gives no zone for "-0000"; HTTP dates are in GMT
    left_s = date.replace(tzinfo=date.tzinfo or UTC).timestamp() - now_s
    return min(max(math.ceil(left_s), 0.0), RETRY_LIMIT_S)


def failure_report(said: str, text: bytes) -> str:
    """What was said, and as much of the answer's text as fits into a dead letter beside it."""
    words = said + text.decode(errors="replace")
    while (excess_bytes := len(msgspec.json.encode(words)) - FAILURE_REPORT_BYTES) > 0:
        words = words[: -max(1, excess_bytes // 6)]  # a character takes six bytes at most: \\u0000
    return words


def _taken_key(event: Event, url: Url) -> str:
    return f"{LEDGER}{job_key(event)}/called-{uuid.uuid5(NAMESPACE, f'{event.id} {url}')}.json"
