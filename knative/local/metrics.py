"""The runner's figures in Prometheus text."""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector


class Metrics:
    """Counters of events and deliveries, by Trigger; gauges are read when they are asked for."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._accepted = Counter("errands_events_accepted", "Events answered 202", registry=self._registry)
        self._refused = Counter("errands_events_refused", "Events not taken", ["status"], registry=self._registry)
        self._delivered = Counter("errands_deliveries", "Attempts", ["trigger", "code"], registry=self._registry)
        self._retried = Counter("errands_retries", "Attempts to be made again", ["trigger"], registry=self._registry)
        self._dead = Counter("errands_dead_letters", "Events dead-lettered", ["trigger"], registry=self._registry)
        name = "errands_delivery_seconds"
        self._seconds = Histogram(name, "Time of an attempt", ["trigger"], registry=self._registry)

    def watch(self, depths: Callable[[], Mapping[str, int]], processes: Callable[[], Mapping[str, int]]) -> None:
        """Read the gauges from these."""
        self._registry.register(_Gauges(depths, processes))

    def accepted(self) -> None:
        """An event was answered 202."""
        self._accepted.inc()

    def refused(self, status: int) -> None:
        """An event was answered with an error."""
        self._refused.labels(status).inc()

    def delivered(self, trigger: str, code: int, elapsed_s: float) -> None:
        """An attempt ended; code -1 when no answer came."""
        self._delivered.labels(trigger, code).inc()
        self._seconds.labels(trigger).observe(elapsed_s)

    def retried(self, trigger: str) -> None:
        """An attempt failed and another follows."""
        self._retried.labels(trigger).inc()

    def dead_lettered(self, trigger: str) -> None:
        """An event went to the dead letters."""
        self._dead.labels(trigger).inc()

    def render(self) -> bytes:
        """The text exposition."""
        return generate_latest(self._registry)


class _Gauges(Collector):
    def __init__(self, depths: Callable[[], Mapping[str, int]], processes: Callable[[], Mapping[str, int]]) -> None:
        self._depths = depths
        self._processes = processes

    def collect(self) -> Iterator[GaugeMetricFamily]:
        depth = GaugeMetricFamily("errands_queue_depth", "Deliveries in a queue", labels=["queue"])
        for queue, count in self._depths().items():
            depth.add_metric([queue], count)
        running = GaugeMetricFamily("errands_processes", "Processes of a function", labels=["function"])
        for function, count in self._processes().items():
            running.add_metric([function], count)
        yield from (depth, running)
