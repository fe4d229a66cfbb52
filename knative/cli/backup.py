"""`errands backup`: a copy of the data folder from which a runner can go on, also of one that a runner works in.

The event log comes first, then the other databases, then the results: what is copied later may know more than what was
copied before, never less. A job of which the event log says that it waits is done again, to the same result; the other
way round its result would be missing. Databases are copied by SQLite's own backup, each as it is between two commits.
"""

import contextlib
import hashlib
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from knative.local.broker import integrity
from knative.local.broker.event_log import progress

EVENT_LOG: Final = "journal.db"
LIST: Final = "store.sha256"  # as sha256sum writes and checks it
CHUNK_BYTES: Final = 1 << 20


class NoBackup(Exception):
    """There is no backup; the message says why."""


@dataclass(frozen=True, slots=True)
class Backup:
    """What was copied."""

    waiting: int
    databases: int
    files: int
    size_bytes: int


def back_up(data: Path, to: Path) -> Backup:
    """Copy everything to a folder that is not there yet; it is there once it is whole. Raises NoBackup."""
    if not (data / EVENT_LOG).exists():
        raise NoBackup(f"{data} is no data directory of a runner: it has no {EVENT_LOG}; give --data DIR")
    if to.exists():
        raise NoBackup(f"{to} is there already; give a folder that is not")
    unfinished = to.with_name(to.name + ".unfinished")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True, mode=0o700)
        backup = _copy(data, unfinished)
        unfinished.rename(to)
    except (OSError, sqlite3.Error) as error:
        raise NoBackup(f"{data} cannot be copied to {to}: {error}") from error
    return backup


def _copy(data: Path, to: Path) -> Backup:
    waiting = _copy_event_log(data / EVENT_LOG, to / EVENT_LOG)
    others = sorted(file for file in data.glob("*.db") if file.name != EVENT_LOG and file.is_file())
    for file in others:
        with contextlib.closing(sqlite3.connect(file)) as source, contextlib.closing(_made(to / file.name)) as target:
            source.backup(target)
            _check(target, file)
    if (data / "secrets").is_dir():
        shutil.copytree(data / "secrets", to / "secrets")
    files = list(_copied_files(data / "store", to / "store"))
    with _private(to / LIST) as stream:
        stream.writelines(f"{digest}  store/{name}\n".encode() for name, digest, _ in files)
    return Backup(waiting, 1 + len(others), len(files), sum(size_bytes for *_, size_bytes in files))


def _copy_event_log(file: Path, to: Path) -> int:
    """With its count; how many deliveries wait in it."""
    _made(to).close()
    integrity.copied(file, to)
    with contextlib.closing(sqlite3.connect(to)) as copy:
        _check(copy, file)
        kept, done = progress(copy)
    count = integrity.Count(to)
    count.close(kept, done)
    return kept - done


def _copied_files(store: Path, to: Path) -> Iterator[tuple[str, str, int]]:
    """Each file's name, digest and size; one that is removed meanwhile is left out, and a link is nobody's result."""
    for file in sorted(store.rglob("*")):
        if file.is_symlink() or not file.is_file():
            continue
        name = file.relative_to(store)
        (to / name).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(FileNotFoundError), file.open("rb") as source, _private(to / name) as target:
            yield str(name), *_copied(source, target)


def _copied(source: BinaryIO, target: BinaryIO) -> tuple[str, int]:
    digest, size_bytes = hashlib.sha256(), 0
    while chunk := source.read(CHUNK_BYTES):
        digest.update(chunk)
        size_bytes += target.write(chunk)
    return digest.hexdigest(), size_bytes


def _check(copy: sqlite3.Connection, of: Path) -> None:
    problems = integrity.problems_of(copy)
    if problems:
        raise NoBackup(f"{of} is damaged, {problems[0]}: errands doctor --data {of.parent} says more")


def _made(file: Path) -> sqlite3.Connection:
    """A new database of this user's alone."""
    file.touch(mode=0o600)
    return sqlite3.connect(file)


def _private(file: Path) -> BinaryIO:
    file.touch(mode=0o600)
    return file.open("wb")
