"""The runner's figures, which a monitor reads as Prometheus text."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class Metrics:
    """Counters of events and deliveries, by Trigger; gauges are read when they are asked for."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each counter, of when it began
        self._registry = registry = CollectorRegistry()
        self._accepted = Counter("errands_events_accepted", "Events answered 202", registry=registry)
        self._refused = Counter("errands_events_refused", "Events not taken", ["status"], registry=registry)
        delivered = Counter("errands_deliveries", "Attempts", ["trigger", "code"], registry=registry)
        self._retried = Counter("errands_retries", "Attempts to be made again", ["trigger"], registry=registry)
        self._dead = Counter("errands_dead_letters", "Events dead-lettered", ["trigger"], registry=registry)
        seconds = Histogram("errands_delivery_seconds", "Time of an attempt", ["trigger"], registry=registry)
        # found by each attempt: the registry's own look-up takes a lock
        self._delivered, self._seconds = cache(delivered.labels), cache(seconds.labels)

    def watch(self, depths: Callable[[], Mapping[str, int]], processes: Callable[[], Mapping[str, int]]) -> None:
        """Read the gauges from these."""
        self._registry.register(CurrentCounts("errands_queue_depth", "Deliveries in a queue", "queue", depths))
        self._registry.register(CurrentCounts("errands_processes", "Processes of a function", "function", processes))

    def accepted(self) -> None:
        """An event was answered 202."""
        self._accepted.inc()

    def refused(self, status: int) -> None:
        """An event was answered with an error."""
        self._refused.labels(str(status)).inc()

    def delivered(self, trigger: str, code: int, elapsed_s: float) -> None:
        """An attempt ended; code -1 when no answer came."""
        self._delivered(trigger, str(code)).inc()
        self._seconds(trigger).observe(elapsed_s)

    def retried(self, trigger: str) -> None:
        """An attempt failed and another follows."""
        self._retried.labels(trigger).inc()

    def dead_lettered(self, trigger: str) -> None:
        """An event went to the dead letters."""
        self._dead.labels(trigger).inc()

    def render(self) -> bytes:
        """The text exposition."""
        return generate_latest(self._registry)


class CurrentCounts(Collector):
    """A gauge whose labels and values are those of the moment at which it is read."""

    def __init__(self, name: str, text: str, label: str, read: Callable[[], Mapping[str, int]]) -> None:
        self._name, self._text, self._label, self._read = name, text, label, read

    def describe(self) -> Iterator[Metric]:
        """Its name, without reading it."""
        yield GaugeMetricFamily(self._name, self._text, labels=(self._label,))

    def collect(self) -> Iterator[Metric]:
        """Each count as it is now."""
        gauge = GaugeMetricFamily(self._name, self._text, labels=(self._label,))
        for value, count in self._read().items():
            gauge.add_metric((value,), count)
        yield gauge
