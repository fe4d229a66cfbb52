"""A job is a function: one event in, at most one out. This adapter is all that stands between it and HTTP.

    @function(IcsRequested)
    def handle(job: IcsRequested, event: Event) -> IcsCompleted: ...    # or async def, where it only waits

What the handler returns or raises becomes the answer that the RabbitMQ broker of Knative treats rightly:

    a struct of the contract    200 with that event
    None                        202
    JobFailed                   200 with the failed event: the API hears at once
    TryAgain                    503 with Retry-After: delivered again, at last a dead letter
    not an event                500: kept as a dead letter
    JobFailed, and the function takes events as they are (http_function)    500: kept as a dead letter
    any other exception         500: a bug; delivered again, at last a dead letter

Never a 4xx: the broker acknowledges most of them and the event is gone (eventing-rabbitmq dispatcher.go).
"""

import asyncio
import inspect
import io
import logging
import math
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import msgspec
from msgspec import Struct

from events.http import BODY_LIMIT_BYTES, Event, binary, read, rfc3339
from events.problem import JobFailed, NotAnEvent, TryAgain, decode, sentence
from events.types import event_type, sibling_type
from functions.runtime.logs import tail

if TYPE_CHECKING:  # each function pays at its start only for the web framework that serves it
    import flask
    import starlette.requests
    import starlette.responses

log = logging.getLogger("errands.function")

J = TypeVar("J", bound=Struct)
NAMESPACE = uuid.UUID("5b1f3f5e-6d0e-5a55-9f0a-2b7c6c0b7a11")
ATTEMPT_HEADER: Final = "errands-attempt"
DELIVER: Final = (
    "deliver"  # what a target has beside itself: the way without a web framework (functions.runtime.asgi, keda)
)
SIDE_ROUTE: Final = "side_route"
DISCARDED_BYTES: Final = 256 * 1024 * 1024  # of a body over the limit, before it is answered
RETRY_AFTER_LIMIT_S: Final = 86_400.0  # the hint may come from a source's own server, which may say anything
FAILED: Final = 500  # and beyond: what may become a dead letter
LEVELS: Final = {500: logging.ERROR}  # of an answer; a failed job and a later attempt are warnings
REPLAYED: Final = "replayed"  # on a job that was a dead letter: the sink hears by it how such a job ended
COPIED: Final = ("subject", "callbackurl", "traceparent", "tracestate", REPLAYED)


@dataclass(frozen=True, slots=True)
class Response:
    """What goes back over HTTP; each of the `cookies` in a set-cookie header of its own."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    cookies: tuple[str, ...] = ()


Target = Callable[[Any], Any]  # of functions-framework: a request of Flask's or Starlette's in, a response out
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]  # ASGI's
FailureListener = Callable[[Event, Response, Sequence[str]], None]  # with the lines that were logged meanwhile
_failure_listeners: list[FailureListener] = []


class Ledger(Protocol):
    """Remembers a job's reply, so that a job delivered twice is answered twice but done once."""

    def recall(self, cause: Event) -> Event | None:
        """The reply recorded for this cause, or None."""

    def record(self, cause: Event, reply: Event) -> Event:
        """Record the reply unless one is there already; return the one that is recorded."""


def system_clock() -> datetime:
    """The present in UTC."""
    return datetime.now(UTC)


def function(
    request: type[J], *, ledger: Ledger | None = None, clock: Callable[[], datetime] = system_clock
) -> Callable[[Callable[[J, Event], Struct | Awaitable[Struct | None] | None]], Target]:
    """Turn a handler of `request` jobs into a functions-framework target of the http signature.

    With a `ledger`, a reply recorded for the same job is returned again and the handler is not called. A handler that
    is a coroutine function runs in the server's loop, beside others: it waits, and neither computes nor blocks.
    """

    def recall(event: Event) -> Event | None:
        reply = ledger.recall(event) if ledger else None
        if reply is not None and event.get(REPLAYED):
            reply = reply.with_attributes(**{REPLAYED: event.attributes[REPLAYED]})
        return reply

    def record(event: Event, result: Struct | JobFailed | None) -> Event | None:
        reply = _reply(event, result, clock())
        return reply if reply is None or ledger is None else ledger.record(event, reply)

    def decorate(handler: Callable[[J, Event], Struct | Awaitable[Struct | None] | None]) -> Target:
        def respond(event: Event) -> Response:
            reply = recall(event)
            if reply is None:
                result: Any
                try:
                    result = handler(open_job(event, request, now=clock()), event)
                except JobFailed as failed:
                    result = failed
                reply = record(event, result)
            return _response(reply)

        async def respond_waiting(event: Event) -> Response:
            reply = await asyncio.to_thread(recall, event) if ledger else None
            if reply is None:
                result: Any
                try:
                    result = await handler(open_job(event, request, now=clock()), event)  # type: ignore[misc]  # as is asked before
                except JobFailed as failed:
                    result = failed
                reply = await asyncio.to_thread(record, event, result) if ledger else record(event, result)
            return _response(reply)

        def accepts(event: Event) -> None:
            require_type(event, request)

        waits = inspect.iscoroutinefunction(handler)
        target = (
            async_http_function(respond_waiting, accepts=accepts) if waits else http_function(respond, accepts=accepts)
        )
        setattr(target, "__wrapped__", handler)  # noqa: B010  # as functools has it: for inspect.unwrap
        return target

    return decorate


def http_function(
    respond: Callable[[Event], Response], *, accepts: Callable[[Event], None] = lambda event: None
) -> Callable[["flask.Request"], "flask.Response"]:
    """The target for a function that takes events as they are: `accepts` raises NotAnEvent for what it does not.

    The target's `deliver` is the same without Flask: `(read, attempt) -> Response`; `aside` answers what is no delivery.
    """

    def deliver(read_event: Callable[[], Event], attempt: str | None) -> Response:
        event, raised, started_s = None, None, time.monotonic()
        with tail() as lines:
            try:
                event = read_event()
                accepts(event)
                response = respond(event)
            except Exception as error:  # the one place where a bug becomes an answer: 500, retried, dead-lettered
                response, raised = refusal(error), error
            log_response(response, event, attempt, time.monotonic() - started_s, raised)
        _tell(event, response, lines)
        return response

    def handle(request: "flask.Request") -> "flask.Response":
        import flask

        response = side_route(request.method, request.path) or deliver(
            lambda: read(dict(request.headers), flask_body(request)), request.headers.get(ATTEMPT_HEADER)
        )
        return flask.Response(response.body, response.status, dict(response.headers))

    setattr(handle, DELIVER, deliver)  # functions-framework takes nothing but a plain function
    setattr(handle, SIDE_ROUTE, side_route)
    return handle


def async_http_function(
    respond: Callable[[Event], Awaitable[Response]],
    *,
    accepts: Callable[[Event], None] = lambda event: None,
    pages: Mapping[str, Callable[[], Response]] = MappingProxyType({}),
) -> Callable[["starlette.requests.Request"], Awaitable["starlette.responses.Response"]]:
    """The same for a function that waits on I/O: functions-framework serves it on its ASGI side.

    `pages` are what it shows to GET, by their paths, beside its health.
    """

    async def deliver(read_event: Callable[[], Event], attempt: str | None) -> Response:
        event, raised, started_s = None, None, time.monotonic()
        with tail() as lines:
            try:
                event = read_event()
                accepts(event)
                response = await respond(event)
            except Exception as error:  # as above
                response, raised = refusal(error), error
            log_response(response, event, attempt, time.monotonic() - started_s, raised)
        if response.status >= FAILED and _failure_listeners:
            await asyncio.to_thread(_tell, event, response, lines)
        return response

    def page_or_side_route(method: str, path: str) -> Response | None:
        return pages[path]() if method == "GET" and path in pages else side_route(method, path)

    async def handle(request: "starlette.requests.Request") -> "starlette.responses.Response":
        from starlette.responses import Response

        response = page_or_side_route(request.method, request.url.path)
        if response is None:
            body = await read_body(request.receive)
            response = await deliver(lambda: read(request.headers, body.whole()), request.headers.get(ATTEMPT_HEADER))
        return Response(response.body, response.status, dict(response.headers))

    setattr(handle, DELIVER, deliver)
    setattr(handle, SIDE_ROUTE, page_or_side_route)
    _register_asgi(handle.__name__)
    return handle


def _register_asgi(name: str) -> None:
    """Do as `functions_framework.aio.http`, where functions-framework is what loads the function: it takes 65 ms."""
    framework = sys.modules.get("functions_framework._function_registry")
    if framework is not None:
        framework.ASGI_FUNCTIONS.add(name)


def tell_failures(failure_listener: FailureListener) -> None:
    """From now on have `witness` told of each failure, before its answer goes out: the broker discards what it says."""
    _failure_listeners.append(failure_listener)


def _tell(event: Event | None, response: Response, lines: Sequence[str]) -> None:
    if event is not None and response.status >= FAILED:
        for each in _failure_listeners:
            each(event, response, lines)


def open_job(event: Event, request: type[J], *, now: datetime) -> J:
    """The event's data as the job it asks for; raise JobFailed when it is expired or breaks the contract."""
    expiry = event.get("expirytime")
    if expiry is not None:
        try:
            expires_at = rfc3339(expiry)
        except NotAnEvent as error:
            raise JobFailed("invalid-attribute", f"expirytime: {error}") from error
        if expires_at < now:
            raise JobFailed("expired", f"the job was worth doing until {expiry}, and it is {now:%Y-%m-%dT%H:%M:%SZ}")
    media_type = event.get("datacontenttype") or "application/json"
    if media_type.split(";")[0].strip().lower() != "application/json":
        raise JobFailed("invalid-attribute", f"datacontenttype must be application/json, got {media_type!r}")
    return decode(event.data, request)


def reply_event(cause: Event, type_: str, payload: Struct, *, now: datetime) -> Event:
    """The event that answers `cause`: the same cause and type give the same id, so that consumers can deduplicate.

    `correlationid` and `jobsource` are the request's id and source, which together identify the job: two APIs may
    use the same id, and an event's own source has to be ours.
    """
    job, phase = type_.split(".")[-3:-1]
    attributes = {
        "specversion": "1.0",
        "id": str(uuid.uuid5(NAMESPACE, f"{cause.source}\n{cause.id}\n{type_}")),
        "source": f"/errands/{job}",
        "type": type_,
        "time": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "correlationid": cause.get("correlationid") or cause.id,
        "jobsource": cause.get("jobsource") or cause.source,
        "causationid": cause.id,
    }
    attributes |= {name: cause.attributes[name] for name in COPIED if name in cause.attributes}
    if phase in ("completed", "failed", "deadlettered"):
        attributes["outcome"] = phase
    return Event(MappingProxyType(attributes), msgspec.json.encode(payload))


def refusal(error: Exception) -> Response:
    """The answer to an event that was not dealt with; its body is the failure report that goes with a dead letter."""
    if isinstance(error, TryAgain):
        retry_after_s = str(math.ceil(min(max(0.0, error.retry_after_s), RETRY_AFTER_LIMIT_S)))
        return _problem(503, "try-again", str(error), {"retry-after": retry_after_s})
    if isinstance(error, NotAnEvent):
        return _problem(500, "not-an-event", str(error))
    if isinstance(error, JobFailed):  # of a function that has no failed event to answer with, such as the notifier
        return _problem(500, error.kind, error.detail)
    return _problem(500, "internal-error", f"{type(error).__name__}: {error}")


def side_route(method: str, path: str) -> Response | None:
    """The answer to what is no delivery: the health probe, or a person who looks with a browser."""
    if method in ("GET", "HEAD"):
        text = "ok" if path == "/healthz" else "An Errands function: POST a CloudEvent; GET /healthz for its health."
        return Response(200, {"content-type": "text/plain; charset=utf-8"}, f"{text}\n".encode())
    if method != "POST":
        return _problem(500, "not-an-event", f"a CloudEvent comes with POST, got {method[:20]}")
    return None


def log_response(
    response: Response, event: Event | None, attempt: str | None, elapsed_s: float, error: Exception | None = None
) -> None:
    """One line an event: the job, the event, the attempt where the broker tells it, and what came of it.

    An `error` that is none of the contract's is a bug, and its traceback goes into the line.
    """
    done = response.status < 300 and response.headers.get("ce-outcome") != "failed"
    if done and not log.isEnabledFor(logging.INFO):
        return  # a flood's worker has no time for a line that nobody reads
    fields = {"status": response.status, "elapsed_ms": round(elapsed_s * 1000, 1), "attempt": attempt}
    if event is not None:
        fields |= {"job": event.get("correlationid") or event.id, "event": event.id, "type": event.type}
    said = response.headers.get("ce-type", "done" if response.status < 300 else "not done")
    if done:
        log.info("%s", said, extra=fields)
    else:
        level = LEVELS.get(response.status, logging.WARNING)
        traceback = None if isinstance(error, TryAgain | NotAnEvent | JobFailed) else error
        log.log(level, "%s: %s", said, sentence(response.body), extra=fields, exc_info=traceback)


def _reply(event: Event, result: Struct | JobFailed | None, now: datetime) -> Event | None:
    """What a handler returned or raised, as the event that is answered."""
    if isinstance(result, JobFailed):
        return reply_event(event, sibling_type(event.type, "failed"), result.problem, now=now)
    return None if result is None else reply_event(event, event_type(type(result)), result, now=now)


def _response(reply: Event | None) -> Response:
    return Response(202) if reply is None else Response(200, *binary(reply))


def require_type(event: Event, request: type[Struct]) -> None:
    """Raise NotAnEvent for an event of another type than `request`'s."""
    if event.type != event_type(request):
        raise NotAnEvent(f"this function takes {event_type(request)}, got type {event.type[:100]!r}")


def _problem(status: int, kind: str, detail: str, headers: Mapping[str, str] = MappingProxyType({})) -> Response:
    body = msgspec.json.encode(JobFailed(kind, detail).problem)
    return Response(status, {"content-type": "application/problem+json", **headers}, body)


def flask_body(request: "flask.Request") -> bytes:
    """The whole body; raise NotAnEvent when it is over the limit or does not come whole."""
    request.max_content_length = BODY_LIMIT_BYTES + 1  # a chunked body is cut there, and `read` refuses it
    try:
        body = request.get_data()
    except Exception as error:  # werkzeug's for the length, the server's own for a broken connection
        request.stream = io.BytesIO()  # functions-framework reads again after the answer, which would fail again
        raise NotAnEvent(f"the body must come whole and be at most {BODY_LIMIT_BYTES} bytes") from error
    # gunicorn gives what came before the connection broke; taken as the data it would fail the job for good
    if request.content_length is not None and len(body) < request.content_length:
        raise NotAnEvent(f"the body must come whole: {request.content_length} bytes, got {len(body)}")
    return body


@dataclass(frozen=True, slots=True)
class Body:
    """A request's body; its beginning, and the `fault`, where it did not come whole or is over the limit."""

    content: bytes
    fault: str | None = None

    def whole(self) -> bytes:
        """The content; raise NotAnEvent when it did not come whole or is over the limit."""
        if self.fault is not None:
            raise NotAnEvent(self.fault)
        return self.content


async def read_body(receive: Receive, *, limit_bytes: int = BODY_LIMIT_BYTES) -> Body:
    """What ASGI's `receive` brings."""
    chunks: list[bytes] = []
    size_bytes, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return Body(b"".join(chunks), "the body must come whole: the connection was closed")
        chunks.append(message.get("body", b""))
        size_bytes += len(chunks[-1])
        more = message.get("more_body", False)
        if size_bytes > limit_bytes:
            await _discard(receive, DISCARDED_BYTES if more else 0)
            return Body(b"".join(chunks)[:limit_bytes], f"the body must be at most {limit_bytes} bytes")
    return Body(b"".join(chunks))


async def _discard(receive: Receive, limit_bytes: int) -> None:
    """Take the rest and forget it: a client that is still sending when its connection is closed sees no answer."""
    while limit_bytes > 0:
        message = await receive()
        limit_bytes -= len(message.get("body", b""))
        if not message.get("more_body", False):
            return
