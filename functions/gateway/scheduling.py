"""Schedules as APIs and people ask for them, over HTTP: judged as a request is, kept, shown, run, paused."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from events.duration import duration_s
from events.http import STRUCTURED, Event, read, rfc3339
from events.problem import SHOWN_CHARACTERS, FieldError, JobFailed, NotAnEvent, decode
from functions.gateway.admission import Admission
from functions.gateway.cron import Cron, zone_of
from functions.gateway.ledger import rules, schedules
from functions.gateway.ledger.rules import Limit, Rules
from functions.gateway.ledger.schedules import SOURCE, Missed, Overlap, Schedule
from functions.gateway.ledger.writer import Writer
from functions.gateway.outside import Refusal
from functions.gateway.results import moment
from functions.runtime.asgi import read_body
from functions.runtime.port import Application, IngressResponse, problem
from functions.runtime.threads import in_thread
from functions.storage.database import Database, Transaction

if TYPE_CHECKING:
    from functions.gateway.http import Asked

JSON: Final = {"content-type": "application/json"}
RIGHT: Final = "schedules"
NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
BODY_LIMIT_BYTES: Final = 1024 * 1024
SHOWN_TIMES: Final = 5
JITTER_LIMIT_S: Final = 24 * 3600
OWN: Final = ("id", "source", "time", "notbefore", "delay", "debounce", "expirytime")  # the schedule says when
UNKNOWN: Final = problem(404, "unknown-schedule", "there is no such schedule here")


class ScheduleAsked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A schedule as it is asked for; `event` is a request in structured mode without id, source and time."""

    cron: str
    event: dict[str, Any]
    time_zone: str = "UTC"
    jitter: str = "PT0S"
    start: str | None = None
    end: str | None = None
    missed: Missed = "once"
    overlap: Overlap = "allow"


class ScheduleResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A schedule as it is; `next` are its next planned times, `last_job` the key of the job that it made last."""

    name: str
    api: str
    cron: str
    time_zone: str
    type: str
    missed: Missed
    overlap: Overlap
    next: list[str]
    paused_at: str | None = None
    last_at: str | None = None
    last_job: str | None = None


@dataclass(frozen=True, slots=True)
class Scheduling:
    """Answers for one ledger, to those with the right `schedules`."""

    database: Database
    writer: Writer
    admission: Admission
    rules_of: Callable[[Transaction], Rules]
    clock_ms: Callable[[], int]
    wake: Callable[[], None]

    async def put(self, asked: "Asked") -> Application:
        """Keep a schedule, in place of one of its name."""
        if not asked.caller.may(RIGHT):
            return _forbidden(asked)
        body = await read_body(asked.request.receive, limit_bytes=BODY_LIMIT_BYTES, discarded_bytes=0)
        try:
            if body.fault is not None:
                raise JobFailed("invalid-data", f"the body {body.fault}")
            made = self._made(asked, decode(body.content, ScheduleAsked))
        except JobFailed as error:
            return problem(422, error.kind, error.detail, {}, error.errors)
        if isinstance(made, Refusal):
            return made.response()
        return await self._changed(asked, lambda transaction, _: self._put(transaction, made), creates=True)

    async def all(self, asked: "Asked") -> Application:
        """All schedules."""
        if not asked.caller.may(RIGHT):
            return _forbidden(asked)
        found = await in_thread(self._read)
        return IngressResponse(200, msgspec.json.encode([self._shown(each) for each in found]), JSON)

    async def one(self, asked: "Asked") -> Application:
        """One of them."""
        if not asked.caller.may(RIGHT):
            return _forbidden(asked)
        found = [each for each in await in_thread(self._read) if each.name == asked.parts[1]]
        return IngressResponse(200, msgspec.json.encode(self._shown(found[0])), JSON) if found else UNKNOWN

    async def remove(self, asked: "Asked") -> Application:
        """Nothing more comes of it."""

        def work(transaction: Transaction, found: Schedule | None) -> None:
            if found is not None and found.overlap == "queue":
                rules.set_limit(transaction, _queue(found), None, actor=asked.caller.name, now_ms=self.clock_ms())
            schedules.remove(transaction, asked.parts[1])

        return await self._changed(asked, work)

    async def run(self, asked: "Asked") -> Application:
        """Make a job of it now."""

        def work(transaction: Transaction, found: Schedule | None) -> None:
            if found is not None:
                schedules.run(transaction, found, self.rules_of(transaction), now_ms=self.clock_ms())

        return await self._changed(asked, work)

    async def pause(self, asked: "Asked") -> Application:
        """Have no jobs made of it."""
        return await self._changed(asked, self._pausing(paused=True))

    async def resume(self, asked: "Asked") -> Application:
        """Have them made again."""
        return await self._changed(asked, self._pausing(paused=False))

    def _pausing(self, *, paused: bool) -> "Callable[[Transaction, Schedule | None], None]":
        def work(transaction: Transaction, found: Schedule | None) -> None:
            if found is not None:
                schedules.set_paused(transaction, found, paused=paused, now_ms=self.clock_ms())

        return work

    async def _changed(
        self, asked: "Asked", work: "Callable[[Transaction, Schedule | None], None]", *, creates: bool = False
    ) -> Application:
        """The schedule after a change, or 204 where it is gone."""
        if not asked.caller.may(RIGHT):
            return _forbidden(asked)
        name = asked.parts[1]
        if not NAME.fullmatch(name):
            return UNKNOWN

        def change(transaction: Transaction) -> tuple[bool, Schedule | None]:
            before = schedules.find(transaction, name)
            if before is not None or creates:
                work(transaction, before)
                what = f"schedule {asked.request.method} {asked.parts[-1]}"
                rules.record(transaction, name, what, "", actor=asked.caller.name, now_ms=self.clock_ms())
            return before is not None, schedules.find(transaction, name)

        was_there, found = await self.writer.ask(change)
        self.wake()
        if found is None:
            return IngressResponse(204) if was_there else UNKNOWN
        return IngressResponse(200, msgspec.json.encode(self._shown(found)), JSON)

    def _read(self) -> list[Schedule]:
        with self.database.transaction(writes=False) as transaction:
            return schedules.listed(transaction)

    def _put(self, transaction: Transaction, made: Schedule) -> None:
        before = schedules.find(transaction, made.name)
        if before is not None and before.paused_ms is not None:
            made = msgspec.structs.replace(made, paused_ms=before.paused_ms, next_ms=None)
        if made.overlap == "queue" or (before is not None and before.overlap == "queue"):
            limit = Limit(at_once=1) if made.overlap == "queue" else None
            rules.set_limit(transaction, _queue(made), limit, actor=made.api, now_ms=self.clock_ms())
        schedules.put(transaction, made)

    def _made(self, asked: "Asked", given: ScheduleAsked) -> Schedule | Refusal:
        """The row of what is asked for; raise JobFailed with each field that is bad."""
        name = asked.parts[1]
        if not NAME.fullmatch(name):
            raise JobFailed("unknown-name", f"a name of a to z, digits, . _ - is expected, got {name[:80]!r}")
        errors = tuple(_flaws(given))
        if errors:
            raise JobFailed("invalid-data", "; ".join(f"{each.pointer[2:]} {each.detail}" for each in errors), errors)
        event = _event(name, given.event)
        judged = self.admission.judged(event, asked.caller)
        if isinstance(judged, Refusal):
            return _within(judged)
        attributes, data = schedules.template(event)
        made = Schedule(
            name=name,
            api=asked.caller.name,
            cron=given.cron,
            time_zone=given.time_zone,
            attributes=attributes,
            data=data,
            jitter_ms=int((duration_s(given.jitter) or 0) * 1000),
            start_ms=_ms(given.start),
            end_ms=_ms(given.end),
            missed=given.missed,
            overlap=given.overlap,
        )
        times = made.times(self.clock_ms(), count=1)
        if not times:
            error = FieldError(pointer="#/cron", detail="never comes between start and end")
            raise JobFailed("invalid-data", f"cron {error.detail}", (error,))
        return msgspec.structs.replace(made, next_ms=times[0])

    def _shown(self, found: Schedule) -> ScheduleResult:
        after_ms = self.clock_ms() if found.next_ms is None else found.next_ms - 1
        return ScheduleResult(
            name=found.name,
            api=found.api,
            cron=found.cron,
            time_zone=found.time_zone,
            type=msgspec.json.decode(found.attributes)["type"],
            missed=found.missed,
            overlap=found.overlap,
            next=[moment(each) for each in found.times(after_ms, count=SHOWN_TIMES)],
            paused_at=None if found.paused_ms is None else moment(found.paused_ms),
            last_at=None if found.last_ms is None else moment(found.last_ms),
            last_job=found.last_job,
        )


def _flaws(given: ScheduleAsked) -> Iterator[FieldError]:
    zone = None
    try:
        zone = zone_of(given.time_zone)
    except ValueError as error:
        yield FieldError(pointer="#/time_zone", detail=str(error))
    try:
        Cron.parse(given.cron, zone or zone_of("UTC"))
    except ValueError as error:
        yield FieldError(pointer="#/cron", detail=str(error))
    jitter_s = duration_s(given.jitter)
    if jitter_s is None or jitter_s > JITTER_LIMIT_S:
        yield FieldError(pointer="#/jitter", detail=f"must be an ISO 8601 duration to a day, got {given.jitter[:40]!r}")
    for name, text in (("start", given.start), ("end", given.end)):
        try:
            _ms(text)
        except NotAnEvent as error:
            yield FieldError(pointer=f"#/{name}", detail=str(error))
    for name in sorted(set(OWN) & given.event.keys()):
        yield FieldError(pointer=f"#/event/{name}", detail="is the schedule's to say")
    own_key = {"skip": "uniquekey", "queue": "limitkey"}.get(given.overlap)
    if own_key in given.event:
        yield FieldError(pointer=f"#/event/{own_key}", detail=f"cannot stand beside overlap {given.overlap}")


def _event(name: str, given: Mapping[str, Any]) -> Event:
    """The request, to be judged, under an id of no job."""
    own = {"specversion": "1.0", "datacontenttype": "application/json"}
    try:
        whole = {**own, **given, "id": "schedule", "source": f"{SOURCE}{name}"}
        return read({"content-type": STRUCTURED}, msgspec.json.encode(whole))
    except NotAnEvent as error:
        raise JobFailed("invalid-data", str(error), (FieldError(pointer="#/event", detail=str(error)),)) from error


def _within(refusal: Refusal) -> Refusal:
    """With pointers into the schedule in place of its event's data."""
    place = "#/event/data" if refusal.kind == "invalid-data" else "#/event"
    errors = tuple(FieldError(pointer=f"{place}{each.pointer[1:]}", detail=each.detail) for each in refusal.errors)
    return Refusal(422 if refusal.status in (400, 404) else refusal.status, refusal.kind, refusal.detail, errors)


def _queue(schedule: Schedule) -> str:
    return f"key:schedule {schedule.name}"


def _ms(text: str | None) -> int | None:
    return None if text is None else int(rfc3339(text).timestamp() * 1000)


def _forbidden(asked: "Asked") -> IngressResponse:
    return problem(403, "forbidden", f"{asked.caller.name[:SHOWN_CHARACTERS]} may not deal with schedules")
