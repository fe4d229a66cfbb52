"""A job by the hundred: the adapter for a handler that takes a list of events and answers for each.

    @batch(TelemetryRequested)
    def handle(jobs: Sequence[Job[TelemetryRequested]]) -> Sequence[Outcome]: ...

A handler returns one outcome for each job, in their order: a struct of the contract, None, or (returned, not raised)
a JobFailed or TryAgain. A TryAgain that it raises is for all of the list. After anything else that it raises it is
called for each job by itself, so that a bad one spoils nothing but itself. Jobs that break the contract or are expired
do not reach it.

The target is an ordinary one, to which HTTP brings lists of one. The `deliver_many` of its `Function` is for the worker
of the work queue (`keda/worker/worker.py`).
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Generic, TypeVar

from msgspec import Struct

from events.http import Event
from events.problem import JobFailed, NotAnEvent, TryAgain
from functions.runtime.adapter import (
    Response,
    Target,
    blocking,
    is_failure,
    open_job,
    refusal,
    reply_to,
    require_type,
    response_of,
    system_clock,
    target,
)
from functions.runtime.logs import about

log = logging.getLogger("errands.function")

J = TypeVar("J", bound=Struct)
Outcome = Struct | JobFailed | TryAgain | None


@dataclass(frozen=True, slots=True)
class Job(Generic[J]):
    """One job of a list, with the event that asks for it."""

    job: J
    event: Event


def batch(
    request: type[J], *, clock: Callable[[], datetime] = system_clock
) -> Callable[[Callable[[Sequence[Job[J]]], Sequence[Outcome]]], Target]:
    """Turn a handler of lists of `request` jobs into a target."""

    def decorate(handler: Callable[[Sequence[Job[J]]], Sequence[Outcome]]) -> Target:
        def deliver_many(events: Sequence[Event]) -> list[Response]:
            started_s, now = time.monotonic(), clock()
            responses = _responses(events, request, handler, now)
            _log(responses, time.monotonic() - started_s)
            return responses

        def respond(event: Event) -> Response:
            return _responses([event], request, handler, clock())[0]

        return target(replace(blocking(respond), deliver_many=deliver_many), handler)

    return decorate


def _responses(
    events: Sequence[Event], request: type[J], handler: Callable[[Sequence[Job[J]]], Sequence[Outcome]], now: datetime
) -> list[Response]:
    opened = [_open(event, request, now) for event in events]
    jobs = [each for each in opened if isinstance(each, Job)]
    outcomes = iter(_outcomes(jobs, handler))
    return [
        _response(event, next(outcomes) if isinstance(each, Job) else each, now)
        for event, each in zip(events, opened, strict=True)
    ]


def _open(event: Event, request: type[J], now: datetime) -> Job[J] | JobFailed | NotAnEvent:
    try:
        require_type(event, request)
        return Job(open_job(event, request, now=now), event)
    except (JobFailed, NotAnEvent) as error:
        return error


def _outcomes(
    jobs: Sequence[Job[J]], handler: Callable[[Sequence[Job[J]]], Sequence[Outcome]]
) -> Sequence[Outcome | Exception]:
    if not jobs:
        return ()
    try:
        outcomes = handler(jobs)
        if len(outcomes) != len(jobs):
            raise TypeError(f"a batch handler must return an outcome for each of {len(jobs)} jobs, got {len(outcomes)}")
        return outcomes
    except Exception as error:  # as in functions.runtime.adapter: where a bug becomes an answer
        if len(jobs) > 1 and not isinstance(error, TryAgain):
            return [outcome for job in jobs for outcome in _outcomes([job], handler)]
        if not isinstance(error, JobFailed | TryAgain):
            with about(jobs[0].event):
                log.exception("the handler has a bug", extra={"event": jobs[0].event.id})
        return [error] * len(jobs)


def _response(event: Event, outcome: Outcome | Exception, now: datetime) -> Response:
    if isinstance(outcome, Exception) and not isinstance(outcome, JobFailed):
        return refusal(outcome)
    return response_of(reply_to(event, outcome, now))


def _log(responses: Sequence[Response], elapsed_s: float) -> None:
    """One line a list, since a line an event would cost more than the event."""
    again = sum(response.status >= 300 for response in responses)
    failed = sum(is_failure(response) for response in responses)
    fields = {"count": len(responses), "failed": failed, "again": again, "elapsed_ms": round(elapsed_s * 1000, 1)}
    level = logging.WARNING if failed or again else logging.INFO
    log.log(level, "a batch of %d", len(responses), extra=fields)
