"""Whether the event log holds what was accepted: a count beside it tells, since a log that lost its end looks whole.

SQLite takes what follows the first damaged frame of a write-ahead log for unfinished, and removes the log of an empty
file: either way it opens without a word. So the event log counts the deliveries that it kept and those that it is done
with, in each commit, and the same two figures are written to `journal.count` after it. A runner that was killed between
the two leaves a count that is behind its log; a log that is behind its count has lost something.

The count is not synced with each commit: it is to outlive the runner, not the machine's power, after which it can but
be behind. How the runner ended is written there as well; after any but a clean end the whole file is looked over.
"""

import contextlib
import logging
import os
import re
import shutil
import sqlite3
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from knative.local.broker.broker import BrokerUnusable
from knative.local.broker.event_log import open_event_log, progress
from knative.local.data_folder import held

log = logging.getLogger("errands.event_log")

COUNT_BYTES: Final = 64
PROBLEMS: Final = 100  # of a damaged file, at most
_TEXT = re.compile(r"(\d+) kept, (\d+) done, (running|stopped)\s*")


@dataclass(frozen=True, slots=True)
class Counted:
    """Deliveries that were ever kept and done with, and whether the runner stopped by itself."""

    kept: int
    done: int
    stopped: bool


class Count:
    """The file beside the event log."""

    def __init__(self, event_log: Path) -> None:
        self._file = count_file(event_log)
        self._descriptor: int | None = None

    def write(self, kept: int, done: int) -> None:
        """After each commit; never fails, for a commit holds without it."""
        try:
            if self._descriptor is None:
                self._descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT, 0o600)
            os.pwrite(self._descriptor, _line(kept, done, "running"), 0)
        except OSError as error:
            log.warning("%s cannot be written: %s", self._file, error)

    def close(self, kept: int, done: int) -> None:
        """The runner stops by itself."""
        self.write(kept, done)
        if self._descriptor is not None:
            os.pwrite(self._descriptor, _line(kept, done, "stopped"), 0)
            os.fsync(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None


def count_file(event_log: Path) -> Path:
    """Where the count of an event log is."""
    return event_log.with_suffix(".count")


def counted(event_log: Path) -> Counted | None:
    """What the count says; None where there is none that can be read."""
    try:
        found = _TEXT.fullmatch(count_file(event_log).read_text())
    except (OSError, UnicodeError):
        return None
    return Counted(int(found[1]), int(found[2]), found[3] == "stopped") if found else None


def opened(file: Path) -> sqlite3.Connection:
    """The event log, looked over where its runner did not stop by itself; what is missing is said, and written down.

    Raises BrokerUnusable for a file that is damaged itself, and sqlite3.Error.
    """
    before = counted(file)
    if before is not None and before.stopped and file.exists():
        connection = open_event_log(file)
        _say_missing(connection, before, None)
        return connection
    kept = _wal_kept(file)
    connection = open_event_log(file)
    problems = problems_of(connection)
    if problems:
        connection.close()
        raise BrokerUnusable(f"{file} is damaged, {problems[0]}: errands doctor --data {file.parent} says more")
    if before is None and progress(connection) != (0, 0):
        log.warning("%s is not there: whether anything is missing from %s cannot be told", count_file(file), file)
    if before is None or not _say_missing(connection, before, kept):
        kept.unlink(missing_ok=True)
    return connection


def problems_of(connection: sqlite3.Connection) -> list[str]:
    """What SQLite finds wrong with the file itself."""
    try:
        found = [text for (text,) in connection.execute(f"PRAGMA quick_check({PROBLEMS})")]
    except sqlite3.DatabaseError as error:
        return [str(error)]
    return [] if found == ["ok"] else found


def missing(connection: sqlite3.Connection, before: Counted) -> str | None:
    """What is not there and should be, in a sentence with its count."""
    kept, done = progress(connection)
    (waiting,) = connection.execute("SELECT count(*) FROM delivery").fetchone()
    if before.kept > kept or before.done > done:
        return (
            f"{before.kept - kept} of {before.kept} accepted deliveries are missing: the count says {before.kept} kept"
            f" and {before.done} done, the event log {kept} and {done}. Its end was cut off, removed or damaged"
        )
    if waiting != kept - done:
        return (
            f"{abs(kept - done - waiting)} deliveries are missing or too many: {kept - done} should wait, {waiting} do"
        )
    return None


def _say_missing(connection: sqlite3.Connection, before: Counted, wal: Path | None) -> bool:
    sentence = missing(connection, before)
    if sentence is None:
        return False
    where = f"; what was found of it is kept in {wal}" if wal and wal.exists() else ""
    log.error("%s%s. Restore a backup, or have the jobs without an outcome sent again", sentence, where)
    (waiting,) = connection.execute("SELECT count(*) FROM delivery").fetchone()
    connection.execute("INSERT INTO loss VALUES (?, ?)", (time.time(), sentence + where))
    connection.execute("UPDATE progress SET kept = done + ?", (waiting,))
    return True


def _wal_kept(file: Path) -> Path:
    """A copy of the write-ahead log as it was found, where there is one: to open the file makes another of it."""
    wal = file.with_name(file.name + "-wal")
    kept = file.with_name(f"{wal.name}.{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    if wal.exists() and wal.stat().st_size:
        shutil.copyfile(wal, kept)
        kept.chmod(0o600)
    return kept


def _line(kept: int, done: int, state: str) -> bytes:
    return f"{kept} kept, {done} done, {state}".ljust(COUNT_BYTES - 1).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Damage:
    """What there is to say of an event log: `waiting` deliveries, and in sentences what is wrong with it."""

    waiting: int
    wrong: tuple[str, ...]


def examined(file: Path) -> Damage:
    """Look an event log over in a copy, so that nothing of it is changed."""
    before = counted(file)
    with tempfile.TemporaryDirectory(prefix="errands-") as folder:
        copy = Path(folder) / file.name
        try:
            copied(file, copy)
            connection = open_event_log(copy)
        except sqlite3.DatabaseError as error:
            return Damage(0, (f"{file} cannot be read: {error}",))
        with contextlib.closing(connection):
            return _findings(connection, before)


def copied(file: Path, to: Path) -> None:
    """A copy of an event log: of one that a runner writes, as it is between two commits (SQLite's own backup)."""
    if held(file.parent):
        with contextlib.closing(sqlite3.connect(file)) as source, contextlib.closing(sqlite3.connect(to)) as target:
            source.backup(target)
        return
    for each in (file, file.with_name(file.name + "-wal")):
        if each.exists():
            shutil.copyfile(each, to.with_name(each.name))


def _findings(connection: sqlite3.Connection, before: Counted | None) -> Damage:
    problems = problems_of(connection)
    if problems:
        return Damage(0, tuple(problems))
    (waiting,) = connection.execute("SELECT count(*) FROM delivery").fetchone()
    wrong = [missing(connection, before)] if before else []
    wrong += [
        f"{datetime.fromtimestamp(found_at, UTC):%Y-%m-%d %H:%M}Z: {sentence}"
        for found_at, sentence in connection.execute("SELECT found_at, sentence FROM loss ORDER BY found_at")
    ]
    wrong += [
        f"{count} deliveries of queue {queue} are damaged and set aside in the table damaged: {reason}"
        for queue, count, reason in connection.execute(
            "SELECT queue, count(*), min(reason) FROM damaged GROUP BY queue ORDER BY queue"
        )
    ]
    return Damage(waiting, tuple(each for each in wrong if each))
