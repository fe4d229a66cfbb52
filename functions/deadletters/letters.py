"""The letters: what the broker could not deliver, kept whole until a person has dealt with it.

One SQLite file, a connection for each call, so that threads and the command line share it. Beside the letters stands
the outbox: the event that tells the API of a letter is stored in the same transaction as the letter itself, and
leaves when the broker has taken it, however often the process dies in between.
"""

import base64
import logging
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import msgspec

from events.function import reply_event
from events.http import STRUCTURED, Event, check, read, structured
from events.problem import NotAnEvent, sentence
from events.types import DeadLetter, sibling_type

log = logging.getLogger("errands.deadletters")

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS letter (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    attributes BLOB NOT NULL,
    data BLOB NOT NULL,
    code INTEGER NOT NULL,
    destination TEXT NOT NULL,
    trigger_name TEXT NOT NULL,
    error TEXT NOT NULL,
    attempts INTEGER,
    first_seen TEXT NOT NULL,
    last_seen TEXT NOT NULL,
    times INTEGER NOT NULL DEFAULT 1,
    state TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'replayed', 'discarded')),
    replays INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS letter_state ON letter (state, id);
CREATE TABLE IF NOT EXISTS outbox (id TEXT PRIMARY KEY, event BLOB NOT NULL);
"""

BUSY_TIMEOUT_S: Final = 10.0
ADDED: Final = "knativeerror"  # what the broker adds to the event, all beginning with this
NO_CODE: Final = 0


@dataclass(frozen=True, kw_only=True)
class Letter:
    """One undelivered event. `code` is the last HTTP status, -1 when no answer came, 0 when the broker told none."""

    id: int
    event: Event
    code: int
    destination: str
    trigger: str
    error: str
    attempts: int | None
    first_seen: str
    last_seen: str
    times: int
    state: str
    replays: int


class Letters:
    """The store, by its URL: `sqlite:////absolute/path.db`."""

    def __init__(self, url: str) -> None:
        if not url.startswith("sqlite:///"):
            raise ValueError(f"DEADLETTERS_URL must start with sqlite:///, got {url.split('://', maxsplit=1)[0]!r}")
        self._file = Path(url.removeprefix("sqlite:///"))

    def keep(self, event: Event, *, now: datetime) -> int:
        """Store a letter, or count one more delivery of the same; on disk when this returns. Returns its number."""
        seen, original = now.isoformat(timespec="milliseconds"), without_error(event)
        row = (_key(event), _attributes(original), original.data, *_failure(event), seen, seen)
        with self._transaction() as db:
            id_: int = db.execute(
                "INSERT INTO letter (key, attributes, data, code, destination, trigger_name, error, attempts,"
                " first_seen, last_seen) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET"
                " code = excluded.code, error = excluded.error, attempts = excluded.attempts,"
                " last_seen = excluded.last_seen, times = times + 1, state = 'open' RETURNING id",
                row,
            ).fetchone()[0]
            notice = _notice(original, id_, row, now)
            if notice:
                db.execute("INSERT OR IGNORE INTO outbox VALUES (?, ?)", (notice.id, structured(notice)))
        return id_

    def unsent(self, limit: int = 100) -> list[Event]:
        """The oldest events that the API has not been told by."""
        with self._transaction() as db:
            rows = db.execute("SELECT event FROM outbox ORDER BY rowid LIMIT ?", (limit,)).fetchall()
        return [read({"content-type": STRUCTURED}, row[0]) for row in rows]

    def sent(self, event: Event) -> None:
        """The broker has taken the event."""
        with self._transaction() as db:
            db.execute("DELETE FROM outbox WHERE id = ?", (event.id,))

    def put_back(self, event: Event) -> None:
        """The broker refuses the event: it waits behind the others."""
        with self._transaction() as db:
            db.execute("UPDATE outbox SET rowid = (SELECT max(rowid) + 1 FROM outbox) WHERE id = ?", (event.id,))

    def list(self, *, state: str | None = "open", limit: int = 100) -> Sequence[Letter]:
        """The newest letters, of one state or (None) of all."""
        with self._transaction() as db:
            query = "SELECT * FROM letter WHERE ? IS NULL OR state = ? ORDER BY id DESC LIMIT ?"
            return [_letter(row) for row in db.execute(query, (state, state, limit))]

    def get(self, id_: int) -> Letter | None:
        """One letter, or None."""
        with self._transaction() as db:
            row = db.execute("SELECT * FROM letter WHERE id = ?", (id_,)).fetchone()
        return None if row is None else _letter(row)

    def mark(self, letter: Letter, state: str) -> None:
        """Close a letter, unless it has come again since it was read; `replayed` counts."""
        with self._transaction() as db:
            query = "UPDATE letter SET state = iif(times = ?, ?, state), replays = replays + ? WHERE id = ?"
            db.execute(query, (letter.times, state, state == "replayed", letter.id))

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(self._file, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        try:
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.executescript(SCHEMA)
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")
        finally:
            db.close()  # rolls an open transaction back


def without_error(event: Event) -> Event:
    """The event as it was before the broker gave up on it: what a replay sends."""
    kept = {name: value for name, value in event.attributes.items() if not name.startswith(ADDED)}
    return Event(MappingProxyType(kept), event.data)


def _key(event: Event) -> str:
    """The same event from the same Trigger (or, where the broker does not tell it, to the same place) is one letter."""
    where = event.get("knativeerrortrigger") or event.get("knativeerrordest") or ""
    return "\n".join((event.source, event.id, event.type, where))


def _failure(event: Event) -> tuple[int, str, str, str, int | None]:
    """Code, destination, trigger, error and attempts, as far as the broker tells them."""
    attempts = event.get("knativeerrorattempts") or ""
    return (
        _integer(event.get("knativeerrorcode") or "", NO_CODE),
        event.get("knativeerrordest") or "",
        event.get("knativeerrortrigger") or "",
        _error_text(event.get("knativeerrordata") or ""),
        _integer(attempts, 0) if attempts else None,
    )


def _error_text(encoded: str) -> str:
    """The failed answer's body, which comes base64-encoded; of problem details their sentence."""
    try:
        return sentence(base64.b64decode(encoded, validate=True))
    except ValueError:  # not base64, or not even ASCII
        return encoded


def _integer(text: str, otherwise: int) -> int:
    return int(text) if re.fullmatch("-?[0-9]{1,9}", text) else otherwise


def _notice(event: Event, id_: int, row: tuple[Any, ...], now: datetime) -> Event | None:
    """The event that tells the API; only of a job, never of an event about a job: no letter can breed another."""
    if ".requested." not in event.type:
        return None
    _, _, _, code, destination, _, error, attempts, *_ = row
    payload = DeadLetter(letter=str(id_), code=code, destination=destination, error=error or None, attempts=attempts)
    try:
        return check(reply_event(event, sibling_type(event.type, "deadlettered"), payload, now=now))
    except NotAnEvent as error:  # of a type that only just is one; in the outbox it would stop all that come after
        log.error("the API cannot be told of letter %d: %s", id_, error)
        return None


def _attributes(event: Event) -> bytes:
    return msgspec.json.encode(dict(event.attributes))


def _letter(row: sqlite3.Row) -> Letter:
    attributes: Mapping[str, str] = msgspec.json.decode(row["attributes"], type=dict[str, str])
    shown = ("id", "code", "destination", "error", "attempts", "first_seen", "last_seen", "times", "state", "replays")
    event = Event(MappingProxyType(dict(attributes)), row["data"])
    return Letter(event=event, trigger=row["trigger_name"], **{name: row[name] for name in shown})
