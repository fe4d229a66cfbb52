"""A peer: the API's client and the workers run in an environment of its own, on the programs in apps/."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.bench.peers.environments import Environment
from tests.bench.peers.systems.base import Api, Place, Running, end

Command = Sequence[str | Path]


@contextmanager
def workers_up(
    place: Place,
    environment: Environment,
    *,
    client: str,
    commands: Sequence[Command],
    servers: Mapping[str, Callable[[], list[int]]],
    variables: Mapping[str, str] | None = None,
) -> Iterator[Running]:
    """Nothing but the API; the workers, arguments of the environment's interpreter, start when they are released."""
    given = place.environment | dict(variables or {})
    workers = []

    def release() -> None:
        for number, command in enumerate(commands):
            workers.append(place.start(f"worker-{number}", [environment.python, *command], given))

    try:
        yield Running(
            api=lambda: Api(place, environment.python, client, given),
            release=release,
            own=lambda: [each.pid for each in workers],
            servers=servers,
        )
    finally:
        end(workers)
