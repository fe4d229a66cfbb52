"""What is told of jobs for Prometheus, by their type: accepted, ended, how long they took, and how old the oldest is.

Written as text by itself: the client library would be a quarter of what the process needs.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from functions.gateway.ledger.selection import Oldest

BUCKETS_S: Final = (0.1, 0.5, 1.0, 5.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)
OTHER: Final = "other"  # a type that no Trigger names: of a job past the gateway


class JobMetrics:
    """Counts since the process' start; used in one loop."""

    def __init__(self, types: Collection[str]) -> None:
        self._types = frozenset(types)
        self._accepted: Counter[str] = Counter()
        self._ended: Counter[tuple[str, str]] = Counter()
        self._buckets: defaultdict[str, list[int]] = defaultdict(lambda: [0] * (len(BUCKETS_S) + 1))
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def accepted(self, type_: str) -> None:
        """A job was recorded."""
        self._accepted[self._named(type_)] += 1

    def ended(self, type_: str, outcome: str, took_s: float) -> None:
        """A job has ended so."""
        type_ = self._named(type_)
        self._ended[type_, outcome] += 1
        self._buckets[type_][bisect_left(BUCKETS_S, took_s)] += 1
        self._seconds[type_] += max(0.0, took_s)

    def render(self, oldest: Sequence[Oldest], *, now_ms: int) -> str:
        """The text, with the open jobs as they are in the ledger."""
        return "\n".join([*self._counters(), *self._durations(), *self._open(oldest, now_ms), ""])

    def _named(self, type_: str) -> str:
        return type_ if type_ in self._types else OTHER

    def _counters(self) -> Iterator[str]:
        yield "# TYPE errands_jobs_accepted_total counter"
        for type_, count in sorted(self._accepted.items()):
            yield f'errands_jobs_accepted_total{{type="{type_}"}} {count}'
        yield "# TYPE errands_jobs_ended_total counter"
        for (type_, outcome), count in sorted(self._ended.items()):
            yield f'errands_jobs_ended_total{{type="{type_}",outcome="{outcome}"}} {count}'

    def _durations(self) -> Iterator[str]:
        yield "# TYPE errands_job_seconds histogram"
        for type_, counts in sorted(self._buckets.items()):
            below = 0
            for limit, count in zip((*BUCKETS_S, "+Inf"), counts, strict=True):
                below += count
                yield f'errands_job_seconds_bucket{{type="{type_}",le="{limit}"}} {below}'
            yield f'errands_job_seconds_sum{{type="{type_}"}} {self._seconds[type_]:.3f}'
            yield f'errands_job_seconds_count{{type="{type_}"}} {below}'

    def _open(self, oldest: Sequence[Oldest], now_ms: int) -> Iterator[str]:
        by_labels: dict[str, tuple[int, int]] = {}
        for each in oldest:
            labels = f'type="{self._named(each.type)}",state="{each.state}"'
            count, since_ms = by_labels.get(labels, (0, each.since_ms))
            by_labels[labels] = count + each.count, min(since_ms, each.since_ms)
        yield "# TYPE errands_jobs_open gauge"
        for labels, (count, _) in sorted(by_labels.items()):
            yield f"errands_jobs_open{{{labels}}} {count}"
        yield "# TYPE errands_job_oldest_seconds gauge"
        for labels, (_, since_ms) in sorted(by_labels.items()):
            yield f"errands_job_oldest_seconds{{{labels}}} {max(0, now_ms - since_ms) / 1000:.3f}"
