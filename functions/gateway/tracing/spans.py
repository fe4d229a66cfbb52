"""What befell a job as the spans of one trace (OpenTelemetry), made of what the ledger has of it.

Their ids are computed of the job's key, so that spans that are sent twice are the same ones. A job whose request
brought a `traceparent` is a part of that trace (W3C Trace Context), where its sender wants to have it recorded.
"""

import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, Literal

from events.http import Event
from events.job import NAMESPACE
from functions.gateway.ledger.job import Job
from functions.gateway.ledger.notes import Note

ATTEMPT: Final = "attempt failed"
CALLBACK: Final = "callback failed"
AGAIN: Final = "asked again"
FAULTS: Final = ("failed", "deadlettered", "lost")
ANSWERED: Final = ("completed", "failed")  # by an attempt that was the last
SAMPLED: Final = 1  # W3C Trace Context 3.2.2.5.1
_TRACEPARENT: Final = re.compile("00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")

Kind = Literal["internal", "client", "consumer"]
Value = str | int


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """Something at a moment of a span."""

    name: str
    at_ms: int
    attributes: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Something that took its time; `fault` says why it failed, and a trace's first has an empty `parent`."""

    trace: bytes
    id: bytes
    parent: bytes
    state: str  # W3C's tracestate
    name: str
    kind: Kind
    start_ms: int
    end_ms: int
    attributes: Mapping[str, Value]
    events: tuple[SpanEvent, ...] = ()
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Traced:
    """An ended job, its notes in their order, and an event of it, for the caller's `traceparent`."""

    job: Job
    notes: Sequence[Note]
    event: Event

    @property
    def round(self) -> Sequence[Note]:
        """The notes since the job was last asked for."""
        begins = [number for number, each in enumerate(self.notes) if each.kind == AGAIN]
        return self.notes[begins[-1] :] if begins else self.notes

    @property
    def number(self) -> int:
        """How often the job was asked for again."""
        return sum(each.kind == AGAIN for each in self.notes)

    @property
    def begun_ms(self) -> int:
        """When the job was asked for, the last time that it was."""
        first = next(iter(self.round), None)
        return first.at_ms if first and first.kind == AGAIN else self.job.accepted_ms

    @property
    def sent_ms(self) -> int | None:
        """When it was first sent; None where that is no longer known, since it was sent again."""
        return self.job.sent_ms if self.job.tries <= 1 else None


def spans(traced: Traced) -> list[Span]:
    """All spans of a job: itself, its wait, its attempts, its callbacks that failed. None where nobody wants them."""
    make = _maker(traced)
    if make is None or traced.job.ended_ms is None:
        return []
    return [_whole(traced, make), *_waiting(traced, make), *_attempts(traced, make), *_callbacks(traced, make)]


def callbacks(traced: Traced, notes: set[int]) -> list[Span]:
    """Those of the callbacks which failed, and were noted by these numbers."""
    make = _maker(traced)
    if make is None or traced.job.ended_ms is None:
        return []
    made = zip(_of(traced, CALLBACK), _callbacks(traced, make), strict=True)
    return [span for note, span in made if note.id in notes]


_Make = Callable[..., Span]


def _maker(traced: Traced) -> _Make | None:
    """What makes the trace's spans; None where the sender of the request does not have its trace recorded."""
    key, job = traced.job.key, traced.job
    given = _TRACEPARENT.fullmatch(traced.event.get("traceparent") or "")
    if given is not None and not int(given[3], 16) & SAMPLED:
        return None
    trace = bytes.fromhex(given[1]) if given else _uuid(f"trace {key}")
    before = bytes.fromhex(given[2]) if given else b""
    state = (traced.event.get("tracestate") or "") if given else ""
    root = _span_id(f"{key} {traced.number} {job.state}")  # replayed, a dead letter ends another way

    def make(name: str, what: str, start_ms: int, end_ms: int, **more: object) -> Span:
        is_root = what == "job"
        made = {"attributes": {}, "kind": "internal", **more}
        return Span(
            trace=trace,
            id=root if is_root else _span_id(f"{key} {traced.number} {what}"),
            parent=before if is_root else root,
            state=state,
            name=name,
            start_ms=start_ms,
            end_ms=max(start_ms, end_ms),
            **made,  # type: ignore[arg-type]  # fields of it
        )

    return make


def _whole(traced: Traced, make: _Make) -> Span:
    job = traced.job
    attributes: dict[str, Value] = {
        "cloudevents.event_id": job.event_id,
        "cloudevents.event_source": job.source,
        "cloudevents.event_type": job.type,
        **({"cloudevents.event_subject": job.subject} if job.subject else {}),
        "errands.job": job.key,
        "errands.state": job.state,
        "errands.api": job.api,
        "errands.sent": job.tries,
    }
    return make(
        f"job {job.type}",
        "job",
        traced.begun_ms,
        job.ended_ms,
        kind="consumer",
        attributes=attributes,
        events=tuple(sorted(_moments(traced), key=lambda each: each.at_ms)),
        fault=(job.error or job.state) if job.state in FAULTS else None,
    )


def _moments(traced: Traced) -> Iterator[SpanEvent]:
    """What befell the job and took no time."""
    yield SpanEvent("accepted", traced.begun_ms)
    if traced.sent_ms is not None:
        yield SpanEvent("sent", traced.sent_ms)
    for each in traced.round:
        if each.kind not in (ATTEMPT, CALLBACK):
            told = {"errands.by": each.actor or "", "errands.detail": each.detail}
            yield SpanEvent(each.kind, each.at_ms, {name: value for name, value in told.items() if value})
    yield SpanEvent("ended", traced.job.ended_ms or traced.begun_ms, {"errands.state": traced.job.state})


def _waiting(traced: Traced, make: _Make) -> Iterator[Span]:
    """Until the broker had it, or it was cancelled before that."""
    job = traced.job
    if job.tries > 1:
        return
    until_ms = traced.sent_ms or (job.ended_ms if job.tries == 0 else None)
    if until_ms is not None:
        yield make("waiting", "waiting", traced.begun_ms, until_ms)


def _attempts(traced: Traced, make: _Make) -> Iterator[Span]:
    """Each from when it could begin: a queue's wait is a part of it, which no broker tells."""
    failed = _of(traced, ATTEMPT)
    start_ms = traced.sent_ms or traced.begun_ms
    for number, note in enumerate(failed, 1):
        yield make("attempt", f"attempt {number}", start_ms, note.at_ms, **_failure(note, number), kind="consumer")
        start_ms = max(note.at_ms, note.next_ms or 0)
    if traced.job.state in ANSWERED and traced.job.ended_ms is not None:
        number = len(failed) + 1
        attributes = {"errands.attempt": number}
        end_ms = traced.job.ended_ms
        yield make(
            "attempt", f"attempt {number}", min(start_ms, end_ms), end_ms, attributes=attributes, kind="consumer"
        )


def _callbacks(traced: Traced, make: _Make) -> Iterator[Span]:
    failed = _of(traced, CALLBACK)
    starts_ms = [traced.job.ended_ms or 0, *(max(one.at_ms, one.next_ms or 0) for one, _ in pairwise(failed))]
    for number, (note, start_ms) in enumerate(zip(failed, starts_ms, strict=False), 1):
        yield make(
            "callback",
            f"callback {number}",
            min(start_ms, note.at_ms),
            note.at_ms,
            **_failure(note, number),
            kind="client",
        )


def _failure(note: Note, number: int) -> dict[str, object]:
    by = {"errands.function": note.actor} if note.actor else {}
    return {"attributes": {"errands.attempt": note.attempt or number, **by}, "fault": note.detail or note.kind}


def _of(traced: Traced, kind: str) -> list[Note]:
    return [each for each in traced.round if each.kind == kind]


def _uuid(name: str) -> bytes:
    return uuid.uuid5(NAMESPACE, name).bytes


def _span_id(name: str) -> bytes:
    return _uuid(f"span {name}")[:8]
