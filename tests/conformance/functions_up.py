"""The functions of some manifests as processes by themselves, as pods would be: for Knative's own data plane."""

import subprocess
import sys
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx

from knative.local.process.environment import Machine, environment, make_secrets
from knative.manifests.manifests import load
from tests.support.local_runner import ROOT, until
from tests.support.ports import free_port


class Functions:
    """One process for each Service, each on a port of its own."""

    def __init__(
        self,
        manifests: Path,
        folder: Path,
        *,
        ingress_url: str,
        settings: Mapping[str, Mapping[str, str]],
        door: int = 0,
    ) -> None:
        """`door` is the gateway's port for APIs."""
        self._folder = folder
        read = load(manifests)
        machine = Machine(
            data=folder.resolve(),
            ingress_url=ingress_url,
            ingress_secret="secret",
            invoker_secret="",
            public_url=ingress_url,
            token=None,
            settings=settings,
            front_door=("127.0.0.1", door),
            work_queue={
                "AMQP_URL": "amqp://127.0.0.1:1",
                "WORK_EXCHANGE": "work",
            },  # no work queue here, and no job of one
        )
        make_secrets(machine)
        self._environments = {
            name: environment(service, read, machine) | {"PORT": str(free_port()), "HOST": "127.0.0.1"}
            for name, service in read.services.items()
        }
        if gateway := self._environments.get("gateway"):  # no runner is behind it
            gateway |= {"GATEWAY_BEHIND": "", "GATEWAY_DEAD_LETTER_SINK": self.url("deadletters")}
        for variables in self._environments.values():
            del variables["ERRANDS_RUNNER_PID"]  # it would end with the thread that started it
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def url(self, service: str) -> str:
        """Where its events are posted."""
        return f"http://127.0.0.1:{self._environments[service]['PORT']}/"

    def log(self, service: str) -> Path:
        """What its processes printed."""
        return self._folder / f"{service}.log"

    def start(self, service: str) -> None:
        """One process; it is ready a little later."""
        with self.log(service).open("a") as log:
            self.processes[service] = subprocess.Popen(
                [sys.executable, "-m", "functions.runtime.serve"],
                env=self._environments[service],
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )

    def revive(self, *, except_for: Container[str] = ()) -> None:
        """Start those that have ended."""
        for service, process in list(self.processes.items()):
            if process.poll() is not None and service not in except_for:
                self.start(service)

    def ready(self, service: str) -> bool:
        """Whether it answers."""
        try:
            return httpx.get(self.url(service) + "healthz").status_code == 200
        except httpx.TransportError:
            return False

    def start_all(self) -> None:
        """All, and wait until each answers."""
        for service in self._environments:
            self.start(service)
        for service in self._environments:
            until(partial(self.ready, service), what=f"the function {service}")

    def end(self) -> None:
        """SIGTERM to each; what is in flight is finished."""
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait(60)


@contextmanager
def running(functions: Functions) -> Iterator[Functions]:
    """All up, ended afterwards."""
    try:
        functions.start_all()
        yield functions
    finally:
        functions.end()
