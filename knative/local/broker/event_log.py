"""The file of the embedded broker: its tables, and what its thread does with them.

A finished delivery is deleted with its commit; an event goes with its last delivery.

Outcomes stand in the order in which they came: clustered by their key, which is random, each would touch a page of its
own, more of them the more there are.
"""

import logging
import sqlite3
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from events.http import REQUIRED, Event
from events.job import is_request, job_of
from functions.storage.kept_event import packed, unpacked
from knative.local.broker.broker import BrokerUnavailable, Delivery
from knative.local.broker.outcomes import Fingerprint, fingerprint

log = logging.getLogger("errands.event_log")

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS event (
    seq INTEGER PRIMARY KEY, attributes BLOB NOT NULL, data BLOB NOT NULL, remaining INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS delivery (
    queue TEXT NOT NULL, due_at REAL NOT NULL, seq INTEGER NOT NULL, attempt INTEGER NOT NULL,
    wait_s REAL NOT NULL DEFAULT 0, waited_s REAL NOT NULL DEFAULT 0, PRIMARY KEY (queue, due_at, seq)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outcome (
    source TEXT NOT NULL, id TEXT NOT NULL, finished_at REAL NOT NULL, attributes BLOB NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (source, id)
);
CREATE INDEX IF NOT EXISTS outcome_finished_at ON outcome (finished_at);
CREATE TABLE IF NOT EXISTS damaged (queue, due_at, seq, attempt, attributes, data, reason TEXT, found_at REAL);
CREATE TABLE IF NOT EXISTS loss (found_at REAL, sentence TEXT);
CREATE TABLE IF NOT EXISTS progress (only INTEGER PRIMARY KEY CHECK (only = 1), kept INTEGER, done INTEGER);
INSERT OR IGNORE INTO progress SELECT 1, count(*), 0 FROM delivery;
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


class Due(NamedTuple):
    """What was read of a queue: `more` where there may be more, `damaged` what nobody can read: seq and reason."""

    rows: list[Row]
    more: bool
    next_due_at: float | None
    damaged: list[tuple[int, str]]


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

    def run(self, db: sqlite3.Connection, rows: Sequence[Values]) -> int:
        """Execute it for all of them; how many rows it was about indeed."""
        start = changed = 0
        while start < len(rows):
            count = next(each for each in ROWS if each <= len(rows) - start)
            text, values = _text(self, count), [value for row in rows[start : start + count] for value in row]
            changed += db.execute(text, values).rowcount
            start += count
        return changed


KEEP_EVENT: Final = Statement("INSERT INTO event VALUES {}", "(?, ?, ?, ?)")
KEEP_DELIVERY: Final = Statement("INSERT INTO delivery (queue, due_at, seq, attempt) VALUES {}", "(?, ?, ?, 1)")
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
    columns = {name for _, name, *_ in connection.execute("PRAGMA table_info(delivery)")}
    for name in ("wait_s", "waited_s"):
        if name not in columns:
            connection.execute(f"ALTER TABLE delivery ADD COLUMN {name} REAL NOT NULL DEFAULT 0")
    return connection


def progress(db: sqlite3.Connection) -> tuple[int, int]:
    """How many deliveries were ever kept, and how many are done with."""
    kept, done = db.execute("SELECT kept, done FROM progress").fetchone()
    return kept, done


def no_later(db: sqlite3.Connection, now: float) -> None:
    """Have nothing wait for longer than it was to wait: the time of day may have been set back since."""
    db.execute("UPDATE delivery SET due_at = :now + wait_s WHERE due_at > :now + wait_s", {"now": now})
    db.execute("UPDATE outcome SET finished_at = :now WHERE finished_at > :now", {"now": now})


def commit(connection: sqlite3.Connection, works: Sequence[Work | Change]) -> list[Any]:
    """The results of all, or the same BrokerUnavailable for each: one commit holds for all or none.

    What cannot be done for another reason than the file's fails alone, and the rest is done without it.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")
        results = _do(connection, works)
        connection.execute("COMMIT")
        return results
    except Exception as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if len(works) > 1 and not isinstance(error, sqlite3.Error):
            return [result for work in works for result in commit(connection, [work])]
        return [BrokerUnavailable(f"the event log cannot be written: {error}") for _ in works]


def due(db: sqlite3.Connection, queue: str, now: float, held: Collection[int], *, limit: int, limit_bytes: int) -> Due:
    """What is due and not held, up to the limits. What of it cannot be read is set aside, and the rest goes on."""
    query = (
        "SELECT due_at, seq, attempt, CAST(attributes AS BLOB), CAST(data AS BLOB), remaining, waited_s"
        " FROM delivery LEFT JOIN event USING (seq)"
        " WHERE queue = ? AND due_at <= ? AND seq NOT IN (SELECT value FROM json_each(?)) ORDER BY due_at, seq LIMIT ?"
    )
    rows: list[Row] = []
    damaged: list[tuple[float, int, str]] = []
    size_bytes = 0
    more = None
    for found in db.execute(query, (queue, now, msgspec.json.encode(list(held)).decode(), limit)):
        if size_bytes > limit_bytes:
            more = True
            break
        try:
            rows.append(_row(queue, found))
            size_bytes += len(rows[-1].delivery.event.data)
        except (TypeError, ValueError) as error:
            damaged.append((found[0], found[1], str(error)))
    for due_at, seq, reason in damaged:
        _set_aside(db, (queue, due_at, seq), reason, now)
    aside = [(seq, reason) for _, seq, reason in damaged]
    if more:
        return Due(rows, True, None, aside)
    query = "SELECT min(due_at) FROM delivery WHERE queue = ? AND due_at > ?"
    next_due_at = db.execute(query, (queue, now)).fetchone()[0]
    return Due(rows, len(rows) + len(damaged) == limit, next_due_at, aside)


def outcome(db: sqlite3.Connection, source: str, id_: str) -> Event | None:
    """The last event of a job that is remembered; one that cannot be read is none."""
    query = "SELECT CAST(attributes AS BLOB), CAST(data AS BLOB) FROM outcome WHERE source = ? AND id = ?"
    row = db.execute(query, (source, id_)).fetchone()
    try:
        return None if row is None else _event(*row)
    except (TypeError, ValueError) as error:
        log.error("the outcome of job %s of %s cannot be read: %s", id_, source, error)
        return None


def asked(db: sqlite3.Connection, *, limit: int) -> dict[tuple[str, str], Fingerprint]:
    """With which data the newest jobs that are kept were asked for, the oldest first, as far as that can be read."""
    found: dict[tuple[str, str], Fingerprint] = {}
    query = "SELECT CAST(attributes AS BLOB), CAST(data AS BLOB) FROM event ORDER BY seq DESC LIMIT ?"
    for attributes, data in db.execute(query, (limit,)):
        with suppress(TypeError, ValueError):
            event = _event(attributes, data)
            if is_request(event):
                found.setdefault(job_of(event), fingerprint(event))
    return dict(reversed(found.items()))


def _row(queue: str, found: Values) -> Row:
    """One delivery; raise ValueError or TypeError where that cannot be what was kept."""
    due_at, seq, attempt, attributes, data, remaining, waited_s = found
    if attributes is None:
        raise ValueError("its event is missing")
    for name, value in (("attempt", attempt), ("remaining", remaining)):
        if not isinstance(value, int):
            raise TypeError(f"{name} must be a number, got {value!r}")
    if not isinstance(waited_s, int | float):
        raise TypeError(f"waited_s must be a number, got {waited_s!r}")
    return Row(Delivery(seq, queue, attempt, _event(attributes, data), waited_s), due_at, remaining == 1)


def _set_aside(db: sqlite3.Connection, place: tuple[str, float, int], reason: str, now: float) -> None:
    """Move a delivery out of its queue's way, with all that is there of it."""
    seq = place[2]
    db.execute(
        "INSERT INTO damaged SELECT queue, due_at, seq, attempt, attributes, data, ?, ?"
        " FROM delivery LEFT JOIN event USING (seq) WHERE queue = ? AND due_at = ? AND seq = ?",
        (reason, now, *place),
    )
    db.execute("DELETE FROM delivery WHERE queue = ? AND due_at = ? AND seq = ?", place)
    db.execute("UPDATE progress SET done = done + 1")
    left = "(SELECT count(*) FROM delivery WHERE delivery.seq = event.seq)"  # the count in the row may be what is wrong
    db.execute(f"UPDATE event SET remaining = {left} WHERE seq = ?", (seq,))  # noqa: S608  # a constant
    db.execute("DELETE FROM event WHERE seq = ? AND remaining = 0", (seq,))


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
    events = [(each.seq, *packed(each.event), len(each.queues)) for each, _ in new]
    KEEP_EVENT.run(db, [each for each in events if len(each[2]) <= SMALL_BYTES])
    for each in events:
        if len(each[2]) > SMALL_BYTES:
            KEEP_EVENT.run(db, [each])
    kept = KEEP_DELIVERY.run(db, [(queue, now, each.seq) for each, now in new for queue in each.queues])
    done = [change.done for change in changes if change.done is not None]
    removed = REMOVE_DELIVERY.run(db, [(row.delivery.queue, row.due_at, row.delivery.tag) for row in done])
    if kept or removed:
        db.execute("UPDATE progress SET kept = kept + ?, done = done + ?", (kept, removed))
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
    rows = [(*job, now, *packed(event)) for job, (now, event) in ends.items()]
    REMEMBER.run(db, [row for row in rows if len(row[4]) <= SMALL_BYTES])
    for row in rows:
        if len(row[4]) > SMALL_BYTES:
            REMEMBER.run(db, [row])


@cache
def _text(statement: Statement, count: int) -> str:
    return statement.text.format(statement.between.join([statement.row] * count))


def _event(attributes: bytes, data: bytes) -> Event:
    """The event as it was kept; raise ValueError or TypeError where these bytes are not."""
    if not isinstance(data, bytes):
        raise TypeError("its data is missing")
    event = unpacked(attributes, data)
    missing = [name for name in REQUIRED if not event.get(name)]
    if missing:
        raise ValueError(f"its {missing[0]} is missing")
    return event
