"""The backup and restore of the runbook, its own lines: dead letters in PostgreSQL, ledger and results on S3."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from events.http import Event
from functions.storage.ledger import ReplyLedger
from functions.storage.store import Store
from tests.conftest import sample
from tests.support.absent import program
from tests.support.database_servers import postgresql_server
from tests.support.dead_letter_store import DeadLetterStore
from tests.support.s3_server import KEY, SECRET, S3Server, s3_server

__all__ = ["postgresql_server"]  # a fixture

RUNBOOK = Path(__file__).parents[3] / "knative" / "overlays" / "production" / "README.md"
NOW = datetime(2026, 12, 1, 9, 30, tzinfo=UTC)
NAMES_SECRET = "0a" * 32


def commands(heading: str) -> list[str]:
    """The lines of the runbook's block after a heading."""
    block = re.search(rf"\*\*{heading}\*\*.*?```sh\n(.*?)```", RUNBOOK.read_text(), re.DOTALL)
    assert block
    return block[1].splitlines()


def run(lines: list[str], folder: Path, environment: Mapping[str, str]) -> None:
    own = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}  # of this machine
    for line in lines:
        done = subprocess.run(
            ["sh", "-c", line],
            cwd=folder,
            env=own | dict(environment),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"


def database(server: str, name: str) -> str:
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return f"{server}/{name}"


def dead_letter(number: int) -> Event:
    attributes = {name: str(value) for name, value in sample("image").items() if name != "data"}
    failed = {"id": f"job-{number}", "knativeerrorcode": "503", "knativeerrordest": "http://image"}
    return Event(attributes | failed, b'{"n": 1}')


@pytest.fixture
def s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    with s3_server(tmp_path) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


def remotes(server: S3Server) -> dict[str, str]:
    """rclone's two, which here are buckets of one server."""
    how = {"TYPE": "s3", "PROVIDER": "Other", "ACCESS_KEY_ID": KEY, "SECRET_ACCESS_KEY": SECRET, "ENDPOINT": server.url}
    return {f"RCLONE_CONFIG_{name}_{key}": value for name in ("RESULTS", "BACKUPS") for key, value in how.items()}


def test_dead_letters_are_restored_with_their_history(postgresql_server: str, tmp_path: Path) -> None:
    lost, restored = database(postgresql_server, "lost"), database(postgresql_server, "restored")
    store = DeadLetterStore(lost)
    numbers = [store.keep(dead_letter(number)) for number in range(3)]

    dump, _ = commands("Backups.")
    restore, _ = commands("Restored")
    run([dump], tmp_path, {"DATABASE": lost})
    run([restore], tmp_path, {"DATABASE": restored})

    again = DeadLetterStore(restored)
    assert [(each.id, each.event) for each in again.list()] == [(each.id, each.event) for each in store.list()]
    assert again.unsent() == store.unsent()
    assert again.keep(dead_letter(9)) == max(numbers) + 1


def test_results_are_restored_and_a_job_that_was_done_is_not_done_again(s3: S3Server, tmp_path: Path) -> None:
    program("rclone")
    results = s3.bucket("errands-results")
    cause = Event({name: str(value) for name, value in sample("ics").items() if name != "data"}, b"{}")
    reply = cause.with_attributes(id="reply", type="dev.errands.ics.completed.v1", outcome="completed")
    store = Store("s3://errands-results", names_secret=NAMES_SECRET)
    artifact = store.put(cause, "kickoff.ics", b"BEGIN:VCALENDAR", "text/calendar", now=NOW)
    ReplyLedger(store).record(cause, reply)

    _, out = commands("Backups.")
    _, back = commands("Restored")
    s3.bucket("copies")
    moved = remotes(s3)
    run([out.replace("backups:errands-results", "backups:copies")], tmp_path, moved)
    shutil.rmtree(results)
    s3.bucket("errands-results")
    run([back.replace("backups:errands-results", "backups:copies")], tmp_path, moved)

    again = Store("s3://errands-results", names_secret=NAMES_SECRET)
    assert again.get(artifact.key, limit_bytes=1_000) == b"BEGIN:VCALENDAR"
    assert ReplyLedger(again).recall(cause) == ReplyLedger(store).recall(cause)
    assert ReplyLedger(again).record(cause, reply).id == reply.id
