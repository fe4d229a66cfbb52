"""The HTTP side of the runner: events in on `POST /`, and what people and monitors ask for."""

import asyncio
import hmac
import logging
import math
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import msgspec

from events.http import BATCH, STRUCTURED, Event, read, read_batch, structured
from events.job import is_request, job_of
from events.problem import NotAnEvent
from functions.gateway.artifacts import PLACE, artifact
from functions.gateway.outside import ANY_ORIGIN, Own, Refusal, named, refusal
from functions.runtime.asgi import Receive, Send
from functions.runtime.guesses import Guesses
from functions.runtime.packed import PACKED, unpacked
from functions.runtime.port import (
    Application,
    IngressRequest,
    IngressResponse,
    TooLarge,
    event_body,
    media_type,
    problem,
    timed,
)
from functions.runtime.proxies import TrustedProxies
from functions.runtime.proxy import sent_by
from knative.local.broker.broker import Broker, BrokerUnavailable
from knative.local.broker.outcomes import Fingerprint, Outcomes, fingerprint_of
from knative.local.broker.recorded import RecordedJobs
from knative.local.metrics import Metrics
from knative.manifests.manifests import Manifests, Trigger

log = logging.getLogger("errands.ingress")

LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
WAIT_LIMIT_S: Final = 60.0
STARTS: Final = "the runner starts, and waits for its broker"
PLAIN: Final = {"content-type": "text/plain; charset=utf-8"}
OTHER_DATA: Final = (
    "a job of this source and id was asked for with other data: another job needs another id;"
    " one that failed may be sent again, mended, under its own"
)
ACCEPTED: Final = IngressResponse(202)

Handler = Callable[[IngressRequest], Awaitable[Application]]


class Ingress:
    """Takes events for the broker, as Knative's ingress does, and refuses with a reason what would be lost there.

    An ASGI application.
    """

    def __init__(
        self,
        *,
        broker: Broker,
        manifests: Manifests,
        metrics: Metrics,
        outcomes: Outcomes,
        recorded: RecordedJobs,
        artifacts: Path | None,
        token: str | None,
        secret: str,
        own: Own,
        trouble: Callable[[], str | None] = lambda: None,
        console: Handler | None = None,
        proxies: TrustedProxies | None = None,
        guesses: Guesses | None = None,
        sinks: frozenset[str] = frozenset(),
        to_sink: Callable[[str, Event], Awaitable[bool]] | None = None,
        inside_only: bool = False,
    ) -> None:
        """One that is for those `inside_only` stands behind a gateway."""
        self._broker = broker
        self._manifests = manifests
        self._metrics = metrics
        self._outcomes = outcomes
        self._recorded = recorded
        self._artifacts = artifacts
        self._token = token
        self._secret = secret
        self._own = own
        self._proxies = proxies or TrustedProxies()
        self._guesses = guesses or Guesses()
        self._trouble = trouble
        self._console = console
        self._sinks = sinks
        self._to_sink = to_sink
        self._inside_only = inside_only
        self._places: dict[str, tuple[str, Handler]] = {
            "/": ("POST", self._accept),
            "/healthz": ("GET", self._healthz),
            "/readyz": ("GET", self._readyz),
            "/metrics": ("GET", self._show_metrics),
            "/jobs": ("GET", self._job),
        }
        self._folders: dict[str, tuple[str, Handler]] = {
            "/triggers/": ("POST", self._accept_for_one),
            "/services/": ("POST", self._dead_letter),
            "/artifacts/": ("GET", self._artifact),
        }
        self.called_back = ANY_ORIGIN
        self.open = False  # whether there is a broker that events can be given to
        self.ready = False

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """One request (ASGI 3.0, HTTP)."""
        request = sent_by(IngressRequest(scope, receive), self._secret)
        reply = await self._refused(request) or await self._handler(request)(request)
        await reply(scope, receive, send)

    async def _refused(self, request: IngressRequest) -> IngressResponse | None:
        """Ask for the token, where there is one, of everybody but probes, readers of an artefact's secret URL, and
        the operators of dead letters, whom their console itself asks.

        Without a token only this machine's own names are answered: a web page whose name was made to lead here (DNS
        rebinding) could otherwise send events by its reader's browser.
        """
        if self._is_inside(request):
            return None
        open_to_all = request.path.startswith(PLACE) or request.path in ("/healthz", "/readyz")
        open_to_all = open_to_all or _is_of_the_console(request.path)
        if self._inside_only and not open_to_all:
            return problem(403, "forbidden", "events come here from functions alone")
        if not self._token:
            known = _host(request.headers.get("host", "")) in LOOPBACK
            return None if known else problem(421, "misdirected", f"this ingress answers to {', '.join(LOOPBACK)} only")
        if open_to_all:
            return None
        if _has_token(request, self._token):
            return None
        return await self._guesses.refuse(self._proxies.client(request))

    def _is_inside(self, request: IngressRequest) -> bool:
        """Whether one of the functions asks, or a queue's worker: they are given the secret of this start."""
        return _has_token(request, self._secret)

    def _handler(self, request: IngressRequest) -> Handler:
        """What answers at this path."""
        if self._console and _is_of_the_console(request.path):
            return self._console
        folder = request.path[: request.path.find("/", 1) + 1]
        method, handler = self._places.get(request.path) or self._folders.get(folder) or ("", _not_found)
        if method and request.method != method and (request.method, method) != ("HEAD", "GET"):
            return _not_allowed(method)
        return handler

    async def _accept(self, request: IngressRequest) -> IngressResponse:
        return await self._publish(request, lambda trigger: True)

    async def _accept_for_one(self, request: IngressRequest) -> IngressResponse:
        """An event for one Trigger only, as the replay of a dead letter may ask; Knative has no such address."""
        if not self._is_inside(request):
            return problem(403, "forbidden", "one Trigger is replayed to by the dead letters' console alone")
        name = request.path.removeprefix("/triggers/")
        return await self._publish(request, lambda trigger: trigger.name == name)

    async def _publish(self, request: IngressRequest, chosen: Callable[[Trigger], bool]) -> IngressResponse:
        try:
            body = await event_body(request)
            if media_type(request) == BATCH:
                return await self._publish_batch(read_batch(request.headers, body), request, chosen)
            if media_type(request) == PACKED and self._is_inside(request):
                return await self._publish_batch(unpacked(body), request, chosen)
            event: Event | NotAnEvent = read(request.headers, body)
        except NotAnEvent as error:
            event = error
        refusal = await self._publish_one(event, request, chosen)
        return ACCEPTED if refusal is None else refusal.response()

    async def _publish_batch(
        self, events: Sequence[Event | NotAnEvent], request: IngressRequest, chosen: Callable[[Trigger], bool]
    ) -> IngressResponse:
        """One result for each event, in the batch's order: some may be accepted where others are not."""
        refusals = await asyncio.gather(*(self._publish_one(each, request, chosen) for each in events))
        results = [_result(each, refused) for each, refused in zip(events, refusals, strict=True)]
        return IngressResponse(200, msgspec.json.encode(results), {"content-type": "application/json"})

    async def _publish_one(
        self, event: Event | NotAnEvent, request: IngressRequest, chosen: Callable[[Trigger], bool]
    ) -> Refusal | None:
        """None once the broker has the event, and otherwise why it has not."""
        try:
            if isinstance(event, NotAnEvent):
                raise event
            event = timed(event)
            wanted = [trigger.name for trigger in self._wanting(event, request) if chosen(trigger)]
            if not wanted:
                raise NotAnEvent(f"the Trigger of {request.path} is not there, or does not want type {event.type!r}")
            inside = self._is_inside(request)
            reason = None if inside else refusal(event, self._own, self.called_back)
            if reason is not None:
                return self._refuse(reason)
            if not self.open:
                raise BrokerUnavailable(STARTS)
            asked = {job_of(event): await fingerprint_of(event)} if is_request(event) else {}
            if not inside and await self._conflicts(event, asked):
                return self._refuse(Refusal(409, "same-id-other-data", OTHER_DATA))
            await self._broker.publish(event, wanted)
        except NotAnEvent as error:
            return self._refuse(Refusal(413 if isinstance(error, TooLarge) else 400, "not-an-event", str(error)))
        except BrokerUnavailable as error:
            log.error("not accepted: %s", error)
            return self._refuse(Refusal(503, "unavailable", str(error), retry_after_s=error.retry_after_s))
        self._metrics.accepted()
        self._outcomes.asked(asked)
        self._outcomes.announce(event)
        return None

    async def _conflicts(self, request: Event, asked: Mapping[tuple[str, str], Fingerprint]) -> bool:
        """Whether its job was asked for with other data, and has not failed since."""
        remembered = self._outcomes.remembered(request)
        if remembered is None:
            return await self._recorded.conflicts(request)
        return remembered != asked[job_of(request)]

    def _refuse(self, refusal: Refusal) -> Refusal:
        self._metrics.refused(refusal.status)
        return refusal

    def _wanting(self, event: Event, request: IngressRequest) -> tuple[Trigger, ...]:
        if request.query:
            raise NotAnEvent("POST / is expected without a query")
        wanting = self._manifests.wanted_by(event.attributes)
        if not wanting:
            known = ", ".join(self._manifests.known_types)
            raise NotAnEvent(f"no Trigger wants type {event.type!r}; the types known here: {known}")
        return wanting

    async def _dead_letter(self, request: IngressRequest) -> IngressResponse:
        """A dead letter of a work queue's worker for its dead-letter sink, which on a cluster has an address of its
        own.
        """
        if not self._is_inside(request):
            return problem(403, "forbidden", "dead letters are brought by the workers of work queues alone")
        name = request.path.removeprefix("/services/")
        if name not in self._sinks or self._to_sink is None:
            return problem(404, "not-found", "there is no such dead-letter sink here")
        try:
            taken = await self._to_sink(name, read(request.headers, await event_body(request)))
        except NotAnEvent as error:
            return problem(400, "not-an-event", str(error))
        return ACCEPTED if taken else problem(503, "unavailable", f"{name} does not take the dead letter")

    async def _healthz(self, _request: IngressRequest) -> IngressResponse:
        return IngressResponse(200, b"ok\n", PLAIN)

    async def _readyz(self, _request: IngressRequest) -> IngressResponse:
        trouble = self._trouble() if self.ready else "it starts"
        return (
            IngressResponse(503, f"not ready: {trouble}\n".encode(), PLAIN)
            if trouble
            else IngressResponse(200, b"ready\n", PLAIN)
        )

    async def _show_metrics(self, _request: IngressRequest) -> IngressResponse:
        return IngressResponse(200, self._metrics.render(), {"content-type": "text/plain; version=0.0.4"})

    async def _job(self, request: IngressRequest) -> IngressResponse:
        """The job's last event, as far as it is known within `wait_s` (at most 60) seconds."""
        query = {name: values[0] for name, values in parse_qs(request.query).items()}
        source, id_ = query.get("source"), query.get("id")
        if not source or not id_:
            return problem(400, "bad-request", "the query source=...&id=... of the request event is expected")
        try:
            wait_s = _seconds(query.get("wait_s", "0"))
        except ValueError as error:
            return problem(400, "bad-request", f"wait_s {error}")
        return await self._outcome(source, id_, wait_s)

    async def _outcome(self, source: str, id_: str, wait_s: float) -> IngressResponse:
        """200 with the last event of a job; 204 where it has not ended, 501 where this runner does not hear of that."""
        try:
            if not self.open:
                raise BrokerUnavailable(STARTS)
            event = await self._outcomes.wait(source, id_, recall=self._broker.outcome, timeout_s=wait_s)
        except BrokerUnavailable as error:
            return problem(503, "unavailable", str(error), {"retry-after": f"{error.retry_after_s:.0f}"})
        if event is None and not self._broker.knows(source, id_):
            why = "it was taken before this runner's start, or others work on the same RabbitMQ server"
            return problem(501, "not-known-here", f"the outcome of this job is not this runner's to know: {why}")
        if event is None:
            return IngressResponse(204)
        return IngressResponse(200, structured(event), {"content-type": STRUCTURED})

    async def _artifact(self, request: IngressRequest) -> Application:
        return artifact(self._artifacts, request.path.removeprefix(PLACE))


def _result(event: Event | NotAnEvent, refused: Refusal | None) -> dict[str, object]:
    """What became of one event of a batch: what it would have been answered by itself."""
    known = None if isinstance(event, NotAnEvent) else event
    return {**named(known), "status": ACCEPTED.status} if refused is None else refused.result(known)


def _seconds(text: str) -> float:
    """A time to wait, cut to the limit; raise ValueError."""
    seconds = float(text) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) else math.nan
    if math.isnan(seconds):
        raise ValueError(f"must be a number of seconds, 0 or more, got {text[:20]!r}")
    return min(seconds, WAIT_LIMIT_S)


def _has_token(request: IngressRequest, token: str) -> bool:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")  # RFC 9110 11.1
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())


def _host(header: str) -> str | None:
    """The name in a Host header; None for one that is none."""
    try:
        return urlsplit(f"//{header}").hostname
    except ValueError:
        return None


def _is_of_the_console(path: str) -> bool:
    return path.partition("/")[2].partition("/")[0] in ("dead", "console", "mail")


async def _not_found(request: IngressRequest) -> IngressResponse:
    return problem(404, "not-found", f"there is nothing at {request.path[:200]}")


def _not_allowed(method: str) -> Handler:
    async def refuse(request: IngressRequest) -> IngressResponse:
        return problem(405, "not-allowed", f"{method} is expected, got {request.method[:20]}", {"allow": method})

    return refuse
