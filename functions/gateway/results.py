"""What the gateway says of jobs, over HTTP and to the console: structs that are shown as JSON."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from functions.gateway.ledger.job import Job, Progress, State


class ProgressResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far a job is, by its function's own word."""

    at: str
    percent: float | None = None
    text: str = ""

    @classmethod
    def of(cls, told: str) -> "ProgressResult":
        """From the ledger's column."""
        progress = msgspec.json.decode(told, type=Progress)
        return cls(at=moment(progress.at_ms), percent=progress.percent, text=progress.text)


class JobResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A job as it is now. `next_at` is when it is sent, or tried again; `result` the data of its last event.

    `stream` is the address of its Server-Sent Events with a ticket, for who may read it and hands that to a browser.
    `held_by` names the limit or the pause that it waits for.
    """

    job: str
    source: str
    id: str
    type: str
    api: str
    state: State
    accepted_at: str
    since: str
    subject: str | None = None
    next_at: str | None = None
    held_by: str | None = None
    sent: int = 0
    attempt: int = 0
    error: str | None = None
    progress: ProgressResult | None = None
    ended_at: str | None = None
    result: Any = None
    stream: str | None = None

    @classmethod
    def of(cls, job: Job, result: Any = None) -> "JobResult":
        """From the ledger's row, and the data of its end."""
        since_ms = job.ended_ms or (job.sent_ms if job.state == "sent" else None) or job.accepted_ms
        next_ms = job.due_ms if job.state == "waiting" else job.retry_ms
        return cls(
            job=job.key,
            source=job.source,
            id=job.event_id,
            type=job.type,
            api=job.api,
            state=job.state,
            accepted_at=moment(job.accepted_ms),
            since=moment(since_ms),
            subject=job.subject,
            next_at=moment(next_ms) if next_ms else None,
            held_by=job.held_by if job.state == "waiting" else None,
            sent=job.tries,
            attempt=job.attempt,
            error=job.error,
            progress=ProgressResult.of(job.progress) if job.progress else None,
            ended_at=moment(job.ended_ms) if job.ended_ms else None,
            result=result,
        )


class TimelineEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What befell a job at a moment."""

    at: str
    what: str
    attempt: int | None = None
    by: str | None = None
    detail: str | None = None


class JobPage(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs, the newest first; `next` is the `after` of the next page, None of the last one."""

    jobs: list[JobResult]
    next: str | None


class TypeSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The jobs of a type by their state, without those completed; `oldest_at` is the first that is open."""

    type: str
    states: dict[State, int]
    oldest_at: str | None = None


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """How many jobs were accepted, and ended how, in the span that begins `at`."""

    at: str
    accepted: int = 0
    completed: int = 0
    failed: int = 0
    other: int = 0


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """All jobs at a glance: by state and type, without those completed, and how many were accepted and ended in the
    last hour, minute by minute, and in the last day, by half hours. `other` are dead letters, lost and cancelled ones.
    """

    at: str
    states: dict[State, int]
    types: list[TypeSummary]
    hour: list[Span]
    day: list[Span]
    oldest_at: str | None = None
    oldest: str | None = None
    trouble: str | None = None


def moment(ms: int) -> str:
    """Milliseconds since 1970 as RFC 3339."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
