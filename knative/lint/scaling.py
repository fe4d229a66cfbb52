"""Rules about time and numbers: what a Service can work on, how long, and what a Trigger sends it."""

import re
from collections.abc import Iterator
from typing import Final

from knative.lint.findings import Flaw, rule
from knative.lint.resources import Resources
from knative.manifests.declared import UTILIZATION, DeclaredService, DeclaredTrigger
from knative.manifests.documents import ManifestDocument, Place

MAX_TIMEOUT_S: Final = 600  # serving config-defaults, max-revision-timeout-seconds
MOST_WORKERS: Final = 1000
# <namespace>.<trigger>.<broker uid> (eventing-rabbitmq, pkg/rabbitmqnaming)
TRIGGER_QUEUE: Final = re.compile(r"[a-z0-9-]+\.[a-z0-9-]+\.[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
OWN_MEMORY: Final = "MEMORY_LIMIT_BYTES"
AT_ONCE: Final = "AT_ONCE"
UNLIMITED: Final = 100  # of containerConcurrency 0: Serving's own target
OWN_LIMIT: Final = re.compile(r"(?:[A-Z0-9_]+_)?TIMEOUT(?:_S|_SECONDS)?")


@rule(
    "timeout-too-long",
    "error",
    consequence="Serving refuses the revision: 600 s is the limit unless the cluster's config-defaults raise it",
    fix="600 at most; work that takes longer does not belong behind an HTTP request",
)
def timeout_too_long(resources: Resources) -> Iterator[Flaw]:
    """timeoutSeconds above what Serving allows."""
    for service in resources.services.values():
        if service.timeout_s > MAX_TIMEOUT_S:
            yield Flaw(service.pod["timeoutSeconds"], f"timeoutSeconds is {service.timeout_s}")


@rule(
    "attempt-outlives-trigger",
    "error",
    consequence="the dispatcher gives up and tries again while the first attempt still works: the job is done twice",
    fix="delivery.timeout of at least the Service's timeoutSeconds",
)
def attempt_outlives_trigger(resources: Resources) -> Iterator[Flaw]:
    """A Trigger that waits for a shorter time than its subscriber may work."""
    for trigger, service in _subscribed(resources):
        delivery = resources.delivery(trigger)
        timeout_s = delivery.timeout_s if delivery else None
        if delivery and timeout_s is not None and timeout_s < service.timeout_s:
            place = delivery.place["timeout"] if trigger.spec["delivery"] else trigger.spec
            what = f"timeout {timeout_s:g} s is under timeoutSeconds {service.timeout_s} of {service.document.name}"
            yield Flaw(place, what)


@rule(
    "work-outlives-request",
    "error",
    consequence="the request is cut off before the function's own limit can make it say that the job cannot be done: "
    "it is tried again, then a dead letter",
    fix="the function's own limit under timeoutSeconds",
)
def work_outlives_request(resources: Resources) -> Iterator[Flaw]:
    """A variable such as TIMEOUT_S, FETCH_TIMEOUT_S or TIMEOUT_SECONDS that is not under timeoutSeconds."""
    for service in resources.services.values():
        for entry in service.pod["containers"], service.pod["initContainers"]:
            for variable in (each for container in entry for each in container["env"]):
                name, limit_s = variable["name"].text, _number(variable["value"])
                if OWN_LIMIT.fullmatch(name) and limit_s is not None and limit_s >= service.timeout_s:
                    yield Flaw(variable["value"], f"{name} {limit_s:g} is not under timeoutSeconds {service.timeout_s}")


@rule(
    "bad-parallelism",
    "error",
    consequence="the webhook refuses the Trigger",
    fix="a whole number from 1 to 1000, in quotes",
)
def bad_parallelism(resources: Resources) -> Iterator[Flaw]:
    """A parallelism that the broker does not take."""
    for trigger in resources.triggers:
        place = trigger.parallelism
        if place and not 1 <= (place.whole or 0) <= MOST_WORKERS:
            yield Flaw(place, f"parallelism must be a whole number from 1 to {MOST_WORKERS}, got {place.value}")


@rule(
    "too-parallel",
    "error",
    consequence="the pods take no more events at once; the rest waits in queue-proxy, which answers 503 "
    "beyond ten times the concurrency: retries are wasted and end as dead letters",
    fix="max-scale x containerConcurrency at most, shared by the Triggers of the Service",
)
def too_parallel(resources: Resources) -> Iterator[Flaw]:
    """Triggers that together send a Service more than it can work on."""
    for service, triggers, workers, capacity in _loads(resources):
        if workers > capacity:
            yield Flaw(triggers[0].parallelism, _load(service, triggers, workers, capacity))


@rule(
    "hardly-parallel",
    "warning",
    consequence="the pods that max-scale allows are never started: events wait in the queue beside idle capacity",
    fix="about max-scale x containerConcurrency, shared by the Triggers of the Service",
)
def hardly_parallel(resources: Resources) -> Iterator[Flaw]:
    """Triggers that together send a Service less than half of what it can work on."""
    for service, triggers, workers, capacity in _loads(resources):
        if workers * 2 < min(capacity, MOST_WORKERS):
            yield Flaw(triggers[0].parallelism, _load(service, triggers, workers, capacity))


@rule(
    "idle-share",
    "warning",
    consequence="the autoscaler aims at 70 percent of a concurrency of 1: of ten pods three stand idle",
    fix='autoscaling.knative.dev/target-utilization-percentage: "100"',
)
def idle_share(resources: Resources) -> Iterator[Flaw]:
    """A Service that takes one event at a time, with the default target of utilization."""
    for trigger, service in _subscribed(resources):
        if trigger.parallelism and service.concurrency == 1 and not service.annotation(UTILIZATION):
            yield Flaw(service.pod["containerConcurrency"], "containerConcurrency 1 with the default utilization")


@rule(
    "scaler-on-dispatcher",
    "error",
    consequence="all dispatchers of a Broker share a selector: a second autoscaler stops with AmbiguousSelector; "
    "each scale-in is a SIGTERM, which delivers events in flight twice or makes dead letters of them",
    fix="raise the Trigger's parallelism; for scaling by queue length a consumer of your own on a queue of its own",
)
def scaler_on_dispatcher(resources: Resources) -> Iterator[Flaw]:
    """An autoscaler of a Trigger's dispatcher, or of a queue that a Trigger's dispatcher consumes."""
    names = {each.document.name for each in resources.triggers} | set(resources.brokers)
    targets = {f"{each}{suffix}" for each in names for suffix in ("-dispatcher", "-dlx-dispatcher", "-dlq-dispatcher")}
    for document in _autoscalers(resources):
        target = document.root["spec"]["scaleTargetRef"]["name"]
        if target.text in targets or target.text.endswith(("-dlx-dispatcher", "-dlq-dispatcher")):
            yield Flaw(target, f"{document.kind} scales {target.text}")
        for scaler in document.root["spec"]["triggers"]:
            queue = scaler["metadata"]["queueName"]
            if TRIGGER_QUEUE.fullmatch(queue.text):
                yield Flaw(queue, f"{document.kind} scales by the queue of a Trigger")
    for trigger in resources.triggers:
        keda = trigger.document.root["metadata"]["annotations"]["autoscaling.knative.dev/class"]
        if keda.text.startswith("keda."):
            yield Flaw(keda, "the Trigger asks KEDA to scale its dispatcher")


@rule(
    "scaler-mode-needs-http",
    "error",
    consequence="over amqp KEDA reads nothing but the number of ready messages: the scaler fails and nothing is scaled",
    fix="protocol: http with the address of RabbitMQ's management interface, or mode QueueLength",
)
def scaler_mode_needs_http(resources: Resources) -> Iterator[Flaw]:
    """A rabbitmq scaler over amqp in a mode other than QueueLength."""
    for document in _autoscalers(resources):
        for trigger in document.root["spec"]["triggers"]:
            metadata = trigger["metadata"]
            mode, protocol = metadata["mode"].text or "QueueLength", metadata["protocol"].text
            amqp = protocol == "amqp" or (protocol != "http" and metadata["host"].text.startswith("amqp"))
            if trigger["type"].text == "rabbitmq" and mode != "QueueLength" and amqp:
                yield Flaw(metadata["mode"], f"mode {mode} over amqp")


@rule(
    "memory-over-limit",
    "error",
    consequence="the kernel ends the container when jobs take what each of them may, and all events in it are tried "
    "again, or are in doubt",
    fix="X_MEMORY_LIMIT_BYTES times X_AT_ONCE (containerConcurrency without it) under resources.limits.memory",
)
def memory_over_limit(resources: Resources) -> Iterator[Flaw]:
    """What a job may take by a variable such as MEMORY_LIMIT_BYTES, for all at once, is not under the container's
    memory.
    """
    for service in resources.services.values():
        for container in service.pod["containers"]:
            limit_bytes = _quantity_bytes(container["resources"]["limits"]["memory"])
            variables = {each["name"].text: each["value"] for each in container["env"]}
            for name, each in variables.items():
                one_bytes = _quantity_bytes(each) if name.endswith(OWN_MEMORY) else None
                if limit_bytes is None or one_bytes is None:
                    continue
                at_once = _number(variables.get(name.removesuffix(OWN_MEMORY) + AT_ONCE, each["none"]))
                count = at_once or service.concurrency or UNLIMITED
                if one_bytes * count >= limit_bytes:
                    what = f"{count:g} x {name} {one_bytes:g} is not under the limit of {limit_bytes:g} bytes"
                    yield Flaw(each, what)


def _autoscalers(resources: Resources) -> Iterator[ManifestDocument]:
    yield from resources.of("ScaledObject", "keda.sh")
    yield from resources.of("ScaledJob", "keda.sh")
    yield from resources.of("HorizontalPodAutoscaler", "autoscaling")


def _subscribed(resources: Resources) -> Iterator[tuple[DeclaredTrigger, DeclaredService]]:
    for trigger in resources.triggers:
        service = resources.service(trigger.spec["subscriber"])
        if service:
            yield trigger, service


def _loads(resources: Resources) -> Iterator[tuple[DeclaredService, list[DeclaredTrigger], int, int]]:
    """Of each Service with a bound: its Triggers, what they send at once, and what it takes."""
    for name, service in resources.services.items():
        triggers = [trigger for trigger, each in _subscribed(resources) if each.document.name == name]
        if triggers and service.capacity:
            yield service, triggers, sum(each.workers for each in triggers), service.capacity


def _load(service: DeclaredService, triggers: list[DeclaredTrigger], workers: int, capacity: int) -> str:
    together = f" of {len(triggers)} Triggers together" if len(triggers) > 1 else ""
    return f"parallelism{together} is {workers}, {service.document.name} takes {capacity} at once"


def _quantity_bytes(place: Place) -> float | None:
    """A quantity of memory (Kubernetes API, resource.Quantity); None for what is none."""
    parts = re.fullmatch(r"(\d{1,18}(?:\.\d{1,9})?)([kMGT]?|[KMGT]i)", str(place.value))
    if parts is None:
        return None
    power = " KMGT".index(parts[2][:1].upper() or " ")
    unit_bytes: int = (1024 if parts[2].endswith("i") else 1000) ** power
    return float(parts[1]) * unit_bytes


def _number(place: Place) -> float | None:
    text = str(place.value) if isinstance(place.value, int | float) else place.text
    return float(text) if re.fullmatch(r"\d{1,9}(?:\.\d{1,9})?", text) else None
