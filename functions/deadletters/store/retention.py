"""How long dead letters stay: by age and by count, and never one that is unresolved unless that is told so."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from events.http import Event, timestamp
from functions.deadletters.store.dead_letter import job_key
from functions.deadletters.store.history import UNDO_WINDOW
from functions.storage.database import Database, Transaction

BATCH: Final = 1_000  # in one transaction, so that the sink need not wait for long
# A dead letter that is no request was dealt with when it was sent again: no outcome follows.
RESOLVED: Final = "(state IN ('completed', 'failed', 'discarded') OR (state = 'replayed' AND is_request = 0))"
EVERY: Final = "1 = 1"


@dataclass(frozen=True, kw_only=True)
class Retention:
    """`days` after it was closed (unresolved: after it last came) a dead letter goes; of more than `count` the oldest
    go.
    """

    days: float = 90.0
    count: int = 1_000_000
    unresolved_too: bool = False


def prune(database: Database, limits: Retention, *, now: datetime) -> int:
    """Forget what is past its limits, a bounded number in each transaction; returns how many dead letters went."""
    gone = 0
    while True:
        with database.transaction() as transaction:
            numbers = _past(transaction, limits, now)
            for each in numbers:
                _forget(transaction, each)
        gone += len(numbers)
        if len(numbers) < BATCH:
            break
    with database.transaction() as transaction:
        _forget_the_rest(transaction, timestamp(now - timedelta(days=limits.days)))
    return gone


def _past(transaction: Transaction, limits: Retention, now: datetime) -> list[int]:
    """Dead letters that may go, the oldest first; what was discarded can be taken back for a while, and stays so
    long.
    """
    may_go = EVERY if limits.unresolved_too else RESOLVED
    undone, old = timestamp(now - UNDO_WINDOW), timestamp(now - timedelta(days=limits.days))
    aged = (
        f"SELECT id FROM dead_letter WHERE {may_go} AND coalesce(closed_at, last_seen) < ?"  # noqa: S608  # constants
        " AND coalesce(closed_at, '') < ? ORDER BY id LIMIT ?"
    )
    found = [row["id"] for row in transaction.execute(aged, old, undone, BATCH)]
    if found:
        return found
    excess = transaction.execute("SELECT count(*) AS n FROM dead_letter")[0]["n"] - limits.count
    if excess <= 0:
        return []
    oldest = f"SELECT id FROM dead_letter WHERE {may_go} AND coalesce(closed_at, '') < ? ORDER BY id LIMIT ?"  # noqa: S608
    return [row["id"] for row in transaction.execute(oldest, undone, min(excess, BATCH))]


def erase(transaction: Transaction, event: Event) -> None:
    """Forget the dead letters of the event's job whatever their state, and what is still to be told of them."""
    query = "SELECT id FROM dead_letter WHERE job_key = ? OR replay_key = ?"
    for row in transaction.execute(query, job_key(event), job_key(event)):
        transaction.execute("DELETE FROM dead_notice WHERE letter_id = ?", row["id"])
        transaction.execute("DELETE FROM dead_replay_item WHERE letter_id = ?", row["id"])
        _forget(transaction, row["id"])


def _forget(transaction: Transaction, dead_letter: int) -> None:
    transaction.execute("DELETE FROM dead_body WHERE letter_id = ?", dead_letter)
    transaction.execute("DELETE FROM dead_action WHERE letter_id = ?", dead_letter)
    transaction.execute("DELETE FROM dead_letter WHERE id = ?", dead_letter)


def _forget_the_rest(transaction: Transaction, before: str) -> None:
    """Old replays, and what old actions say of dead letters that are gone; resolved groups that are empty."""
    old = "SELECT id FROM dead_replay WHERE state <> 'running' AND at < ?"
    transaction.execute(f"DELETE FROM dead_replay_item WHERE replay_id IN ({old})", before)  # noqa: S608  # a constant
    transaction.execute("DELETE FROM dead_replay WHERE state <> 'running' AND at < ?", before)
    transaction.execute("DELETE FROM dead_action WHERE letter_id IS NULL AND at < ?", before)
    empty = "NOT EXISTS (SELECT 1 FROM dead_letter WHERE group_id = dead_group.id) AND note = '' AND owner = ''"
    transaction.execute(f"DELETE FROM dead_group WHERE first_seen < ? AND {empty}", before)  # noqa: S608  # a constant
