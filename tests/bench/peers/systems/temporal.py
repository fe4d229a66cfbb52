"""Temporal with its server, which .ci/temporal builds with Go."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.bench.peers.environments import Environment
from tests.bench.peers.systems.base import APPS, Place, Running, System, end
from tests.bench.peers.systems.peer import workers_up
from tests.support.local_runner import ROOT
from tests.support.ports import free_port

ENVIRONMENT: Final = Environment("temporal", ("temporalio==1.35.0",))
CONFIGURATION: Final = Path(__file__).with_suffix(".yaml")
BUILD: Final = ROOT / ".ci" / "temporal"
BUILT: Final = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "errands"


@contextmanager
def up(place: Place, *, held: bool) -> Iterator[Running]:
    """Its server; the workers start when they are released."""
    address = configure(place.folder)
    variables = {"BENCH_TEMPORAL": address}
    command: list[str | Path] = [program(), "--root", place.folder, "--config", "config", "--env", "bench"]
    server = place.start("server", [*command, "--allow-no-auth", "start"], place.environment)
    try:
        making = [ENVIRONMENT.python, APPS / "temporal_namespace.py"]
        subprocess.run(making, env=place.environment | variables, check=True, timeout=90)
        servers = {"Temporal server": lambda: [server.pid]}
        commands = [[APPS / "temporal_app.py"]] * 2
        with workers_up(
            place, ENVIRONMENT, client="temporal_client", commands=commands, servers=servers, variables=variables
        ) as running:
            yield running
    finally:
        end([server])


def configure(folder: Path) -> str:
    """Write the server's configuration; where it will listen."""
    ports = {f"PORT_{number}": str(free_port()) for number in range(1, 10)}
    values = {"DATABASE": str(folder / "temporal.db"), **ports}
    (folder / "config").mkdir()
    text = re.sub(r"DATABASE|PORT_\d", lambda found: values[found[0]], CONFIGURATION.read_text())
    (folder / "config" / "bench.yaml").write_text(text)
    return f"127.0.0.1:{ports['PORT_1']}"


def program() -> Path:
    """The server; `make bench PEERS=1` builds it."""
    return next(iter(sorted(BUILT.glob("temporal-*/server"))), BUILT / "temporal" / "server")


def build() -> None:
    """Once; some minutes."""
    path = f"{os.environ['PATH']}:/usr/local/go/bin"
    if not program().exists() and shutil.which("go", path=path):
        print("building the server of Temporal", flush=True)
        subprocess.run([BUILD], env=os.environ | {"PATH": path}, check=False, stdout=subprocess.DEVNULL)


def missing() -> str | None:
    """The environment, or the server."""
    return ENVIRONMENT.missing() or (None if program().exists() else "its server has to be built with Go: .ci/temporal")


def versions() -> dict[str, str]:
    """The SDK's, and the server's."""
    return ENVIRONMENT.versions() | {"temporal server": program().parent.name.rpartition("-")[2]}


TEMPORAL: Final = System(
    name="temporal",
    title="Temporal",
    durability="in its server's SQLite database, synchronous",
    settings="a workflow of one activity, 2 workers of 8 threads, its server with SQLite",
    up=up,
    versions=versions,
    missing=missing,
    noop_jobs=300,
)
