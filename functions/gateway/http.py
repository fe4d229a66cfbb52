"""The front door over HTTP: events in on `POST /`, and what APIs and people ask of their jobs.

An ASGI application. Each operation stands in one table, which the OpenAPI document is tested against.
"""

import asyncio
import hmac
import math
import re
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import msgspec

from events.http import BATCH, STRUCTURED, Event, read, read_batch, structured
from events.problem import JobFailed, NotAnEvent, TryAgain, decode
from functions.gateway import finding
from functions.gateway.artifacts import PLACE, artifact
from functions.gateway.behind import CONSOLE, Behind, is_of_a_console
from functions.gateway.callers import ALL, Caller, Callers
from functions.gateway.files import LIMIT_BYTES, NAME, Files
from functions.gateway.finding import Found
from functions.gateway.gateway import Gateway, clock_ms
from functions.gateway.ledger import jobs
from functions.gateway.ledger.job import STATES, Accepted, Job, key_of
from functions.gateway.ledger.selection import Filter
from functions.gateway.links import Links
from functions.gateway.openapi import document
from functions.gateway.outside import Refusal, named
from functions.gateway.replies import TooLate
from functions.gateway.results import JobResult, Summary
from functions.gateway.signals import Said, completion_said, signal_said
from functions.gateway.stream import stream
from functions.gateway.tickets import Tickets
from functions.runtime.adapter import system_clock
from functions.runtime.asgi import Receive, Send, read_body
from functions.runtime.guesses import Guesses
from functions.runtime.notes import NOTED, JobNote
from functions.runtime.port import (
    Application,
    IngressRequest,
    IngressResponse,
    TooLarge,
    event_body,
    media_type,
    problem,
)
from functions.runtime.proxies import TrustedProxies
from functions.runtime.threads import in_thread
from functions.storage.database import StorageUnavailable

JSON: Final = {"content-type": "application/json"}
PLAIN: Final = {"content-type": "text/plain; charset=utf-8"}
LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
NOBODY: Final = Caller("", frozenset())
WAIT_LIMIT_S: Final = 60.0
PAGE_COUNT: Final = 50
COUNTED_S: Final = 2.0
COUNTED_TIMES: Final = 20
ACTOR: Final = "errands-actor"  # for whom somebody acts who may do everything anyway
FILES_AT_ONCE: Final = 3  # each is in memory
UNKNOWN_JOB: Final = problem(404, "unknown-job", "there is no such job here, or none that you may see")

Answering = Callable[["Asked"], Awaitable[Application]]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request whose sender is known; `parts` are those of its path, `query` the last value of each name."""

    request: IngressRequest
    caller: Caller
    parts: tuple[str, ...]
    query: dict[str, str]


@dataclass(frozen=True, slots=True)
class Operation:
    """What is done at a path, of which `{...}` stands for any part."""

    method: str
    path: str
    answering: Answering
    is_open: bool = False  # to anybody, also without a token

    def is_at(self, parts: tuple[str, ...]) -> bool:
        """Whether a path is this one's."""
        own = _parts(self.path)
        return len(own) == len(parts) and all(
            mine == given or (mine.startswith("{") and given) for mine, given in zip(own, parts, strict=True)
        )

    @property
    def is_fixed(self) -> bool:
        """Whether it has one path alone."""
        return "{" not in self.path


class FrontDoor:
    """Answers for a gateway, to those callers that are known."""

    def __init__(
        self,
        gateway: Gateway,
        callers: Callers,
        tickets: Tickets,
        *,
        public_url: str = "",
        store: Path | None = None,
        behind: Behind | None = None,
        proxies: TrustedProxies | None = None,
        files: Files | None = None,
        links: Links | None = None,
        notes_token: str = "",
    ) -> None:
        """Results are served of a `store` that is a folder; of any other its own addresses are told. Functions tell by
        the `notes_token` how far they are.
        """
        self._gateway = gateway
        self._store = store
        self._behind = behind
        self._callers = callers
        self._tickets = tickets
        self._public_url = public_url.rstrip("/")
        self._proxies = proxies or TrustedProxies()
        self._guesses = Guesses()
        self._files = files
        self._files_at_once = 0
        self._links = links
        self._notes_token = notes_token
        self._counting = asyncio.Lock()
        self._counted: tuple[float, bytes] | None = None
        self.operations = (
            Operation("POST", "/", self._accept),
            Operation("POST", "/notes", self._note, is_open=True),
            Operation("GET", "/", self._greet, is_open=True),
            Operation("GET", "/healthz", self._healthz, is_open=True),
            Operation("GET", "/readyz", self._readyz, is_open=True),
            Operation("GET", "/metrics", self._metrics),
            Operation("GET", "/artifacts/jobs/{job}/{content}/{name}", self._artifact, is_open=True),
            Operation("GET", "/openapi.json", self._openapi, is_open=True),
            Operation("PUT", "/files/{name}", self._keep_file),
            Operation("GET", "/summary", self._summary),
            Operation("POST", "/files", self._keep_file),
            Operation("GET", "/jobs", self._jobs),
            Operation("GET", "/jobs/{key}", self._job),
            Operation("DELETE", "/jobs", self._erase_all),
            Operation("DELETE", "/jobs/{key}", self._erase),
            Operation("GET", "/jobs/{key}/request", self._request),
            Operation("GET", "/jobs/{key}/timeline", self._timeline),
            Operation("GET", "/jobs/{key}/stream", self._stream, is_open=True),
            Operation("POST", "/jobs/{key}/cancel", self._cancel),
            Operation("POST", "/jobs/{key}/retry", self._retry),
            Operation("POST", "/jobs/{key}/signal/{name}", self._signal),
            Operation("POST", "/jobs/{key}/complete", self._complete),
            Operation("GET", "/schedules", gateway.scheduling.all),
            Operation("PUT", "/schedules/{name}", gateway.scheduling.put),
            Operation("GET", "/schedules/{name}", gateway.scheduling.one),
            Operation("DELETE", "/schedules/{name}", gateway.scheduling.remove),
            Operation("POST", "/schedules/{name}/run", gateway.scheduling.run),
            Operation("POST", "/schedules/{name}/pause", gateway.scheduling.pause),
            Operation("POST", "/schedules/{name}/resume", gateway.scheduling.resume),
            Operation("GET", "/admission", gateway.ruling.show),
            Operation("PUT", "/limits/{name}", gateway.ruling.set_limit),
            Operation("DELETE", "/limits/{name}", gateway.ruling.remove_limit),
            Operation("PUT", "/pauses/{name}", gateway.ruling.pause),
            Operation("DELETE", "/pauses/{name}", gateway.ruling.resume),
        )
        self._fixed: dict[str, list[Operation]] = {}
        for each in self.operations:
            if each.is_fixed:
                self._fixed.setdefault(each.path, []).append(each)

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """One request (ASGI 3.0, HTTP)."""
        reply = await self._reply(IngressRequest(scope, receive))
        await reply(scope, receive, send)

    async def _reply(self, request: IngressRequest) -> Application:
        if self._callers.anybody is not None and _host(request.headers.get("host", "")) not in LOOPBACK:
            # a web page whose name was made to lead here (DNS rebinding) could send events by its reader's browser
            return problem(421, "misdirected", f"this gateway answers to {', '.join(LOOPBACK)} only")
        if self._behind is not None and is_of_a_console(request.path):
            return await self._behind.console(request)
        parts = _parts(request.path)
        at_path = self._fixed.get(request.path) or [each for each in self.operations if each.is_at(parts)]
        method = "GET" if request.method == "HEAD" else request.method
        operation = next((each for each in at_path if each.method == method), None)
        caller = self._callers.of(request.headers.get("authorization", ""))
        if caller is None and not (operation is not None and operation.is_open):
            return await self._guesses.refuse(self._proxies.client(request))
        if operation is None:
            return _not_allowed(request, at_path) if at_path else _not_found(request)
        query = {name: values[-1] for name, values in parse_qs(request.query).items()} if request.query else {}
        try:
            return await operation.answering(Asked(request, caller or NOBODY, parts, query))
        except StorageUnavailable as error:
            return problem(503, "unavailable", f"the ledger cannot be read now: {error}", {"retry-after": "5"})

    async def _accept(self, asked: Asked) -> Application:
        request = asked.request
        try:
            if request.query:
                raise NotAnEvent("POST / is expected without a query")
            body = await event_body(request)
            if media_type(request) == BATCH:
                return await self._accept_batch(read_batch(request.headers, body), asked.caller)
            event: Event | NotAnEvent = read(request.headers, body)
        except NotAnEvent as error:
            event = error
        (done,) = await self._gateway.accept([event], asked.caller)
        return self._taken(done)

    def _taken(self, done: Accepted | Refusal) -> IngressResponse:
        if isinstance(done, Refusal):
            return done.response()
        headers = {**JSON, "location": f"/jobs/{done.key}"}
        return IngressResponse(_status(done), msgspec.json.encode(self._told(done)), headers)

    async def _accept_batch(self, events: list[Event | NotAnEvent], caller: Caller) -> Application:
        """One result for each event, in the batch's order: some may be accepted where others are not."""
        done = await self._gateway.accept(events, caller)
        results = [self._result(event, each) for event, each in zip(events, done, strict=True)]
        return IngressResponse(200, msgspec.json.encode(results), JSON)

    def _result(self, event: Event | NotAnEvent, done: Accepted | Refusal) -> dict[str, object]:
        known = None if isinstance(event, NotAnEvent) else event
        if isinstance(done, Refusal):
            return done.result(known)
        return {**named(known), "status": _status(done), **self._told(done)}

    def _told(self, done: Accepted) -> dict[str, str]:
        return {"job": done.key, "state": done.state, "stream": self._stream_url(done.key)}

    def _stream_url(self, key: str) -> str:
        ticket = self._tickets.issue(key, now_s=int(time.time()))
        return f"{self._public_url}/jobs/{key}/stream?ticket={ticket}"

    async def _note(self, asked: Asked) -> Application:
        """How far a job is, of the function that works on it: they have one token, which is good for nothing else."""
        request = asked.request
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not self._notes_token or not hmac.compare_digest(given.encode(), self._notes_token.encode()):
            return await self._guesses.refuse(self._proxies.client(request))
        try:
            event = read(request.headers, await event_body(request))
            note = decode(event.data, JobNote)
        except (NotAnEvent, JobFailed) as error:
            return problem(400, "bad-request", str(error))
        if event.type != NOTED or note.kind != "progress":
            return problem(400, "bad-request", f"a {NOTED} of the kind progress is expected")
        await self._gateway.noted(event, note)
        return IngressResponse(202)

    async def _greet(self, asked: Asked) -> Application:
        """A person who looks with a browser is led to the console."""
        if self._behind is not None and "text/html" in asked.request.headers.get("accept", ""):
            return IngressResponse(303, b"", {"location": CONSOLE})
        greeting = b"The gateway of Errands: POST a CloudEvent; GET /jobs for what became of it.\n"
        return IngressResponse(200, greeting, PLAIN)

    async def _healthz(self, _asked: Asked) -> Application:
        return IngressResponse(200, b"ok\n", PLAIN)

    async def _readyz(self, asked: Asked) -> Application:
        ready = IngressResponse(200, b"ready\n", PLAIN)
        return ready if self._behind is None else await self._behind.runner(asked.request)

    async def _metrics(self, asked: Asked) -> Application:
        """The gateway's own; on one machine after the runner's."""
        own = (await self._gateway.measured()).encode()
        if self._behind is None:
            return IngressResponse(200, own, PLAIN)
        told = await self._behind.runner(asked.request)
        return replace(told, body=told.body + own) if told.status == 200 else told

    async def _artifact(self, asked: Asked) -> Application:
        return artifact(self._store, asked.request.path.removeprefix(PLACE))

    async def _openapi(self, _asked: Asked) -> Application:
        return IngressResponse(200, document(), JSON)

    async def _keep_file(self, asked: Asked) -> Application:
        """Keep a file for the jobs that will name it; few at a time, since each is in memory."""
        if not asked.caller.may("files"):
            return problem(403, "forbidden", f"{asked.caller.name} may not hand over files")
        if self._files is None:
            return problem(404, "not-found", "no store is configured here")
        name = asked.parts[1] if len(asked.parts) > 1 else asked.query.get("name", "")
        if not NAME.fullmatch(name):
            return problem(400, "bad-request", "a name of letters, digits, . _ - and blanks is expected, 100 at most")
        if self._files_at_once >= FILES_AT_ONCE:
            return problem(503, "busy", "other files are being handed over", {"retry-after": "2"})
        self._files_at_once += 1
        try:
            return await _kept(self._files, name, asked)
        finally:
            self._files_at_once -= 1

    async def _jobs(self, asked: Asked) -> Application:
        """The job of a source and an id; or else those that match."""
        source, id_ = asked.query.get("source"), asked.query.get("id")
        if source and id_:
            key = key_of(source, id_)
            if "wait_s" in asked.query:
                return await self._outcome(asked, key)
            return await self._shown(await self._found(asked.caller, key))
        if source or "wait_s" in asked.query:
            return problem(400, "bad-request", "the query source=...&id=... of the request event is expected")
        return await self._page(asked)

    async def _page(self, asked: Asked) -> Application:
        query = asked.query
        state, after, limit = query.get("state"), query.get("after"), query.get("limit", str(PAGE_COUNT))
        if state is not None and state not in STATES:
            return problem(400, "bad-request", f"state must be one of {', '.join(STATES)}, got {state[:40]!r}")
        if not all(re.fullmatch("[0-9]{1,18}", each) for each in (limit, after or "0")):
            return problem(400, "bad-request", "after must be the next of a page, and limit a number")
        api = asked.caller.name if asked.caller.sees_own_only else query.get("api")
        asked_for = Filter(
            state=state, type=query.get("type"), subject=query.get("subject"), id=query.get("id"), api=api
        )
        if not asked.caller.may("read", api):
            return problem(403, "forbidden", f"{asked.caller.name} may not read jobs")
        number = None if after is None else int(after)
        found = await in_thread(_page, self._gateway.database, asked_for, number, int(limit))
        return IngressResponse(200, msgspec.json.encode(found), JSON)

    async def _job(self, asked: Asked) -> Application:
        return await self._shown(await self._found(asked.caller, asked.parts[1]))

    async def _shown(self, found: Found | None) -> Application:
        """The job, its results and its stream with addresses that are valid now."""
        if found is None:
            return UNKNOWN_JOB
        try:
            renewed = await in_thread(self._renewed, found)
        except TryAgain as error:
            return problem(503, "unavailable", str(error), {"retry-after": "5"})
        shown = msgspec.structs.replace(renewed, stream=self._stream_url(found.job.key))
        return IngressResponse(200, msgspec.json.encode(shown), JSON)

    def _renewed(self, found: Found) -> JobResult:
        return found.result if self._links is None else self._links.renewed(found.result, now=system_clock())

    async def _request(self, asked: Asked) -> Application:
        """What was asked for, as it came."""
        found = await self._found(asked.caller, asked.parts[1])
        event = None if found is None else await in_thread(finding.request, self._gateway.database, found.job.key)
        if event is None:
            return UNKNOWN_JOB
        return IngressResponse(200, structured(event), {"content-type": STRUCTURED})

    async def _summary(self, asked: Asked) -> Application:
        """All jobs at a glance; counted anew after twenty times as long as that took, and two seconds at least."""
        if not asked.caller.may("read"):
            return problem(403, "forbidden", f"{asked.caller.name} may not read all jobs")
        async with self._counting:
            began_s = time.monotonic()
            if self._counted is None or began_s > self._counted[0]:
                found = await in_thread(_summed, self._gateway.database, self._gateway.trouble)
                took_s = time.monotonic() - began_s
                self._counted = began_s + max(COUNTED_S, COUNTED_TIMES * took_s), msgspec.json.encode(found)
            return IngressResponse(200, self._counted[1], JSON)

    async def _timeline(self, asked: Asked) -> Application:
        found = await self._found(asked.caller, asked.parts[1])
        if found is None:
            return UNKNOWN_JOB
        entries = await in_thread(finding.timeline, self._gateway.database, found.job.key)
        return IngressResponse(200, msgspec.json.encode(entries), JSON)

    async def _cancel(self, asked: Asked) -> Application:
        return await self._changed(asked, self._gateway.cancel)

    async def _retry(self, asked: Asked) -> Application:
        return await self._changed(asked, self._gateway.retry)

    async def _signal(self, asked: Asked) -> Application:
        """Say something to a flow; the body is what, in JSON. `id` names the signal: the same again is said once."""
        return await self._said(asked, partial(signal_said, asked.parts[3]), asked.query.get("id") or str(uuid.uuid4()))

    async def _complete(self, asked: Asked) -> Application:
        """Tell the end of a step that was answered 202: the step is a flow's, and the flow that of the job."""
        return await self._said(asked, completion_said, None)

    async def _said(self, asked: Asked, read: Callable[[bytes], Said], id_: str | None) -> Application:
        """What became of a signal, for who may change the flow."""
        found = await in_thread(finding.find, self._gateway.database, asked.parts[1])
        refused = _no_change(found, asked.caller)
        if found is None or refused is not None:
            return refused or UNKNOWN_JOB
        try:
            said = read(await event_body(asked.request))
            done = await self._gateway.signal(found.job, said, asked.caller.name, id_=id_ or said.of_step)
        except NotAnEvent as error:
            return problem(413 if isinstance(error, TooLarge) else 400, "bad-request", str(error))
        except JobFailed as error:
            return problem(422, error.kind, error.detail, errors=error.errors)
        except TooLate as error:
            return problem(409, "too-late", f"the job is {error}")
        return self._taken(done)

    async def _changed(self, asked: Asked, change: Callable[[Job, str], Awaitable[None]]) -> Application:
        """The job as it is after a change, for who may change it."""
        found = await in_thread(finding.find, self._gateway.database, asked.parts[1])
        refused = _no_change(found, asked.caller)
        if found is None or refused is not None:
            return refused or UNKNOWN_JOB
        try:
            await change(found.job, _actor(asked))
        except TooLate as error:
            return problem(409, "too-late", f"the job is {error}")
        except TryAgain as error:
            return problem(503, "unavailable", str(error), {"retry-after": "5"})
        changed = await in_thread(finding.find, self._gateway.database, asked.parts[1])
        if changed is None:
            return UNKNOWN_JOB
        return IngressResponse(202, msgspec.json.encode(changed.result), JSON)

    async def _erase(self, asked: Asked) -> Application:
        """Remove all that is kept of an ended job."""
        found = await in_thread(finding.find, self._gateway.database, asked.parts[1])
        refused = _no_change(found, asked.caller)
        if found is None or refused is not None:
            return refused or UNKNOWN_JOB
        if found.job.is_open:
            return problem(409, "too-early", f"the job is {found.job.state}: cancel it first")
        return await self._erased([found.job], _actor(asked)) or IngressResponse(204)

    async def _erase_all(self, asked: Asked) -> Application:
        """Remove all that is kept of the ended jobs of a subject, as many as a page has; how many, and whether more."""
        subject = asked.query.get("subject")
        if not subject:
            return problem(400, "bad-request", "the query subject=... is expected")
        api = None if asked.caller.may("cancel") else asked.caller.name
        if not asked.caller.may("cancel", api):
            return problem(403, "forbidden", f"{asked.caller.name} may not erase jobs")
        wanted = Filter(subject=subject, api=api, ended=True)
        found = await in_thread(finding.jobs_of, self._gateway.database, wanted)
        refused = await self._erased(found, _actor(asked))
        more = len(found) == finding.PAGE_LIMIT
        return refused or IngressResponse(200, msgspec.json.encode({"erased": len(found), "more": more}), JSON)

    async def _erased(self, found: list[Job], actor: str) -> IngressResponse | None:
        try:
            await self._gateway.erase(found, actor)
        except TryAgain as error:
            return problem(503, "unavailable", str(error), {"retry-after": "5"})
        return None

    async def _stream(self, asked: Asked) -> Application:
        """What befalls the job, as it does: for who may read it, or has a ticket for it."""
        key = asked.parts[1]
        if not self._tickets.admits(asked.query.get("ticket", ""), key, now_s=int(time.time())):
            if not asked.caller.name:
                return await self._guesses.refuse(self._proxies.client(asked.request))
            if await self._found(asked.caller, key) is None:
                return UNKNOWN_JOB
        return await stream(
            self._gateway.database, self._gateway.waiters, key, asked.request.headers.get("last-event-id", "")
        )

    async def _found(self, caller: Caller, key: str) -> Found | None:
        """The job, where there is one that the caller may see."""
        found = await in_thread(finding.find, self._gateway.database, key)
        return found if found is not None and caller.may("read", found.job.api) else None

    async def _outcome(self, asked: Asked, key: str) -> Application:
        """The job's last event in structured mode, within `wait_s` (at most 60) seconds; 204 where it has not ended."""
        try:
            end_s = time.monotonic() + _seconds(asked.query["wait_s"])
        except ValueError as error:
            return problem(400, "bad-request", f"wait_s {error}")
        while True:
            befalls = self._gateway.waiters.of(key)
            found = await self._found(asked.caller, key)
            if found is not None and not found.job.is_open:
                befalls.cancel()
                return await self._last_event(found)
            left_s = end_s - time.monotonic()
            if left_s <= 0 or not (await asyncio.wait([befalls], timeout=left_s))[0]:
                befalls.cancel()
                return UNKNOWN_JOB if found is None else IngressResponse(204)

    async def _last_event(self, found: Found) -> Application:
        event = await in_thread(_outcome, self._gateway.database, found.job.id)
        if event is None:
            return IngressResponse(204)
        return IngressResponse(200, structured(event), {"content-type": STRUCTURED})


async def _kept(files: Files, name: str, asked: Asked) -> Application:
    body = await read_body(asked.request.receive, limit_bytes=LIMIT_BYTES, discarded_bytes=0)
    if body.fault is not None:
        return problem(413 if len(body.content) >= LIMIT_BYTES else 400, "not-whole", body.fault)
    try:
        stored = await in_thread(files.keep, name, body.content)
    except TryAgain as error:
        return problem(503, "unavailable", str(error), {"retry-after": "5"})
    return IngressResponse(201, msgspec.json.encode(stored), JSON)


def _no_change(found: Found | None, caller: Caller) -> IngressResponse | None:
    """Why somebody may not change a job; None where he may."""
    if found is None or not (caller.may("read", found.job.api) or caller.may("cancel", found.job.api)):
        return UNKNOWN_JOB
    if not caller.may("cancel", found.job.api):
        return problem(403, "forbidden", f"{caller.name} may not change this job")
    return None


def _actor(asked: Asked) -> str:
    """Who does it: the API, or the operator whom a console names that may do everything itself."""
    named = asked.request.headers.get(ACTOR, "")
    if asked.caller.rights >= ALL and re.fullmatch(r"[!-~]{1,100}", named):
        return f"{named} by {asked.caller.name}"
    return asked.caller.name


def _summed(database: Any, trouble: str | None) -> Summary:
    return finding.summary(database, now_ms=clock_ms(), trouble=trouble)


def _page(database: Any, asked: Filter, after: int | None, limit: int) -> Any:
    return finding.page(database, asked, after=after, limit=limit)


def _outcome(database: Any, id_: int) -> Event | None:
    with database.transaction(writes=False) as transaction:
        return jobs.outcome(transaction, id_)


def _parts(path: str) -> tuple[str, ...]:
    return tuple(path.removeprefix("/").split("/"))


def _status(done: Accepted) -> int:
    return 200 if done.joined else 202


def _seconds(text: str) -> float:
    """A time to wait, cut to the limit; raise ValueError."""
    seconds = float(text) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) else math.nan
    if math.isnan(seconds):
        raise ValueError(f"must be a number of seconds, 0 or more, got {text[:20]!r}")
    return min(seconds, WAIT_LIMIT_S)


def _host(header: str) -> str | None:
    """The name in a Host header; None for one that is none."""
    try:
        return urlsplit(f"//{header}").hostname
    except ValueError:
        return None


def _not_found(request: IngressRequest) -> IngressResponse:
    return problem(404, "not-found", f"there is nothing at {request.path[:200]}")


def _not_allowed(request: IngressRequest, at_path: list[Operation]) -> IngressResponse:
    allowed = ", ".join(each.method for each in at_path)
    detail = f"{allowed} is expected, got {request.method[:20]}"
    return problem(405, "not-allowed", detail, {"allow": allowed})
