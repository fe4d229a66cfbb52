"""A PostgreSQL of the tests' own, and the URL of each kind of database that the dead letters can be kept in."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.absent import absent
from tests.support.ports import free_port

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """A cluster in a folder of its own, on a free port of this machine; yields its URL without a database."""
    if not PROGRAMS:
        absent("PostgreSQL is not installed (apt-get install postgresql)")
    with tempfile.TemporaryDirectory(prefix="errands-pg-", ignore_cleanup_errors=True) as folder:
        owner = _unprivileged(Path(folder))
        port, data = free_port(), f"{folder}/data"
        _run(owner, "initdb", "-D", data, "-U", "errands", "-A", "trust", "--no-sync", "-E", "UTF8")
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        _run(owner, "pg_ctl", "-D", data, "-o", options, "-l", f"{folder}/log", "-w", "start")
        try:
            yield f"postgresql://errands@127.0.0.1:{port}"
        finally:
            _run(owner, "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'tests.db'}"
    return new_database(request.getfixturevalue("postgresql_server"))


def new_database(server: str) -> str:
    """A schema of its own in the server's database: a whole database takes a thousand times as long."""
    import psycopg

    name = f"tests_{os.urandom(6).hex()}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}".encode())
    return f"{server}/postgres?options=-csearch_path%3D{name}"


def _unprivileged(folder: Path) -> "list[str]":
    """What to put before a command: PostgreSQL does not run as root."""
    if os.geteuid() != 0:
        return []
    shutil.chown(folder, pwd.getpwnam("postgres").pw_uid)
    return ["runuser", "-u", "postgres", "--"]


def _run(owner: "list[str]", program: str, *arguments: str) -> None:
    done = subprocess.run(
        [*owner, str(PROGRAMS[-1] / program), *arguments], cwd="/", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
