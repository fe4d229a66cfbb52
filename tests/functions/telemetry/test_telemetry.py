"""A flood of readings: from PHP over AMQP into a table, by the list, each once; and what a list does with a bad one."""

import asyncio
import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from msgspec import Struct

from events.http import Event
from events.problem import JobFailed, TryAgain
from functions.amqp.server import AmqpServer
from functions.runtime.adapter import function_of
from functions.runtime.batch import Job, Outcome, batch
from functions.telemetry.readings import Reading, Unreachable, open_readings
from knative.local.queues.workers import declare
from knative.manifests.queues import load_work_queues
from tests.support.absent import absent
from tests.support.database_servers import database_url, postgresql_server
from tests.support.local_runner import ROOT, until
from tests.support.queue_worker import Inbox, WorkQueue, inbox, wait_empty, work_queue
from tests.support.rabbitmq_server import RabbitServer

__all__ = ["database_url", "postgresql_server"]  # fixtures

TYPE = "dev.errands.telemetry.requested.v1"
TIME = "2026-12-01T14:00:00Z"


@pytest.fixture
def places() -> Iterator[Inbox]:
    with inbox() as server:
        yield server


@pytest.fixture
def made(rabbit: RabbitServer, places: Inbox, tmp_path: Path) -> Iterator[WorkQueue]:
    """A work queue of the telemetry function that keeps readings in SQLite."""
    variables = {
        "function_source": ROOT / "functions" / "telemetry" / "main.py",
        "readings_url": f"sqlite:///{tmp_path / 'readings.db'}",
        "work_batch_limit": 100,
        "work_prefetch": 300,
    }
    with work_queue(rabbit, places, tmp_path, **variables) as one:
        yield one


def reading(id_: str, data: dict[str, Any] | None = None, **attributes: str) -> Event:
    """One reading's event."""
    base = {"specversion": "1.0", "id": id_, "source": "/plants/1", "type": TYPE, "time": TIME}
    values = {"sensor": "s7", "metric": "temperature", "value": 21.5} if data is None else data
    fields = {**base, "datacontenttype": "application/json", **attributes}
    return Event(MappingProxyType(fields), json.dumps(values).encode())


def rows(file: Path) -> int:
    """How many readings are kept."""
    if not file.exists():
        return 0
    with sqlite3.connect(file, timeout=10) as db:
        made = db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'reading'").fetchone()[0]
        return int(db.execute("SELECT count(*) FROM reading").fetchone()[0]) if made else 0


def test_a_flood_is_kept_by_the_list_and_each_reading_once(made: WorkQueue, places: Inbox, tmp_path: Path) -> None:
    made.send(*(reading(f"r{number % 900}") for number in range(1_000)))

    made.start()

    until(lambda: rows(tmp_path / "readings.db") == 900)
    wait_empty(made)
    assert made.log.count("a batch of") < 100
    assert not places.events


def test_a_bad_reading_holds_up_no_other(made: WorkQueue, places: Inbox, tmp_path: Path) -> None:
    bad = reading("bad", {"sensor": "s7", "metric": "temperature", "value": "hot"})
    nul = reading("nul", {"sensor": "s\x007", "metric": "temperature", "value": 1})
    other = reading("other", type="dev.errands.ics.requested.v1")
    made.send(reading("r1"), bad, nul, other, reading("r2"))

    made.start()

    until(lambda: rows(tmp_path / "readings.db") == 2 and len(places.replies()) == 2 and places.dead_letters())
    wait_empty(made)
    assert {each.get("causationid") for each in places.replies()} == {"bad", "nul"}
    assert all(each.type == "dev.errands.telemetry.failed.v1" for each in places.replies())
    assert [each.id for each in places.dead_letters()] == ["other"]


def test_a_worker_killed_in_a_flood_loses_and_doubles_nothing(made: WorkQueue, tmp_path: Path) -> None:
    made.send(*(reading(f"r{number}") for number in range(5_000)))
    for _ in range(2):
        worker = made.start()
        before = rows(tmp_path / "readings.db")
        until(lambda before=before: rows(tmp_path / "readings.db") > before)  # type: ignore[misc]
        worker.kill()
        worker.wait()

    made.start()

    until(lambda: rows(tmp_path / "readings.db") == 5_000)
    wait_empty(made)


def test_readings_are_kept_once_in_either_database(database_url: str) -> None:
    some = [Reading("/p", str(number % 3), TIME, "s", "m", number, None) for number in range(5)]

    open_readings(database_url).keep(some)
    open_readings(database_url).keep(some)
    again = open_readings(database_url)
    again.keep([Reading("/p", "9", TIME, "s", "m", 1, "C")])

    assert count(database_url) == 4


def test_a_database_that_is_away_is_tried_again() -> None:
    with pytest.raises(Unreachable):
        open_readings("postgresql://nobody@127.0.0.1:1/nothing").keep([])


def test_a_url_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="must start with sqlite:/// or postgresql://, got 'mysql'"):
        open_readings("mysql://u:secret@h/d")


def count(url: str) -> int:
    """The rows of either database."""
    if url.startswith("sqlite"):
        return rows(Path(url.removeprefix("sqlite:///")))
    import psycopg

    with psycopg.connect(url) as db:
        found = db.execute("SELECT count(*) FROM reading").fetchone()
        return int(found[0]) if found else 0


def test_php_publishes_to_the_work_queue_over_amqp(made: WorkQueue, tmp_path: Path) -> None:
    if not shutil.which("php") or not Path("/usr/share/php/PhpAmqpLib").is_dir():
        absent("php-amqplib is not installed (apt-get install php-cli php-amqplib)")
    (telemetry,) = (each for each in load_work_queues(ROOT / "keda" / "base") if each.name == "telemetry")
    asyncio.run(declare(AmqpServer(url=made.rabbit.url), [telemetry]))

    done = publish_by_php(made.rabbit.url)

    assert done.returncode == 0, done.stderr + done.stdout
    assert done.stdout == "1200 readings are in the work queue\n"
    made.start(work_queue=telemetry.queue)
    until(lambda: rows(tmp_path / "readings.db") == 1_200)


def test_php_hears_when_no_work_queue_takes_its_events(rabbit: RabbitServer) -> None:
    if not shutil.which("php") or not Path("/usr/share/php/PhpAmqpLib").is_dir():
        absent("php-amqplib is not installed")
    (telemetry,) = (each for each in load_work_queues(ROOT / "keda" / "base") if each.name == "telemetry")
    asyncio.run(declare(AmqpServer(url=rabbit.url), [telemetry]))
    rabbit.control("delete_queue", telemetry.queue)

    done = publish_by_php(rabbit.url)

    assert done.returncode != 0
    assert "no work queue takes dev.errands.telemetry.requested.v1" in done.stderr + done.stdout


def publish_by_php(url: str) -> subprocess.CompletedProcess[str]:
    """Run the example."""
    command = ["php", str(ROOT / "keda" / "php" / "publish.php"), "1200"]
    environment = {**os.environ, "AMQP_URL": url}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


# --- the adapter of lists


class PackRequested(Struct, frozen=True):
    """A job of the tests."""

    n: int


class PackCompleted(Struct, frozen=True):
    """Its result."""

    n: int


def responses(handler: Any, *numbers: int | str) -> list[tuple[int, str | None]]:
    """Status and type of each answer to a list of jobs."""
    target = batch(PackRequested)(handler)
    base = {"specversion": "1.0", "source": "/t", "type": "dev.errands.pack.requested.v1"}
    events = [Event(MappingProxyType({**base, "id": str(n)}), json.dumps({"n": n}).encode()) for n in numbers]
    function = function_of(target)
    assert function is not None
    assert function.deliver_many is not None
    return [(each.status, each.headers.get("ce-type")) for each in function.deliver_many(events)]


COMPLETED = (200, "dev.errands.pack.completed.v1")
FAILED = (200, "dev.errands.pack.failed.v1")


def test_each_job_of_a_list_has_a_response_of_its_own() -> None:
    def handler(jobs: Sequence[Job[PackRequested]]) -> Sequence[Outcome]:
        outcomes = {1: PackCompleted(1), 2: None, 3: JobFailed("as-asked", "no"), 4: TryAgain("later")}
        return [outcomes[each.job.n] for each in jobs]

    assert responses(handler, 1, 2, "x", 3, 4) == [COMPLETED, (202, None), FAILED, FAILED, (503, None)]


def test_a_job_that_breaks_the_handler_spoils_only_itself() -> None:
    calls: list[int] = []

    def handler(jobs: Sequence[Job[PackRequested]]) -> Sequence[Outcome]:
        calls.append(len(jobs))
        if any(each.job.n == 2 for each in jobs):
            raise ZeroDivisionError("two")
        return [PackCompleted(each.job.n) for each in jobs]

    assert responses(handler, 1, 2, 3) == [COMPLETED, (500, None), COMPLETED]
    assert calls == [3, 1, 1, 1]


def test_a_dependency_that_is_down_is_asked_once_for_all() -> None:
    calls: list[int] = []

    def handler(jobs: Sequence[Job[PackRequested]]) -> Sequence[Outcome]:
        calls.append(len(jobs))
        raise TryAgain("the database is down")

    assert responses(handler, 1, 2, 3) == [(503, None)] * 3
    assert calls == [3]


def test_a_handler_that_forgets_a_job_is_a_bug_of_that_job() -> None:
    def handler(jobs: Sequence[Job[PackRequested]]) -> Sequence[Outcome]:
        return [None for each in jobs if each.job.n != 2]

    assert responses(handler, 1, 2) == [(202, None), (500, None)]
