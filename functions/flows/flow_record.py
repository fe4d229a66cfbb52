"""A flow's own row: who asked for it, where it stands, and what it waits for."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import uuid5

from events.history import Answer, Progress
from events.http import Event, rfc3339, timestamp
from events.job import NAMESPACE
from functions.flows.kept_event import packed, unpacked
from functions.storage.database import Row, Transaction

OPEN: Final = ("running", "held")


@dataclass(frozen=True, slots=True)
class Numbers:
    """Numbers of steps. Thousands in a row are one pair, and a short text: `3-1002,1005`."""

    runs: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, numbers: Iterable[int]) -> "Numbers":
        """These numbers."""
        runs: list[tuple[int, int]] = []
        for each in sorted(numbers):
            if runs and runs[-1][1] == each - 1:
                runs[-1] = (runs[-1][0], each)
            else:
                runs.append((each, each))
        return cls(tuple(runs))

    @classmethod
    def parse(cls, text: str) -> "Numbers":
        """Those that were written as a text."""
        parts = [each.partition("-") for each in text.split(",")] if text else []
        return cls(tuple((int(start), int(end or start)) for start, _, end in parts))

    def __contains__(self, number: int) -> bool:
        return any(start <= number <= end for start, end in self.runs)

    def __str__(self) -> str:
        return ",".join(f"{start}-{end}" if end > start else str(start) for start, end in self.runs)


@dataclass(slots=True)
class FlowRecord:
    """A row, locked for its transaction; `save` writes what has changed."""

    id: str
    name: str
    version: int
    parent: str | None
    depth: int
    state: str
    reason: str
    request: Event
    data: bytes
    accepted_at: datetime
    started_at: datetime
    ended_at: datetime | None
    ending: Event | None
    first: int
    news: int
    waits: Numbers
    needed: int
    cancelled: int | None
    progress: Progress | None

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self.state in OPEN

    def answer(self, kind: Any, data: bytes, *, now: datetime) -> Answer:
        """The end of one of its steps, as the next thing that happens."""
        return Answer(self.next_position(), now, kind, data)

    def next_position(self) -> int:
        """That of the next thing that happens."""
        self.news += 1
        return self.news


def flow_id(source: str, id_: str) -> str:
    """The id of the flow that a request began, by its source and id."""
    return str(uuid5(NAMESPACE, f"flow\n{source}\n{id_}"))


def create(
    transaction: Transaction, request: Event, *, name: str, version: int, parent: str | None, depth: int, now: datetime
) -> FlowRecord | None:
    """The row of a flow that begins; None where it has begun before."""
    id_ = flow_id(request.source, request.id)
    columns = "id, name, version, type, source, job_id, subject, parent, depth, request, data, accepted_at, started_at"
    at = timestamp(now)
    values = (
        *(id_, name, version, request.type, request.source, request.id, request.get("subject"), parent, depth),
        *(packed(request), request.data, at, at),
    )
    marks = ", ".join("?" * len(values))
    query = f"INSERT INTO flow ({columns}) VALUES ({marks}) ON CONFLICT (id) DO NOTHING RETURNING *"  # noqa: S608  # ours
    return next(map(_record, transaction.execute(query, *values)), None)


def lock(transaction: Transaction, id_: str) -> FlowRecord | None:
    """The flow, which no other transaction changes before this one's end."""
    rows = transaction.execute("UPDATE flow SET locked = locked + 1 WHERE id = ? RETURNING *", id_)
    return next(map(_record, rows), None)


def find(transaction: Transaction, id_: str) -> FlowRecord | None:
    """The flow as it stands."""
    return next(map(_record, transaction.execute("SELECT * FROM flow WHERE id = ?", id_)), None)


def named(transaction: Transaction, name: str) -> list[FlowRecord]:
    """The flow with this id, or those whose request has it: sources may have the same."""
    return list(map(_record, transaction.execute("SELECT * FROM flow WHERE id = ? OR job_id = ?", name, name)))


def newest(transaction: Transaction, *, states: tuple[str, ...], name: str | None, limit: int) -> list[FlowRecord]:
    """Flows in one of the states, the newest first."""
    marks = ", ".join("?" * len(states))
    named = "" if name is None else "AND name = ?"
    query = f"SELECT * FROM flow WHERE state IN ({marks}) {named} ORDER BY accepted_at DESC, id LIMIT ?"  # noqa: S608  # ours
    return list(map(_record, transaction.execute(query, *states, *([] if name is None else [name]), limit)))


def open_ids(transaction: Transaction) -> list[str]:
    """Of all flows that have not ended."""
    query = "SELECT id FROM flow WHERE state IN ('running', 'held') ORDER BY accepted_at"
    return [row["id"] for row in transaction.execute(query)]


def save(transaction: Transaction, flow: FlowRecord) -> None:
    """Write what changes in the life of a flow."""
    columns: dict[str, Any] = {
        "request": packed(flow.request),
        "version": flow.version,
        "state": flow.state,
        "reason": flow.reason,
        "data": flow.data,
        "started_at": timestamp(flow.started_at),
        "ended_at": None if flow.ended_at is None else timestamp(flow.ended_at),
        "ending": None if flow.ending is None else packed(flow.ending),
        "first": flow.first,
        "news": flow.news,
        "waits": str(flow.waits),
        "needed": flow.needed,
        "cancelled": flow.cancelled,
        "percent": None if flow.progress is None else flow.progress.percent,
        "progress": "" if flow.progress is None else flow.progress.text,
    }
    assigned = ", ".join(f"{each} = ?" for each in columns)
    transaction.execute(f"UPDATE flow SET {assigned} WHERE id = ?", *columns.values(), flow.id)  # noqa: S608  # ours


def remove_ended(transaction: Transaction, *, before: datetime, limit: int = 1_000) -> int:
    """Forget flows that ended before a moment, with all that was theirs; how many there were."""
    query = "SELECT id FROM flow WHERE ended_at < ? ORDER BY ended_at LIMIT ?"
    ids = [(row["id"],) for row in transaction.execute(query, timestamp(before), limit)]
    for table in ("flow_step", "flow_signal", "flow_timer"):
        transaction.execute_many(f"DELETE FROM {table} WHERE flow_id = ?", ids)  # noqa: S608  # ours
    transaction.execute_many("DELETE FROM flow WHERE id = ?", ids)
    transaction.execute("DELETE FROM flow_early WHERE at < ?", timestamp(before))
    return len(ids)


def _record(row: Row) -> FlowRecord:
    return FlowRecord(
        id=row["id"],
        name=row["name"],
        version=row["version"],
        parent=row["parent"],
        depth=row["depth"],
        state=row["state"],
        reason=row["reason"],
        request=unpacked(row["request"]),
        data=bytes(row["data"]),
        accepted_at=rfc3339(row["accepted_at"]),
        started_at=rfc3339(row["started_at"]),
        ended_at=None if row["ended_at"] is None else rfc3339(row["ended_at"]),
        ending=None if row["ending"] is None else unpacked(row["ending"]),
        first=row["first"],
        news=row["news"],
        waits=Numbers.parse(row["waits"]),
        needed=row["needed"],
        cancelled=row["cancelled"],
        progress=None if row["percent"] is None else Progress(row["percent"], row["progress"]),
    )
