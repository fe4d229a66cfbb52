"""Ten thousand sensors: a flood over AMQP, workers that are killed, rows in PostgreSQL, and a query back."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec
import psycopg
import pytest

from events.http import Event
from tests.support.database_servers import new_database, postgresql_server
from tests.support.local_runner import ROOT, until
from tests.support.queue_worker import WorkQueue, inbox, work_queue
from tests.support.rabbitmq_server import RabbitServer

__all__ = ["postgresql_server"]

pytestmark = [pytest.mark.slow, pytest.mark.postgresql]

SENSORS: Final = 10_000
READINGS: Final = 2  # of each sensor, an hour apart
PREFETCH: Final = 1_000


def reading(number: int) -> Event:
    sensor, hour = number % SENSORS, number // SENSORS
    attributes = {
        "specversion": "1.0",
        "id": f"r{number:06}",
        "source": "/plants/1",
        "type": "dev.errands.telemetry.requested.v1",
        "time": f"2026-12-01T{12 + hour}:00:00Z",
        "datacontenttype": "application/json",
    }
    data = {"sensor": f"s{sensor}", "metric": "temperature", "value": 20.0 + hour, "unit": "C"}
    return Event(MappingProxyType(attributes), msgspec.json.encode(data))


def rows(database: str) -> int:
    """How many readings are kept; 0 before the first worker has made the table."""
    with psycopg.connect(database) as db:
        if db.execute("SELECT to_regclass('reading')").fetchone() == (None,):
            return 0
        [count] = db.execute("SELECT count(*) FROM reading").fetchone() or [0]
        return int(count)


@pytest.fixture
def lane(rabbit: RabbitServer, tmp_path: Path, postgresql_server: str) -> Iterator[tuple[WorkQueue, str]]:
    """The work queue that KEDA scales on a cluster, and the database of its workers."""
    database = new_database(postgresql_server)
    settings = {
        "function_source": ROOT / "functions/telemetry/main.py",
        "readings_url": database,
        "work_batch_limit": 500,
        "work_prefetch": PREFETCH,
        "work_retry": 100,
        "log_level": "WARNING",
    }
    with inbox() as places, work_queue(rabbit, places, tmp_path, **settings) as made:
        made.workers_wait = False
        yield made, database


def test_each_reading_is_kept_once_though_workers_are_killed_and_the_hours_are_asked_for(
    lane: tuple[WorkQueue, str],
) -> None:
    flood, database = lane
    flood.send(*map(reading, range(SENSORS * READINGS)))
    for part in (1, 2):
        worker = flood.start()
        until(lambda part=part: rows(database) >= part * SENSORS * READINGS // 4, poll_s=0.05)  # type: ignore[misc]
        os.killpg(worker.pid, signal.SIGKILL)
    flood.start()
    flood.send(*map(reading, range(100)))  # some come again
    until(lambda: rows(database) == SENSORS * READINGS and flood.ready() == 0)
    flood.stop()

    with psycopg.connect(database) as db:
        query = (
            "SELECT date_trunc('hour', taken_at), count(DISTINCT sensor), avg(value) FROM reading GROUP BY 1 ORDER BY 1"
        )
        hours = db.execute(query).fetchall()
    assert rows(database) == SENSORS * READINGS
    assert [(sensors, mean) for _, sensors, mean in hours] == [(SENSORS, 20.0), (SENSORS, 21.0)]
    assert not flood.places.dead_letters()
