"""All that is linted together, and how one resource of it refers to another."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from knative.lint.events import Emitted
from knative.manifests.declared import DeclaredDelivery, DeclaredService, DeclaredTrigger
from knative.manifests.documents import ManifestDocument, Place

BROKER_CLASS: Final = "eventing.knative.dev/broker.class"
RABBITMQ: Final = "RabbitMQBroker"
ANSWERS: Final = "lint.errands.dev/answers"  # on a Service: the event types that it answers with


@dataclass(frozen=True, kw_only=True)
class Resources:
    """All that is linted together. `samples` are events that are known to be emitted, beside the EventTypes;
    `broker_class` is the class that every Broker is looked at as, in place of its own.
    """

    documents: tuple[ManifestDocument, ...]
    samples: tuple[Emitted, ...] = field(default=())
    production: bool = False
    broker_class: str = ""

    def of(self, kind: str, group: str) -> Iterator[ManifestDocument]:
        """The resources of a kind; the group tells Knative's Service from that of Kubernetes."""
        return (each for each in self.documents if each.kind == kind and each.group == group)

    @cached_property
    def all_brokers(self) -> Mapping[str, ManifestDocument]:
        """Every Broker by name, of whatever class."""
        return {each.name: each for each in self.of("Broker", "eventing.knative.dev")}

    @cached_property
    def brokers(self) -> Mapping[str, ManifestDocument]:
        """The Brokers that are RabbitMQ's, or could be: without a class they are what the cluster's default is."""
        classes = {name: self.broker_class or broker_class(each) for name, each in self.all_brokers.items()}
        return {name: each for name, each in self.all_brokers.items() if classes[name] in (RABBITMQ, "")}

    @cached_property
    def triggers(self) -> tuple[DeclaredTrigger, ...]:
        """The Triggers, without those of a Broker that is known to be of another class."""
        found = (DeclaredTrigger(each) for each in self.of("Trigger", "eventing.knative.dev"))
        if self.broker_class not in (RABBITMQ, ""):
            return ()
        return tuple(each for each in found if each.broker not in self.all_brokers or each.broker in self.brokers)

    @cached_property
    def services(self) -> Mapping[str, DeclaredService]:
        """The Knative Services by name."""
        return {each.name: DeclaredService(each) for each in self.of("Service", "serving.knative.dev")}

    def service(self, destination: Place) -> DeclaredService | None:
        """The Knative Service that a subscriber or sink refers to."""
        reference = destination["ref"]
        knative = reference["apiVersion"].text.startswith("serving.knative.dev/")
        return self.services.get(reference["name"].text) if knative and reference["kind"].text == "Service" else None

    def delivery(self, trigger: DeclaredTrigger) -> DeclaredDelivery | None:
        """What holds for a Trigger: its own delivery whole, else its Broker's; None where neither is known."""
        if trigger.spec["delivery"]:
            return DeclaredDelivery(trigger.spec["delivery"])
        broker = self.brokers.get(trigger.broker)
        declared = broker.root["spec"]["delivery"] if broker else None
        return DeclaredDelivery(declared) if declared else None

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


def broker_class(broker: ManifestDocument) -> str:
    """The Broker's class, empty when the cluster's default decides."""
    return broker.root["metadata"]["annotations"][BROKER_CLASS].text


def answers(service: DeclaredService) -> list[str]:
    """The event types that a Service says it answers with."""
    return service.document.root["metadata"]["annotations"][ANSWERS].text.replace(",", " ").split()


def _event_type(document: ManifestDocument) -> Emitted:
    """v1beta3 lists attributes, those before have spec.type; a value with {} in it varies."""
    spec = document.root["spec"]
    attributes: dict[str, str | int | bool] = {"type": spec["type"].text} if spec["type"] else {}
    for each in spec["attributes"]:
        if each["value"].text and "{" not in each["value"].text:
            attributes[each["name"].text] = each["value"].text
    return Emitted(attributes, document.name, spec)
