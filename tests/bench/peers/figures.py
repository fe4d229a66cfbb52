"""What is measured, in the words of the tables."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Figure:
    """One row of a table; `more` says whether more of it is better."""

    title: str
    unit: str
    more: bool = False
    digits: int = 0


FIGURES: Final[Mapping[str, Figure]] = {
    "drained_per_s": Figure("no-op jobs drained", "/s", more=True),
    "accepted_per_s": Figure("jobs accepted", "/s", more=True),
    "handed_over_p50_ms": Figure("hand-over to callback, p50 at 20 jobs/s", "ms", digits=1),
    "handed_over_p99_ms": Figure("hand-over to callback, p99 at 20 jobs/s", "ms", digits=1),
    "accepted_p50_ms": Figure("acceptance to callback, p50 at 20 jobs/s", "ms", digits=1),
    "accepted_p99_ms": Figure("acceptance to callback, p99 at 20 jobs/s", "ms", digits=1),
    "cpu_ms": Figure("processor time a no-op job", "ms", digits=2),
    "cpu_servers_ms": Figure("and of its servers", "ms", digits=2),
    "image_drained_per_s": Figure("12-megapixel pictures to 800 px", "/s", more=True, digits=1),
    "image_cpu_ms": Figure("processor time a picture", "ms", digits=1),
    "from_zero_s": Figure("from nothing running to the first callback", "s", digits=2),
    "ready_s": Figure("start to ready", "s", digits=2),
    "at_rest_pss_mb": Figure("memory at rest (PSS)", "MB"),
    "at_rest_rss_mb": Figure("memory at rest (RSS)", "MB"),
    "at_rest_servers_pss_mb": Figure("and of its servers", "MB"),
    "at_work_pss_mb": Figure("memory at work (PSS)", "MB"),
    "at_work_rss_mb": Figure("memory at work (RSS)", "MB"),
    "image_at_work_pss_mb": Figure("memory at work on pictures (PSS)", "MB"),
}
