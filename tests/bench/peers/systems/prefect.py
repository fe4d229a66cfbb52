"""Prefect 3 with its server."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

import httpx

from tests.bench.peers.environments import Environment
from tests.bench.peers.systems.base import APPS, Place, Running, System, end
from tests.bench.peers.systems.peer import workers_up
from tests.support.local_runner import until
from tests.support.ports import free_port

ENVIRONMENT: Final = Environment("prefect", ("prefect==3.9.1",))
START_S: Final = 90.0


@contextmanager
def up(place: Place, *, held: bool) -> Iterator[Running]:
    """Its server; the worker starts when it is released."""
    port = free_port()
    variables = {
        "PREFECT_HOME": str(place.folder / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_LOGGING_LEVEL": "WARNING",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    arguments = ["-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    server = place.start("server", [ENVIRONMENT.python, *arguments], place.environment | variables)
    try:
        until(partial(healthy, variables["PREFECT_API_URL"]), timeout_s=START_S, what="the server of Prefect")
        servers = {"Prefect server": lambda: [server.pid]}
        commands = [[APPS / "prefect_app.py"]]
        with workers_up(
            place, ENVIRONMENT, client="prefect_client", commands=commands, servers=servers, variables=variables
        ) as running:
            yield running
    finally:
        end([server])


def healthy(url: str) -> bool:
    """Whether it answers."""
    try:
        return httpx.get(f"{url}/health").status_code == 200
    except httpx.TransportError:
        return False


PREFECT: Final = System(
    name="prefect",
    title="Prefect 3",
    durability="in its server's SQLite database",
    settings="a background task, `serve(limit=10)`, one worker, its server with SQLite",
    up=up,
    versions=ENVIRONMENT.versions,
    missing=ENVIRONMENT.missing,
    threads=1,  # more at once are accepted more slowly
    noop_jobs=60,
    image_jobs=40,
    pace_per_s=2,  # a job costs the two cores some 100 ms
)
