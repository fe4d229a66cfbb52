"""The HTTP side of the runner: events in on `POST /`, and what people and monitors ask for."""

import hmac
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import web

from events.http import BODY_LIMIT_BYTES, STRUCTURED, Event, read, structured
from events.problem import JobFailed, NotAnEvent
from knative.local.broker import Broker, BrokerUnavailable
from knative.local.metrics import Metrics
from knative.local.outcomes import Outcomes
from knative.manifests import Manifests, Trigger

log = logging.getLogger("errands.ingress")

LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
BATCH: Final = "application/cloudevents-batch+json"
WAIT_LIMIT_S: Final = 60.0
DESK_PATHS: Final = "/dead{path:(/.*)?}"
# A result is somebody's data: it is shown, but runs nothing and loads nothing.
ARTIFACT_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:",
    "Cache-Control": "private, max-age=3600",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Ingress:
    """Takes events for the broker, as Knative's ingress does, and refuses with a reason what would be lost there."""

    def __init__(
        self,
        *,
        broker: Broker,
        manifests: Manifests,
        metrics: Metrics,
        outcomes: Outcomes,
        artifacts: Path | None,
        token: str | None,
        desk: Handler | None = None,
        sinks: frozenset[str] = frozenset(),
        to_sink: Callable[[str, Event], Awaitable[bool]] | None = None,
    ) -> None:
        self._broker = broker
        self._manifests = manifests
        self._metrics = metrics
        self._outcomes = outcomes
        self._artifacts = artifacts
        self._token = token
        self._desk = desk
        self._sinks = sinks
        self._to_sink = to_sink
        self.ready = False

    def application(self) -> web.Application:
        """The routes."""
        application = web.Application(client_max_size=BODY_LIMIT_BYTES, middlewares=[self._authenticate])
        application.add_routes(
            [
                web.post("/", self._accept),
                web.post("/services/{name}", self._letter),
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._show_metrics),
                web.get("/jobs", self._job),
                web.get("/artifacts/{key:jobs/.+}", self._artifact),
                web.post("/triggers/{trigger}", self._accept_for_one),
                *([web.route("*", DESK_PATHS, self._desk)] if self._desk else []),
            ]
        )
        return application

    @web.middleware
    async def _authenticate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Ask for the token, where there is one, of everybody but probes, readers of an artefact's secret URL, and
        the operators of dead letters, whom their desk itself asks.

        Without a token only this machine's own names are answered: a web page whose name was made to lead here (DNS
        rebinding) could otherwise send events by its reader's browser.
        """
        if not self._token and request.url.host not in LOOPBACK:
            return _refusal(421, "misdirected", f"this ingress answers to {', '.join(LOOPBACK)} only")
        own_access = request.path.startswith(("/artifacts/", "/dead/")) or request.path == "/dead"
        open_to_all = request.path in ("/healthz", "/readyz") or own_access
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if self._token and not open_to_all and not hmac.compare_digest(given.encode(), self._token.encode()):
            return _refusal(401, "unauthorized", "the header Authorization: Bearer TOKEN is expected")
        return await handler(request)

    async def _accept(self, request: web.Request) -> web.Response:
        return await self._publish(request, lambda trigger: True)

    async def _accept_for_one(self, request: web.Request) -> web.Response:
        """An event for one Trigger only, as the replay of a dead letter may ask; Knative has no such address."""
        name = request.match_info["trigger"]
        return await self._publish(request, lambda trigger: trigger.name == name)

    async def _publish(self, request: web.Request, chosen: Callable[[Trigger], bool]) -> web.Response:
        try:
            event = _timed(read(request.headers, await _body(request)))
            wanted = [trigger.name for trigger in self._wanting(event, request) if chosen(trigger)]
            if not wanted:
                raise NotAnEvent(f"the Trigger of {request.path} is not there, or does not want type {event.type!r}")
            await self._broker.publish(event, wanted)
        except NotAnEvent as error:
            self._metrics.refused(400)
            return _refusal(400, "not-an-event", str(error))
        except BrokerUnavailable as error:
            self._metrics.refused(503)
            log.error("not accepted: %s", error)
            return _refusal(503, "unavailable", str(error), {"Retry-After": f"{error.retry_after_s:.0f}"})
        self._metrics.accepted()
        self._outcomes.announce(event)
        return web.Response(status=202)

    def _wanting(self, event: Event, request: web.Request) -> tuple[Trigger, ...]:
        if request.query_string:
            raise NotAnEvent("POST / is expected without a query")
        wanting = self._manifests.wanted_by(event.attributes)
        if not wanting:
            known = ", ".join(self._manifests.known_types)
            raise NotAnEvent(f"no Trigger wants type {event.type!r}; the types known here: {known}")
        return wanting

    async def _letter(self, request: web.Request) -> web.Response:
        """A letter of a lane's worker for its dead-letter sink, which on a cluster has an address of its own."""
        name = request.match_info["name"]
        if name not in self._sinks or self._to_sink is None:
            return _refusal(404, "not-found", "there is no such dead-letter sink here")
        try:
            taken = await self._to_sink(name, read(request.headers, await _body(request)))
        except NotAnEvent as error:
            return _refusal(400, "not-an-event", str(error))
        return web.Response(status=202) if taken else _refusal(503, "unavailable", f"{name} does not take the letter")

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _request: web.Request) -> web.Response:
        return web.Response(text="ready\n") if self.ready else web.Response(status=503, text="not ready\n")

    async def _show_metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.render(), headers={"Content-Type": "text/plain; version=0.0.4"})

    async def _job(self, request: web.Request) -> web.Response:
        """The job's last event; 204 when it has not ended within `wait_s` (at most 60) seconds."""
        source, id_ = request.query.get("source"), request.query.get("id")
        if not source or not id_:
            return _refusal(400, "bad-request", "the query source=...&id=... of the request event is expected")
        try:
            wait_s = min(float(request.query.get("wait_s", 0)), WAIT_LIMIT_S)
        except ValueError:
            return _refusal(400, "bad-request", "wait_s must be a number of seconds")
        event = await self._outcomes.wait(source, id_, recall=self._broker.outcome, timeout_s=wait_s)
        if event is None:
            return web.Response(status=204)
        return web.Response(body=structured(event), headers={"Content-Type": STRUCTURED})

    async def _artifact(self, request: web.Request) -> web.StreamResponse:
        """A stored result. Its key holds a hash of its content, so nobody finds it who was not told."""
        key = request.match_info["key"]
        parts = key.split("/")
        if self._artifacts is None or len(parts) != 4 or ".." in parts:
            return _refusal(404, "not-found", "there is no such artefact here")
        file = self._artifacts / key
        if not file.is_file():
            return _refusal(404, "not-found", "there is no such artefact here")
        return web.FileResponse(file, headers=ARTIFACT_HEADERS)


async def _body(request: web.Request) -> bytes:
    if request.content_type == BATCH:
        raise NotAnEvent("a batch is not taken: send one event a request")
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise NotAnEvent(f"the body must be at most {BODY_LIMIT_BYTES} bytes") from error


def _timed(event: Event) -> Event:
    """With a time: the broker gives one that differs from delivery to delivery to an event without."""
    if event.get("time"):
        return event
    return event.with_attributes(time=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"))


def _refusal(status: int, kind: str, detail: str, headers: dict[str, str] | None = None) -> web.Response:
    body = msgspec.json.encode(JobFailed(kind, detail).problem)
    sent = {"Content-Type": "application/problem+json", **(headers or {})}
    return web.Response(status=status, body=body, headers=sent)
