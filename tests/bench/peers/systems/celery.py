"""Celery on RabbitMQ."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from tests.bench.peers.environments import Environment
from tests.bench.peers.systems.base import Api, Place, Running, System, end

ENVIRONMENT: Final = Environment("celery", ("celery==5.7.0",))
FASTEST: Final = ("--without-gossip", "--without-mingle", "--without-heartbeat")


@contextmanager
def up(place: Place, *, held: bool, tuned: bool) -> Iterator[Running]:
    """Nothing but the API; its worker starts when it is released."""
    variables = place.environment | ({"BENCH_TUNED": "1", "BENCH_HTTP": "urllib3"} if tuned else {})
    workers = []

    def release() -> None:
        command: list[str | Path] = [ENVIRONMENT.python, "-m", "celery", "-A", "celery_app", "worker"]
        command += ["--loglevel", "WARNING", "--pool", "prefork", "--concurrency", "2", *(FASTEST if tuned else ())]
        workers.append(place.start("worker", command, variables))

    try:
        yield Running(
            api=lambda: Api(place, ENVIRONMENT.python, "celery_client", variables),
            release=release,
            own=lambda: [each.pid for each in workers],
            servers=place.rabbitmq,
        )
    finally:
        end(workers)


def _system(name: str, title: str, settings: str, *, tuned: bool) -> System:
    return System(
        name=name,
        title=title,
        durability="in a durable queue, persistent, confirmed; acknowledged when done",
        settings=settings,
        up=partial(up, tuned=tuned),
        versions=ENVIRONMENT.versions,
        missing=ENVIRONMENT.missing,
    )


SYSTEMS: Final[Sequence[System]] = (
    _system("celery", "Celery", "prefork 2, `task_acks_late`, `confirm_publish`, httpx", tuned=False),
    _system(
        "celery-fastest",
        "Celery, fastest settings",
        "as Celery, and `worker_prefetch_multiplier` 50, no gossip, mingle, heartbeat or remote control, urllib3",
        tuned=True,
    ),
)
