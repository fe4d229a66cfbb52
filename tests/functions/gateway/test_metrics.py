"""What Prometheus is told of jobs, as its own parser reads it."""

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from functions.gateway.ledger import jobs
from functions.gateway.ledger.job import key_of
from functions.gateway.ledger.schema import open_ledger
from functions.gateway.ledger.selection import Oldest
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

    found = samples(metrics.render([], now_ms=0))

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
    assert found["errands_jobs_open", "sent", ICS["type"]] == 1
    assert 0 < found["errands_job_oldest_seconds", "sent", ICS["type"]] < 600


@pytest.mark.slow
def test_a_job_that_was_cancelled_or_lost_is_counted_as_that(tmp_path: Path) -> None:
    stored = f"file://{tmp_path}/store"
    with gateway_process(tmp_path, f"sqlite:///{tmp_path}/ledger.db", STORE_URL=stored) as (gateway, _broker):
        for each in ("1", "2"):
            gateway.post(job(each))
        until(lambda: state(gateway, "2") == "sent", what="the broker's")
        cancelled = gateway.post(job("1")).json()["job"]
        gateway.client.post(f"/jobs/{cancelled}/cancel")
        lose(tmp_path / "ledger.db", "2")
        gateway.tell(outcome("2", "deadlettered"))  # by which the sink says that it has it
        found = samples(gateway.get("/metrics").text)

    ended = {key[1]: value for key, value in found.items() if key[0] == "errands_jobs_ended_total"}
    assert ended == {"cancelled": 1, "lost": 1}


def lose(ledger: Path, id_: str) -> None:
    with open_ledger(f"sqlite:///{ledger}").transaction() as transaction:
        job_ = jobs.find(transaction, key_of(ICS["source"], id_))
        assert job_
        jobs.lose(transaction, job_, "nobody knows", now_ms=job_.accepted_ms)


def test_what_is_not_to_begin_yet_is_not_old() -> None:
    waiting = [Oldest(type=IMAGE, state="waiting", count=2, since_ms=since_ms) for since_ms in (5_000, 20_000)]

    found = samples(JobMetrics([]).render(waiting, now_ms=15_000))

    assert found["errands_jobs_open", "waiting", OTHER] == 4
    assert found["errands_job_oldest_seconds", "waiting", OTHER] == 10
    assert (
        samples(JobMetrics([]).render(waiting[1:], now_ms=15_000))["errands_job_oldest_seconds", "waiting", OTHER] == 0
    )
