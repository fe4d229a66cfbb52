"""Reads `knative/base/*.yaml` into frozen dataclasses: the one declaration of routing, delivery, scaling and
environment.

What the local runner cannot honour is refused with file, line and reason, never passed over. Kinds that mean
something only to a cluster (storage, network, the RabbitMQ operators') are left alone.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

import yaml

MANIFESTS: Final = Path(__file__).parents[1] / "base"  # our own

DEFAULT_RETRY: Final = 5  # a `delivery` without `retry` (eventing-rabbitmq dispatcher)
DEFAULT_TIMEOUT_S: Final = 300.0  # a Service without timeoutSeconds (serving defaults)
DEFAULT_CONCURRENCY: Final = 100  # containerConcurrency 0 means no limit; Serving's own target then is 100
DEFAULT_WINDOW_S: Final = 60.0  # autoscaling.knative.dev/window

PARALLELISM: Final = "rabbitmq.eventing.knative.dev/parallelism"
MIN_SCALE: Final = "autoscaling.knative.dev/min-scale"
MAX_SCALE: Final = "autoscaling.knative.dev/max-scale"
WINDOW: Final = "autoscaling.knative.dev/window"
RETENTION: Final = "autoscaling.knative.dev/scale-to-zero-pod-retention-period"

# Kinds of Knative's own that would change where events go, and that this runner does not run.
KNATIVE_GROUP = re.compile(r".*\.knative\.dev/.*")
CLUSTER_ONLY: Final = frozenset({"RabbitmqBrokerConfig"})


class ManifestError(ValueError):
    """A manifest that cannot be honoured; the message is `file:line: reason`."""


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """How a Trigger's events are tried: waits in seconds, the dead-letter sink as the name of a Service."""

    retry: int
    backoff_policy: Literal["linear", "exponential"]
    backoff_delay_s: float
    timeout_s: float
    dead_letter_sink: str

    def backoff_s(self, retry: int) -> float:
        """The wait before retry 1, 2, ... (eventing-rabbitmq: linear delay * k, exponential delay * 2^k)."""
        return self.backoff_delay_s * (retry if self.backoff_policy == "linear" else 2**retry)


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """Routes the events whose attributes equal `filter` to a Service; `parallelism` of them at once."""

    name: str
    filter: Mapping[str, str]
    subscriber: str
    delivery: Delivery
    parallelism: int


@dataclass(frozen=True, kw_only=True)
class Reference:
    """One key of a Secret or a ConfigMap."""

    kind: Literal["Secret", "ConfigMap"]
    name: str
    key: str
    optional: bool


@dataclass(frozen=True, kw_only=True)
class Service:
    """One function: its environment and how far it scales. `idle_s` is how long a process waits before it stops."""

    name: str
    environment: Mapping[str, str | Reference]
    config_maps: tuple[str, ...]
    concurrency: int
    min_scale: int
    max_scale: int
    timeout_s: float
    idle_s: float
    where: str


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
    """Everything that a folder of manifests declares."""

    root: Path
    broker: str
    services: Mapping[str, Service]
    triggers: tuple[Trigger, ...]
    pings: tuple[PingSource, ...]
    config_maps: Mapping[str, Mapping[str, str]]
    sink_bound: frozenset[str] = field(default_factory=frozenset)

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
        """Those that an event of each known type may be for, in their order."""
        return {
            type_: tuple(trigger for trigger in self.triggers if trigger.filter.get("type", type_) == type_)
            for type_ in self.known_types
        }

    @property
    def known_types(self) -> tuple[str, ...]:
        """The event types that some Trigger names."""
        return tuple(sorted({trigger.filter["type"] for trigger in self.triggers if "type" in trigger.filter}))


def load(folder: Path) -> Manifests:
    """Read the folder's kustomization and the files it lists; raise ManifestError for what cannot be honoured."""
    by_kind: dict[str, list[Node]] = {}
    for document in documents(folder):
        _refuse_unknown(document)
        by_kind.setdefault(document["kind"].text(), []).append(document)
    brokers = by_kind.get("Broker", [])
    if len(brokers) != 1:
        raise ManifestError(f"{folder}:1: exactly one Broker is expected, got {len(brokers)}")
    services = {each.name: each for each in (_service(one) for one in by_kind.get("Service", []))}
    default = brokers[0]["spec"].get("delivery")
    return Manifests(
        root=_root(folder.resolve()),
        broker=brokers[0]["metadata"]["name"].text(),
        services=services,
        triggers=tuple(_trigger(each, default, services) for each in by_kind.get("Trigger", [])),
        pings=tuple(_ping(each, services) for each in by_kind.get("PingSource", [])),
        config_maps={each["metadata"]["name"].text(): each["data"].mapping() for each in by_kind.get("ConfigMap", [])},
        sink_bound=frozenset(each["spec"]["subject"]["name"].text() for each in by_kind.get("SinkBinding", [])),
    )


def _root(folder: Path) -> Path:
    """The project of a folder of manifests: the folder above it, or above `knative/` where it is `knative/base/`."""
    return folder.parents[1] if folder.name == "base" else folder.parent


class Node:
    """A YAML node that knows its file and line, for messages."""

    def __init__(self, node: yaml.Node, file: Path) -> None:
        self._node = node
        self._file = file

    @property
    def where(self) -> str:
        """`file:line` of this node."""
        return f"{self._file}:{self._node.start_mark.line + 1}"

    def error(self, reason: str) -> ManifestError:
        """An error that points here."""
        return ManifestError(f"{self.where}: {reason}")

    def get(self, key: str) -> "Node | None":
        """The value of an optional key."""
        if not isinstance(self._node, yaml.MappingNode):
            raise self.error("a mapping is expected")
        found = [value for name, value in self._node.value if name.value == key]
        return Node(found[0], self._file) if found else None

    def __getitem__(self, key: str) -> "Node":
        found = self.get(key)
        if found is None:
            raise self.error(f"{key} is required")
        return found

    def items(self) -> list["Node"]:
        """The members of a list."""
        if not isinstance(self._node, yaml.SequenceNode):
            raise self.error("a list is expected")
        return [Node(each, self._file) for each in self._node.value]

    def names(self) -> tuple[str, ...]:
        """The names of a mapping."""
        return tuple(name.value for name, _ in self._node.value)

    def text(self) -> str:
        """A scalar's text."""
        if not isinstance(self._node, yaml.ScalarNode):
            raise self.error("a single value is expected")
        return str(self._node.value)

    def mapping(self) -> dict[str, str]:
        """A mapping of texts."""
        return {name: self[name].text() for name in self.names()}

    def integer(self, lowest: int, highest: int) -> int:
        """A whole number within bounds."""
        if not re.fullmatch(r"\d{1,9}", self.text()) or not lowest <= int(self.text()) <= highest:
            raise self.error(f"a whole number from {lowest} to {highest} is expected, got {self.text()!r}")
        return int(self.text())


def duration_s(node: Node) -> float:
    """Seconds of an ISO 8601 duration of hours, minutes and seconds (`PT1M30S`, `PT0.2S`)."""
    parts = re.fullmatch(r"PT(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?", node.text())
    if parts is None or not any(parts.groups()):
        raise node.error(f"an ISO 8601 duration such as PT30S is expected, got {node.text()!r}")
    hours, minutes, seconds = (float(each or 0) for each in parts.groups())
    return hours * 3600 + minutes * 60 + seconds


def documents(folder: Path) -> Iterator[Node]:
    """Every document of the files that the folder's kustomization lists."""
    listing = folder / "kustomization.yaml"
    if not listing.is_file():
        raise ManifestError(f"{listing}:1: there is no such file: a folder of manifests lists its files in it")
    for kustomization in _parse(listing):
        for key in kustomization.names():
            if key not in ("apiVersion", "kind", "resources"):
                raise kustomization[key].error(f"{key} is not honoured here; render it first with kubectl kustomize")
        for resource in kustomization["resources"].items():
            file = folder / resource.text()
            if not file.is_file():
                raise resource.error(f"there is no file {file}")
            yield from _parse(file)


def _parse(file: Path) -> Iterator[Node]:
    try:
        for document in yaml.compose_all(file.read_text(), Loader=yaml.SafeLoader):
            if isinstance(document, yaml.MappingNode):
                yield Node(document, file)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ManifestError(f"{file}:{line}: not YAML: {error.problem}") from error


def _refuse_unknown(document: Node) -> None:
    version, kind = document["apiVersion"].text(), document["kind"].text()
    ours = {"Broker", "Trigger", "PingSource", "SinkBinding", "Service"} | CLUSTER_ONLY
    if KNATIVE_GROUP.fullmatch(version) and kind not in ours:
        raise document["kind"].error(f"{kind} is not run here; expected one of {', '.join(sorted(ours))}")
    if kind == "Service" and not version.startswith("serving.knative.dev/"):
        raise document["apiVersion"].error(f"a Service must be of serving.knative.dev/v1, got {version}")


def _trigger(document: Node, default: Node | None, services: Mapping[str, Service]) -> Trigger:
    spec = document["spec"]
    if spec.get("filters") is not None:
        raise spec["filters"].error("the RabbitMQ broker ignores filters and delivers all; use filter.attributes")
    delivery = spec.get("delivery") or default  # a Trigger's delivery replaces the Broker's whole
    if delivery is None:
        raise spec.error("a delivery with a deadLetterSink is required, here or on the Broker")
    attributes = spec["filter"]["attributes"]
    for name, value in attributes.mapping().items():
        if not value or name == "datacontenttype":
            raise attributes[name].error(f"a filter on {name}={value!r} never matches on the RabbitMQ broker")
    annotations = document["metadata"].get("annotations")
    parallelism = annotations.get(PARALLELISM) if annotations else None
    return Trigger(
        name=document["metadata"]["name"].text(),
        filter=attributes.mapping(),
        subscriber=_service_name(spec["subscriber"], services),
        delivery=_delivery(delivery, services),
        parallelism=parallelism.integer(1, 1000) if parallelism else 1,
    )


def _delivery(node: Node, services: Mapping[str, Service]) -> Delivery:
    for key in node.names():
        if key not in ("retry", "backoffPolicy", "backoffDelay", "timeout", "deadLetterSink"):
            raise node[key].error(f"{key} has no effect on the RabbitMQ broker")
    policy = node.get("backoffPolicy")
    if policy and policy.text() not in ("linear", "exponential"):
        raise policy.error(f"linear or exponential is expected, got {policy.text()!r}")
    retry, delay = node.get("retry"), node.get("backoffDelay")
    return Delivery(
        retry=retry.integer(0, 1000) if retry else DEFAULT_RETRY,
        backoff_policy="linear" if policy and policy.text() == "linear" else "exponential",
        backoff_delay_s=duration_s(delay) if delay else 0.2,
        timeout_s=duration_s(node["timeout"]),
        dead_letter_sink=_service_name(node["deadLetterSink"], services),
    )


def _service_name(destination: Node, services: Mapping[str, Service]) -> str:
    name = destination["ref"]["name"]
    if destination["ref"]["kind"].text() != "Service" or name.text() not in services:
        raise name.error(f"a Service of these manifests is expected ({', '.join(services)}), got {name.text()!r}")
    return name.text()


def _service(document: Node) -> Service:
    template = document["spec"]["template"]
    annotations = template["metadata"]["annotations"].mapping() if template.get("metadata") else {}
    marked = template["metadata"]["annotations"] if annotations else template
    container = template["spec"]["containers"].items()[0]
    concurrency, timeout = template["spec"].get("containerConcurrency"), template["spec"].get("timeoutSeconds")
    scale = {key: marked[key].integer(0, 1000) for key in (MIN_SCALE, MAX_SCALE) if key in annotations}
    variables, config_maps = environment_of(container)
    if "FUNCTION_SOURCE" not in variables:
        raise container.error("env FUNCTION_SOURCE is required: the function's main.py")
    return Service(
        name=document["metadata"]["name"].text(),
        environment=variables,
        config_maps=config_maps,
        concurrency=(concurrency.integer(0, 1000) if concurrency else 0) or DEFAULT_CONCURRENCY,
        min_scale=scale.get(MIN_SCALE, 0),
        max_scale=max(1, scale.get(MAX_SCALE, 1)),
        timeout_s=float(timeout.integer(1, 3600)) if timeout else DEFAULT_TIMEOUT_S,
        idle_s=_go_duration_s(annotations.get(WINDOW), DEFAULT_WINDOW_S)
        + _go_duration_s(annotations.get(RETENTION), 0),
        where=document.where,
    )


def environment_of(container: Node) -> tuple[dict[str, str | Reference], tuple[str, ...]]:
    """A container's variables, and the names of the ConfigMaps that it takes more from."""
    variables: dict[str, str | Reference] = {}
    listed, from_ = container.get("env"), container.get("envFrom")
    for entry in listed.items() if listed else []:
        source = entry.get("valueFrom")
        if source and source.get("fieldRef"):  # of the pod, such as its namespace: there is none here
            continue
        variables[entry["name"].text()] = _reference(source) if source else entry["value"].text()
    return variables, tuple(each["configMapRef"]["name"].text() for each in (from_.items() if from_ else []))


def _reference(source: Node) -> Reference:
    for key, kind in (("secretKeyRef", "Secret"), ("configMapKeyRef", "ConfigMap")):
        found = source.get(key)
        if found is not None:
            optional = found.get("optional")
            return Reference(
                kind="Secret" if kind == "Secret" else "ConfigMap",
                name=found["name"].text(),
                key=found["key"].text(),
                optional=optional is not None and optional.text() == "true",
            )
    raise source.error("secretKeyRef or configMapKeyRef is expected")


def _ping(document: Node, services: Mapping[str, Service]) -> PingSource:
    spec = document["spec"]
    timezone, content_type, data = spec.get("timezone"), spec.get("contentType"), spec.get("data")
    return PingSource(
        name=document["metadata"]["name"].text(),
        schedule=spec["schedule"].text(),
        timezone=timezone.text() if timezone else None,
        content_type=content_type.text() if content_type else "application/json",
        data=data.text() if data else "",
        sink=None if spec["sink"]["ref"]["kind"].text() == "Broker" else _service_name(spec["sink"], services),
    )


def _go_duration_s(text: str | None, default_s: float) -> float:
    parts = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?", text or "")
    if not text or parts is None:
        return default_s
    hours, minutes, seconds = (float(each or 0) for each in parts.groups())
    return hours * 3600 + minutes * 60 + seconds
