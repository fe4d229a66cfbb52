"""The runner's figures in Prometheus text.

They are counted here: `prometheus_client` is 3 MB of the runner, and loaded when a monitor first asks.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from prometheus_client import Metric

BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)


class Seconds:
    """How long something took: how often at most as long as each of the buckets."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BUCKETS_S) + 1)
        self._sum_s = 0.0

    def observe(self, elapsed_s: float) -> None:
        """Once more."""
        self._counts[bisect_left(BUCKETS_S, elapsed_s)] += 1
        self._sum_s += elapsed_s

    def cumulated(self) -> tuple[list[tuple[str, float]], float]:
        """The buckets as Prometheus has them, each with all that took less, and the sum."""
        bounds = [*map(str, BUCKETS_S), "+Inf"]
        return [(bound, sum(self._counts[: number + 1])) for number, bound in enumerate(bounds)], self._sum_s


class Metrics:
    """Counters of events and deliveries, by Trigger; gauges are read when they are asked for."""

    def __init__(self) -> None:
        self._accepted = 0
        self._refused = Counter[tuple[str, ...]]()
        self._delivered = Counter[tuple[str, ...]]()
        self._retried = Counter[tuple[str, ...]]()
        self._dead = Counter[tuple[str, ...]]()
        self._seconds: dict[str, Seconds] = {}
        self._depths: Callable[[], Mapping[str, int]] = dict
        self._processes: Callable[[], Mapping[str, int]] = dict

    def watch(self, depths: Callable[[], Mapping[str, int]], processes: Callable[[], Mapping[str, int]]) -> None:
        """Read the gauges from these."""
        self._depths, self._processes = depths, processes

    def accepted(self) -> None:
        """An event was answered 202."""
        self._accepted += 1

    def refused(self, status: int) -> None:
        """An event was answered with an error."""
        self._refused[str(status),] += 1

    def delivered(self, trigger: str, code: int, elapsed_s: float) -> None:
        """An attempt ended; code -1 when no answer came."""
        self._delivered[trigger, str(code)] += 1
        self._seconds.setdefault(trigger, Seconds()).observe(elapsed_s)

    def retried(self, trigger: str) -> None:
        """An attempt failed and another follows."""
        self._retried[trigger,] += 1

    def dead_lettered(self, trigger: str) -> None:
        """An event went to the dead letters."""
        self._dead[trigger,] += 1

    def render(self) -> bytes:
        """The text exposition."""
        from prometheus_client import CollectorRegistry, generate_latest

        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> "Iterator[Metric]":
        """The figures as they are now (prometheus_client's Collector)."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        for name, text, labels, counts in (
            ("errands_events_accepted", "Events answered 202", (), {(): self._accepted}),
            ("errands_events_refused", "Events not taken", ("status",), self._refused),
            ("errands_deliveries", "Attempts", ("trigger", "code"), self._delivered),
            ("errands_retries", "Attempts to be made again", ("trigger",), self._retried),
            ("errands_dead_letters", "Events dead-lettered", ("trigger",), self._dead),
        ):
            counter = CounterMetricFamily(name, text, labels=labels)
            for values, count in counts.items():
                counter.add_metric(values, count)
            yield counter
        histogram = HistogramMetricFamily("errands_delivery_seconds", "Time of an attempt", labels=("trigger",))
        for trigger, seconds in self._seconds.items():
            histogram.add_metric((trigger,), *seconds.cumulated())
        yield histogram
        for name, text, label, read in (
            ("errands_queue_depth", "Deliveries in a queue", "queue", self._depths),
            ("errands_processes", "Processes of a function", "function", self._processes),
        ):
            gauge = GaugeMetricFamily(name, text, labels=(label,))
            for value, count in read().items():
                gauge.add_metric((value,), count)
            yield gauge
