"""Rules about what becomes of an event that is not delivered at the first attempt."""

import math
from collections.abc import Iterator
from typing import Final

from knative.lint.findings import Flaw, near, rule
from knative.lint.resources import Resources, answers, broker_class
from knative.manifests.declared import MIN_SCALE, DeclaredDelivery, DeclaredService, DeclaredTrigger, duration_s
from knative.manifests.documents import ManifestDocument, Place

PREFETCH: Final = 100  # of a dispatcher, fixed (eventing-rabbitmq)
# What eventing-rabbitmq takes (pkg/brokerconfig); a cluster itself leaves no choice of queues.
BROKER_CONFIGS: Final = ("eventing.knative.dev/v1alpha1/RabbitmqBrokerConfig", "rabbitmq.com/v1beta1/RabbitmqCluster")
CONSUMER_TIMEOUT_S: Final = 1800  # RabbitMQ's default


@rule(
    "broker-without-sink",
    "error",
    consequence="an event that a Trigger without a delivery of its own cannot deliver is published to an exchange that "
    "does not exist: it is lost, and others in flight are delivered twice",
    fix="give spec.delivery.deadLetterSink (a Broker's spec is immutable: delete it and create it again)",
)
def broker_without_sink(resources: Resources) -> Iterator[Flaw]:
    """A Broker without a dead-letter sink."""
    for broker in resources.brokers.values():
        if not _destination(broker.root["spec"]["delivery"]["deadLetterSink"]):
            yield Flaw(broker.root["spec"]["delivery"], "the Broker has no dead-letter sink")


@rule(
    "trigger-without-sink",
    "error",
    consequence="it replaces the Broker's delivery whole, sink included: after its retries the event is dropped",
    fix="give spec.delivery.deadLetterSink here too",
)
def trigger_without_sink(resources: Resources) -> Iterator[Flaw]:
    """A Trigger whose delivery has no dead-letter sink, even where its Broker has one."""
    for trigger in resources.triggers:
        delivery = trigger.spec["delivery"]
        if delivery and not _destination(delivery["deadLetterSink"]):
            yield Flaw(delivery, "the delivery has no dead-letter sink")


@rule(
    "unknown-broker",
    "warning",
    consequence="without its Broker nothing is delivered, and what a failed event would come to is not known here",
    fix="name a Broker of these manifests, or give the Trigger a delivery with its own sink",
)
def unknown_broker(resources: Resources) -> Iterator[Flaw]:
    """A Trigger of a Broker that is not among the manifests, although others are, or that it needs the delivery of."""
    for trigger in resources.triggers:
        missing = trigger.broker not in resources.all_brokers
        if missing and (resources.all_brokers or not trigger.spec["delivery"]):
            hint = near(trigger.broker, list(resources.all_brokers))
            yield Flaw(trigger.spec["broker"], f"there is no Broker {trigger.broker or 'named'} here{hint}")


@rule(
    "no-timeout",
    "error",
    consequence="an attempt has no limit: a function that hangs holds its worker, and everything behind it, for ever",
    fix="give delivery.timeout, at least the Service's timeoutSeconds",
)
def no_timeout(resources: Resources) -> Iterator[Flaw]:
    """A delivery without a timeout."""
    for delivery in _deliveries(resources):
        if not delivery.place["timeout"]:
            yield Flaw(delivery.place, "the delivery has no timeout")


@rule(
    "bad-delivery",
    "error",
    consequence="the webhook refuses the resource, or the dispatcher takes its default",
    fix="give retry as a whole number, backoffPolicy linear or exponential, durations such as PT30S",
)
def bad_delivery(resources: Resources) -> Iterator[Flaw]:
    """A duration, policy or number of retries that is none."""
    for delivery in _deliveries(resources):
        for name in ("timeout", "backoffDelay"):
            place = delivery.place[name]
            if place.text and duration_s(place.text) is None:
                yield Flaw(place, f"{name} must be an ISO 8601 duration, got {place.text}")
        policy, retry = delivery.place["backoffPolicy"], delivery.place["retry"]
        if policy.text and policy.text not in ("linear", "exponential"):
            yield Flaw(policy, f"backoffPolicy must be linear or exponential, got {policy.text}")
        if isinstance(retry.value, int) and retry.value < 0:
            yield Flaw(retry, f"retry must be 0 or more, got {retry.value}")


@rule(
    "no-effect",
    "error",
    consequence="the RabbitMQ broker ignores it: retries, order and access are as if it were not there",
    fix="take it out, and do in the function or with a NetworkPolicy what it was meant to do",
)
def no_effect(resources: Resources) -> Iterator[Flaw]:
    """What other brokers honour: retryAfterMax, format, EventPolicy, RequestReply."""
    for delivery in _deliveries(resources):
        for name in ("retryAfterMax", "format"):
            if delivery.place[name]:
                yield Flaw(delivery.place[name], f"{name} has no effect")
    for kind in ("EventPolicy", "RequestReply"):
        for document in resources.of(kind, "eventing.knative.dev"):
            if resources.brokers:
                yield Flaw(document.root["kind"], f"a {kind} has no effect")


@rule(
    "consumer-timeout",
    "error",
    consequence="a dispatcher holds 100 events unacknowledged; RabbitMQ closes its channel when one takes longer than "
    "the consumer timeout and delivers all of them again, for ever",
    fix="fewer retries, shorter waits and timeouts, or more parallelism: "
    "100 x seconds of an event with all retries / parallelism must stay under the consumer timeout",
)
def consumer_timeout(resources: Resources) -> Iterator[Flaw]:
    """Prefetched events that cannot all be worked off in RabbitMQ's consumer timeout."""
    limit_s = _consumer_timeout_s(resources)
    for trigger in resources.triggers:
        delivery = resources.delivery(trigger)
        if delivery is None or delivery.timeout_s is None:
            continue
        event_s = (delivery.retry + 1) * delivery.timeout_s + _waits_s(delivery)
        prefetched_s = max(1, PREFETCH / trigger.workers) * event_s
        if prefetched_s >= limit_s:
            what = f"{PREFETCH} x {event_s:g} s / {trigger.workers} is {prefetched_s:g} s, the limit {limit_s:g} s"
            yield Flaw(delivery.place if trigger.spec["delivery"] else trigger.spec, what, _workers(event_s, limit_s))


@rule(
    "sink-scales-to-zero",
    "error",
    consequence="the dead-letter dispatcher drops an event when its sink does not answer, as when it must start first",
    fix='autoscaling.knative.dev/min-scale: "1" or more on its template',
)
def sink_scales_to_zero(resources: Resources) -> Iterator[Flaw]:
    """A dead-letter sink that is a Service which may have no pod."""
    for service in _sinks(resources):
        place = service.annotation(MIN_SCALE)
        if (place.whole or 0) < 1:
            yield Flaw(place, f"the dead-letter sink has min-scale {place.whole or 0}")


@rule(
    "sink-replies",
    "error",
    consequence="its reply enters the broker like any event; one that fails becomes a dead letter, whose reply "
    "enters again",
    fix="let the sink answer 202 without a body, and send events of its own to K_SINK",
)
def sink_replies(resources: Resources) -> Iterator[Flaw]:
    """A dead-letter sink that declares answers."""
    for service in _sinks(resources):
        if answers(service):
            metadata = service.document.root["metadata"]
            yield Flaw(metadata, f"the dead-letter sink answers with {answers(service)[0]}")


@rule(
    "sink-in-the-way",
    "error",
    consequence="what cannot be delivered comes back to where it failed, and so on without end, or is lost there",
    fix="a Service of its own that only keeps what it gets",
)
def sink_in_the_way(resources: Resources) -> Iterator[Flaw]:
    """A dead-letter sink that is the Broker itself, or the Trigger's own subscriber."""
    for trigger, sink in _sinks_of_triggers(resources):
        if sink["ref"]["kind"].text == "Broker":
            yield Flaw(sink, f"the dead-letter sink of {trigger.document.name} is a Broker")
        elif sink["ref"]["name"].text and sink["ref"].value == trigger.spec["subscriber"]["ref"].value:
            yield Flaw(sink, f"the dead-letter sink of {trigger.document.name} is its own subscriber")


@rule(
    "broker-class",
    "warning",
    consequence="the cluster's default class decides, often one that keeps events in memory only",
    fix="metadata.annotations eventing.knative.dev/broker.class: RabbitMQBroker",
)
def unclassed_broker(resources: Resources) -> Iterator[Flaw]:
    """A Broker that does not say of which class it is."""
    for broker in resources.brokers.values():
        if not broker_class(broker):
            yield Flaw(broker.root["metadata"], "the Broker has no class")


@rule(
    "broker-config",
    "error",
    consequence="the webhook refuses the Broker, or it never becomes ready",
    fix="spec.config: {apiVersion: eventing.knative.dev/v1alpha1, kind: RabbitmqBrokerConfig, name: ...}",
)
def broker_config(resources: Resources) -> Iterator[Flaw]:
    """A RabbitMQ broker whose configuration is of another kind, or is not among these manifests although others are."""
    known = [each.name for each in resources.of("RabbitmqBrokerConfig", "eventing.knative.dev")]
    for broker in resources.brokers.values():
        config = broker.root["spec"]["config"]
        kind = f"{config['apiVersion'].text}/{config['kind'].text}"
        if broker_class(broker) and kind not in BROKER_CONFIGS:
            yield Flaw(config, f"config must be a RabbitmqBrokerConfig, got {config['kind'].text or 'none'}")
        elif kind == BROKER_CONFIGS[0] and known and config["name"].text not in known:
            yield Flaw(config["name"], f"there is no such RabbitmqBrokerConfig{near(config['name'].text, known)}")


@rule(
    "classic-queue",
    "warning",
    consequence="a classic queue lives on one node of RabbitMQ: its events go with the node, for good with its disk",
    fix="queueType: quorum, the default",
)
def classic_queue(resources: Resources) -> Iterator[Flaw]:
    """Queues that are not replicated."""
    for config in resources.of("RabbitmqBrokerConfig", "eventing.knative.dev"):
        if config.root["spec"]["queueType"].text == "classic":
            yield Flaw(config.root["spec"]["queueType"], "queueType is classic")


def _destination(sink: Place) -> bool:
    return bool(sink["ref"]["name"].text or sink["uri"].text)


def _deliveries(resources: Resources) -> Iterator[DeclaredDelivery]:
    owners: list[ManifestDocument] = [*resources.brokers.values(), *(each.document for each in resources.triggers)]
    return (DeclaredDelivery(each.root["spec"]["delivery"]) for each in owners if each.root["spec"]["delivery"])


def _sinks_of_triggers(resources: Resources) -> Iterator[tuple[DeclaredTrigger, Place]]:
    for trigger in resources.triggers:
        delivery = resources.delivery(trigger)
        if delivery and delivery.sink:
            yield trigger, delivery.sink


def _sinks(resources: Resources) -> list[DeclaredService]:
    """The Knative Services that are some delivery's dead-letter sink, each once."""
    found = (resources.service(each.sink) for each in _deliveries(resources))
    return list({each.document.name: each for each in found if each}.values())


def _waits_s(delivery: DeclaredDelivery) -> float:
    """All waits together: linear delay * k, exponential delay * 2^k (eventing-rabbitmq dispatcher)."""
    retry = min(delivery.retry, 64)  # beyond it everything is too long
    if delivery.policy == "linear":
        return delivery.delay_s * retry * (retry + 1) / 2
    return float(delivery.delay_s * (2 ** (retry + 1) - 2))


def _consumer_timeout_s(resources: Resources) -> float:
    """What a RabbitmqCluster of these manifests sets, else RabbitMQ's default."""
    for cluster in resources.of("RabbitmqCluster", "rabbitmq.com"):
        for line in cluster.root["spec"]["rabbitmq"]["additionalConfig"].text.splitlines():
            name, _, value = (part.strip() for part in line.partition("="))
            if name == "consumer_timeout" and value.isdigit():
                return int(value) / 1000
    return CONSUMER_TIMEOUT_S


def _workers(event_s: float, limit_s: float) -> str | None:
    """The parallelism that would do, where one does."""
    needed = math.floor(PREFETCH * event_s / limit_s) + 1
    if event_s >= limit_s or needed > 1000:
        return None
    return f"parallelism {needed} or more, fewer retries, or shorter waits and timeouts"
