"""What befell a job, beside what its row tells: attempts that failed, progress, what people did.

A job that went well has none: when it was accepted, sent and ended stands in its row.
"""

from typing import Final

import msgspec

from functions.storage.database import Transaction

DETAIL_CHARACTERS: Final = 4_000
PROGRESS: Final = "progress"


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """One of them."""

    id: int
    at_ms: int
    kind: str
    attempt: int | None
    actor: str | None
    detail: str
    next_ms: int | None = None  # when it was to be tried again, where it was


def add(
    transaction: Transaction,
    job: int,
    kind: str,
    *,
    at_ms: int,
    attempt: int | None = None,
    actor: str | None = None,
    detail: str = "",
    next_ms: int | None = None,
) -> int:
    """Note it; its number."""
    found = transaction.execute(
        "INSERT INTO job_note (job_id, at_ms, kind, attempt, actor, detail, next_ms) VALUES (?, ?, ?, ?, ?, ?, ?)"
        " RETURNING id",
        *(job, at_ms, kind, attempt, actor, detail[:DETAIL_CHARACTERS].replace("\x00", ""), next_ms),
    )
    return int(found[0]["id"])


def replace_progress(transaction: Transaction, job: int, *, at_ms: int, actor: str | None, detail: str) -> None:
    """Note how far the job is, in place of how far it was, where nothing else befell it meanwhile: a long job says so
    thousands of times.
    """
    transaction.execute(
        "DELETE FROM job_note WHERE kind = ? AND id = (SELECT max(id) FROM job_note WHERE job_id = ?)", PROGRESS, job
    )
    add(transaction, job, PROGRESS, at_ms=at_ms, actor=actor, detail=detail)


def of(transaction: Transaction, job: int, *, after: int = 0) -> list[Note]:
    """A job's notes in their order, those after one of them."""
    found = transaction.execute(
        "SELECT id, at_ms, kind, attempt, actor, detail, next_ms FROM job_note WHERE job_id = ? AND id > ? ORDER BY id",
        *(job, after),
    )
    return msgspec.convert(found, list[Note])
