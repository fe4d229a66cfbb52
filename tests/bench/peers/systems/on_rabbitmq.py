"""Celery, Dramatiq and a bare pika consumer, all on RabbitMQ; and two bare processes, which are on nothing."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final

from tests.bench.peers.environments import Environment
from tests.bench.peers.systems.base import APPS, Place, Running, System, no_rabbitmq
from tests.bench.peers.systems.peer import Command, workers_up

CELERY: Final = Environment("celery", ("celery==5.7.0",))
DRAMATIQ: Final = Environment("dramatiq", ("dramatiq[rabbitmq]==2.2.1",))
PIKA: Final = Environment("pika", ("pika==1.4.4",))
CELERY_WORKER: Final = ("-m", "celery", "-A", "celery_app", "worker", "--loglevel", "WARNING")
PREFORK: Final = ("--pool", "prefork", "--concurrency", "2")
THREADS: Final = ("--pool", "threads", "--concurrency", "4")
SILENT: Final = ("--without-gossip", "--without-mingle", "--without-heartbeat")
DRAMATIQ_WORKER: Final = ["-m", "dramatiq", "dramatiq_app", "--processes", "2", "--threads", "8"]
CONFIRMED: Final = "in a durable classic queue, persistent and confirmed; acknowledged when done"


@contextmanager
def up(
    place: Place,
    *,
    held: bool,
    environment: Environment,
    client: str,
    commands: Sequence[Command],
    variables: Mapping[str, str],
) -> Iterator[Running]:
    """It is always held: workers start when they are released."""
    with workers_up(
        place, environment, client=client, commands=commands, servers=place.rabbitmq, variables=variables
    ) as running:
        yield running


def _system(
    environment: Environment,
    *commands: Command,
    name: str,
    title: str,
    settings: str,
    client: str,
    variables: Mapping[str, str] | None = None,
) -> System:
    return System(
        name=name,
        title=title,
        durability=CONFIRMED,
        settings=settings,
        up=partial(up, environment=environment, client=client, commands=commands, variables=variables or {}),
        versions=environment.versions,
        missing=lambda: environment.missing() or no_rabbitmq(),
    )


SYSTEMS: Final[Sequence[System]] = (
    _system(
        PIKA,
        *[[APPS / "pika_worker.py"]] * 2,
        name="pika",
        title="bare pika consumer",
        settings="2 processes, prefetch 4, acknowledged after the callback",
        client="pika_client",
    ),
    _system(
        CELERY,
        [*CELERY_WORKER, *PREFORK],
        name="celery",
        title="Celery",
        settings="prefork 2, `task_acks_late`, `confirm_publish`",
        client="celery_client",
    ),
    _system(
        CELERY,
        *[[*CELERY_WORKER, *THREADS, *SILENT, "--hostname", f"{number}@%h"] for number in range(2)],
        name="celery-fastest",
        title="Celery, fastest settings",
        settings="2 workers of 4 threads, prefetch multiplier 50, no gossip, mingle, heartbeat or remote control; "
        "urllib3",
        client="celery_client",
        variables={"BENCH_TUNED": "1", "BENCH_HTTP": "urllib3"},
    ),
    _system(
        DRAMATIQ,
        DRAMATIQ_WORKER,
        name="dramatiq",
        title="Dramatiq",
        settings="2 processes of 8 threads, `confirm_delivery`",
        client="dramatiq_client",
    ),
)


@contextmanager
def loop_up(place: Place, *, held: bool) -> Iterator[Running]:
    """Two processes that take jobs out of a folder: what this machine can do at most."""
    (place.folder / "jobs").mkdir()
    commands = [[APPS / "loop_worker.py"]] * 2
    with workers_up(place, PIKA, client="loop_client", commands=commands, servers={}) as running:
        yield running


LOOP: Final = System(
    name="loop",
    title="two bare processes in a loop",
    durability="none",
    settings="Pillow's fastest options, no broker, the same callback",
    up=loop_up,
    versions=dict,
    missing=PIKA.missing,
    parts=("image",),
)
