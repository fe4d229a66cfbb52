"""Jobs that are wanted later: by a gateway in a process of its own, on both databases."""

import json
from pathlib import Path

import pytest

from events.http import rfc3339
from functions.gateway.replies import is_cancelled
from tests.functions.gateway.test_changes import change, store, store_url
from tests.functions.gateway.test_gateway import ICS, job, outcome, state
from tests.support.database_servers import database_url, postgresql_server
from tests.support.gateway_process import gateway_process
from tests.support.local_runner import until

__all__ = ["database_url", "postgresql_server", "store"]

pytestmark = pytest.mark.slow


def test_a_delayed_job_is_sent_when_it_is_due_and_not_before_also_after_a_kill(
    database_url: str, tmp_path: Path
) -> None:
    with gateway_process(tmp_path, database_url) as (gateway, broker):
        path = gateway.post(job("later", delay="PT3S")).headers["location"]
        gateway.post(job("now"))
        until(lambda: "now" in broker.ids, what="the job without a delay")
        waiting = gateway.get(path).json()
        gateway.kill()
        gateway.start()
        until(lambda: broker.ids == ["now", "later"], what="the delayed job")
        until(lambda: state(gateway, "later") == "sent", what="the mark")
        accepted, sent = gateway.get(f"{path}/timeline").json()

    assert waiting["state"] == "waiting"
    assert (accepted["what"], sent["what"]) == ("accepted", "sent")
    assert accepted["at"] < waiting["next_at"] <= sent["at"]
    assert (rfc3339(waiting["next_at"]) - rfc3339(accepted["at"])).total_seconds() == 3


def test_what_is_due_sooner_than_all_that_waits_is_sent_first(database_url: str, tmp_path: Path) -> None:
    with gateway_process(tmp_path, database_url) as (gateway, broker):
        gateway.post(job("tomorrow", delay="P1D"))
        gateway.post(job("second", delay="PT2S"))
        gateway.post(job("first", delay="PT1S"))
        until(lambda: broker.ids == ["first", "second"], what="both in the order of their moments")

        assert state(gateway, "tomorrow") == "waiting"


def test_a_job_that_waits_for_its_moment_can_be_cancelled(database_url: str, tmp_path: Path, store: object) -> None:
    with gateway_process(tmp_path, database_url, STORE_URL=store_url(tmp_path)) as (gateway, broker):
        path = gateway.post(job("1", delay="P1D")).headers["location"]
        cancelled = change(gateway, path, "cancel")
        until(lambda: broker.events, what="the outcome")

        assert (cancelled, state(gateway, "1"), is_cancelled(broker.events[0])) == (202, "cancelled", True)


def test_a_second_job_of_a_unique_key_is_answered_with_the_first(database_url: str, tmp_path: Path) -> None:
    with gateway_process(tmp_path, database_url) as (gateway, broker):
        first, second = (gateway.post(job(each, uniquekey="order-7")) for each in ("1", "2"))
        headers = {"content-type": "application/cloudevents-batch+json"}
        batch = gateway.client.post("/", content=json.dumps([job("3", uniquekey="order-7"), job("4")]), headers=headers)
        until(lambda: sorted(broker.ids) == ["1", "4"], what="those that are jobs")
        until(lambda: state(gateway, "1") == "sent", what="the mark")
        gateway.tell(outcome("1"))
        next_ = gateway.post(job("5", uniquekey="order-7"))

    assert (first.status_code, second.status_code, next_.status_code) == (202, 200, 202)
    assert second.headers["location"] == first.headers["location"] != next_.headers["location"]
    assert second.json()["job"] == first.json()["job"]
    assert [each["status"] for each in batch.json()] == [200, 202]
    assert batch.json()[0]["job"] == first.json()["job"]


def test_a_bad_time_is_answered_with_a_pointer_to_it_and_recorded_nowhere(tmp_path: Path) -> None:
    with gateway_process(tmp_path, f"sqlite:///{tmp_path}/ledger.db") as (gateway, _broker):
        both = gateway.post(job("1", delay="PT1H", notbefore="2026-12-01T13:00:00Z"))
        found = gateway.get("/jobs", source=ICS["source"], id="1")

    assert (both.status_code, [each["pointer"] for each in both.json()["errors"]]) == (422, ["#/delay"])
    assert found.status_code == 404
