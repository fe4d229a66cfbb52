"""What Prometheus is told of jobs, as its own parser reads it."""

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from functions.gateway.metrics import OTHER, JobMetrics
from tests.functions.gateway.test_gateway import ICS, job, outcome, state
from tests.support.gateway_process import gateway_process
from tests.support.local_runner import until

IMAGE = "dev.errands.image.requested.v1"


def samples(text: str) -> dict[tuple[str, ...], float]:
    return {
        (each.name, *(each.labels[name] for name in sorted(each.labels))): each.value
        for family in text_string_to_metric_families(text)
        for each in family.samples
    }


def test_how_long_jobs_took_is_a_histogram_and_a_type_of_nobody_s_is_no_series_of_its_own() -> None:
    metrics = JobMetrics([IMAGE])
    for type_, took_s in ((IMAGE, 0.05), (IMAGE, 20.0), ("made.up.requested.v1", 1e6), (IMAGE, -1.0)):
        metrics.ended(type_, "completed", took_s)

    found = samples(metrics.render({}, now_ms=0))

    assert found["errands_job_seconds_bucket", "0.1", IMAGE] == 2
    assert found["errands_job_seconds_bucket", "30.0", IMAGE] == found["errands_job_seconds_count", IMAGE] == 3
    assert found["errands_job_seconds_bucket", "7200.0", OTHER] == 0
    assert found["errands_job_seconds_sum", IMAGE] == pytest.approx(20.05)


@pytest.mark.slow
def test_jobs_are_counted_by_type_as_they_are_accepted_and_end_and_while_they_are_open(tmp_path: Path) -> None:
    with gateway_process(tmp_path, f"sqlite:///{tmp_path}/ledger.db") as (gateway, _broker):
        for each in ("1", "1", "2", "3"):
            gateway.post(job(each))
        gateway.tell(outcome("1"))
        gateway.tell(outcome("2", "failed"))
        until(lambda: state(gateway, "2") == "failed", what="the end")
        found = samples(gateway.get("/metrics").text)

    assert found["errands_jobs_accepted_total", ICS["type"]] == 3
    assert found["errands_jobs_ended_total", "completed", ICS["type"]] == 1
    assert found["errands_jobs_ended_total", "failed", ICS["type"]] == 1
    assert found["errands_jobs_open", ICS["type"]] == 1
    assert 0 < found["errands_job_oldest_seconds", ICS["type"]] < 600
