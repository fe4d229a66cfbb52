"""Where readings are kept: a table in SQLite or PostgreSQL, a list of them in one statement and one commit.

A reading is known by its event's source and id, so one that is brought again is kept once.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

TABLE: Final = """
CREATE TABLE IF NOT EXISTS reading (
    source TEXT NOT NULL, id TEXT NOT NULL, taken_at {timestamp} NOT NULL,
    sensor TEXT NOT NULL, metric TEXT NOT NULL, value DOUBLE PRECISION NOT NULL, unit TEXT,
    PRIMARY KEY (source, id)
)
"""
COLUMNS: Final = ("source", "id", "taken_at", "sensor", "metric", "value", "unit")
TYPES: Final = ("text", "text", "timestamptz", "text", "text", "float8", "text")
BUSY_TIMEOUT_S: Final = 10.0


class Unreachable(Exception):
    """The database cannot be written now; the same may be kept later."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A row; `taken_at` is RFC 3339."""

    source: str
    id: str
    taken_at: str
    sensor: str
    metric: str
    value: float
    unit: str | None

    @property
    def row(self) -> tuple[str | float | None, ...]:
        """The values in the order of the columns."""
        return (self.source, self.id, self.taken_at, self.sensor, self.metric, self.value, self.unit)


class Readings(Protocol):
    """A place for readings."""

    def keep(self, readings: Sequence[Reading]) -> None:
        """On disk when this returns, each once; raises Unreachable."""


def open_readings(url: str) -> Readings:
    """`sqlite:////absolute/path.db` or `postgresql://user@host/database`; raises ValueError for any other."""
    if url.startswith("sqlite:///"):
        return SqliteReadings(Path(url.removeprefix("sqlite:///")))
    if url.startswith("postgresql://"):
        return PostgresReadings(url)
    raise ValueError(
        f"READINGS_URL must start with sqlite:/// or postgresql://, got {url.split('://', maxsplit=1)[0]!r}"
    )


class SqliteReadings:
    """One file of one machine."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._db: sqlite3.Connection | None = None

    def keep(self, readings: Sequence[Reading]) -> None:
        """As above."""
        try:
            db = self._db = self._db or self._open()
            with db:
                db.executemany("INSERT OR IGNORE INTO reading VALUES (?, ?, ?, ?, ?, ?, ?)", [r.row for r in readings])
        except (sqlite3.OperationalError, OSError) as error:
            raise Unreachable(f"{self._file} cannot be written: {error}") from error

    def _open(self) -> sqlite3.Connection:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(self._file, timeout=BUSY_TIMEOUT_S, check_same_thread=False)  # one thread at a time
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute(TABLE.format(timestamp="TEXT"))
        return db


class PostgresReadings:
    """A server that many workers share."""

    def __init__(self, url: str) -> None:
        import psycopg  # slow to import, and SQLite need not wait for it

        self._connect, self._error = psycopg.connect, psycopg.OperationalError
        self._url = url
        self._db: psycopg.Connection | None = None
        listed = ", ".join(f"%s::{type_}[]" for type_ in TYPES)
        self._insert = f"INSERT INTO reading SELECT * FROM unnest({listed}) ON CONFLICT DO NOTHING".encode()  # noqa: S608  # constants

    def keep(self, readings: Sequence[Reading]) -> None:
        """As above: a column is an array, so a list of any length is one statement."""
        try:
            if self._db is None or self._db.broken:
                self._db = self._connect(self._url)
                self._db.execute(TABLE.format(timestamp="TIMESTAMPTZ").encode())
            with self._db.transaction():
                self._db.execute(
                    self._insert, [list(column) for column in zip(*(r.row for r in readings), strict=True)]
                )
            self._db.commit()
        except self._error as error:
            self._db = None
            raise Unreachable(f"PostgreSQL does not take the readings: {error}") from error
