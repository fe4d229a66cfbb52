"""What the suite runs against: the runner on its embedded broker, on RabbitMQ, and the released Knative data plane."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import httpx

from functions.amqp.connection import connected
from functions.amqp.server import AmqpServer
from knative.local.broker.broker import DLQ
from knative.local.broker.topology import Names, declare
from knative.manifests.manifests import Trigger, load
from tests.support.local_runner import Up, until
from tests.support.ports import free_port
from tests.support.rabbitmq_server import RabbitServer

RELAY = Path(__file__).parent / "relay.py"
TYPE = "dev.errands.conformance-{}.requested.v1"

BROKER = """
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata: {name: conformance}
spec: {}
"""

SERVICE = """
---
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {{name: {name}}}
spec:
  template:
    metadata:
      annotations:
        autoscaling.knative.dev/min-scale: "1"
        autoscaling.knative.dev/max-scale: "1"
    spec:
      containerConcurrency: 50
      timeoutSeconds: 30
      containers:
        - image: test
          env:
            - {{name: FUNCTION_SOURCE, value: {relay}}}
            - {{name: FUNCTION_TARGET, value: handle}}
            - {{name: THREADS, value: "32"}}
            - {{name: RELAY_URL, value: "{url}"}}
"""

TRIGGER = """
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata:
  name: {name}
  annotations: {{rabbitmq.eventing.knative.dev/parallelism: "{parallelism}"}}
spec:
  broker: conformance
  filter: {{attributes: {filter}}}
  subscriber: {{ref: {{apiVersion: serving.knative.dev/v1, kind: Service, name: {subscriber}}}}}
  delivery:
    retry: {retry}
    backoffPolicy: {policy}
    backoffDelay: {delay}
    timeout: {timeout}
    deadLetterSink: {{ref: {{apiVersion: serving.knative.dev/v1, kind: Service, name: sink}}}}
"""

# One set of Triggers for the whole suite; each test sends events of its own ids.
TRIGGERS: tuple[dict[str, Any], ...] = (
    {"name": "plain"},
    {"name": "exponential", "policy": "exponential", "retry": 3},
    {"name": "once", "retry": 0},
    {"name": "serial", "parallelism": 1, "retry": 1, "delay": "PT1S", "timeout": "PT10S"},
    {"name": "patient", "retry": 2, "delay": "PT2S", "timeout": "PT30S"},
    {"name": "second", "filter": f"{{type: {TYPE.format('plain')}, tenant: acme}}", "subscriber": "second"},
    {"name": "counted", "filter": f"{{type: {TYPE.format('counted')}, count: '7'}}"},
    {"name": "replies", "filter": f"{{type: {TYPE.format('reply')}}}", "subscriber": "replies"},
)
DEFAULTS = {"parallelism": 8, "retry": 2, "policy": "linear", "delay": "PT0.2S", "timeout": "PT1S"}


def write_manifests(folder: Path, subscriber_url: str) -> Path:
    """The suite's Broker, Services and Triggers."""
    services = [SERVICE.format(name=each, relay=RELAY, url=subscriber_url) for each in SERVICES]
    triggers = [TRIGGER.format(**_trigger(each)) for each in TRIGGERS]
    folder.mkdir(parents=True)
    (folder / "kustomization.yaml").write_text("resources: [all.yaml]\n")
    (folder / "all.yaml").write_text("".join([BROKER, *services, *triggers]))
    return folder


SERVICES = ("worker", "second", "replies", "sink")


def _trigger(changes: Mapping[str, Any]) -> dict[str, Any]:
    filter_ = f"{{type: {TYPE.format(changes['name'])}}}"
    return {"subscriber": "worker", "filter": filter_, **DEFAULTS, **changes}


class System(Protocol):
    """A Broker with the suite's Triggers, running; events go to `url`."""

    url: str

    def start(self) -> None:
        """Start all its parts and wait until they work."""

    def stop(self) -> None:
        """SIGTERM to each part, and wait for their ends."""

    def kill(self) -> None:
        """SIGKILL to each part."""

    def revive(self) -> None:
        """Start what has ended by itself, as Kubernetes would."""


class Runner:
    """`errands up`."""

    def __init__(self, folder: Path, manifests: Path, *arguments: str) -> None:
        self._up = Up(folder, manifests, *arguments)
        self.url = self._up.url

    def start(self) -> None:
        self._up.start()

    def stop(self) -> None:
        self._up.stop()

    def kill(self) -> None:
        self._up.kill()

    def revive(self) -> None:
        """It does not end by itself."""


class KnativeDataPlane:
    """The ingress and the dispatchers of eventing-rabbitmq, as its controller would start them."""

    def __init__(
        self,
        folder: Path,
        manifests: Path,
        *,
        programs: Path,
        rabbit: RabbitServer,
        vhost: str,
        subscriber: Callable[[str], str],
        port: int | None = None,
    ) -> None:
        """`subscriber` tells the URL of a Service."""
        self._subscriber = subscriber
        self._folder = folder
        self._programs = programs
        self._rabbit = rabbit
        self._vhost = vhost
        self.manifests = load(manifests)
        self._names = Names(self.manifests.broker)
        self._subscribers = {
            name: service.environment.get("RELAY_URL") for name, service in self.manifests.services.items()
        }
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self.parts: dict[str, subprocess.Popen[bytes]] = {}

    def declare(self) -> None:
        """What the controllers would have made in RabbitMQ."""

        async def work() -> None:
            async with connected(AmqpServer(url=self._rabbit.url + self._vhost)) as connection:
                await declare(await connection.channel(), self._names, self.manifests.triggers)

        asyncio.run(work())

    def start(self) -> None:
        self.declare()
        for name in self.part_names:
            self.start_part(name)
        until(self._ready, what="the ingress of Knative")

    @property
    def part_names(self) -> list[str]:
        """The ingress, and for each Trigger its dispatcher and that of its dead letters."""
        return ["ingress", *(each.name + end for each in self.manifests.triggers for end in ("", DLQ))]

    def start_part(self, name: str) -> None:
        """One process; Kubernetes would start it again when it ends."""
        environment = {"PATH": os.environ["PATH"], "RABBITMQ_VHOST": self._vhost, **self._environment(name)}
        program = self._programs / ("ingress" if name == "ingress" else "dispatcher")
        with (self._folder / "knative.log").open("a") as log:
            self.parts[name] = subprocess.Popen([program], env=environment, stdout=log, stderr=log)

    def stop(self) -> None:
        """SIGTERM to the dispatchers; not to the ingress, which would first wait 45 s to be out of its endpoints."""
        ingress = self.parts.pop("ingress")
        self._end(signal.SIGTERM)
        self.parts["ingress"] = ingress
        self._end(signal.SIGKILL)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def revive(self) -> None:
        for name, part in self.parts.items():
            if part.poll() is not None:
                self.start_part(name)

    def _end(self, number: signal.Signals) -> None:
        for each in self.parts.values():
            each.send_signal(number)
        for each in self.parts.values():
            each.wait(60)
        self.parts.clear()

    def _environment(self, name: str) -> dict[str, str]:
        url = self._rabbit.url
        if name == "ingress":
            return {"BROKER_URL": url, "EXCHANGE_NAME": self._names.exchange, "PORT": str(self.port)}
        trigger = next(each for each in self.manifests.triggers if each.name == name.removesuffix(DLQ))
        settings = {"RABBIT_URL": url, "QUEUE_NAME": self._names.queue(name), "BROKER_INGRESS_URL": self.url}
        if name.endswith(DLQ):
            settings |= {"DLX": "true", "SUBSCRIBER": self._subscriber(trigger.delivery.dead_letter_sink)}
        else:
            settings |= {"DLX_NAME": self._names.dead_letter_exchange(name)}
            settings |= {"SUBSCRIBER": self._subscriber(trigger.subscriber)}
        return settings | _delivery(trigger)

    def _ready(self) -> bool:
        """The ingress listens, is connected, and every queue has its consumer."""
        ended = [name for name, each in self.parts.items() if each.poll() is not None]
        assert not ended, f"{ended} ended: {(self._folder / 'knative.log').read_text()[-2000:]}"
        try:
            httpx.get(self.url)
        except httpx.TransportError:
            return False
        rows = self._rabbit.control("list_queues", "-p", self._vhost, "name", "consumers").splitlines()[1:]
        consumers = dict(row.split("\t") for row in rows)
        return all(consumers.get(self._names.queue(name)) != "0" for name in self.part_names if name != "ingress")


def _delivery(trigger: Trigger) -> dict[str, str]:
    """A Trigger's delivery as the controller hands it to a dispatcher (pkg/reconciler/trigger/resources)."""
    delivery = trigger.delivery
    return {
        "RETRY": str(delivery.retry),
        "BACKOFF_POLICY": delivery.backoff_policy,
        "BACKOFF_DELAY": f"{delivery.backoff_delay_s}s",
        "TIMEOUT": f"{delivery.timeout_s}s",
        "PARALLELISM": str(trigger.parallelism),
    }
