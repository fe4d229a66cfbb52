"""Delivers an event to its endpoints, and says what each answer means.

    2xx                     done, also where the answer's body is late or too long: the API has the event
    410                     the endpoint is gone (Standard Webhooks 1.0): marked, and not called until resumed; this
                            callback and the later ones are dead letters at once, to replay where that is wanted
    429, 503 + Retry-After  not now; the endpoint is left alone until then, for `retry_after_limit_s` at most
    no answer, 429, 502,    not now: the API is down, or busy
    503, 504
    anything else           tried again by the broker, at last a dead letter: a 3xx is a failure, a 4xx may be a
                            receiver with a stale secret

"Not now" is NotNow: the local runner puts such an event back and counts no attempt. A Knative broker waits by its own
schedule and ignores Retry-After, so the wait is kept here too: an event that comes too early is answered 503 without a
call. There that costs one of the retries, and after the last of them the event is a dead letter, to be replayed.

An event with several endpoints is done when all of them have it: those that took it are remembered in the store while
another one did not, and are not called again.
"""

import asyncio
import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec

from events.http import Event, structured
from events.job import NAMESPACE, job_key
from events.problem import JobFailed, NotNow, TryAgain
from functions.net.caller import Call, Caller, NoResponse, retry_after_s
from functions.net.exchange import ServerResponse
from functions.net.url import Url
from functions.notifier.circuits import Circuit, Peers
from functions.notifier.destination import Target
from functions.notifier.endpoint_state import EndpointStates, gone_words
from functions.notifier.handshake import Handshake
from functions.storage.rate_limits import RateLimits
from functions.storage.store import LEDGER, Store

log = logging.getLogger("errands.notifier")

GONE: Final = 410
BUSY: Final = frozenset({429, 503})
DOWN: Final = frozenset({502, 503, 504})  # said of the endpoint; a 500 is its answer to one event
# A dead letter keeps 1,024 bytes of our answer (Knative delivery specification), its JSON around the words included.
FAILURE_REPORT_BYTES: Final = 920


@dataclass(frozen=True)
class CallbackDelivery:
    """Delivers with what this process knows; `timeout_s` covers one endpoint's handshake and callback together."""

    caller: Caller
    peers: Peers
    endpoint_states: EndpointStates
    store: Store
    rate_limits: RateLimits
    handshake: Handshake | None
    timeout_s: float
    retry_after_limit_s: float
    clock: Callable[[], float]  # seconds since 1970, which the API is told; waits go by that of the `peers`

    async def deliver(self, event: Event, targets: tuple[Target, ...]) -> None:
        """Raise TryAgain when an endpoint did not take the event, NotNow when it could not now, JobFailed when it may
        not be called."""
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
        # one that was not called decides, then one that may be called again; a refused one comes to light at last
        failures.sort(key=lambda each: (not isinstance(each, NotNow), not isinstance(each, TryAgain)))
        if failures:
            raise failures[0]

    async def _call(self, event: Event, body: bytes, target: Target) -> None:
        url, end_s = target.url, asyncio.get_running_loop().time() + self.timeout_s
        if await self.endpoint_states.is_gone(url):
            self.peers.hosts.of(url.origin).counts["skipped"] += 1
            raise _gone(url, "it has answered 410")
        async with self.peers.endpoints.place(url.shown) as endpoint, self.peers.hosts.place(url.origin) as host:
            if target.rate is not None:
                await asyncio.to_thread(self.rate_limits.require, url.origin, target.rate)
            if self.handshake is not None:
                await self.handshake.require(url, lambda call: self._attempt(host, endpoint, call, end_s))
            headers = target.signer.headers(event, body, now=datetime.fromtimestamp(self.clock(), UTC))
            response = await self._attempt(host, endpoint, Call("POST", url, headers, body), end_s)
            if 200 <= response.status < 300:
                host.counts["delivered"] += 1
            else:
                await self._refused(response, url, event, host, endpoint)

    async def _attempt(self, host: Circuit, endpoint: Circuit, call: Call, end_s: float) -> ServerResponse:
        """The endpoint's answer. A connection clears the host, whatever comes over it."""
        timeout_s = max(end_s - asyncio.get_running_loop().time(), 0.001)
        try:
            response = await self.caller.call(call, timeout_s=timeout_s)
        except NoResponse as failure:
            host.counts["failed"] += 1
            if failure.connected:
                host.succeeded()
            await self._failed(endpoint if failure.connected else host, str(failure))
            raise NotNow(f"callback {call.url.shown} {failure}") from failure
        except JobFailed:
            host.counts["refused"] += 1
            raise
        host.succeeded()
        if response.status in DOWN:
            await self._failed(endpoint, f"answered {response.status}")
        else:
            endpoint.succeeded()
        return response

    async def _refused(
        self, response: ServerResponse, url: Url, event: Event, host: Circuit, endpoint: Circuit
    ) -> None:
        if response.status == GONE:
            host.counts["gone"] += 1
            log.warning("callback %s answered 410: not called until it is resumed", url.shown)
            await self.endpoint_states.mark_gone(url, event.id, now=datetime.fromtimestamp(self.clock(), UTC))
            raise _gone(url, "it answered 410")
        host.counts["failed"] += 1
        asked = response.headers.get("retry-after") if response.status in BUSY else None
        wait_s = retry_after_s(asked, now_s=self.clock())
        if wait_s:
            wait_s = min(wait_s, self.retry_after_limit_s)
            await self._pause(endpoint, wait_s, f"it answered {response.status} with Retry-After")
        words = failure_report(f"callback {url.shown} answered {response.status}: ", response.body)
        kind = NotNow if response.status in BUSY | DOWN else TryAgain
        raise kind(words) if wait_s is None else kind(words, retry_after_s=wait_s)

    async def _failed(self, circuit: Circuit, reason: str) -> None:
        now_s = self.peers.now_s
        if circuit.failed(reason, now_s):
            await self.endpoint_states.pause(circuit.peer, left_s=circuit.until_s - now_s, reason=circuit.reason)

    async def _pause(self, circuit: Circuit, wait_s: float, reason: str) -> None:
        until_s = self.peers.now_s + wait_s
        if until_s > circuit.until_s:
            circuit.pause(until_s, reason)
            await self.endpoint_states.pause(circuit.peer, left_s=wait_s, reason=reason)


def _gone(url: Url, why: str) -> JobFailed:
    return JobFailed("callback-gone", f"{gone_words(url.shown)}{why}, and is not called until it is resumed")


def failure_report(said: str, text: bytes) -> str:
    """What was said, and as much of the answer's text as fits into a dead letter beside it."""
    words = said + text.decode(errors="replace")
    while (excess_bytes := len(msgspec.json.encode(words)) - FAILURE_REPORT_BYTES) > 0:
        words = words[: -max(1, excess_bytes // 6)]  # a character takes six bytes at most: \\u0000
    return words


def _taken_key(event: Event, url: Url) -> str:
    return f"{LEDGER}{job_key(event)}/called-{uuid.uuid5(NAMESPACE, f'{event.id} {url}')}.json"
