"""The file of the embedded broker: its tables, and what its thread does with them.

A finished delivery is deleted with its commit; an event goes with its last delivery.

2026-11-27: outcomes stand in the order in which they came. Clustered by their key, which is random, each touched a page
of its own, more of them the more there were: 35 us of processor time an outcome over 100,000, against 21.
"""

import sqlite3
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import msgspec

from events.http import Event
from events.job import is_request
from knative.local.broker.broker import BrokerUnavailable, Delivery

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS event (
    seq INTEGER PRIMARY KEY, attributes BLOB NOT NULL, data BLOB NOT NULL, remaining INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS delivery (
    queue TEXT NOT NULL, due_at REAL NOT NULL, seq INTEGER NOT NULL, attempt INTEGER NOT NULL,
    PRIMARY KEY (queue, due_at, seq)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outcome (
    source TEXT NOT NULL, id TEXT NOT NULL, finished_at REAL NOT NULL, attributes BLOB NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (source, id)
);
CREATE INDEX IF NOT EXISTS outcome_finished_at ON outcome (finished_at);
"""

ROWS: Final = (64, 16, 4, 1)  # of one statement
SMALL_BYTES: Final = 65_536  # SQLite copies what it is given: larger data comes by itself

Work = Callable[[sqlite3.Connection], Any]
Values = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A delivery with the place where it stands in its queue; `alone` when its event has no other."""

    delivery: Delivery
    due_at: float
    alone: bool


@dataclass(frozen=True, slots=True)
class New:
    """An event on its way into its queues."""

    event: Event
    queues: Sequence[str]
    seq: int


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of an event: `new` is kept and due `now`, `done` forgotten.

    `ended`, where it is a job's last event, is remembered as such; of the job that `begun` asks for, a dead letter is
    forgotten: it is replayed, and whoever waits for it waits for its new end.
    """

    now: float
    new: New | None = None
    done: Row | None = None
    ended: Event | None = None
    begun: Event | None = None


@dataclass(frozen=True, slots=True)
class Statement:
    """About any number of rows."""

    text: str
    row: str
    between: str = ", "

    def run(self, db: sqlite3.Connection, rows: Sequence[Values]) -> None:
        """Execute it for all of them."""
        start = 0
        while start < len(rows):
            count = next(each for each in ROWS if each <= len(rows) - start)
            db.execute(_text(self, count), [value for row in rows[start : start + count] for value in row])
            start += count


KEEP_EVENT: Final = Statement("INSERT INTO event VALUES {}", "(?, ?, ?, ?)")
KEEP_DELIVERY: Final = Statement("INSERT INTO delivery VALUES {}", "(?, ?, ?, 1)")
REMEMBER: Final = Statement("INSERT OR REPLACE INTO outcome VALUES {}", "(?, ?, ?, ?, ?)")
FORGET: Final = Statement(
    "DELETE FROM outcome WHERE ({}) AND json_extract(CAST(attributes AS TEXT), '$.outcome') = 'deadlettered'",
    *("source = ? AND id = ?", " OR "),
)
REMOVE_DELIVERY: Final = Statement("DELETE FROM delivery WHERE {}", "queue = ? AND due_at = ? AND seq = ?", " OR ")
REMOVE_EVENT: Final = Statement("DELETE FROM event WHERE seq IN ({})", "?")


def open_event_log(file: Path) -> sqlite3.Connection:
    """The file, made where there is none; raises sqlite3.Error."""
    connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # an event is on disk before it is answered 202
    connection.execute("PRAGMA journal_size_limit = 67108864")
    connection.executescript(SCHEMA)
    return connection


def commit(connection: sqlite3.Connection, works: Sequence[Work | Change]) -> list[Any]:
    """The results of all, or the same BrokerUnavailable for each: one commit holds for all or none."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        results = _do(connection, works)
        connection.execute("COMMIT")
        return results
    except sqlite3.Error as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        return [BrokerUnavailable(f"the event log cannot be written: {error}") for _ in works]


def due(
    db: sqlite3.Connection, queue: str, now: float, held: Collection[int], *, limit: int, limit_bytes: int
) -> tuple[list[Row], bool, float | None]:
    """What is due and not held, up to the limits; whether there may be more; when the next falls due."""
    query = (
        "SELECT due_at, seq, attempt, attributes, data, remaining FROM delivery JOIN event USING (seq)"
        " WHERE queue = ? AND due_at <= ? AND seq NOT IN (SELECT value FROM json_each(?)) ORDER BY due_at, seq LIMIT ?"
    )
    rows: list[Row] = []
    size_bytes = 0
    for due_at, seq, attempt, attributes, data, remaining in db.execute(
        query, (queue, now, msgspec.json.encode(list(held)).decode(), limit)
    ):
        if size_bytes > limit_bytes:
            return rows, True, None
        rows.append(Row(Delivery(seq, queue, attempt, _event(attributes, data)), due_at, remaining == 1))
        size_bytes += len(data)
    query = "SELECT min(due_at) FROM delivery WHERE queue = ? AND due_at > ?"
    next_due_at = db.execute(query, (queue, now)).fetchone()[0]
    return rows, len(rows) == limit, next_due_at


def outcome(db: sqlite3.Connection, source: str, id_: str) -> Event | None:
    """The last event of a job that is remembered."""
    row = db.execute("SELECT attributes, data FROM outcome WHERE source = ? AND id = ?", (source, id_)).fetchone()
    return None if row is None else _event(*row)


def _do(db: sqlite3.Connection, works: Sequence[Work | Change]) -> list[Any]:
    """All in their order; changes that follow each other are made together."""
    results: list[Any] = []
    changes: list[Change] = []
    for work in works:
        if isinstance(work, Change):
            changes.append(work)
            results.append(None)
        else:
            _make(db, changes)
            changes = []
            results.append(work(db))
    _make(db, changes)
    return results


def _make(db: sqlite3.Connection, changes: Sequence[Change]) -> None:
    _make_ends(db, changes)
    new = [(change.new, change.now) for change in changes if change.new is not None]
    events = [(each.seq, _attributes(each.event), each.event.data, len(each.queues)) for each, _ in new]
    KEEP_EVENT.run(db, [each for each in events if len(each[2]) <= SMALL_BYTES])
    for each in events:
        if len(each[2]) > SMALL_BYTES:
            KEEP_EVENT.run(db, [each])
    KEEP_DELIVERY.run(db, [(queue, now, each.seq) for each, now in new for queue in each.queues])
    done = [change.done for change in changes if change.done is not None]
    REMOVE_DELIVERY.run(db, [(row.delivery.queue, row.due_at, row.delivery.tag) for row in done])
    REMOVE_EVENT.run(db, [(row.delivery.tag,) for row in done if row.alone])
    for seq in [row.delivery.tag for row in done if not row.alone]:
        db.execute("UPDATE event SET remaining = remaining - 1 WHERE seq = ?", (seq,))
        db.execute("DELETE FROM event WHERE seq = ? AND remaining <= 0", (seq,))


def _make_ends(db: sqlite3.Connection, changes: Sequence[Change]) -> None:
    """A later end (after a replay) takes the place of an earlier one."""
    ends: dict[Values, tuple[float, Event]] = {}
    begun: dict[Values, None] = {}
    for change in changes:
        if change.begun is not None and is_request(change.begun):
            job: Values = (change.begun.source, change.begun.id)
            begun[job] = None
            if job in ends and ends[job][1].get("outcome") == "deadlettered":
                del ends[job]
        if change.ended is not None and change.ended.get("outcome"):
            job = (change.ended.get("jobsource"), change.ended.get("jobid"))
            if all(job):
                ends[job] = change.now, change.ended
    FORGET.run(db, list(begun))
    rows = [(*job, now, _attributes(event), event.data) for job, (now, event) in ends.items()]
    REMEMBER.run(db, [row for row in rows if len(row[4]) <= SMALL_BYTES])
    for row in rows:
        if len(row[4]) > SMALL_BYTES:
            REMEMBER.run(db, [row])


@cache
def _text(statement: Statement, count: int) -> str:
    return statement.text.format(statement.between.join([statement.row] * count))


def _attributes(event: Event) -> bytes:
    return msgspec.json.encode(dict(event.attributes))


def _event(attributes: bytes, data: bytes) -> Event:
    return Event(MappingProxyType(msgspec.json.decode(attributes, type=dict[str, str])), data)
