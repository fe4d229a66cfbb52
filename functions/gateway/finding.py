"""Looks jobs up, for who has the right to: each function is one read of the ledger."""

import hashlib
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from events.http import Event
from functions.gateway.ledger import jobs, notes, selection
from functions.gateway.ledger.job import OPEN, Job, State
from functions.gateway.ledger.selection import SpanCount, TypeCount
from functions.gateway.results import JobPage, JobResult, Span, Summary, TimelineEntry, TypeSummary, moment
from functions.storage.database import Database

PAGE_LIMIT: Final = 200
SPAN_MS: Final = 60_000
DAY_SPANS: Final = 24 * 60
HOUR_SPANS: Final = 60
MERGED: Final = 30  # minutes that are one span of the day
COUNTED: Final = ("accepted", "completed", "failed", "other")


@dataclass(frozen=True, slots=True)
class Found:
    """A job, and its last event where it has ended."""

    job: Job
    result: JobResult


@dataclass(frozen=True, slots=True)
class Following:
    """What is new of a job to who follows it: its notes with their numbers; itself as JSON, of which `mark` is made."""

    notes: tuple[tuple[int, TimelineEntry], ...]
    mark: str
    job: bytes
    has_ended: bool


def follow(database: Database, key: str, after: int) -> Following | None:
    """A job with its notes after one of them; None of one that is not known."""
    with database.transaction(writes=False) as transaction:
        job = jobs.find(transaction, key)
        if job is None:
            return None
        noted = notes.of(transaction, job.id, after=after)
        outcome = None if job.is_open else jobs.outcome(transaction, job.id)
    shown = msgspec.json.encode(JobResult.of(job, _data(outcome.data) if outcome else None))
    mark = hashlib.blake2b(shown, digest_size=8).hexdigest()
    return Following(tuple((each.id, _entry(each)) for each in noted), mark, shown, not job.is_open)


def find(database: Database, key: str) -> Found | None:
    """The job of a key as it is now."""
    with database.transaction(writes=False) as transaction:
        job = jobs.find(transaction, key)
        if job is None:
            return None
        outcome = None if job.is_open else jobs.outcome(transaction, job.id)
    return Found(job, JobResult.of(job, _data(outcome.data) if outcome else None))


def timeline(database: Database, key: str) -> list[TimelineEntry]:
    """All that befell a job, in its order; nothing of one that is not known."""
    with database.transaction(writes=False) as transaction:
        job = jobs.find(transaction, key)
        if job is None:
            return []
        noted = notes.of(transaction, job.id)
    entries = [(each.at_ms, _entry(each)) for each in noted]
    entries.append((job.accepted_ms, _own("accepted", job.accepted_ms, by=job.api or None)))
    if job.sent_ms is not None:
        entries.append((job.sent_ms, _own("sent", job.sent_ms)))
    ordered = [entry for _, entry in sorted(entries, key=lambda each: each[0])]
    return ordered if job.ended_ms is None else [*ordered, _own(job.state, job.ended_ms, detail=job.error)]


def page(database: Database, asked: selection.Filter, *, after: int | None, limit: int) -> JobPage:
    """The newest jobs that match, from after the one of this number on."""
    limit = min(max(1, limit), PAGE_LIMIT)
    with database.transaction(writes=False) as transaction:
        found = selection.page(transaction, asked, after=after, limit=limit + 1)
    more = str(found[limit - 1].id) if len(found) > limit else None
    return JobPage(jobs=[JobResult.of(each) for each in found[:limit]], next=more)


def jobs_of(database: Database, asked: selection.Filter) -> list[Job]:
    """The newest jobs that match, as many as a page has."""
    with database.transaction(writes=False) as transaction:
        return selection.page(transaction, asked, after=None, limit=PAGE_LIMIT)


def counts(database: Database) -> dict[str, int]:
    """How many jobs are in each state but `completed`, of which nobody asks for the number."""
    with database.transaction(writes=False) as transaction:
        return selection.counts(transaction)


def summary(database: Database, *, now_ms: int, trouble: str | None = None) -> Summary:
    """All jobs at a glance."""
    day_ms = now_ms - now_ms % SPAN_MS + SPAN_MS - DAY_SPANS * SPAN_MS
    with database.transaction(writes=False) as transaction:
        by_type = selection.by_type(transaction)
        counts = selection.accepted(transaction, from_ms=day_ms, span_ms=SPAN_MS)
        counts += selection.ends(transaction, from_ms=day_ms, span_ms=SPAN_MS)
        first = selection.first_open(transaction)
    states: dict[State, int] = {}
    types: dict[str, list[TypeCount]] = {}
    for each in by_type:
        states[each.state] = states.get(each.state, 0) + each.count
        types.setdefault(each.type, []).append(each)
    return Summary(
        at=moment(now_ms),
        states=states,
        types=[_type_summary(name, each) for name, each in types.items()],
        hour=_spans(counts, day_ms, first=DAY_SPANS - HOUR_SPANS, count=HOUR_SPANS, merged=1),
        day=_spans(counts, day_ms, first=0, count=DAY_SPANS // MERGED, merged=MERGED),
        oldest_at=moment(first.accepted_ms) if first else None,
        oldest=first.key if first else None,
        trouble=trouble,
    )


def _type_summary(name: str, counts: list[TypeCount]) -> TypeSummary:
    since_ms = [each.since_ms for each in counts if each.state in OPEN]
    oldest_at = moment(min(since_ms)) if since_ms else None
    return TypeSummary(type=name, states={each.state: each.count for each in counts}, oldest_at=oldest_at)


def _spans(counts: list[SpanCount], from_ms: int, *, first: int, count: int, merged: int) -> list[Span]:
    """So many spans from the first on, each made of some; what is ahead of the clock is of the last."""
    sums = [dict.fromkeys(COUNTED, 0) for _ in range(count)]
    for each in counts:
        if each.span >= first:
            named = each.what if each.what in COUNTED else "other"
            sums[min((each.span - first) // merged, count - 1)][named] += each.count
    start_ms = from_ms + first * SPAN_MS
    return [Span(at=moment(start_ms + at * merged * SPAN_MS), **each) for at, each in enumerate(sums)]


def request(database: Database, key: str) -> Event | None:
    """The event that asked for a job."""
    with database.transaction(writes=False) as transaction:
        job = jobs.find(transaction, key)
        return None if job is None else jobs.request(transaction, job.id)


def _entry(note: notes.Note) -> TimelineEntry:
    return TimelineEntry(
        at=moment(note.at_ms), what=note.kind, attempt=note.attempt, by=note.actor, detail=note.detail or None
    )


def _own(what: str, at_ms: int, *, by: str | None = None, detail: str | None = None) -> TimelineEntry:
    return TimelineEntry(at=moment(at_ms), what=what, by=by, detail=detail)


def _data(data: bytes) -> Any:
    """An event's data as it was written where it is JSON, else None."""
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return msgspec.Raw(data)
