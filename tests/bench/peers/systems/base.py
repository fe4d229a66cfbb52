"""What every system is to a measurement."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, cast

from tests.bench.peers.receiver import Receiver
from tests.support.rabbitmq_server import BIN, RabbitServer

APPS: Final = Path(__file__).parent.parent / "apps"
LOG_LINES: Final = 40


@dataclass(frozen=True)
class Place:
    """Where one measurement of one system happens: a folder of its own, with the picture in it, and a callback URL."""

    folder: Path
    photo: bytes
    secret: str
    receiver: Receiver
    given: RabbitServer | None  # where it is installed
    vhost: str  # of its own

    @property
    def rabbit(self) -> RabbitServer:
        """The server, for a system that takes part only where there is one."""
        assert self.given is not None, "this system's `missing` must ask for RabbitMQ"
        return self.given

    @property
    def amqp_url(self) -> str:
        """Of the virtual host; empty without RabbitMQ."""
        return self.given.url + self.vhost if self.given else ""

    @property
    def rabbitmq(self) -> dict[str, Callable[[], list[int]]]:
        """The server's processes, for a system that uses it."""
        return {"RabbitMQ": lambda: [self.rabbit.pid]}

    @property
    def environment(self) -> dict[str, str]:
        """For the peers' programs."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": os.environ["HOME"],
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(APPS),
            "BENCH_AMQP_URL": self.amqp_url,
            "BENCH_CALLBACK_URL": self.receiver.url,
            "BENCH_SECRET": self.secret,
            "BENCH_FOLDER": str(self.folder),
            "PILLOW_BLOCKS_MAX": "32",  # its fastest: memory for pictures is kept, as Errands' image function does
        }

    def start(
        self, name: str, command: Sequence[str | Path], environment: Mapping[str, str]
    ) -> "subprocess.Popen[bytes]":
        """A process whose output goes to a file of its name here."""
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                command, env=dict(environment), cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )

    def logs(self) -> str:
        """The ends of what the processes printed, for whoever looks for the reason."""
        ends = []
        for file in sorted(self.folder.rglob("*.log")):
            ends += [f"--- {file.name}", *file.read_text(errors="replace").splitlines()[-LOG_LINES:]]
        return "\n".join(ends)


class Api:
    """The process that hands jobs over (apps/driver.py)."""

    def __init__(self, place: Place, python: str | Path, client: str, environment: Mapping[str, str]) -> None:
        with (place.folder / "api.log").open("ab") as log:
            self.process = subprocess.Popen(
                [python, APPS / "driver.py", client],
                env=dict(environment),
                cwd=place.folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )

    def order(self, **order: Any) -> None:
        """Begin to hand jobs over: kind, prefix, count, threads and per_s."""
        told = cast(IO[bytes], self.process.stdin)
        told.write(json.dumps(order).encode() + b"\n")
        told.flush()

    def moments(self) -> list[tuple[float, float]]:
        """When each of the order's jobs was handed over, and accepted."""
        line = cast(IO[bytes], self.process.stdout).readline()
        if not line:
            raise RuntimeError("the API's process ended")
        return [(handed_over_s, accepted_s) for handed_over_s, accepted_s in json.loads(line)]

    def close(self) -> None:
        """End it."""
        cast(IO[bytes], self.process.stdin).close()
        end([self.process])


@dataclass
class Running:
    """A system that is up. Workers start at `release`; functions that start by themselves can be held until it."""

    api: Callable[[], Api]
    release: Callable[[], None]
    own: Callable[[], list[int]]  # the processes that are the system's
    servers: Mapping[str, Callable[[], list[int]]] = field(default_factory=dict)  # that it needs beside it
    ready_s: float | None = None  # its own start, where it has one
    hold: Callable[[], object] | None = None  # where workers do not wait for `release` to start


@dataclass(frozen=True, kw_only=True)
class System:
    """A way to have jobs done. `up(place, held=...)` starts it."""

    name: str
    title: str
    durability: str
    settings: str
    up: Callable[..., AbstractContextManager[Running]]
    versions: Callable[[], dict[str, str]]
    from_zero: bool = False  # its functions run only while there is something to do
    from_nothing: bool = True  # its start from nothing can be measured
    parts: Sequence[str] = ("latency", "drain", "image")  # of a measurement, that it takes part in
    noop_jobs: int = 4_000
    image_jobs: int = 80
    threads: int = 8  # of each API process: as many jobs are being handed over at any moment
    pace_per_s: float = 20  # of the latency's jobs: less where it would not keep up
    missing: Callable[[], str | None] = lambda: None  # what it would need, when that is not there

    def told(self) -> dict[str, Any]:
        """What a reader of the figures has to know of it."""
        return {name: getattr(self, name) for name in ("title", "durability", "settings", "pace_per_s")}


def no_rabbitmq() -> str | None:
    """What is missing to run a server of one's own."""
    there = (BIN / "rabbitmq-server").exists() and shutil.which("epmd")
    return None if there else "RabbitMQ is not installed (apt-get install rabbitmq-server)"


def end(processes: Sequence["subprocess.Popen[bytes]"], *, grace_s: float = 15) -> None:
    """SIGTERM to each process' group, or to itself where it has none, and SIGKILL to what stays."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for each in processes:
            with suppress(ProcessLookupError):
                _signal(each.pid, number)
        for each in processes:
            with suppress(subprocess.TimeoutExpired):
                each.wait(grace_s)


def _signal(pid: int, number: signal.Signals) -> None:
    if os.getpgid(pid) == pid:
        os.killpg(pid, number)
    else:
        os.kill(pid, number)
