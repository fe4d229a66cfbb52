"""The gateway as an API meets it: a process with its two ports, on both databases, before a broker's ingress."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import sample
from tests.support.database_servers import database_url, postgresql_server
from tests.support.gateway_process import TOKENS, GatewayProcess, gateway_process
from tests.support.local_runner import until

__all__ = ["database_url", "postgresql_server"]

pytestmark = pytest.mark.slow

ICS = sample("ics")
PROBLEM = "application/problem+json"


def job(id_: str, **changes: Any) -> dict[str, Any]:
    return {**ICS, "id": id_, **changes}


def outcome(id_: str, phase: str = "completed") -> dict[str, Any]:
    return {**sample("ics", phase), "id": f"{id_}-{phase}", "jobsource": ICS["source"], "jobid": id_}


def state(gateway: GatewayProcess, id_: str, **given: Any) -> str | None:
    found = gateway.get("/jobs", source=ICS["source"], id=id_, **given)
    return str(found.json()["state"]) if found.status_code == 200 else None


def test_a_job_is_recorded_then_sent_then_ended_and_can_be_asked_for_at_any_time(
    database_url: str, tmp_path: Path
) -> None:
    with gateway_process(tmp_path, database_url) as (gateway, broker):
        accepted = gateway.post(job("1"))
        until(lambda: state(gateway, "1") == "sent", what="the broker's")
        sent = gateway.get(accepted.headers["location"])
        told = gateway.tell(outcome("1"))
        ended = gateway.get(accepted.headers["location"]).json()
        timeline = gateway.get(f"{accepted.headers['location']}/timeline").json()
        listed = gateway.get("/jobs", state="completed").json()

    assert (accepted.status_code, accepted.json()["state"], told.status_code) == (202, "waiting", 202)
    assert accepted.headers["location"] == f"/jobs/{accepted.json()['job']}"
    assert accepted.json()["stream"].startswith(f"/jobs/{accepted.json()['job']}/stream?ticket=")
    assert [(each.id, each.get("subject")) for each in broker.events] == [("1", ICS["subject"])]
    assert (sent.json()["state"], sent.json()["api"], sent.json()["sent"]) == ("sent", "local", 1)
    assert (ended["state"], ended["result"]) == ("completed", sample("ics", "completed")["data"])
    assert [each["what"] for each in timeline] == ["accepted", "sent", "completed"]
    assert [each["id"] for each in listed["jobs"]] == ["1"]


def test_the_outcome_is_waited_for_and_given_as_the_event_that_it_is(database_url: str, tmp_path: Path) -> None:
    query = {"source": ICS["source"], "id": "1", "wait_s": "60"}
    with gateway_process(tmp_path, database_url) as (gateway, _broker):
        gateway.post(job("1"))
        early = gateway.get("/jobs", **{**query, "wait_s": "0"})
        timer = threading.Timer(0.3, lambda: gateway.tell(outcome("1", "failed")))
        timer.start()
        waited = gateway.get("/jobs", **query)
        timer.join()
        unknown = gateway.get("/jobs", **{**query, "id": "2", "wait_s": "0"})

    assert (early.status_code, waited.status_code, unknown.status_code) == (204, 200, 404)
    assert waited.headers["content-type"] == "application/cloudevents+json"
    assert (waited.json()["id"], waited.json()["outcome"]) == ("1-failed", "failed")


def test_the_same_is_taken_again_and_sent_once_and_other_data_is_a_conflict(database_url: str, tmp_path: Path) -> None:
    other = {"events": [{**ICS["data"]["events"][0], "summary": "Another"}]}
    with gateway_process(tmp_path, database_url) as (gateway, broker):
        first, again = gateway.post(job("1")), gateway.post(job("1"))
        refused = gateway.post(job("1", data=other))
        until(lambda: state(gateway, "1") == "sent", what="the broker's")
        gateway.tell(outcome("1", "failed"))
        mended = gateway.post(job("1", data=other))
        until(lambda: broker.ids == ["1", "1"], what="the mended job's")

    assert (first.status_code, again.status_code, first.json()["job"]) == (202, 202, again.json()["job"])
    assert (refused.status_code, refused.headers["content-type"]) == (409, PROBLEM)
    assert "another job needs another id" in refused.json()["detail"]
    assert mended.status_code == 202
    assert json.loads(broker.events[-1].data) == other


def test_a_batch_is_recorded_together_and_each_of_its_events_has_an_answer(database_url: str, tmp_path: Path) -> None:
    bad = job("2", data={"evnts": []})
    batch = [job("1"), bad, job("3"), {"id": "4"}, job("1")]
    with gateway_process(tmp_path, database_url) as (gateway, broker):
        headers = {"content-type": "application/cloudevents-batch+json"}
        response = gateway.client.post("/", content=json.dumps(batch), headers=headers)
        until(lambda: sorted(broker.ids) == ["1", "3"], what="what was good")

    results = response.json()
    assert (response.status_code, [each["status"] for each in results]) == (200, [202, 422, 202, 400, 202])
    assert [each["id"] for each in results] == ["1", "2", "3", None, "1"]
    assert results[1]["errors"][0]["pointer"] == "#/evnts"
    assert results[0]["job"] == results[4]["job"] != results[2]["job"]


def test_a_binary_event_is_a_job_as_well(tmp_path: Path) -> None:
    headers = {f"ce-{name}": ICS[name] for name in ("specversion", "id", "source", "type")}
    with gateway_process(tmp_path, f"sqlite:///{tmp_path}/ledger.db") as (gateway, broker):
        sent = {**headers, "content-type": "application/json"}
        response = gateway.client.post("/", content=json.dumps(ICS["data"]), headers=sent)
        until(lambda: broker.ids == [ICS["id"]], what="the broker's")

    assert response.status_code == 202


def test_bad_data_is_answered_at_once_and_never_recorded(tmp_path: Path) -> None:
    with gateway_process(tmp_path, f"sqlite:///{tmp_path}/ledger.db") as (gateway, broker):
        response = gateway.post(job("1", data={"evnts": []}))
        unknown = gateway.post(job("2", type="dev.errands.icss.requested.v1"))

        assert (state(gateway, "1"), state(gateway, "2"), broker.events) == (None, None, [])

    assert (response.status_code, response.headers["content-type"]) == (422, PROBLEM)
    assert response.json()["errors"][0]["pointer"] == "#/evnts"
    assert (unknown.status_code, "dev.errands.ics.requested.v1" in unknown.json()["detail"]) == (404, True)


def test_each_api_does_what_its_token_lets_it_and_sees_what_is_its_own(database_url: str, tmp_path: Path) -> None:
    shop, pictures, reader = "shop-token-shop-token", "pictures-token-pictures", "reader-token-reader-token"
    with gateway_process(tmp_path, database_url, GATEWAY_TOKENS=TOKENS) as (gateway, _broker):
        nobody = [gateway.post(job("0")), gateway.get("/jobs"), gateway.post(job("0"), token="wrong")]
        mine = gateway.post({**sample("image"), "id": "picture"}, token=pictures)
        theirs = gateway.post(job("1"), token=shop)
        foreign = gateway.post(job("2"), token=pictures)
        seen = [gateway.get(each.headers["location"], token=pictures).status_code for each in (mine, theirs)]
        lists = {name: gateway.get("/jobs", token=name).json() for name in (shop, pictures, reader)}
        healthy = gateway.get("/healthz")

    assert [each.status_code for each in nobody] == [401, 401, 401]
    assert (mine.status_code, theirs.status_code, foreign.status_code, seen) == (202, 202, 403, [200, 404])
    assert {name: [each["id"] for each in page["jobs"]] for name, page in lists.items()} == {
        shop: ["1", "picture"],
        pictures: ["picture"],
        reader: ["1", "picture"],
    }
    assert healthy.status_code == 200


def test_a_web_page_whose_name_leads_here_is_not_answered(tmp_path: Path) -> None:
    with gateway_process(tmp_path, f"sqlite:///{tmp_path}/ledger.db") as (gateway, broker):
        rebound = gateway.client.get("/jobs", headers={"host": f"evil.example:{gateway.port}"})

        assert (rebound.status_code, broker.events) == (421, [])


def test_while_the_broker_is_away_jobs_are_taken_and_go_on_when_it_is_back(database_url: str, tmp_path: Path) -> None:
    with gateway_process(tmp_path, database_url) as (gateway, broker):
        broker.status = 503
        answers = [gateway.post(job(str(number))).status_code for number in range(5)]
        waiting = until(lambda: told(gateway, "0"), what="why it waits")
        broker.status = 202
        until(lambda: sorted(broker.ids) == ["0", "1", "2", "3", "4"], what="all of them")
        until(lambda: state(gateway, "4") == "sent", what="the mark")

    assert answers == [202] * 5
    assert waiting == "the broker answered 503: "


def told(gateway: GatewayProcess, id_: str) -> str | None:
    found = gateway.get("/jobs", source=ICS["source"], id=id_).json()
    return str(found["error"]) if found["state"] == "waiting" and "error" in found else None


def test_what_was_recorded_and_not_sent_is_sent_after_a_kill(database_url: str, tmp_path: Path) -> None:
    with gateway_process(tmp_path, database_url) as (gateway, broker):
        broker.status = 503
        gateway.post(job("1"))
        gateway.kill()
        broker.status = 202
        gateway.start()
        until(lambda: broker.ids == ["1"], what="the job that was left behind")
        until(lambda: state(gateway, "1") == "sent", what="the mark")


def test_a_stop_takes_nothing_new_and_leaves_nothing_half_done(tmp_path: Path) -> None:
    with gateway_process(tmp_path, f"sqlite:///{tmp_path}/ledger.db") as (gateway, _broker):
        for number in range(20):
            gateway.post(job(str(number)))
        code = gateway.stop()
        gateway.start()
        states = [state(gateway, str(number)) for number in range(20)]

    assert (code, set(states) <= {"waiting", "sent"}) == (0, True), gateway.log.read_text()[-2000:]


def test_while_the_ledger_is_away_nothing_is_accepted_and_the_sender_is_told_when_to_come_again(tmp_path: Path) -> None:
    folder = tmp_path / "ledger"
    folder.mkdir()
    with gateway_process(tmp_path, f"sqlite:///{folder}/ledger.db") as (gateway, broker):
        gateway.post(job("before"))
        moved = folder.rename(tmp_path / "gone")
        folder.write_text("in its place a file")
        refused = gateway.post(job("1"))
        asked = gateway.get("/jobs")
        untold = gateway.tell(outcome("before"))
        folder.unlink()
        moved.rename(folder)
        accepted = gateway.post(job("1"))
        until(lambda: "1" in broker.ids, what="the job")

    assert (refused.status_code, refused.headers["retry-after"], asked.status_code) == (503, "5", 503)
    assert (untold.status_code, accepted.status_code) == (503, 202)


def test_the_function_port_takes_outcomes_and_the_front_door_takes_none(tmp_path: Path) -> None:
    with gateway_process(tmp_path, f"sqlite:///{tmp_path}/ledger.db") as (gateway, _broker):
        gateway.post(job("1"))
        forged = gateway.post(outcome("1"))
        request = gateway.tell(job("2"))

        assert state(gateway, "1") in ("waiting", "sent")

    assert (forged.status_code, request.status_code) == (403, 500)


def test_what_is_not_there_or_not_meant_is_a_problem_with_a_reason(tmp_path: Path) -> None:
    with gateway_process(tmp_path, f"sqlite:///{tmp_path}/ledger.db") as (gateway, _broker):
        nowhere, put = gateway.get("/nowhere"), gateway.client.put("/jobs")
        head = gateway.client.head("/healthz")
        wrong = [
            gateway.get("/jobs", **query).status_code
            for query in ({"state": "gone"}, {"after": "x"}, {"source": "/s"}, {"wait_s": "1"})
        ]
        never = gateway.get("/jobs/00000000-0000-0000-0000-000000000000")

    assert (nowhere.status_code, nowhere.json()["detail"]) == (404, "there is nothing at /nowhere")
    assert (put.status_code, put.headers["allow"], put.json()["detail"]) == (
        405,
        "GET, DELETE",
        "GET, DELETE is expected, got PUT",
    )
    assert (head.status_code, head.content, wrong, never.status_code) == (200, b"", [400] * 4, 404)


def test_two_gateways_on_one_database_take_the_same_job_once(postgresql_server: str, tmp_path: Path) -> None:
    from tests.support.database_servers import new_database

    url = new_database(postgresql_server)
    (tmp_path / "other").mkdir()
    with gateway_process(tmp_path, url) as (one, broker), gateway_process(tmp_path / "other", url) as (two, beyond):
        for number in range(20):
            answers = [each.post(job(str(number))).status_code for each in (one, two)]
            assert answers == [202, 202]
        until(lambda: len(broker.ids) + len(beyond.ids) == 20, what="each of them")
        until(lambda: one.get("/jobs", state="waiting").json()["jobs"] == [], what="the marks")

        assert sorted(broker.ids + beyond.ids) == sorted(str(number) for number in range(20))


def test_a_gateway_that_others_reach_does_not_start_without_tokens(tmp_path: Path) -> None:
    gateway = GatewayProcess(tmp_path, f"sqlite:///{tmp_path}/ledger.db", "http://127.0.0.1:1/", GATEWAY_HOST="0.0.0.0")

    with pytest.raises(AssertionError, match="GATEWAY_TOKENS is required where GATEWAY_HOST is not loopback"):
        gateway.start()


@pytest.mark.parametrize(("trusted", "other"), [("127.0.0.1/32", 401), ("", 429)])
def test_wrong_tokens_are_counted_by_who_the_trusted_proxy_says_asks(tmp_path: Path, trusted: str, other: int) -> None:
    given = {"GATEWAY_TOKENS": TOKENS, "GATEWAY_TRUSTED_PROXIES": trusted}
    with gateway_process(tmp_path, f"sqlite:///{tmp_path}/ledger.db", **given) as (gateway, _broker):

        def guess(client: str) -> int:
            headers = {"authorization": "Bearer guessed", "x-forwarded-for": client}
            return gateway.client.get("/jobs", headers=headers).status_code

        many = [guess("203.0.113.5") for _ in range(15)]
        one = guess("203.0.113.6")

    assert (many[0], many[-1], one) == (401, 429, other)
