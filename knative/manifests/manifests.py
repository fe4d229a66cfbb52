"""Reads `knative/base/*.yaml` into frozen dataclasses: the one declaration of routing, delivery, scaling and
environment.

What the local runner cannot honour is refused with file, line and reason, never passed over. Kinds that mean
something only to a cluster (storage, network, the RabbitMQ operators') are left alone.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

from knative.manifests.declared import (
    MAX_SCALE,
    MIN_SCALE,
    RETENTION,
    WINDOW,
    DeclaredDelivery,
    DeclaredService,
    DeclaredTrigger,
    Policy,
    go_duration_s,
)
from knative.manifests.documents import ManifestDocument, ManifestError, Place
from knative.manifests.fields import seconds, text, texts, whole
from knative.manifests.probe import Probe, probe_of
from knative.manifests.reading import read_listed

MANIFESTS: Final = Path(__file__).parents[1] / "base"  # our own

DEFAULT_CONCURRENCY: Final = 100  # containerConcurrency 0 means no limit; Serving's own target then is 100
DEFAULT_WINDOW_S: Final = 60.0  # autoscaling.knative.dev/window

# Kinds of Knative's own that would change where events go, and that this runner does not run.
KNATIVE_GROUP: Final = re.compile(r".*\.knative\.dev/.*")
CLUSTER_ONLY: Final = frozenset({"RabbitmqBrokerConfig", "EventType"})
HONOURED: Final = frozenset({"retry", "backoffPolicy", "backoffDelay", "timeout", "deadLetterSink"})


@dataclass(frozen=True, kw_only=True)
class DeliverySpec:
    """How a Trigger's events are tried: waits in seconds, the dead-letter sink as the name of a Service."""

    retry: int
    backoff_policy: Policy
    backoff_delay_s: float
    timeout_s: float
    dead_letter_sink: str

    def backoff_s(self, retry: int) -> float:
        """The wait before retry 1, 2, ..."""
        from functions.amqp.waits import backoff_s  # not above: the linter, which reads these too, stands alone

        return backoff_s(self.backoff_policy, self.backoff_delay_s, retry)


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """Routes the events whose attributes equal `filter` to a Service; `parallelism` of them at once.

    One that the function takes "not now" waits for `longest_wait_s` in all before its attempts are counted. One that
    begins a flow is taken at once, and the flow ends within `longest_flow_s`.
    """

    name: str
    filter: Mapping[str, str]
    subscriber: str
    delivery: DeliverySpec
    parallelism: int
    longest_wait_s: float = 0.0
    longest_flow_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Reference:
    """One key of a Secret or a ConfigMap."""

    kind: Literal["Secret", "ConfigMap"]
    name: str
    key: str
    optional: bool


@dataclass(frozen=True, kw_only=True)
class Service:
    """One function: its environment and how far it scales. `idle_s` is how long a process waits before it stops.

    Its FUNCTION_SOURCE is a path below `root`, the project of its manifests.
    """

    name: str
    root: Path
    environment: Mapping[str, str | Reference]
    config_maps: tuple[str, ...]
    concurrency: int
    min_scale: int
    max_scale: int
    timeout_s: float
    idle_s: float
    where: str
    probe: Probe | None = None


@dataclass(frozen=True, kw_only=True)
class PingSource:
    """Posts an event with `data` to a Service or, with `sink` None, to the broker, on a cron schedule."""

    name: str
    schedule: str
    timezone: str | None
    content_type: str
    data: str
    sink: str | None


@dataclass(frozen=True, kw_only=True)
class Manifests:
    """Everything that folders of manifests declare together."""

    broker: str
    services: Mapping[str, Service]
    triggers: tuple[Trigger, ...]
    pings: tuple[PingSource, ...]
    config_maps: Mapping[str, Mapping[str, str]]
    sink_bound: frozenset[str] = field(default_factory=frozenset)
    schemas: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # JSON Schemas of data, by event type

    def wanted_by(self, attributes: Mapping[str, str]) -> tuple[Trigger, ...]:
        """The Triggers whose filter an event matches: exactly, every attribute (the binding is x-match: all)."""
        return tuple(
            trigger
            for trigger in self._by_type.get(attributes.get("type", ""), self._of_any_type)
            if all(attributes.get(name) == value for name, value in trigger.filter.items())
        )

    @cached_property
    def _of_any_type(self) -> tuple[Trigger, ...]:
        return tuple(trigger for trigger in self.triggers if "type" not in trigger.filter)

    @cached_property
    def _by_type(self) -> Mapping[str, tuple[Trigger, ...]]:
        """The Triggers that an event of each known type may be for, in their order."""
        return {
            type_: tuple(trigger for trigger in self.triggers if trigger.filter.get("type", type_) == type_)
            for type_ in self.known_types
        }

    @property
    def known_types(self) -> tuple[str, ...]:
        """The event types that some Trigger names."""
        return tuple(sorted({trigger.filter["type"] for trigger in self.triggers if "type" in trigger.filter}))


def load(*folders: Path) -> Manifests:
    """Read the folders' kustomizations and the files they list; raise ManifestError for what cannot be honoured."""
    by_kind: dict[str, list[ManifestDocument]] = {}
    roots: dict[str, Path] = {}
    for folder in folders:
        for document in read_listed(folder):
            _refuse_unknown(document)
            _refuse_second(document, by_kind.get(document.kind, []))
            by_kind.setdefault(document.kind, []).append(document)
            roots.setdefault(document.file, root_of(folder))
    brokers = by_kind.get("Broker", [])
    if len(brokers) != 1:
        there = " and ".join(map(str, folders))
        reason = f"exactly one Broker is expected, got {len(brokers)}"
        raise ManifestError(f"{there}:1: {reason}" + ("" if brokers else "; Errands' own: --manifests builtin"))
    services = {each.name: each for each in (_service(one, roots[one.file]) for one in by_kind.get("Service", []))}
    default = brokers[0].root["spec"]["delivery"]
    bound = (each.root["spec"]["subject"]["name"] for each in by_kind.get("SinkBinding", []))
    return Manifests(
        broker=name_of(brokers[0]),
        services=services,
        triggers=tuple(_trigger(each, default, services) for each in by_kind.get("Trigger", [])),
        pings=tuple(_ping(each, services) for each in by_kind.get("PingSource", [])),
        config_maps={name_of(each): texts(each.root["data"]) for each in by_kind.get("ConfigMap", [])},
        sink_bound=frozenset(map(text, bound)),
        schemas=dict(filter(None, map(_schema, by_kind.get("EventType", [])))),
    )


def name_of(document: ManifestDocument) -> str:
    """The resource's name, which it must have."""
    return text(document.root["metadata"]["name"])


def environment_of(container: Place) -> tuple[dict[str, str | Reference], tuple[str, ...]]:
    """A container's variables, and the names of the ConfigMaps that it takes more from."""
    variables: dict[str, str | Reference] = {}
    for entry in container["env"]:
        source = entry["valueFrom"]
        if source["fieldRef"]:  # of the pod, such as its namespace: there is none here
            continue
        variables[text(entry["name"])] = _reference(source) if source else text(entry["value"])
    return variables, tuple(text(each["configMapRef"]["name"]) for each in container["envFrom"])


def root_of(folder: Path) -> Path:
    """The project of a folder of manifests: the folder above it, or above `knative/` where it is `knative/base/`."""
    resolved = folder.resolve()
    return resolved.parents[1] if resolved.name == "base" else resolved.parent


def _refuse_unknown(document: ManifestDocument) -> None:
    version, kind = text(document.root["apiVersion"]), text(document.root["kind"])
    ours = {"Broker", "Trigger", "PingSource", "SinkBinding", "Service"} | CLUSTER_ONLY
    if KNATIVE_GROUP.fullmatch(version) and kind not in ours:
        raise document.root["kind"].error(f"{kind} is not run here; expected one of {', '.join(sorted(ours))}")
    if kind == "Service" and not version.startswith("serving.knative.dev/"):
        raise document.root["apiVersion"].error(f"a Service must be of serving.knative.dev/v1, got {version}")


def _refuse_second(document: ManifestDocument, others: list[ManifestDocument]) -> None:
    """A resource of a name that another of its kind has: `kubectl apply` would put one in place of the other."""
    for other in others:
        if other.name and other.name == document.name and other.file != document.file:
            raise document.root["metadata"]["name"].error(
                f"{document.kind} {document.name!r} is declared in {other.where} too: give it another name"
            )


def _trigger(document: ManifestDocument, default: Place, services: Mapping[str, Service]) -> Trigger:
    declared = DeclaredTrigger(document)
    spec = declared.spec
    if spec["filters"]:
        raise spec["filters"].error("the RabbitMQ broker ignores filters and delivers all; use filter.attributes")
    delivery = spec["delivery"] or default  # a Trigger's delivery replaces the Broker's whole
    if not delivery:
        raise spec.error("a delivery with a deadLetterSink is required, here or on the Broker")
    attributes = texts(declared.attributes)
    for name, value in attributes.items():
        if not value or name == "datacontenttype":
            raise declared.attributes[name].error(f"a filter on {name}={value!r} never matches on the RabbitMQ broker")
    return Trigger(
        name=name_of(document),
        filter=attributes,
        subscriber=_service_name(spec["subscriber"], services),
        delivery=_delivery(DeclaredDelivery(delivery), services),
        parallelism=whole(declared.parallelism, 1, 1000, default=declared.workers),
        longest_wait_s=seconds(declared.longest_wait) if declared.longest_wait else 0.0,
        longest_flow_s=seconds(declared.longest_flow) if declared.longest_flow else 0.0,
    )


def _delivery(declared: DeclaredDelivery, services: Mapping[str, Service]) -> DeliverySpec:
    place = declared.place
    for name, member in place.members:
        if name not in HONOURED:
            raise member.error(f"{name} has no effect on the RabbitMQ broker")
    policy, delay = place["backoffPolicy"], place["backoffDelay"]
    if policy and text(policy) not in ("linear", "exponential"):
        raise policy.error(f"linear or exponential is expected, got {text(policy)!r}")
    return DeliverySpec(
        retry=whole(place["retry"], 0, 1000, default=declared.retry),
        backoff_policy=declared.policy,
        backoff_delay_s=seconds(delay) if delay else declared.delay_s,
        timeout_s=seconds(place["timeout"]),
        dead_letter_sink=_service_name(declared.sink, services),
    )


def _service_name(destination: Place, services: Mapping[str, Service]) -> str:
    name = text(destination["ref"]["name"])
    if text(destination["ref"]["kind"]) != "Service" or name not in services:
        expected = f"a Service of these manifests is expected ({', '.join(services)})"
        raise destination["ref"]["name"].error(f"{expected}, got {name!r}")
    return name


def _service(document: ManifestDocument, root: Path) -> Service:
    declared = DeclaredService(document)
    container, pod = declared.pod["containers"][0], declared.pod
    variables, config_maps = environment_of(container)
    if "FUNCTION_SOURCE" not in variables:
        raise container.error("env FUNCTION_SOURCE is required: the function's main.py")
    window_s = go_duration_s(declared.annotation(WINDOW).text)
    return Service(
        name=name_of(document),
        root=root,
        environment=variables,
        config_maps=config_maps,
        concurrency=whole(pod["containerConcurrency"], 0, 1000, default=0) or DEFAULT_CONCURRENCY,
        min_scale=whole(declared.annotation(MIN_SCALE), 0, 1000, default=0),
        max_scale=max(1, whole(declared.annotation(MAX_SCALE), 0, 1000, default=1)),
        timeout_s=float(whole(pod["timeoutSeconds"], 1, 3600, default=declared.timeout_s)),
        idle_s=(DEFAULT_WINDOW_S if window_s is None else window_s)
        + (go_duration_s(declared.annotation(RETENTION).text) or 0.0),
        where=document.where,
        probe=probe_of(container),
    )


def _reference(source: Place) -> Reference:
    kinds: dict[str, Literal["Secret", "ConfigMap"]] = {"secretKeyRef": "Secret", "configMapKeyRef": "ConfigMap"}
    for key, kind in kinds.items():
        found = source[key]
        if found:
            optional = found["optional"].value is True
            return Reference(kind=kind, name=text(found["name"]), key=text(found["key"]), optional=optional)
    raise source.error("secretKeyRef or configMapKeyRef is expected")


def _schema(document: ManifestDocument) -> tuple[str, dict[str, Any]] | None:
    """An EventType's type and the schema of its data, where it has one."""
    spec = document.root["spec"]
    given = spec["schemaData"]
    if not given:
        return None
    try:
        schema = json.loads(text(given))
    except ValueError as error:
        raise given.error(f"a JSON Schema is expected: {error}") from error
    if not isinstance(schema, dict):
        raise given.error("a JSON Schema is an object")
    return text(spec["type"]), schema


def _ping(document: ManifestDocument, services: Mapping[str, Service]) -> PingSource:
    spec = document.root["spec"]
    content_type, data = spec["contentType"], spec["data"]
    return PingSource(
        name=name_of(document),
        schedule=text(spec["schedule"]),
        timezone=text(spec["timezone"]) if spec["timezone"] else None,
        content_type=text(content_type) if content_type else "application/json",
        data=text(data) if data else "",
        sink=None if text(spec["sink"]["ref"]["kind"]) == "Broker" else _service_name(spec["sink"], services),
    )
