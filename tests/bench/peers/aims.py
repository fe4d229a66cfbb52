"""What Errands should reach, and what a run says of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from tests.bench.peers.figures import BARE_START
from tests.bench.peers.results import OWN, Results

Value = Callable[[Results], float | None]


@dataclass(frozen=True)
class Aim:
    """A figure of a run that should be at least, or at most, `limit`."""

    title: str
    value: Value
    limit: float
    unit: str
    at_least: bool = False

    def reached(self, results: Results) -> bool | None:
        """None where the run did not measure it."""
        value = self.value(results)
        if value is None:
            return None
        return value >= self.limit if self.at_least else value <= self.limit


def _of(figure: str, system: str = "embedded") -> Value:
    return lambda results: results.median(system, figure)


def _ratio(figure: str, to: str, system: str = "embedded") -> Value:
    return lambda results: results.ratio(system, figure, to)


def _own(figure: str, to_figure: str) -> Value:
    return lambda results: results.ratio(OWN, figure, OWN, to_figure)


AIMS: Final[Sequence[Aim]] = (
    Aim("no-op jobs drained, embedded", _ratio("drained_per_s", "celery"), 2.0, "x Celery", at_least=True),
    Aim("no-op jobs drained, embedded", _ratio("drained_per_s", "dramatiq"), 1.3, "x Dramatiq", at_least=True),
    Aim("accepted, through the gateway", _ratio("accepted_per_s", "straight"), 0.7, "x without it", at_least=True),
    Aim("drained, through the gateway", _ratio("drained_per_s", "straight"), 0.8, "x without it", at_least=True),
    Aim(
        "no-op jobs drained, on RabbitMQ", _ratio("drained_per_s", "celery", "rabbitmq"), 2.0, "x Celery", at_least=True
    ),
    Aim("hand-over to callback, p50", _ratio("handed_over_p50_ms", "celery"), 1.0, "x Celery"),
    Aim("hand-over to callback, p99", _ratio("handed_over_p99_ms", "celery"), 1.0, "x Celery"),
    Aim("`errands up` to ready", _of("ready_s"), 2.0, "s"),
    Aim("pictures a second", _ratio("image_per_s", "loop"), 0.95, "x two bare processes", at_least=True),
    Aim("memory at rest, embedded, PSS", _of("at_rest_pss_mb"), 60.0, "MB"),
    Aim("from zero to the first callback, lean function", _of("from_zero_s"), 0.35, "s"),
    Aim("from zero to the first callback, report", _of("report_from_zero_s"), 0.8, "s"),
    Aim("start of ics to its first answer", _own("start_ics_s", BARE_START), 2.5, "x wsgiref"),
    Aim("start of image to its first answer", _own("start_image_s", BARE_START), 2.5, "x wsgiref"),
    Aim("start of notifier to its first answer", _own("start_notifier_s", BARE_START), 2.5, "x wsgiref"),
    Aim("start of report to its first PDF", _own("start_report_s", BARE_START), 8.0, "x wsgiref"),
    Aim(
        "backlog of 100,000, last 10,000 against the first",
        _own("backlog_last_per_s", "backlog_first_per_s"),
        0.95,
        "x",
        at_least=True,
    ),
    Aim("the same, memory at most against at rest", _own("backlog_highest_rss_mb", "backlog_at_rest_rss_mb"), 1.1, "x"),
)
