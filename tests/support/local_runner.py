"""Starts a real `errands up` for a test, on manifests that the test writes."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from events.http import STRUCTURED
from functions.runtime.running import find
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
ECHO = Path(__file__).parent / "echo_function.py"
REQUESTED = "dev.errands.echo.requested.v1"
COMPLETED = "dev.errands.echo.completed.v1"

SERVICE = """
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {{name: {name}}}
spec:
  template:
    metadata:
      annotations:
        autoscaling.knative.dev/min-scale: "{min_scale}"
        autoscaling.knative.dev/max-scale: "{max_scale}"
        autoscaling.knative.dev/window: {window}
    spec:
      containerConcurrency: {concurrency}
      timeoutSeconds: 30
      containers:
        - image: test
          envFrom: [{{configMapRef: {{name: errands}}}}]
          env:
            - {{name: FUNCTION_SOURCE, value: {source}}}
            - {{name: FUNCTION_TARGET, value: handle}}
            - {{name: THREADS, value: "8"}}
"""

TRIGGER = """
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata:
  name: {name}
  annotations: {{rabbitmq.eventing.knative.dev/parallelism: "{parallelism}"}}
spec:
  broker: test
  filter: {{attributes: {filter}}}
  subscriber: {{ref: {{apiVersion: serving.knative.dev/v1, kind: Service, name: {subscriber}}}}}
  delivery:
    retry: {retry}
    backoffPolicy: linear
    backoffDelay: {delay}
    timeout: {timeout}
    deadLetterSink: {{ref: {{apiVersion: serving.knative.dev/v1, kind: Service, name: deadletters}}}}
"""

BASE = """
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata: {name: test}
spec: {}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: errands}
data: {}
"""

SINK_BINDING = """
apiVersion: sources.knative.dev/v1
kind: SinkBinding
metadata: {{name: {name}}}
spec:
  subject: {{apiVersion: serving.knative.dev/v1, kind: Service, name: {name}}}
  sink: {{ref: {{apiVersion: eventing.knative.dev/v1, kind: Broker, name: test}}}}
"""


def service(name: str = "echo", *, source: Path = ECHO, **changes: Any) -> str:
    """A Service's manifest."""
    values = {"min_scale": 0, "max_scale": 2, "window": "60s", "concurrency": 8, **changes}
    return SERVICE.format(name=name, source=source, **values)


def trigger(name: str = "echo", *, subscriber: str = "echo", **changes: Any) -> str:
    """A Trigger's manifest."""
    values = {"filter": f"{{type: {REQUESTED}}}", "parallelism": 8, "retry": 2, "delay": "PT0.05S", "timeout": "PT10S"}
    return TRIGGER.format(name=name, subscriber=subscriber, **(values | changes))


def waits(longest: str, *documents: str) -> list[str]:
    """The manifests, and each Trigger of them has a longest wait."""
    annotation = f"annotations: {{errands.dev/longest-wait: {longest}, rabbitmq"
    return [each.replace("annotations: {rabbitmq", annotation) for each in documents]


def bound(name: str) -> str:
    """A SinkBinding's manifest: the Service of this name is told where the broker is."""
    return SINK_BINDING.format(name=name)


def sink() -> str:
    """The dead-letter sink and the Trigger that hears of what it tells, so that it is wanted by somebody."""
    return service(
        "deadletters", source=ROOT / "functions/deadletters/main.py", min_scale=1, max_scale=1, concurrency=0
    )


def front_door(**delivery: Any) -> tuple[str, ...]:
    """The gateway, and the Triggers by which it hears how jobs end: the runner's port is its own then."""
    source = ROOT / "functions/gateway/main.py"
    outcomes = [
        trigger(f"gateway-{each}", subscriber="gateway", filter=f"{{outcome: {each}}}", **delivery)
        for each in ("completed", "failed", "deadlettered")
    ]
    return (bound("gateway"), service("gateway", source=source, min_scale=1, max_scale=1, concurrency=0), *outcomes)


def write_manifests(folder: Path, documents: Sequence[str]) -> Path:
    """A folder of manifests as the runner reads it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "kustomization.yaml").write_text("resources: [all.yaml]\n")
    (folder / "all.yaml").write_text("---".join([BASE, bound("deadletters"), sink(), *documents]))
    return folder


def event(id_: str, data: dict[str, Any] | None = None, **attributes: str) -> dict[str, Any]:
    """A structured event for the echo function."""
    base = {"specversion": "1.0", "id": id_, "source": "/tests", "type": REQUESTED}
    return {**base, **attributes, "datacontenttype": "application/json", "data": data or {}}


def until(
    condition: Callable[[], Any], *, timeout_s: float = 120.0, poll_s: float = 0.02, what: str = "the condition"
) -> Any:
    """The first true value of a condition that is looked at again and again; fails after `timeout_s`."""
    end_s = time.monotonic() + timeout_s
    while time.monotonic() < end_s:
        found = condition()
        if found:
            return found
        time.sleep(poll_s)
    raise AssertionError(f"{what} did not come true within {timeout_s:g} s")


class Up:
    """A running `errands up`; its log is kept in memory-friendly form in a file."""

    def __init__(self, tmp_path: Path, manifests: Path, *arguments: str, prefix: Sequence[str] = ()) -> None:
        self.data = tmp_path / "data"
        self.log = tmp_path / "up.log"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self._command = [
            *prefix,
            sys.executable,
            "-m",
            "knative.cli.main",
            "up",
            "--no-lint",  # these manifests are for one machine
            "--data",
            str(self.data),
            "--port",
            str(self.port),
        ]
        self._command += ["--manifests", str(manifests), *arguments]
        self.client = httpx.Client(base_url=self.url, timeout=120)

    def __enter__(self) -> "Up":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> "Up":
        """Start it and wait until it is ready."""
        self.start_only()
        until(self._ready, what="errands up")
        return self

    def start_only(self) -> None:
        """Start it."""
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                self._command, stdout=log, stderr=log, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
            )

    def stop(self) -> int:
        """SIGTERM, and its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def kill(self) -> None:
        """SIGKILL, which it cannot prepare for."""
        self.process.kill()
        self.process.wait(60)

    def post(self, structured: dict[str, Any], *, path: str = "/", inside: bool = False) -> httpx.Response:
        """Send an event, as an API does, or from `inside`, as functions do."""
        headers = {"content-type": STRUCTURED, **(self.inside if inside else {})}
        return self.client.post(path, content=json.dumps(structured), headers=headers)

    @property
    def inside(self) -> dict[str, str]:
        """The headers of who has the secret of this start."""
        running = find(self.data)
        assert running
        return {"authorization": f"Bearer {running.token}"}

    def outcome(self, id_: str, *, wait_s: float = 60.0, source: str = "/tests") -> dict[str, Any] | None:
        """The job's last event, or None."""
        response = self.client.get("/jobs", params={"source": source, "id": id_, "wait_s": wait_s})
        return json.loads(response.content) if response.status_code == 200 else None

    def metric(self, name: str, **labels: str) -> float:
        """One figure of /metrics, 0 when it is not there."""
        listed = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
        wanted = f"{name}{{{listed}}}" if labels else name
        lines = self.client.get("/metrics").text.splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == wanted), 0.0)

    def rss_bytes(self) -> int:
        """The runner's own memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]

    def _ready(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"errands up ended with {self.process.returncode}: {self.log.read_text()[-2000:]}")
        try:
            return self.client.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False


def children(pid: int) -> list[int]:
    """A process' children and theirs."""
    with suppress(FileNotFoundError, ProcessLookupError):
        found = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return found + [grandchild for child in found for grandchild in children(child)]
    return []


@contextmanager
def up(tmp_path: Path, documents: Sequence[str], *arguments: str, prefix: Sequence[str] = ()) -> Iterator[Up]:
    """`errands up` on these Services and Triggers; `prefix` is a command that starts it."""
    with Up(tmp_path, write_manifests(tmp_path / "manifests", documents), *arguments, prefix=prefix) as runner:
        yield runner
