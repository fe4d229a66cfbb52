"""What Prometheus is told: how many dead letters there are by Trigger and state, and how old the oldest open one is."""

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Final

from functions.runtime.failure_reports import service_of
from functions.storage.database import Database, Row

if TYPE_CHECKING:
    from prometheus_client import Metric

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
OTHERS: Final = "others"
TRIGGERS: Final = 200  # a label whose values anybody may make up must not fill a monitor's memory
COUNTS: Final = (
    "SELECT g.trigger_name, g.destination, g.job, l.state, count(*) AS n, min(l.first_seen) AS oldest"
    " FROM dead_letter l JOIN dead_group g ON g.id = l.group_id"
    " GROUP BY g.trigger_name, g.destination, g.job, l.state ORDER BY n DESC"
)


def render(database: Database, *, now: datetime) -> bytes:
    """The metrics in Prometheus' text format."""
    from prometheus_client import (  # a large import, which only a monitor need wait for
        CollectorRegistry,
        generate_latest,
    )

    registry = CollectorRegistry()
    with database.transaction(writes=False) as transaction:
        rows = transaction.execute(COUNTS)
        unsent = transaction.execute("SELECT count(*) AS n FROM dead_notice")[0]["n"]
    registry.register(_Collector(rows, int(unsent), now))
    return generate_latest(registry)


class _Collector:
    def __init__(self, rows: list[Row], unsent: int, now: datetime) -> None:
        self._rows = rows
        self._unsent = unsent
        self._now = now

    def collect(self) -> Iterator["Metric"]:
        """The families, as the client library asks for them."""
        from prometheus_client.core import GaugeMetricFamily

        dead_letters = GaugeMetricFamily("errands_dead_letters", "Dead letters.", labels=("trigger", "job", "state"))
        for labels, count in self._counts().items():
            dead_letters.add_metric(labels, count)
        yield dead_letters
        oldest = GaugeMetricFamily(
            "errands_dead_letter_oldest_age_seconds",
            "Since when the oldest dead letter that is not dealt with is there.",
            labels=("trigger",),
        )
        for trigger, age_s in self._ages_s().items():
            oldest.add_metric((trigger,), age_s)
        yield oldest
        yield GaugeMetricFamily(
            "errands_dead_letter_notices_unsent",
            "Events about dead letters that the broker has not taken.",
            self._unsent,
        )

    def _counts(self) -> dict[tuple[str, str, str], int]:
        counts: dict[tuple[str, str, str], int] = {}
        for number, row in enumerate(self._rows):
            labels = (*_names(row, number), row["state"])
            counts[labels] = counts.get(labels, 0) + row["n"]
        return counts

    def _ages_s(self) -> dict[str, float]:
        ages: dict[str, float] = {}
        for number, row in enumerate(self._rows):
            if row["state"] in ("open", "quarantined"):
                trigger, _ = _names(row, number)
                age_s = (self._now - datetime.fromisoformat(row["oldest"])).total_seconds()
                ages[trigger] = max(age_s, ages.get(trigger, 0.0))
        return ages


def _names(row: Row, number: int) -> tuple[str, str]:
    """Trigger (on a cluster, whose broker tells none, the Service) and job."""
    if number >= TRIGGERS:
        return OTHERS, OTHERS
    return (row["trigger_name"] or service_of(row["destination"]))[:100] or OTHERS, row["job"]
