"""The resources that decide where events go, as the rules look at them: Brokers, Triggers, Services, and the events."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from knative.manifests.documents import Document, Place

BROKER_CLASS: Final = "eventing.knative.dev/broker.class"
RABBITMQ: Final = "RabbitMQBroker"
PARALLELISM: Final = "rabbitmq.eventing.knative.dev/parallelism"
ANSWERS: Final = "lint.errands.dev/answers"  # on a Service: the event types that it answers with

DEFAULT_RETRY: Final = 5  # a `delivery` without `retry` (eventing-rabbitmq dispatcher)
DEFAULT_DELAY_S: Final = 0.2  # Knative's own, as is exponential (eventing config-br-defaults)
DEFAULT_TIMEOUT_S: Final = 300  # a Service without timeoutSeconds (serving config-defaults)
OPEN_ATTRIBUTES: Final = frozenset({"id", "time", "source", "subject", "dataschema", "data", "data_base64"})

NUMBER: Final = r"(\d{1,9}(?:\.\d{1,9})?)"

# Serving reads both spellings of its older annotations (serving pkg/apis/autoscaling/register.go).
MIN_SCALE: Final = ("autoscaling.knative.dev/min-scale", "autoscaling.knative.dev/minScale")
MAX_SCALE: Final = ("autoscaling.knative.dev/max-scale", "autoscaling.knative.dev/maxScale")
UTILIZATION: Final = (
    "autoscaling.knative.dev/target-utilization-percentage",
    "autoscaling.knative.dev/targetUtilizationPercentage",
)


@dataclass(frozen=True)
class Delivery:
    """A `delivery`: how often, with which waits and how long an event is tried."""

    place: Place

    @property
    def sink(self) -> Place:
        """Where dead letters go."""
        return self.place["deadLetterSink"]

    @property
    def timeout_s(self) -> float | None:
        """The limit of one attempt; None without one, and where it is not a duration."""
        return duration_s(self.place["timeout"].text)

    @property
    def retry(self) -> int:
        """Attempts after the first."""
        whole = self.place["retry"].whole
        return DEFAULT_RETRY if whole is None else whole

    @property
    def waits_s(self) -> float:
        """All waits together: linear delay * k, exponential delay * 2^k (eventing-rabbitmq dispatcher)."""
        delay_s = duration_s(self.place["backoffDelay"].text) or DEFAULT_DELAY_S
        retry = min(self.retry, 64)  # beyond it everything is too long
        if self.place["backoffPolicy"].text == "linear":
            return delay_s * retry * (retry + 1) / 2
        return float(delay_s * (2 ** (retry + 1) - 2))


@dataclass(frozen=True)
class Trigger:
    """A Trigger of a RabbitMQ broker."""

    document: Document

    @property
    def spec(self) -> Place:
        """Its spec."""
        return self.document.root["spec"]

    @property
    def broker(self) -> str:
        """The name of its Broker."""
        return self.spec["broker"].text or self.spec["brokerRef"]["name"].text

    @property
    def filter(self) -> Mapping[str, str]:
        """The attributes that an event must have, as the broker sees them."""
        return {name: str(each.value) for name, each in self.spec["filter"]["attributes"].members}

    @property
    def parallelism(self) -> Place:
        """The annotation."""
        return self.document.root["metadata"]["annotations"][PARALLELISM]

    @property
    def workers(self) -> int:
        """Events at once: the annotation, else 1."""
        return self.parallelism.whole or 1


@dataclass(frozen=True)
class Service:
    """A Knative Service."""

    document: Document

    @property
    def pod(self) -> Place:
        """The spec of its revisions."""
        return self.document.root["spec"]["template"]["spec"]

    @property
    def concurrency(self) -> int | None:
        """containerConcurrency; None without a limit."""
        return self.pod["containerConcurrency"].whole or None

    @property
    def timeout_s(self) -> int:
        """timeoutSeconds, or the default."""
        return self.pod["timeoutSeconds"].whole or DEFAULT_TIMEOUT_S

    @property
    def capacity(self) -> int | None:
        """Events that all its pods work on at once; None where either side has no limit."""
        pods = self.annotation(MAX_SCALE).whole
        return pods * self.concurrency if pods and self.concurrency else None

    def annotation(self, spellings: tuple[str, ...]) -> Place:
        """An annotation of its revisions, by any of its spellings."""
        annotations = self.document.root["spec"]["template"]["metadata"]["annotations"]
        return next((annotations[each] for each in spellings if annotations[each]), annotations[spellings[0]])

    @property
    def answers(self) -> list[str]:
        """The event types that it says it answers with."""
        return self.document.root["metadata"]["annotations"][ANSWERS].text.replace(",", " ").split()


@dataclass(frozen=True)
class Emitted:
    """An event that somebody emits: the attributes that are always the same. `place` where manifests declare it."""

    attributes: Mapping[str, str | int | bool]
    name: str
    place: Place | None = None

    @property
    def type(self) -> str:
        """The event's type."""
        return str(self.attributes.get("type", ""))

    def matches(self, filter_: Mapping[str, str]) -> bool:
        """Whether it could match; a value that varies from event to event is no reason against it."""
        return all(self.attributes.get(name) == value for name, value in filter_.items() if name not in OPEN_ATTRIBUTES)


@dataclass(frozen=True, kw_only=True)
class Resources:
    """All that is linted together. `samples` are events that are known to be emitted, beside the EventTypes."""

    documents: tuple[Document, ...]
    samples: tuple[Emitted, ...] = field(default=())
    production: bool = False

    def of(self, kind: str, group: str) -> Iterator[Document]:
        """The resources of a kind; the group tells Knative's Service from that of Kubernetes."""
        return (each for each in self.documents if each.kind == kind and each.group == group)

    @cached_property
    def all_brokers(self) -> Mapping[str, Document]:
        """Every Broker by name, of whatever class."""
        return {each.name: each for each in self.of("Broker", "eventing.knative.dev")}

    @cached_property
    def brokers(self) -> Mapping[str, Document]:
        """The Brokers that are RabbitMQ's, or could be: without a class they are what the cluster's default is."""
        return {name: each for name, each in self.all_brokers.items() if broker_class(each) in (RABBITMQ, "")}

    @cached_property
    def triggers(self) -> tuple[Trigger, ...]:
        """The Triggers, without those of a Broker that is known to be of another class."""
        found = (Trigger(each) for each in self.of("Trigger", "eventing.knative.dev"))
        return tuple(each for each in found if each.broker not in self.all_brokers or each.broker in self.brokers)

    @cached_property
    def services(self) -> Mapping[str, Service]:
        """The Knative Services by name."""
        return {each.name: Service(each) for each in self.of("Service", "serving.knative.dev")}

    def service(self, destination: Place) -> Service | None:
        """The Knative Service that a subscriber or sink refers to."""
        reference = destination["ref"]
        knative = reference["apiVersion"].text.startswith("serving.knative.dev/")
        return self.services.get(reference["name"].text) if knative and reference["kind"].text == "Service" else None

    def delivery(self, trigger: Trigger) -> Delivery | None:
        """What holds for a Trigger: its own delivery whole, else its Broker's; None where neither is known."""
        if trigger.spec["delivery"]:
            return Delivery(trigger.spec["delivery"])
        broker = self.brokers.get(trigger.broker)
        declared = broker.root["spec"]["delivery"] if broker else None
        return Delivery(declared) if declared else None

    @cached_property
    def emitted(self) -> tuple[Emitted, ...]:
        """The events that are declared: samples, EventTypes, PingSources to a Broker."""
        return (*self.samples, *map(_event_type, self.of("EventType", "eventing.knative.dev")), *self._pings)

    @property
    def _pings(self) -> Iterator[Emitted]:
        for each in self.of("PingSource", "sources.knative.dev"):
            if each.root["spec"]["sink"]["ref"]["kind"].text == "Broker":
                type_ = "dev.knative.sources.ping"
                yield Emitted({"type": type_}, type_, each.root["spec"]["sink"])


def broker_class(broker: Document) -> str:
    """The Broker's class, empty when the cluster's default decides."""
    return broker.root["metadata"]["annotations"][BROKER_CLASS].text


def duration_s(text: str) -> float | None:
    """Seconds of an ISO 8601 duration of days, hours, minutes and seconds; None for anything else."""
    found = re.fullmatch(rf"P(?:{NUMBER}D)?(?:T(?:{NUMBER}H)?(?:{NUMBER}M)?(?:{NUMBER}S)?)?", text, re.ASCII)
    if found is None or not any(found.groups()):
        return None
    days, hours, minutes, seconds = (float(each or 0) for each in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _event_type(document: Document) -> Emitted:
    """v1beta3 lists attributes, those before have spec.type; a value with {} in it varies."""
    spec = document.root["spec"]
    attributes: dict[str, str | int | bool] = {"type": spec["type"].text} if spec["type"] else {}
    for each in spec["attributes"]:
        if each["value"].text and "{" not in each["value"].text:
            attributes[each["name"].text] = each["value"].text
    return Emitted(attributes, document.name, spec)
