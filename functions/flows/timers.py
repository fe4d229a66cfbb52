"""Timers: rows that fall due. A step has one at most; what fires it is the engine's."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from events.http import rfc3339, timestamp
from functions.storage.database import Transaction


@dataclass(frozen=True, slots=True)
class Timer:
    """When a step of a flow ends by itself."""

    flow_id: str
    step: int
    due_at: datetime


def write(transaction: Transaction, timers: Sequence[Timer]) -> None:
    """Have them fall due."""
    rows = [(each.flow_id, each.step, timestamp(each.due_at)) for each in timers]
    transaction.execute_many("INSERT INTO flow_timer (flow_id, step, due_at) VALUES (?, ?, ?)", rows)


def due(transaction: Transaction, *, now: datetime, limit: int = 100) -> list[Timer]:
    """Those that have fallen due, the oldest first."""
    query = "SELECT flow_id, step, due_at FROM flow_timer WHERE due_at <= ? ORDER BY due_at LIMIT ?"
    rows = transaction.execute(query, timestamp(now), limit)
    return [Timer(row["flow_id"], row["step"], rfc3339(row["due_at"])) for row in rows]


def of_flow(transaction: Transaction, flow_id: str) -> dict[int, datetime]:
    """When each step of a flow falls due."""
    query = "SELECT step, due_at FROM flow_timer WHERE flow_id = ?"
    return {row["step"]: rfc3339(row["due_at"]) for row in transaction.execute(query, flow_id)}


def remove(transaction: Transaction, flow_id: str, step: int | None = None) -> bool:
    """Take a step's timer away, or all those of a flow; whether there was one."""
    query = "DELETE FROM flow_timer WHERE flow_id = ?"
    if step is None:
        return bool(transaction.execute(f"{query} RETURNING step", flow_id))
    return bool(transaction.execute(f"{query} AND step = ? RETURNING step", flow_id, step))


def next_due(transaction: Transaction) -> datetime | None:
    """When the first falls due; None where there is none."""
    found = transaction.execute("SELECT min(due_at) AS due_at FROM flow_timer")[0]["due_at"]
    return None if found is None else rfc3339(found)
