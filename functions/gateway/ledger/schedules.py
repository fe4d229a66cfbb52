"""Schedules in the ledger: rows with the moment at which each makes its next job, within a transaction of the caller's.

A job's id is made of the schedule's name and the planned time, so that what is made twice is one job.
"""

import logging
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import islice, takewhile
from types import MappingProxyType
from typing import Final, Literal

import msgspec

from events.http import Event, timestamp
from events.job import NAMESPACE
from functions.gateway.cron import Cron, zone_of
from functions.gateway.ledger import jobs
from functions.gateway.ledger.job import Accepted, NewJob, fingerprint, key_of
from functions.gateway.ledger.rules import Rules
from functions.gateway.timing import PRIORITIES, unique_key
from functions.storage.database import Database, Transaction
from functions.storage.kept_event import packed, unpacked

log = logging.getLogger("errands.gateway")

Missed = Literal["skip", "once", "all"]
Overlap = Literal["skip", "queue", "allow"]
SOURCE: Final = "/errands/schedules/"
GRACE_MS: Final = 60_000  # what is later than that was missed
MISSED_COUNT: Final = 100  # made up for at the most
FIRED_COUNT: Final = 50  # in one transaction


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """A row. Without `next_ms` nothing more comes of it, or it is paused."""

    name: str
    api: str
    cron: str
    time_zone: str
    attributes: bytes
    data: bytes
    jitter_ms: int
    start_ms: int | None
    end_ms: int | None
    missed: Missed
    overlap: Overlap
    paused_ms: int | None = None
    next_ms: int | None = None
    last_ms: int | None = None
    last_job: str | None = None

    def times(self, after_ms: int, *, count: int) -> list[int]:
        """Its next planned times after a moment, within its start and its end."""
        cron = Cron.parse(self.cron, zone_of(self.time_zone))
        after_ms = max(after_ms, (self.start_ms or 0) - 1)
        found = (int(each.timestamp() * 1000) for each in cron.after(datetime.fromtimestamp(after_ms / 1000, UTC)))
        return list(islice(takewhile(lambda each: self.end_ms is None or each <= self.end_ms, found), count))

    def due(self, now_ms: int) -> list[int]:
        """Its planned times from the next one on that have passed, and for which a job is made: the oldest first."""
        if self.next_ms is None:
            return []
        cron = Cron.parse(self.cron, zone_of(self.time_zone))
        last_ms = now_ms if self.end_ms is None else min(now_ms, self.end_ms)
        found = (int(each.timestamp() * 1000) for each in cron.until(datetime.fromtimestamp(last_ms / 1000, UTC)))
        first_ms = self.next_ms
        passed = list(islice(takewhile(lambda each: each >= first_ms, found), MISSED_COUNT))
        if self.missed == "skip":
            passed = [each for each in passed if now_ms - each <= GRACE_MS]
        return sorted(passed if self.missed == "all" else passed[:1])

    def job(self, planned_ms: int, now_ms: int, *, mark: str = "") -> NewJob:
        """The job of a planned time, some of its jitter later, or of now with a `mark`."""
        planned = timestamp(datetime.fromtimestamp(planned_ms / 1000, UTC))
        id_ = str(uuid.uuid5(NAMESPACE, f"{self.name}\n{planned}{mark}"))
        event = unpacked(bytes(self.attributes), bytes(self.data)).with_attributes(
            source=f"{SOURCE}{self.name}", id=id_, time=planned
        )
        at_ms = planned_ms + (uuid.UUID(id_).int % (self.jitter_ms + 1) if not mark else 0)
        own = f"schedule {self.name}"
        return NewJob(
            key=key_of(event.source, id_),
            event=event,
            api=self.api,
            fingerprint=fingerprint(event),
            accepted_ms=now_ms,
            due_ms=max(at_ms, now_ms),
            not_before_ms=at_ms if at_ms > now_ms else None,
            priority=PRIORITIES.get(event.get("priority") or "normal", 0),
            limit_key=own if self.overlap == "queue" else event.get("limitkey"),
            unique_key=unique_key(self.api, event, own if self.overlap == "skip" else event.get("uniquekey")),
        )


COLUMNS: Final = Schedule.__struct_fields__
SELECTED: Final = ", ".join(COLUMNS)


def put(transaction: Transaction, schedule: Schedule) -> None:
    """Keep it as it is now; one of this name before is no more."""
    values = [getattr(schedule, each) for each in COLUMNS]
    changed = ", ".join(f"{each} = excluded.{each}" for each in COLUMNS[1:] if not each.startswith("last"))
    transaction.execute(
        f"INSERT INTO schedule ({SELECTED}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608  # our own columns
        f" ON CONFLICT (name) DO UPDATE SET {changed}",
        *values,
    )


def find(transaction: Transaction, name: str) -> Schedule | None:
    """The one of a name."""
    found = transaction.execute(f"SELECT {SELECTED} FROM schedule WHERE name = ?", name)  # noqa: S608  # our own columns
    return msgspec.convert(found[0], Schedule) if found else None


def listed(transaction: Transaction) -> list[Schedule]:
    """All, by their names."""
    query = f"SELECT {SELECTED} FROM schedule ORDER BY name"  # noqa: S608  # our own columns
    return msgspec.convert(transaction.execute(query), list[Schedule])


def remove(transaction: Transaction, name: str) -> None:
    """Nothing more comes of it; its jobs go on."""
    transaction.execute("DELETE FROM schedule WHERE name = ?", name)


def set_paused(transaction: Transaction, schedule: Schedule, *, paused: bool, now_ms: int) -> None:
    """Have no jobs made, or have them made again from now on: what was planned meanwhile is none that was missed."""
    next_ms = None if paused else next(iter(schedule.times(now_ms, count=1)), None)
    transaction.execute(
        "UPDATE schedule SET paused_ms = ?, next_ms = ? WHERE name = ?",
        *(now_ms if paused else None, next_ms, schedule.name),
    )


def fire(database: Database, transaction: Transaction, rules: Rules, *, now_ms: int) -> None:
    """Make the jobs of all that is due: rows like others, which are let in in their turn."""
    query = f"SELECT {SELECTED} FROM schedule WHERE next_ms <= ? ORDER BY next_ms LIMIT ?{database.skip_locked}"  # noqa: S608
    for each in msgspec.convert(transaction.execute(query, now_ms, FIRED_COUNT), list[Schedule]):
        try:
            made = [each.job(planned_ms, now_ms) for planned_ms in each.due(now_ms)]
            next_ms = next(iter(each.times(now_ms, count=1)), None)
        except ValueError:  # a zone that is gone: the jobs of all others are not to wait for it
            log.exception("schedule %s makes no more jobs", each.name)
            made, next_ms = [], None
        keys = [_made(transaction, job, rules) for job in made]
        transaction.execute(
            "UPDATE schedule SET next_ms = ?, last_ms = COALESCE(?, last_ms), last_job = COALESCE(?, last_job)"
            " WHERE name = ?",
            *(next_ms, now_ms if keys else None, _last(keys), each.name),
        )


def run(transaction: Transaction, schedule: Schedule, rules: Rules, *, now_ms: int) -> str:
    """Make a job now, beside those that are planned; its key, or that of the one before, which is still open."""
    return _made(transaction, schedule.job(now_ms, now_ms, mark="\nrun"), rules)


def _made(transaction: Transaction, job: NewJob, rules: Rules) -> str:
    (done,) = jobs.accept(transaction, [job], rules)
    return done.key if isinstance(done, Accepted) else job.key


def _last(keys: Sequence[str]) -> str | None:
    return keys[-1] if keys else None


def next_due_ms(transaction: Transaction) -> int | None:
    """When one makes a job next."""
    found = transaction.execute("SELECT next_ms FROM schedule WHERE next_ms IS NOT NULL ORDER BY next_ms LIMIT 1")
    return int(found[0]["next_ms"]) if found else None


def template(event: Event) -> tuple[bytes, bytes]:
    """What is kept of the event that a schedule sends."""
    kept = {name: value for name, value in event.attributes.items() if name not in ("id", "source", "time")}
    return packed(Event(MappingProxyType(kept), event.data))
