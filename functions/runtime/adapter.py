"""A job is a function: one event in, at most one out. This adapter is all that stands between it and HTTP.

    @function(IcsRequested)
    def handle(job: IcsRequested, event: Event) -> IcsCompleted: ...    # or async def, where it only waits

What the handler returns or raises becomes the answer that the RabbitMQ broker of Knative treats rightly:

    a struct of the contract    200 with that event
    None                        202
    JobFailed                   200 with the failed event: the API hears at once
    TryAgain                    503 with Retry-After: delivered again, at last a dead letter
    NotNow                      the same with `errands-not-now: 1`: delivered again, and no attempt is counted
    not an event                500: kept as a dead letter
    JobFailed, and the function takes events as they are (http_function)    500 with `errands-final: 1`: a dead letter
                                at once
    any other exception         500: a bug; delivered again, at last a dead letter

Never a 4xx: the broker acknowledges most of them and the event is gone (eventing-rabbitmq dispatcher.go). It knows
nothing of our two headers: to it these are a 503 and a 500, tried again as often as the Trigger says.
"""

import asyncio
import functools
import inspect
import logging
import math
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from threading import Lock, Thread
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, cast
from weakref import WeakKeyDictionary

import msgspec
from msgspec import Struct

from events.http import BODY_LIMIT_BYTES, Event, binary, read, rfc3339, timestamp
from events.job import NAMESPACE, carried, job_of, too_much
from events.problem import JobFailed, NotAnEvent, NotNow, TryAgain, decode, sentence
from events.types import event_type, sibling_type
from functions.runtime.asgi import BROKEN, Body, Receive, Scope, read_body
from functions.runtime.logs import about, tail
from functions.runtime.outcome import FINAL_HEADER, NOT_NOW_HEADER
from functions.runtime.progress import JobProgress
from functions.runtime.threads import in_thread

if TYPE_CHECKING:  # the runner imports this module, and makes no function
    import starlette.requests
    import starlette.responses

log = logging.getLogger("errands.function")

J = TypeVar("J", bound=Struct)
ATTEMPT_HEADER: Final = "errands-attempt"
TAKEN: Final = "errands.taken"  # in the scope of a request that has come to the function
RETRY_AFTER_LIMIT_S: Final = 86_400.0  # the hint may come from a source's own server, which may say anything
FAILED: Final = 500  # and beyond: what may become a dead letter
LEVELS: Final = {500: logging.ERROR}  # of an answer; a failed job and a later attempt are warnings
REPLAYED: Final = "replayed"  # on a job that was a dead letter: the sink hears by it how such a job ended


@dataclass(frozen=True, slots=True)
class Response:
    """What goes back over HTTP; each of the `cookies` in a set-cookie header of its own."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    cookies: tuple[str, ...] = ()


Target = Callable[["starlette.requests.Request"], Awaitable["starlette.responses.Response"]]  # of functions-framework
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


def side_route(method: str, path: str) -> Response | None:
    """The answer to what is no delivery: the health probe, or a person who looks with a browser."""
    if method in ("GET", "HEAD"):
        text = "ok" if path == "/healthz" else "An Errands function: POST a CloudEvent; GET /healthz for its health."
        return Response(200, {"content-type": "text/plain; charset=utf-8"}, f"{text}\n".encode())
    if method != "POST":
        return _problem(500, "not-an-event", f"a CloudEvent comes with POST, got {method[:20]}")
    return None


@dataclass(frozen=True, slots=True)
class Function:
    """What stands behind a target: functions-framework itself takes nothing but a plain function.

    `answer` is the way over HTTP. `deliver`, and for a list of events `deliver_many`, are those of a work queue's
    worker (`keda/worker/loader.py`), where a function takes events. What runs `beside` it in the server's loop, for as
    long as that is up, is of `functions.runtime.serve` alone.
    """

    answer: Callable[[Scope, Body], Awaitable[Response]]
    deliver: Callable[[Callable[[], Event], str | None], Response] | None = None
    deliver_many: Callable[[Sequence[Event]], Sequence[Response]] | None = None
    side_route: Callable[[str, str], Response | None] = side_route
    body_limit_bytes: Callable[[Scope], int] = lambda scope: BODY_LIMIT_BYTES
    beside: Callable[[], AbstractAsyncContextManager[None]] = nullcontext

    async def take(self, scope: Scope, receive: Receive) -> Response:
        """The answer to one request (ASGI 3.0, HTTP), whatever it is; the scope keeps that the function has had it."""
        scope[TAKEN] = True
        beside = self.side_route(scope["method"], scope["path"])
        if beside is not None:
            return beside
        body = await read_body(receive, limit_bytes=self.body_limit_bytes(scope))
        if BROKEN in scope:
            body = Body(body.content, body.fault or "the body must come whole: the connection was closed, or broke")
        return await self.answer(scope, body)


_made: WeakKeyDictionary[Target, Function] = WeakKeyDictionary()
_loop_starts: Final = Lock()


def target(function: Function, handler: Callable[..., Any] | None = None) -> Target:
    """The function as one of functions-framework's asynchronous side, with the `handler`'s name, or else `handle`."""
    from starlette.responses import Response as HttpResponse

    from functions.runtime.framework import aio

    async def handle(request: "starlette.requests.Request") -> HttpResponse:
        response = await function.take(request.scope, request.receive)
        sent = HttpResponse(response.body, response.status, dict(response.headers))
        for cookie in response.cookies:
            sent.headers.append("set-cookie", cookie)
        return sent

    made = cast(Target, aio.http(functools.update_wrapper(handle, handler) if handler else handle))
    _made[made] = function
    return made


def function_of(target: object) -> Function | None:
    """What stands behind a target; None where it was not made here."""
    return _made.get(target)  # type: ignore[call-overload, no-any-return]  # any object may be asked for


def is_made() -> bool:
    """Whether any target was made in this process."""
    return bool(_made)


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
        reply = reply_to(event, result, clock())
        return reply if reply is None or ledger is None else ledger.record(event, reply)

    def decorate(handler: Callable[[J, Event], Struct | Awaitable[Struct | None] | None]) -> Target:
        def respond(event: Event) -> Response:
            reply = recall(event)
            if reply is None:
                result: Any
                try:
                    result = returned(handler, request, handler(open_job(event, request, now=clock()), event))
                except JobFailed as failed:
                    result = failed
                reply = record(event, result)
            return response_of(reply)

        async def respond_waiting(event: Event) -> Response:
            reply = await asyncio.to_thread(recall, event) if ledger else None
            if reply is None:
                result: Any
                try:
                    waited = handler(open_job(event, request, now=clock()), event)
                    result = returned(handler, request, await waited)  # type: ignore[misc]  # as is asked before
                except JobFailed as failed:
                    result = failed
                reply = await asyncio.to_thread(record, event, result) if ledger else record(event, result)
            return response_of(reply)

        def accepts(event: Event) -> None:
            require_type(event, request)

        waits = inspect.iscoroutinefunction(handler)
        return target(waiting(respond_waiting, accepts) if waits else blocking(respond, accepts), handler)

    return decorate


class WrongReturn(TypeError):
    """A handler has returned what becomes no event; the message says where the handler is, and what to return."""


def returned(handler: Callable[..., object], request: type[Struct], result: Any) -> Struct | None:
    """What a handler has returned, when it is a struct of the contract, or None; raise WrongReturn otherwise."""
    if result is None:
        return None
    why = f"got a value of type {type(result).__name__}"
    if isinstance(result, Struct):
        try:
            event_type(type(result))
            return result
        except ValueError as error:
            why = str(error)
    code = inspect.unwrap(handler).__code__
    completed = request.__name__.replace("Requested", "Completed")
    where = f"{code.co_filename}:{code.co_firstlineno}: {handler.__name__}"
    raise WrongReturn(f"{where} must return a struct of the contract, such as {completed}(...), or None; {why}")


def http_function(
    respond: Callable[[Event], Response], *, accepts: Callable[[Event], None] = lambda event: None
) -> Target:
    """The target for a function that takes events as they are: `accepts` raises NotAnEvent for what it does not."""
    return target(blocking(respond, accepts))


def async_http_function(
    respond: Callable[[Event], Awaitable[Response]],
    *,
    accepts: Callable[[Event], None] = lambda event: None,
    pages: Mapping[str, Callable[[], Response]] = MappingProxyType({}),
    beside: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
) -> Target:
    """The same for a function that waits on I/O, which is done in the server's loop.

    `pages` are what it shows to GET, by their paths, beside its health; what runs `beside` it is up before it is.
    """

    def page_or_side_route(method: str, path: str) -> Response | None:
        return pages[path]() if method == "GET" and path in pages else side_route(method, path)

    return target(replace(waiting(respond, accepts), side_route=page_or_side_route, beside=beside))


def blocking(respond: Callable[[Event], Response], accepts: Callable[[Event], None] = lambda event: None) -> Function:
    """What a function is that answers an event in one of the threads (threads.py)."""

    def deliver(read_event: Callable[[], Event], attempt: str | None) -> Response:
        event, raised, started_s = None, None, time.monotonic()
        with tail() as lines:
            try:
                event = read_event()
                with about(event), JobProgress(event):
                    accepts(event)
                    response = respond(event)
            except Exception as error:  # the one place where a bug becomes an answer: 500, retried, dead-lettered
                response, raised = refusal(error), error
            log_response(response, event, attempt, time.monotonic() - started_s, raised)
        _tell(event, response, lines)
        return response

    async def answer(scope: Scope, body: Body) -> Response:
        return await in_thread(deliver, *_delivery(scope, body))

    return Function(answer, deliver=deliver)


def waiting(respond: Callable[[Event], Awaitable[Response]], accepts: Callable[[Event], None]) -> Function:
    """What a function is that answers an event in the loop."""

    async def deliver(read_event: Callable[[], Event], attempt: str | None) -> Response:
        event, raised, started_s = None, None, time.monotonic()
        with tail() as lines:
            try:
                event = read_event()
                async with JobProgress(event):
                    with about(event):
                        accepts(event)
                        response = await respond(event)
            except Exception as error:  # as above
                response, raised = refusal(error), error
            log_response(response, event, attempt, time.monotonic() - started_s, raised)
        if response.status >= FAILED and _failure_listeners:
            await asyncio.to_thread(_tell, event, response, lines)
        return response

    async def answer(scope: Scope, body: Body) -> Response:
        return await deliver(*_delivery(scope, body))

    def deliver_from_a_thread(read_event: Callable[[], Event], attempt: str | None) -> Response:
        return asyncio.run_coroutine_threadsafe(deliver(read_event, attempt), _own_loop()).result()

    return Function(answer, deliver=deliver_from_a_thread)


def _own_loop() -> asyncio.AbstractEventLoop:
    """The loop of a process that has none which serves: one for all events, as what a function keeps open is of it."""
    with _loop_starts:
        return _started_loop()


@functools.cache
def _started_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    Thread(target=loop.run_forever, name="function-loop", daemon=True).start()
    return loop


def _delivery(scope: Scope, body: Body) -> tuple[Callable[[], Event], str | None]:
    """What reads the event, and the attempt where the broker tells it."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    return lambda: read(headers, body.whole()), headers.get(ATTEMPT_HEADER)


def tell_failures(failure_listener: FailureListener) -> None:
    """From now on tell `failure_listener` of each failure before its answer goes out, which the broker discards."""
    _failure_listeners.append(failure_listener)


def _tell(event: Event | None, response: Response, lines: Sequence[str]) -> None:
    if event is not None and response.status >= FAILED:
        for each in _failure_listeners:
            each(event, response, lines)


def open_job(event: Event, request: type[J], *, now: datetime) -> J:
    """The event's data as the job it asks for; raise JobFailed when it is expired or breaks the contract."""
    require_timely(event, now=now)
    media_type = event.get("datacontenttype") or "application/json"
    if media_type.split(";")[0].strip().lower() != "application/json":
        raise JobFailed("invalid-attribute", f"datacontenttype must be application/json, got {media_type!r}")
    return decode(event.data, request)


def require_timely(event: Event, *, now: datetime) -> None:
    """Raise JobFailed for a request that is expired, or has more of its own attributes than are carried."""
    over = too_much(event)
    if over:
        raise JobFailed("invalid-attribute", over)
    expiry = event.get("expirytime")
    if expiry is not None:
        try:
            expires_at = rfc3339(expiry)
        except NotAnEvent as error:
            raise JobFailed("invalid-attribute", f"expirytime: {error}") from error
        if expires_at < now:
            raise JobFailed("expired", f"the job was worth doing until {expiry}, and it is {now:%Y-%m-%dT%H:%M:%SZ}")


def reply_event(cause: Event, type_: str, payload: Struct, *, now: datetime) -> Event:
    """The event that answers `cause`: the same cause and type give the same id, so that consumers can deduplicate.

    `jobsource` and `jobid` are the request's source and id, which together identify the job (events/job.py).
    """
    source, id_ = job_of(cause)
    job, phase = type_.split(".")[-3:-1]
    attributes = {
        "specversion": "1.0",
        "id": str(uuid.uuid5(NAMESPACE, f"{cause.source}\n{cause.id}\n{type_}")),
        "source": f"/errands/{job}",
        "type": type_,
        "time": timestamp(now),
        "datacontenttype": "application/json",
        "jobsource": source,
        "jobid": id_,
        "causationid": cause.id,
    }
    attributes |= carried(cause)
    if REPLAYED in cause.attributes:
        attributes[REPLAYED] = cause.attributes[REPLAYED]
    if phase in ("completed", "failed", "deadlettered"):
        attributes |= _to_flow(cause) if "stepof" in cause.attributes else {"outcome": phase}
    return Event(MappingProxyType(attributes), msgspec.json.encode(payload))


def _to_flow(step: Event) -> dict[str, str]:
    """What brings a step's end to its flow, and to nobody else: it has no `outcome`."""
    named = {"flow": step.attributes["stepof"]}
    return named | {name: step.attributes[name] for name in ("flowid", "step") if name in step.attributes}


def refusal(error: Exception) -> Response:
    """The answer to an event that was not dealt with; its body is the failure report that goes with a dead letter."""
    if isinstance(error, TryAgain):
        retry_after_s = str(math.ceil(min(max(0.0, error.retry_after_s), RETRY_AFTER_LIMIT_S)))
        not_now = {NOT_NOW_HEADER: "1"} if isinstance(error, NotNow) else {}
        return _problem(503, "try-again", str(error), {"retry-after": retry_after_s, **not_now})
    if isinstance(error, NotAnEvent):
        return _problem(500, "not-an-event", str(error))
    if isinstance(error, JobFailed):  # of a function that has no failed event to answer with, such as the notifier
        return _problem(500, error.kind, error.detail, {FINAL_HEADER: "1"})
    if isinstance(error, WrongReturn):
        return _problem(500, "internal-error", str(error))
    return _problem(500, "internal-error", f"{type(error).__name__}: {error}")


def log_response(
    response: Response, event: Event | None, attempt: str | None, elapsed_s: float, error: Exception | None = None
) -> None:
    """One line an event: the job, the event, the attempt where the broker tells it, and what came of it.

    An `error` that is none of the contract's is a bug, and its traceback goes into the line; a WrongReturn has its
    place in the message.
    """
    done = response.status < 300 and not is_failure(response)
    if done and not log.isEnabledFor(logging.INFO):
        return  # a flood's worker has no time for a line that nobody reads
    fields = {"status": response.status, "elapsed_ms": round(elapsed_s * 1000, 1), "attempt": attempt}
    if event is not None:
        fields |= {"job": job_of(event)[1], "event": event.id, "type": event.type}
    said = response.headers.get("ce-type", "done" if response.status < 300 else "not done")
    if done:
        log.info("%s", said, extra=fields)
    else:
        level = LEVELS.get(response.status, logging.WARNING)
        traceback = None if isinstance(error, TryAgain | NotAnEvent | JobFailed | WrongReturn) else error
        with about(event) if event else nullcontext():
            log.log(level, "%s: %s", said, sentence(response.body), extra=fields, exc_info=traceback)


def reply_to(event: Event, result: Struct | JobFailed | None, now: datetime) -> Event | None:
    """What a handler returned or raised, as the event that is answered."""
    if isinstance(result, JobFailed):
        return reply_event(event, sibling_type(event.type, "failed"), result.problem, now=now)
    return None if result is None else reply_event(event, event_type(type(result)), result, now=now)


def is_failure(response: Response) -> bool:
    """Whether the answer is a failed event."""
    return ".failed." in response.headers.get("ce-type", "")


def response_of(reply: Event | None) -> Response:
    """What brings a reply, or says that there is none."""
    return Response(202) if reply is None else Response(200, *binary(reply))


def require_type(event: Event, request: type[Struct]) -> None:
    """Raise NotAnEvent for an event of another type than `request`'s."""
    if event.type != event_type(request):
        raise NotAnEvent(f"this function takes {event_type(request)}, got type {event.type[:100]!r}")


def _problem(status: int, kind: str, detail: str, headers: Mapping[str, str] = MappingProxyType({})) -> Response:
    body = msgspec.json.encode(JobFailed(kind, detail).problem)
    return Response(status, {"content-type": "application/problem+json", **headers}, body)
