"""Groups: dead letters of one kind with one cause, and what people say of them."""

from datetime import datetime
from typing import Final

from events.http import Event, timestamp
from functions.deadletters.service.codes import explain
from functions.deadletters.service.results import Group
from functions.deadletters.store import history
from functions.deadletters.store.dead_letter import Failure, fingerprint, job_name, kind
from functions.storage.database import Row, Transaction

# The error is one dead letter's own, so that a person reads a sentence and no pattern.
GROUPS: Final = (
    "SELECT g.*, c.open, c.total, c.first_arrival, c.last_arrival,"
    " (SELECT l.error FROM dead_letter l WHERE l.id = c.latest) AS error FROM dead_group g JOIN ("
    "SELECT group_id, count(*) AS total, min(first_seen) AS first_arrival, max(last_seen) AS last_arrival,"
    " max(id) AS latest, sum(CASE WHEN state IN ('open', 'quarantined') THEN 1 ELSE 0 END) AS open"
    " FROM dead_letter {where} GROUP BY group_id) c ON c.group_id = g.id"
)


def place(transaction: Transaction, event: Event, why: Failure, *, now: datetime) -> int:
    """The number of the group that a dead letter belongs to; a new one, or one that was resolved and is back."""
    key = fingerprint(event, why)
    found = transaction.execute("SELECT id, state FROM dead_group WHERE fingerprint = ?", key)
    if not found:
        found = _create(transaction, key, event, why, now)
    group = int(found[0]["id"])
    if found[0]["state"] == "resolved":
        query = (
            "UPDATE dead_group SET state = 'open', came_back_at = ?, alerted = 0 WHERE id = ? AND state = 'resolved'"
        )
        transaction.execute(query, timestamp(now), group)
        history.record(transaction, "came back", history.BROKER, now=now, group=group)
    return group


def _create(transaction: Transaction, key: str, event: Event, why: Failure, now: datetime) -> list[Row]:
    return transaction.execute(
        "INSERT INTO dead_group (fingerprint, type, job, code, trigger_name, destination, pattern, first_seen)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (fingerprint) DO UPDATE SET fingerprint = excluded.fingerprint"
        " RETURNING id, state",
        key,
        event.type,
        job_name(event.type),
        why.code,
        why.trigger,
        why.destination,
        why.pattern,
        timestamp(now),
    )


def find(transaction: Transaction, id_: int) -> Group | None:
    """One group, or None."""
    rows = transaction.execute(GROUPS.format(where="WHERE group_id = ?"), id_)
    return _group(rows[0]) if rows else None


def listed(transaction: Transaction, state: str, limit: int) -> tuple[Group, ...]:
    """The groups of a state, of all, or those with dead letters waiting."""
    wanted = {"waiting": "c.open > 0", "all": "1 = 1"}.get(state, "g.state = ?")
    values = () if state in ("waiting", "all") else (state,)
    query = f"{GROUPS.format(where='')} WHERE {wanted} ORDER BY c.open DESC, g.id DESC LIMIT ?"
    return tuple(_group(row) for row in transaction.execute(query, *values, limit))


def change(transaction: Transaction, id_: int, column: str, value: str) -> bool:
    """Set a group's state, note or owner; returns whether there is such a group."""
    if column not in ("state", "note", "owner"):
        raise ValueError(f"column must be state, note or owner, got {column!r}")
    query = f"UPDATE dead_group SET {column} = ? WHERE id = ? RETURNING id"  # noqa: S608  # one of three
    if not transaction.execute(query, value, id_):
        return False
    if column == "state":
        transaction.execute("UPDATE dead_group SET came_back_at = NULL WHERE id = ?", id_)
    return True


def _group(row: Row) -> Group:
    same = ("id", "state", "job", "type", "code", "destination", "note", "owner", "came_back_at")
    of_kind = kind(row["type"], row["destination"])
    return Group(
        kind=of_kind,
        explanation=explain(row["code"], of_kind),
        trigger=row["trigger_name"],
        error=row["error"],
        open=int(row["open"]),
        total=int(row["total"]),
        first_seen=row["first_arrival"],
        last_seen=row["last_arrival"],
        **{name: row[name] for name in same},
    )
