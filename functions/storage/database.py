"""The database of the dead letters by its URL: SQLite (`sqlite:////absolute/path.db`) or PostgreSQL (`postgresql://...`).

Both are told the same SQL: values are written `?`, rows are dictionaries. Each thread has a connection of its own,
opened when it first asks, so that nothing is open yet when a server forks.
"""

import re
import sqlite3
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, LiteralString, Protocol
from urllib.parse import urlsplit

from functions.deadletters.store.schema import DIALECTS, MIGRATIONS

if TYPE_CHECKING:
    import psycopg

Row = dict[str, Any]

BUSY_TIMEOUT_S: Final = 30.0
CONNECT_TIMEOUT_S: Final = 5
MIGRATING: Final = 0x65727264  # PostgreSQL's advisory lock while the schema is brought up to date


class StorageUnavailable(Exception):
    """What is kept cannot be read or written now: a full disk, a server down, a file that is no database."""


class Transaction(Protocol):
    """What is executed together: all of it holds, or nothing does."""

    def execute(self, query: str, *values: object) -> list[Row]:
        """The rows of a query; none of a statement without RETURNING."""

    def execute_many(self, query: str, rows: Sequence[Sequence[object]]) -> None:
        """Execute the same statement for each of the rows."""


class Database(ABC):
    """What the dead letters are kept in; `name` says which, without what is secret in the URL."""

    name: str

    def __init__(self) -> None:
        self._migrated = False

    @contextmanager
    def transaction(self, *, writes: bool = True) -> Iterator[Transaction]:
        """All that is executed within holds at its end, or nothing does; raises StorageUnavailable."""
        if not self._migrated:
            with self._begin(writes=True) as transaction:
                self._migrate(transaction)
            self._migrated = True
        with self._begin(writes=writes) as transaction:
            yield transaction

    @abstractmethod
    def contains(self, column: LiteralString, text: str) -> tuple[str, str]:
        """The condition that a column of bytes contains a text, of A to Z in either case, and the value in it."""

    @abstractmethod
    def _begin(self, *, writes: bool) -> Any:
        """A transaction as a context, whatever the schema is."""

    @abstractmethod
    def _lock_schema(self, transaction: Transaction) -> None:
        """Let nobody else migrate until the transaction's end."""

    def _migrate(self, transaction: Transaction) -> None:
        """Bring the schema up to date; several processes may start at once."""
        self._lock_schema(transaction)
        transaction.execute("CREATE TABLE IF NOT EXISTS dead_version (version INTEGER NOT NULL)")
        version = (transaction.execute("SELECT max(version) AS version FROM dead_version")[0]["version"]) or 0
        if version > len(MIGRATIONS):
            raise StorageUnavailable(
                f"{self.name} was written by a newer Errands: schema {version}, not {len(MIGRATIONS)}"
            )
        for number, migration in enumerate(MIGRATIONS[version:], version + 1):
            for statement in migration.split(";\n"):
                transaction.execute(statement.format(**DIALECTS[type(self).__name__]))
            transaction.execute("INSERT INTO dead_version VALUES (?)", number)


class Sqlite(Database):
    """One file in WAL mode, on disk when a transaction ends; one writer at a time, also over processes."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.name = str(file)
        self._file = file
        self._local = threading.local()
        self._writing = threading.Lock()  # SQLite's own waiting is by sleeping, and fair to nobody

    def contains(self, column: LiteralString, text: str) -> tuple[str, str]:
        """The condition by LIKE, which is faster than instr and lower, and copies nothing."""
        escaped = re.sub("([!%_])", r"!\1", text)
        return f"CAST({column} AS TEXT) LIKE ? ESCAPE '!'", f"%{escaped}%"

    @contextmanager
    def _begin(self, *, writes: bool) -> Iterator[Transaction]:
        try:
            db = self._connection()
            if not writes:
                yield from self._within(db, "BEGIN")
            else:
                with self._writing:
                    yield from self._within(db, "BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            self._close()
            raise StorageUnavailable(f"{self.name} cannot be used: {error}") from error

    def _within(self, db: sqlite3.Connection, begin: str) -> Iterator[Transaction]:
        db.execute(begin)
        try:
            yield _SqliteTransaction(db)
            db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # a full disk has rolled back already
                db.execute("ROLLBACK")
            raise

    def _connection(self) -> sqlite3.Connection:
        db: sqlite3.Connection | None = getattr(self._local, "db", None)
        if db is not None and self._local.file != _identity(self._file):  # moved away, or restored from a backup
            self._close()
            db = None
        if db is None:
            with suppress(OSError):  # sqlite says it better
                self._file.parent.mkdir(parents=True, exist_ok=True)
            db = sqlite3.connect(self._file, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
            db.row_factory = lambda cursor, row: dict(zip((each[0] for each in cursor.description), row, strict=True))
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA journal_size_limit = 67108864")
            self._local.db, self._local.file = db, _identity(self._file)
        return db

    def _close(self) -> None:
        """Close the connection: the file may be another one, or a good one, when it is next opened."""
        db = self._local.__dict__.pop("db", None)
        if db is not None:
            db.close()
        self._migrated = False

    def _lock_schema(self, transaction: Transaction) -> None:
        """Nothing: BEGIN IMMEDIATE has locked the file."""


class _SqliteTransaction:
    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def execute(self, query: str, *values: object) -> list[Row]:
        return self._db.execute(query, values).fetchall()

    def execute_many(self, query: str, rows: Sequence[Sequence[object]]) -> None:
        self._db.executemany(query, rows)


class Postgresql(Database):
    """A server, which several sinks and consoles may share."""

    def __init__(self, url: str) -> None:
        super().__init__()
        parts = urlsplit(url)
        self.name = f"postgresql://{parts.hostname or ''}{parts.path}"
        self._url = url
        self._local = threading.local()

    def contains(self, column: LiteralString, text: str) -> tuple[str, str]:
        """The condition in PostgreSQL's notation of bytes, which any bytes have, also those that make no text there."""
        noted = "".join(chr(byte) if byte < 0x80 else f"\\{byte:03o}" for byte in text.replace("\\", "\\\\").encode())
        return f"position(? IN lower(encode({column}, 'escape'))) > 0", noted.lower()

    @contextmanager
    def _begin(self, *, writes: bool) -> Iterator[Transaction]:
        import psycopg  # an installation on SQLite need not wait for it

        try:
            db = self._connection()
            with db.transaction():
                if not writes:
                    db.execute("SET TRANSACTION READ ONLY")
                yield _PostgresqlTransaction(db)
        except psycopg.Error as error:
            if isinstance(error, psycopg.OperationalError):
                self._close()
            raise StorageUnavailable(f"{self.name} cannot be used: {_first_line(error)}") from error

    def _connection(self) -> "psycopg.Connection[Row]":
        import psycopg
        from psycopg.rows import dict_row

        db: psycopg.Connection[Row] | None = getattr(self._local, "db", None)
        if db is not None and not _responses(db):
            self._close()
            db = None
        if db is None:
            options: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT_S, "application_name": "errands"}
            db = psycopg.connect(self._url, autocommit=True, row_factory=dict_row, **options)
            self._local.db = db
        return db

    def _close(self) -> None:
        db = self._local.__dict__.pop("db", None)
        if db is not None:
            db.close()

    def _lock_schema(self, transaction: Transaction) -> None:
        transaction.execute("SELECT pg_advisory_xact_lock(?)", MIGRATING)


class _PostgresqlTransaction:
    def __init__(self, db: "psycopg.Connection[Row]") -> None:
        self._db = db

    def execute(self, query: str, *values: object) -> list[Row]:
        cursor = self._db.execute(_marked(query), values)
        return cursor.fetchall() if cursor.description else []

    def execute_many(self, query: str, rows: Sequence[Sequence[object]]) -> None:
        with self._db.cursor() as cursor:
            cursor.executemany(_marked(query), rows)


def open_database(url: str) -> Database:
    """The database of a URL; ValueError for a URL of another kind. Nothing is opened yet."""
    if url.startswith("sqlite:///"):
        return Sqlite(Path(url.removeprefix("sqlite:///")))
    if url.startswith(("postgresql://", "postgres://")):
        return Postgresql(url)
    scheme = url.split("://", maxsplit=1)[0][:40]
    raise ValueError(f"DEADLETTERS_URL must start with sqlite:/// or postgresql://, got {scheme!r}")


def _identity(file: Path) -> tuple[int, int] | None:
    """Which file it is, whatever its name; None for none."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _responses(db: "psycopg.Connection[Row]") -> bool:
    """Whether the server has not hung up in the meantime; it says so before it is asked anything."""
    import select

    if db.closed:
        return False
    poll = select.poll()
    poll.register(db.fileno(), select.POLLIN)
    return not poll.poll(0)


def _marked(query: str) -> Any:
    """psycopg's mark for a value; our queries hold no question mark and no per cent sign besides."""
    return query.replace("?", "%s")


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", maxsplit=1)[0]
