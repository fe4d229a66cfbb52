"""Rules about where events go: filters that match nothing or everything, events that nobody wants, loops."""

from collections.abc import Iterator

from knative.lint.events import OPEN_ATTRIBUTES, Emitted
from knative.lint.findings import Flaw, near, rule
from knative.lint.resources import Resources, answers
from knative.manifests.declared import DeclaredTrigger
from knative.manifests.documents import Place


@rule(
    "filters-ignored",
    "error",
    consequence="the RabbitMQ broker does not read filters: the Trigger receives every event",
    fix="use filter.attributes, exact values, all of which must match",
)
def filters_ignored(resources: Resources) -> Iterator[Flaw]:
    """`filters`, which other brokers honour."""
    for trigger in resources.triggers:
        if trigger.spec["filters"]:
            yield Flaw(trigger.spec["filters"], "spec.filters is given")


@rule(
    "empty-filter-value",
    "error",
    consequence='"" does not mean any value here: only an event with that attribute empty would match, so none does',
    fix="leave the attribute out",
)
def empty_filter_value(resources: Resources) -> Iterator[Flaw]:
    """An attribute filtered by an empty text."""
    for trigger, name, place in _filtered(resources):
        if place.value in ("", None):
            yield Flaw(place, f"Trigger {trigger.document.name} filters {name} by an empty value")


@rule(
    "filter-on-datacontenttype",
    "error",
    consequence="the attribute is no header of the message but its content type: the filter never matches",
    fix="filter by type",
)
def filter_on_datacontenttype(resources: Resources) -> Iterator[Flaw]:
    """A filter on the one attribute that never matches."""
    for _, name, place in _filtered(resources):
        if name == "datacontenttype":
            yield Flaw(place, "a filter on datacontenttype")


@rule(
    "never-emitted",
    "error",
    consequence="the Trigger never receives anything, and nobody is told",
    fix="filter by what is emitted, or declare the event (an EventType, or a sample with --events)",
)
def never_emitted(resources: Resources) -> Iterator[Flaw]:
    """A filter that no declared event matches; of attributes that vary only the presence is known, so they pass."""
    for trigger in resources.triggers if resources.emitted else ():
        emitted = any(each.matches(trigger.filter) for each in resources.emitted)
        if trigger.filter and not emitted and not _brings_steps(trigger, resources):
            place = trigger.spec["filter"]["attributes"]
            name, hint = _culprit(trigger, resources.emitted)
            yield Flaw(place[name], f"no declared event has {name} {trigger.filter[name]}{hint}")


def _brings_steps(trigger: DeclaredTrigger, resources: Resources) -> bool:
    """Whether it brings the ends of a flow's steps, whatever these are, to who takes the flow's request."""
    begins, service = f".{trigger.filter.get('flow')}.requested.", resources.service(trigger.spec["subscriber"])
    beside = (each for each in resources.triggers if resources.service(each.spec["subscriber"]) is service)
    return trigger.filter.keys() == {"flow"} and any(begins in each.filter.get("type", "") for each in beside)


@rule(
    "unwanted-event",
    "error",
    consequence="the ingress answers 202 to an event that no Trigger wants, and it is gone",
    fix="a Trigger for it, be it to a Service that only counts what it gets",
)
def unwanted_event(resources: Resources) -> Iterator[Flaw]:
    """A declared event that no Trigger's filter matches."""
    everything = [each.filter for each in resources.triggers]
    for emitted in resources.emitted if resources.triggers else ():
        if not any(emitted.matches(each) for each in everything):
            place = emitted.place or resources.triggers[0].spec["filter"]
            yield Flaw(place, f"no Trigger wants {emitted.type}")


@rule(
    "loop",
    "error",
    consequence="there is no guard against loops: the two send each other events until somebody stops them",
    fix="let one of them answer with a type that the other's Trigger does not match",
)
def loop(resources: Resources) -> Iterator[Flaw]:
    """Functions that answer each other, or one that answers itself, as declared by lint.errands.dev/answers."""
    calls = {name: _called(resources, name) for name in resources.services}
    for name, service in resources.services.items():
        path = _way_back(name, calls)
        if path and name == min(path):
            what = f"{' answers '.join([*path, name])}"
            yield Flaw(service.document.root["metadata"], what)


@rule(
    "catch-all",
    "warning",
    consequence="it receives every event, also the answer that it gives itself: there is no guard against loops",
    fix="filter by type, or let the function answer nothing",
)
def catch_all(resources: Resources) -> Iterator[Flaw]:
    """A Trigger without any filter."""
    for trigger in resources.triggers:
        if not trigger.filter and not trigger.spec["filters"]:
            yield Flaw(trigger.spec["filter"], f"Trigger {trigger.document.name} has no filter")


@rule(
    "delivered-twice",
    "warning",
    consequence="an event that matches both is delivered to the same subscriber twice",
    fix="one Trigger, or filters that exclude each other",
)
def delivered_twice(resources: Resources) -> Iterator[Flaw]:
    """Two Triggers to one subscriber, of which one matches all that the other does."""
    for index, one in enumerate(resources.triggers):
        for other in resources.triggers[index + 1 :]:
            same = one.broker == other.broker and one.spec["subscriber"].value == other.spec["subscriber"].value
            if same and (_within(one, other) or _within(other, one)):
                what = f"Trigger {other.document.name} matches events that {one.document.name} matches as well"
                yield Flaw(other.spec["filter"], what)


@rule(
    "unknown-service",
    "warning",
    consequence="the Trigger never becomes ready, and its events wait in the queue",
    fix="name a Service of these manifests",
)
def unknown_service(resources: Resources) -> Iterator[Flaw]:
    """A subscriber or dead-letter sink that refers to a Knative Service which is not here, although others are."""
    for trigger in resources.triggers if resources.services else ():
        for place in (trigger.spec["subscriber"], trigger.spec["delivery"]["deadLetterSink"]):
            name, knative = place["ref"]["name"], place["ref"]["apiVersion"].text.startswith("serving.knative.dev/")
            if knative and place["ref"]["kind"].text == "Service" and name.text not in resources.services:
                hint = near(name.text, list(resources.services))
                yield Flaw(name, f"there is no Service {name.text} here{hint}")


@rule(
    "not-the-ingress",
    "error",
    consequence="the RabbitMQ broker's ingress takes POST / alone: any other path or a query string is answered 404",
    fix="http://NAME-broker-ingress.NAMESPACE.svc.cluster.local without a path",
)
def not_the_ingress(resources: Resources) -> Iterator[Flaw]:
    """An event source that posts to a path of the Broker, or to the ingress of other brokers."""
    for document in resources.documents:
        sink = document.root["spec"]["sink"]
        if sink["ref"]["kind"].text == "Broker" and sink["uri"].text.strip("/"):
            yield Flaw(sink["uri"], f"events are sent to the Broker's path {sink['uri'].text}")
        for container in document.root["spec"]["template"]["spec"]["containers"]:
            yield from _posts_elsewhere(container)


@rule(
    "runs-on-channels",
    "warning",
    consequence="it runs on Channels, in memory unless the cluster says otherwise: with a pod goes what it holds",
    fix="one Trigger for each step, which answers with the event that the next one filters by",
)
def runs_on_channels(resources: Resources) -> Iterator[Flaw]:
    """A Sequence or Parallel beside a RabbitMQ broker, with no channel named."""
    for kind in ("Sequence", "Parallel") if resources.brokers else ():
        for document in resources.of(kind, "flows.knative.dev"):
            if not document.root["spec"]["channelTemplate"]:
                yield Flaw(document.root["kind"], f"a {kind} without a channelTemplate")


def _posts_elsewhere(container: Place) -> Iterator[Flaw]:
    for entry in container["env"]:
        address = entry["value"].text
        host, _, path = address.partition("://")[2].partition("/")
        name = host.partition(".")[0]
        if name == "broker-ingress" or (name.endswith("-broker-ingress") and (path or "?" in host)):
            yield Flaw(entry["value"], f"{entry['name'].text} is no address of a RabbitMQ broker's ingress")


def _filtered(resources: Resources) -> Iterator[tuple[DeclaredTrigger, str, Place]]:
    for trigger in resources.triggers:
        for name, place in trigger.attributes.members:
            yield trigger, name, place


def _culprit(trigger: DeclaredTrigger, emitted: tuple[Emitted, ...]) -> tuple[str, str]:
    """The attribute that no declared event has with this value, else the last one, and a hint."""
    closed = [name for name in trigger.filter if name not in OPEN_ATTRIBUTES]
    for name in closed:
        values = {each.attributes[name] for each in emitted if name in each.attributes}
        if trigger.filter[name] not in values:
            if any(str(each) == trigger.filter[name] for each in values):
                return name, ": it is emitted as a number or boolean, which a filter's text does not match"
            return name, near(trigger.filter[name], [str(each) for each in values])
    return closed[-1], " together with the others"


def _called(resources: Resources, name: str) -> set[str]:
    """The Services that get what this one answers."""
    known = {each.type: each for each in resources.emitted}
    answered = [known.get(each) or Emitted({"type": each}, each) for each in answers(resources.services[name])]
    called = (
        resources.service(trigger.spec["subscriber"])
        for trigger in resources.triggers
        if any(each.matches(trigger.filter) for each in answered)
    )
    return {each.document.name for each in called if each}


def _way_back(start: str, calls: dict[str, set[str]]) -> list[str]:
    """The shortest way from a Service over answers to itself; empty when there is none."""
    ways, seen = [[start]], {start}
    for way in ways:
        for called in sorted(calls[way[-1]]):
            if called == start:
                return way
            if called not in seen:
                seen.add(called)
                ways.append([*way, called])
    return []


def _within(one: DeclaredTrigger, other: DeclaredTrigger) -> bool:
    return one.filter.items() <= other.filter.items()
