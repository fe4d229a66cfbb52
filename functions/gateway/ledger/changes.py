"""What people do to a job: cancel it, ask for it again, have it erased; within a transaction of the caller's."""

from collections.abc import Sequence
from typing import Final

import msgspec

from events.http import Event
from functions.gateway.ledger import gates, jobs, notes, outbox
from functions.gateway.ledger.job import Job
from functions.storage.database import Transaction
from functions.storage.kept_event import packed

RETRIABLE: Final = ("failed", "deadlettered", "lost", "cancelled")
RETRIED: Final = "retried"  # on a request: the how-manieth time; what failed under another is done anew
TABLES: Final = ("job_request", "job_end", "job_note")


def cancel(
    transaction: Transaction, job: Job, reply: Event, *, actor: str, now_ms: int, waiting_only: bool = False
) -> bool:
    """End the job with this reply, which is sent to whoever waits for its outcome; False where it has ended, or with
    `waiting_only` was sent.
    """
    states = "state = 'waiting'" if waiting_only else "ended_ms IS NULL"
    changed = transaction.execute(
        "UPDATE job SET state = 'cancelled', ended_ms = ?, error = ?, due_ms = NULL, retry_ms = NULL"  # noqa: S608
        f" WHERE id = ? AND {states} RETURNING id",
        *(now_ms, f"cancelled by {actor}", job.id),
    )
    if not changed:
        return False
    gates.release(transaction, [(job.type, job.api, job.limit_key)], now_ms=now_ms)
    jobs.keep_end(transaction, job.id, reply)
    notes.add(transaction, job.id, "cancel asked", at_ms=now_ms, actor=actor)
    outbox.add(transaction, reply, job=job.id, due_ms=now_ms)
    return True


def retry(transaction: Transaction, key: str, *, actor: str, now_ms: int) -> str | None:
    """Have the job sent again, in its turn; why not where it is open, or done, or without a request."""
    job = jobs.find(transaction, key)
    request = None if job is None else jobs.request(transaction, job.id)
    if job is None or (job.state in RETRIABLE and request is None):
        return "not kept here with its request"
    if job.state not in RETRIABLE or request is None:
        return job.state
    if jobs.open_of(transaction, job.unique_key) is not None:
        return f"{job.state}, and another with its unique key is open"
    count = int(request.get(RETRIED) or "0") + 1
    request = request.with_attributes(**{RETRIED: str(count)}, **jobs.replayed(job.state))
    changed = transaction.execute(
        "UPDATE job SET state = 'waiting', let_in = 0, held_by = NULL, due_ms = ?, sent_ms = NULL,"
        " retry_ms = NULL, ended_ms = NULL, tries = 0,"
        " attempt = 0, error = NULL, progress = NULL WHERE id = ? AND state = ? RETURNING id",
        *(now_ms, job.id, job.state),
    )
    if not changed:  # another gateway was asked as well
        return "waiting"
    transaction.execute("UPDATE job_request SET attributes = ? WHERE job_id = ?", packed(request)[0], job.id)
    transaction.execute("DELETE FROM job_end WHERE job_id = ?", job.id)
    notes.add(transaction, job.id, "asked again", at_ms=now_ms, actor=actor, detail=f"it was {job.state}")
    return None


def erase(transaction: Transaction, ids: Sequence[int]) -> None:
    """Forget ended jobs: their rows, requests, ends and notes."""
    rows = [(each,) for each in ids]
    for table in TABLES:
        transaction.execute_many(f"DELETE FROM {table} WHERE job_id = ?", rows)  # noqa: S608  # our own
    transaction.execute_many("DELETE FROM outbox WHERE job_id = ?", rows)
    transaction.execute_many("DELETE FROM job WHERE id = ? AND ended_ms IS NOT NULL", rows)


def audit(transaction: Transaction, keys: Sequence[str], *, actor: str, now_ms: int) -> None:
    """Keep who had which jobs erased, and when; of the jobs nothing but their keys."""
    transaction.execute_many(
        "INSERT INTO erasure (at_ms, actor, job) VALUES (?, ?, ?)", [(now_ms, actor, each) for each in keys]
    )


def ended_before(transaction: Transaction, before_ms: int, *, limit: int) -> list[Job]:
    """The jobs that ended first, before this moment."""
    found = transaction.execute(
        f"SELECT {jobs.SELECTED} FROM job WHERE ended_ms < ? ORDER BY ended_ms LIMIT ?",  # noqa: S608  # our own columns
        *(before_ms, limit),
    )
    return msgspec.convert(found, list[Job])
