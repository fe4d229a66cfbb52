"""Reads `keda/base/*.yaml` into frozen dataclasses: the work queues, their workers and how far KEDA scales them.

A work queue is a ScaledJob, or a ScaledObject with its Deployment, whose container names a RabbitMQ queue in
`WORK_QUEUE`. The Bindings say which events come to that queue, the Policies how much it holds. The policy of retries is
the container's environment, which `keda/worker/settings.py` reads.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from knative.manifests.documents import ManifestDocument, Place
from knative.manifests.fields import positive, text, whole
from knative.manifests.manifests import (
    DeliverySpec,
    Manifests,
    Reference,
    Service,
    Trigger,
    environment_of,
    name_of,
    root_of,
)
from knative.manifests.probe import Probe, probe_of
from knative.manifests.reading import read_listed

WORK_QUEUES: Final = Path(__file__).parents[2] / "keda" / "base"  # our own
POLLING_S: Final = 30  # KEDA's own defaults (keda.sh/docs, ScaledObject specification)
COOLDOWN_S: Final = 300
DEFAULT_MAX: Final = 100
LARGEST: Final = 86_400  # of its numbers of workers and seconds
QUEUES: Final = ("queues", "quorum_queues", "all", "")  # what a Policy of a queue applies to; all, when it does not say
SINK: Final = "WORK_DEAD_LETTER_SINK"
EXCHANGE: Final = "WORK_EXCHANGE"


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """KEDA's numbers: `value` is how many ready messages one worker is for. A job's worker ends by itself."""

    kind: Literal["job", "deployment"]
    value: float
    activation: float
    minimum: int
    maximum: int
    polling_s: float
    cooldown_s: float

    def desired(self, ready: int) -> int:
        """How many workers so many ready messages want (KEDA: ceil(length / value), none at the activation value)."""
        wanted = math.ceil(ready / self.value) if ready > self.activation else 0
        return max(self.minimum, min(wanted, self.maximum))


@dataclass(frozen=True, kw_only=True, eq=False)
class WorkQueue:
    """One work queue: its queue, the types or outcomes of what comes to it, the worker's environment, its scaling.

    `limits` are those of the Policy that holds for the queue, by RabbitMQ's names such as `delivery-limit`.
    """

    name: str
    exchange: str
    queue: str
    keys: tuple[str, ...]
    environment: Mapping[str, str | Reference]
    config_maps: tuple[str, ...]
    delivery: DeliverySpec
    concurrency: int
    idle_s: float
    scaling: Scaling
    where: str
    root: Path
    limits: Mapping[str, int | str] = field(default_factory=dict)
    probe: Probe | None = None

    @property
    def service(self) -> Service:
        """The worker as a Service, for what treats both alike."""
        return Service(
            name=self.name,
            root=self.root,
            environment=self.environment,
            config_maps=self.config_maps,
            concurrency=self.concurrency,
            min_scale=self.scaling.minimum,
            max_scale=self.scaling.maximum,
            timeout_s=self.delivery.timeout_s,
            idle_s=self.idle_s,
            where=self.where,
            probe=self.probe,
        )


def load_work_queues(folder: Path) -> tuple[WorkQueue, ...]:
    """The work queues of a folder, none where there is no such folder; raises ManifestError for what cannot be
    honoured.
    """
    if not folder.is_dir():
        return ()
    by_kind: dict[str, list[ManifestDocument]] = {}
    for document in read_listed(folder):
        by_kind.setdefault(document.kind, []).append(document)
    bindings, policies = ([each.root["spec"] for each in by_kind.get(kind, [])] for kind in ("Binding", "Policy"))
    deployments = {name_of(each): each for each in by_kind.get("Deployment", [])}
    return tuple(
        _work_queue(document, _container(document, deployments), bindings, policies, root_of(folder))
        for kind in ("ScaledJob", "ScaledObject")
        for document in by_kind.get(kind, [])
    )


def _container(document: ManifestDocument, deployments: Mapping[str, ManifestDocument]) -> Place:
    """What KEDA scales: the job's container, or that of the Deployment."""
    spec = document.root["spec"]
    if document.kind == "ScaledJob":
        return spec["jobTargetRef"]["template"]["spec"]["containers"][0]
    name = spec["scaleTargetRef"]["name"]
    if text(name) not in deployments:
        raise name.error(f"a Deployment of these manifests is expected, got {text(name)!r}")
    return deployments[text(name)].root["spec"]["template"]["spec"]["containers"][0]


def _work_queue(
    document: ManifestDocument, container: Place, bindings: list[Place], policies: list[Place], root: Path
) -> WorkQueue:
    variables, config_maps = environment_of(container)
    values = {name: value for name, value in variables.items() if isinstance(value, str)}
    for name in ("FUNCTION_SOURCE", "FUNCTION_TARGET", "WORK_QUEUE", SINK):
        if name not in values:
            raise container.error(f"env {name} is required, with a value")
    queue = values["WORK_QUEUE"]
    scaling = _scaling(document, queue)
    bound = [each for each in bindings if text(each["destination"]) == queue]
    if not bound:
        raise document.root.error(f"a Binding to the queue {queue} is required: nothing would come to it")
    return WorkQueue(
        name=name_of(document),
        exchange=text(bound[0]["source"]),
        queue=queue,
        keys=tuple(text(each["routingKey"]) for each in bound),
        environment=variables,
        config_maps=config_maps,
        delivery=_delivery(container, values),
        concurrency=int(_number(container, values, "WORK_CONCURRENCY", "1")),
        idle_s=_number(container, values, "WORK_IDLE_S", "0") or scaling.cooldown_s,
        scaling=scaling,
        where=document.where,
        limits=limits_of(queue, policies),
        root=root,
        probe=probe_of(container),
    )


def limits_of(queue: str, policies: list[Place]) -> Mapping[str, int | str]:
    """The definition of the Policy that holds for a queue: RabbitMQ takes that of the highest priority alone."""
    held = [
        each
        for each in policies
        if each["applyTo"].text in QUEUES and re.search(text(each["pattern"]), queue) is not None
    ]
    if not held:
        return {}
    policy = max(held, key=lambda each: whole(each["priority"], 0, LARGEST, default=0))
    return {name: place.text or whole(place, 0, 2**53, default=0) for name, place in policy["definition"].members}


def _delivery(container: Place, values: Mapping[str, str]) -> DeliverySpec:
    policy = values.get("WORK_BACKOFF_POLICY")
    if policy not in ("linear", "exponential"):
        raise container.error(f"env WORK_BACKOFF_POLICY must be linear or exponential, got {policy!r}")
    return DeliverySpec(
        retry=int(_number(container, values, "WORK_RETRY")),
        backoff_policy="linear" if policy == "linear" else "exponential",
        backoff_delay_s=_number(container, values, "WORK_BACKOFF_DELAY_S"),
        timeout_s=_number(container, values, "WORK_TIMEOUT_S"),
        dead_letter_sink=values[SINK].removeprefix("http://").partition(".")[0],
    )


def _scaling(document: ManifestDocument, queue: str) -> Scaling:
    spec = document.root["spec"]
    metadata = _scaler(spec, queue)
    activation = metadata["activationValue"]
    return Scaling(
        kind="job" if document.kind == "ScaledJob" else "deployment",
        value=positive(metadata["value"]),
        activation=float(text(activation)) if activation else 0.0,
        minimum=whole(spec["minReplicaCount"], 0, LARGEST, default=0),
        maximum=whole(spec["maxReplicaCount"], 0, LARGEST, default=DEFAULT_MAX),
        polling_s=whole(spec["pollingInterval"], 0, LARGEST, default=POLLING_S),
        cooldown_s=whole(spec["cooldownPeriod"], 0, LARGEST, default=COOLDOWN_S),
    )


def _scaler(spec: Place, queue: str) -> Place:
    """The metadata of KEDA's trigger on the queue."""
    for trigger in spec["triggers"]:
        metadata = trigger["metadata"]
        if text(trigger["type"]) == "rabbitmq" and text(metadata["queueName"]) == queue:
            if text(metadata["mode"]) != "QueueLength":
                raise metadata["mode"].error(f"mode QueueLength is expected, got {text(metadata['mode'])!r}")
            return metadata
    raise spec["triggers"].error(f"a trigger of type rabbitmq on the queue {queue} is required")


def _number(container: Place, values: Mapping[str, str], name: str, default: str | None = None) -> float:
    value = values.get(name, default)
    if value is None or not value.replace(".", "", 1).isdigit():
        raise container.error(f"env {name} must be a number, got {value!r}")
    return float(value)


def work_of(trigger: Trigger, manifests: Manifests, work_queues: tuple[WorkQueue, ...]) -> WorkQueue | None:
    """The work queue that a Trigger's events take: its subscriber publishes to the exchange where their type or outcome
    is bound.
    """
    exchange = manifests.services[trigger.subscriber].environment.get(EXCHANGE)
    key = trigger.filter.get("type") or trigger.filter.get("outcome")  # functions/enqueue/publisher.py
    return next((each for each in work_queues if each.exchange == exchange and key in each.keys), None)
