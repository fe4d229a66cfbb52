"""What is measured, in the words of the tables."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Figure:
    """One figure of a system; `compared` says whether its ratio to another system's means something."""

    title: str
    unit: str
    digits: int = 0
    compared: bool = True


# RabbitMQ delivers before it confirms: a callback can come before the acceptance, and its wait has no ratio
GROUPS: Final[Mapping[str, Mapping[str, Figure]]] = {
    "Jobs a second": {
        "drained_per_s": Figure("no-op jobs drained", "/s"),
        "accepted_per_s": Figure("jobs accepted", "/s"),
        "image_per_s": Figure("pictures made small", "/s", 1),
    },
    "Waits at 20 jobs a second": {
        "handed_over_p50_ms": Figure("hand-over to callback, p50", "ms", 1),
        "handed_over_p99_ms": Figure("hand-over to callback, p99", "ms", 1),
        "accepted_p50_ms": Figure("acceptance to callback, p50", "ms", 1, compared=False),
        "accepted_p99_ms": Figure("acceptance to callback, p99", "ms", 1, compared=False),
    },
    "Processor time": {
        "cpu_ms": Figure("a no-op job", "ms", 2),
        "cpu_servers_ms": Figure("a no-op job, servers", "ms", 2, compared=False),
        "image_cpu_ms": Figure("a picture", "ms", 1),
        "image_cpu_servers_ms": Figure("a picture, servers", "ms", 1, compared=False),
    },
    "Memory at rest": {
        "at_rest_pss_mb": Figure("at rest, PSS", "MB"),
        "at_rest_rss_mb": Figure("at rest, RSS", "MB"),
        "at_rest_servers_pss_mb": Figure("at rest, servers, PSS", "MB", compared=False),
    },
    "Memory at work": {
        "at_work_pss_mb": Figure("at work, PSS", "MB"),
        "at_work_rss_mb": Figure("at work, RSS", "MB"),
        "image_at_work_pss_mb": Figure("on pictures, PSS", "MB"),
        "image_at_work_rss_mb": Figure("on pictures, RSS", "MB"),
    },
    "Starts, and callbacks that came twice": {
        "from_zero_s": Figure("nothing running to first callback", "s", 2),
        "report_from_zero_s": Figure("the same, a report", "s", 2, compared=False),
        "ready_s": Figure("start to ready", "s", 2, compared=False),
        "repeated": Figure("callbacks that came twice", "", compared=False),
    },
}
FIGURES: Final[Mapping[str, Figure]] = {key: figure for group in GROUPS.values() for key, figure in group.items()}

BARE_START: Final = "start_wsgiref_s"
STARTS: Final[Mapping[str, str]] = {
    BARE_START: "wsgiref's server, bare",
    "start_ics_s": "ics",
    "start_image_s": "image",
    "start_notifier_s": "notifier",
    "start_report_s": "report, to its first PDF",
}
