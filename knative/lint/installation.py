"""Rules about the installation: what Knative has not switched on by default, what another class of Broker has not."""

import re
from collections.abc import Iterator
from typing import Final

from knative.lint.findings import Flaw, rule
from knative.lint.resources import BROKER_CLASS, RABBITMQ, Resources
from knative.manifests.declared import DeclaredTrigger
from knative.manifests.documents import texts
from knative.manifests.features import NEEDS, ON_BY_DEFAULT, features, needed

INGRESS: Final = re.compile(r"//([a-z0-9-]+)-broker-ingress\b")
ROLE: Final = "eventing.knative.dev/brokerRole"


@rule(
    "needs-a-feature",
    "error",
    consequence="Serving's webhook refuses the Service where its config-features are as they were installed",
    fix=f"do without; or enable it in ConfigMap config-features of knative-serving, and say so: {NEEDS} on the Service",
)
def needs_a_feature(resources: Resources) -> Iterator[Flaw]:
    """A Service that uses a feature which is off by default, and does not say that it needs it."""
    for service in resources.services.values():
        known = ON_BY_DEFAULT | set(needed(service))
        for feature, place in features(service):
            if feature not in known:
                yield Flaw(place, f"{place.path[-1]} needs {feature}")


@rule(
    "bound-to-rabbitmq",
    "warning",
    consequence="on a Broker of another class it has no effect, or names what is not there",
    fix="what that class has in its place (knative/overlays/production/README.md, Other clusters)",
)
def bound_to_rabbitmq(resources: Resources) -> Iterator[Flaw]:
    """What these manifests have of the RabbitMQ broker alone; looked for with --broker-class of another."""
    if resources.broker_class not in ("", RABBITMQ):
        for find in (_brokers, _triggers, _addresses, _policies):
            yield from find(resources)


def _brokers(resources: Resources) -> Iterator[Flaw]:
    for broker in resources.all_brokers.values():
        for place in (broker.root["metadata"]["annotations"][BROKER_CLASS], broker.root["spec"]["config"]):
            if RABBITMQ in place.text or place["kind"].text.startswith("Rabbitmq"):
                yield Flaw(place, f"the Broker {broker.name} is of RabbitMQ")
    for document in resources.of("RabbitmqBrokerConfig", "eventing.knative.dev"):
        yield Flaw(document.root["kind"], "a RabbitmqBrokerConfig configures no other class")


def _triggers(resources: Resources) -> Iterator[Flaw]:
    for document in resources.of("Trigger", "eventing.knative.dev"):
        parallelism = DeclaredTrigger(document).parallelism
        if parallelism:
            yield Flaw(parallelism, "parallelism is an annotation of RabbitMQ's dispatcher")


def _addresses(resources: Resources) -> Iterator[Flaw]:
    for document in resources.documents:
        for place in texts(document.root):
            for name in INGRESS.findall(place.text):
                if name in resources.all_brokers:
                    yield Flaw(place, f"{name}-broker-ingress is the RabbitMQ broker's")


def _policies(resources: Resources) -> Iterator[Flaw]:
    for document in resources.of("NetworkPolicy", "networking.k8s.io"):
        if ROLE in str(document.data):
            yield Flaw(document.root["spec"], f"pods are selected by {ROLE}, which the RabbitMQ broker's have")
