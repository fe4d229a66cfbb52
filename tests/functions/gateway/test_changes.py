"""Jobs that are cancelled, asked for again and erased: by a gateway in a process of its own, on both databases."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from events.http import Event, read, structured
from events.problem import JobFailed
from functions.gateway.replies import cancelled_reply, is_cancelled
from functions.runtime.adapter import reply_event, system_clock
from functions.runtime.notes import ERASED
from functions.storage.ledger import ReplyLedger
from functions.storage.store import Store
from tests.conftest import sample
from tests.functions.gateway.test_gateway import ICS, job, outcome, state
from tests.support.database_servers import database_url, postgresql_server
from tests.support.gateway_process import TOKENS, Broker, GatewayProcess, authorization, gateway_process
from tests.support.http_server import http_server
from tests.support.local_runner import until

__all__ = ["database_url", "postgresql_server"]

pytestmark = pytest.mark.slow


@pytest.fixture
def store(tmp_path: Path) -> Store:
    (tmp_path / "store").mkdir()
    return Store((tmp_path / "store").as_uri())


def store_url(tmp_path: Path) -> str:
    return (tmp_path / "store").as_uri()


def change(gateway: GatewayProcess, path: str, what: str, *, token: str | None = None) -> int:
    response = gateway.client.post(f"{path}/{what}", headers=authorization(token))
    assert response.status_code < 500, response.text
    return response.status_code


def completed(cause: Event) -> Event:
    data = JobFailed("none", "of no matter here").problem
    return reply_event(cause, "dev.errands.ics.completed.v1", data, now=system_clock())


def test_a_cancelled_job_is_told_of_at_once_and_what_its_function_comes_to_is_dropped(
    database_url: str, tmp_path: Path, store: Store
) -> None:
    with gateway_process(tmp_path, database_url, STORE_URL=store_url(tmp_path)) as (gateway, broker):
        path = gateway.post(job("1")).headers["location"]
        until(lambda: broker.ids == ["1"], what="the broker's")
        cancelled = change(gateway, path, "cancel")
        until(lambda: len(broker.events) == 2, what="the outcome")
        request, told = broker.events
        late = ReplyLedger(store).record(request, completed(request))
        gateway.tell({**outcome("1"), "outcome": "completed"})
        again = change(gateway, path, "cancel")
        shown = gateway.get(path).json()
        timeline = [each["what"] for each in gateway.get(f"{path}/timeline").json()]

    assert (cancelled, again) == (202, 409)
    assert (shown["state"], shown["result"]["title"]) == ("cancelled", shown["result"]["title"])
    assert is_cancelled(told)
    assert is_cancelled(late)
    assert (told.get("jobid"), told.get("outcome")) == ("1", "failed")
    assert timeline == ["accepted", "sent", "cancel asked", "cancelled"]


def test_a_job_that_waits_never_runs_when_it_is_cancelled(database_url: str, tmp_path: Path, store: Store) -> None:
    with gateway_process(tmp_path, database_url, STORE_URL=store_url(tmp_path)) as (gateway, broker):
        broker.status = 503
        path = gateway.post(job("1")).headers["location"]
        cancelled = change(gateway, path, "cancel")
        broker.status = 202
        until(lambda: broker.events, what="the outcome")
        gateway.post(job("2"))
        until(lambda: "2" in broker.ids, what="another job's")

    assert cancelled == 202
    assert "1" not in broker.ids
    assert is_cancelled(broker.events[0])
    assert store.list("ledger/")


def test_a_job_that_has_ended_says_no_also_where_only_its_function_knows(tmp_path: Path, store: Store) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    with gateway_process(tmp_path, url, STORE_URL=store_url(tmp_path)) as (gateway, broker):
        path = gateway.post(job("1")).headers["location"]
        until(lambda: broker.ids == ["1"], what="the broker's")
        ReplyLedger(store).record(broker.events[0], completed(broker.events[0]))
        late = gateway.client.post(f"{path}/cancel")
        open_still = state(gateway, "1")

    assert (late.status_code, open_still) == (409, "sent")
    assert "completed" in late.json()["detail"]


ONBOARDING = sample("onboarding")
FLOWS = {
    "routes": [
        {"name": "flow", "filter": {"type": ONBOARDING["type"]}, "deadline_s": 60, "begins_flow": True},
        {"name": "signal", "filter": {"type": "dev.errands.signal.requested.v1"}, "deadline_s": 60},
        {"name": "ics", "filter": {"type": ICS["type"]}, "deadline_s": 60},
    ]
}


@pytest.fixture
def flows(tmp_path: Path, store: Store) -> Iterator[tuple[GatewayProcess, Broker]]:
    given = {"STORE_URL": store_url(tmp_path), "GATEWAY_ROUTES": json.dumps(FLOWS)}
    with gateway_process(tmp_path, f"sqlite:///{tmp_path}/ledger.db", **given) as started:
        yield started


def said(event: Event) -> dict[str, object]:
    """What a signal tells, beside its source."""
    return {"source": event.source, **json.loads(event.data)}


def state_of(gateway: GatewayProcess, path: str) -> str:
    return str(gateway.get(path).json()["state"])


def test_a_flow_is_cancelled_by_a_signal_as_it_may_have_to_undo_what_it_did(
    flows: tuple[GatewayProcess, Broker], store: Store
) -> None:
    gateway, broker = flows
    path = gateway.post(ONBOARDING).headers["location"]
    until(lambda: state_of(gateway, path) == "sent", what="the broker's")
    cancelled = [change(gateway, path, "cancel") for _ in range(2)]
    until(lambda: len(broker.events) == 2, what="the signal")
    open_still = state_of(gateway, path)
    gateway.tell(json.loads(structured(cancelled_reply(broker.events[0], "local"))))

    told = {"source": ONBOARDING["source"], "flow": ONBOARDING["id"], "name": "cancel", "data": {"retried": "0"}}
    assert (cancelled, said(broker.events[1])) == ([202, 202], told)
    assert (open_still, state_of(gateway, path)) == ("sent", "cancelled")
    assert not store.list("ledger/")


def test_a_flow_that_waits_at_the_gateway_ends_at_once_when_it_is_cancelled(
    flows: tuple[GatewayProcess, Broker],
) -> None:
    gateway, broker = flows
    broker.status = 503
    path = gateway.post(ONBOARDING).headers["location"]
    assert change(gateway, path, "cancel") == 202
    ended = state_of(gateway, path)
    broker.status = 202
    until(lambda: len(broker.events) == 2, what="the outcome and the signal")

    assert ended == "cancelled"
    assert {each.type.split(".")[2] for each in broker.events} == {"signal", "onboarding"}
    assert any(is_cancelled(each) for each in broker.events)


def test_what_is_said_to_a_flow_is_a_job_of_its_own_and_said_once_under_an_id(
    flows: tuple[GatewayProcess, Broker],
) -> None:
    gateway, broker = flows
    path = gateway.post(ONBOARDING).headers["location"]
    until(lambda: broker.ids, what="the broker's")
    answers = [gateway.client.post(f"{path}/signal/paid?id=p-1", content=b'{"amount": 5}') for _ in range(2)]
    until(lambda: len(broker.events) == 2, what="the signal")
    timeline = [each["what"] for each in gateway.get(f"{path}/timeline").json()]

    assert [each.status_code for each in answers] == [202, 202]
    assert (broker.events[1].id, said(broker.events[1])["data"]) == ("p-1", {"amount": 5})
    assert gateway.get(answers[0].headers["location"]).json()["type"] == "dev.errands.signal.requested.v1"
    assert timeline.count("signal paid") == 1


def test_an_api_tells_the_end_of_a_step_that_it_took_for_later(flows: tuple[GatewayProcess, Broker]) -> None:
    gateway, broker = flows
    path = gateway.post(ONBOARDING).headers["location"]
    until(lambda: broker.ids, what="the broker's")
    flow_id = "5b1f3f5e-6d0e-5a55-9f0a-2b7c6c0b7a11"
    done = [gateway.client.post(f"{path}/complete", json={"step": f"{flow_id}.2", "value": each}) for each in (7, 7, 8)]
    until(lambda: len(broker.events) == 2, what="the signal")

    assert [each.status_code for each in done] == [202, 202, 409]
    assert said(broker.events[1])["data"] == {"step": 2, "flowid": flow_id, "value": 7}


def test_what_is_said_wrongly_is_said_to_nobody(flows: tuple[GatewayProcess, Broker]) -> None:
    gateway, _ = flows
    path = gateway.post(ONBOARDING).headers["location"]
    said = [
        gateway.client.post(f"{path}/{where}", content=body)
        for where, body in [
            ("signal/paid", b"{"),
            ("signal/cancel", b""),
            ("signal/PAID", b""),
            ("complete", b'{"step": "2"}'),
            ("complete", b'{"value": 2}'),
        ]
    ]

    assert [each.status_code for each in said] == [400, 400, 422, 422, 422]
    assert said[2].json()["errors"][0]["pointer"] == "#/name"


def test_nothing_is_said_to_what_is_no_flow_or_has_ended(flows: tuple[GatewayProcess, Broker]) -> None:
    gateway, broker = flows
    no_flow = gateway.post(job("1")).headers["location"]
    ended = gateway.post(ONBOARDING).headers["location"]
    until(lambda: len(broker.ids) == 2, what="the broker's")
    request = next(each for each in broker.events if each.id == ONBOARDING["id"])
    gateway.tell(json.loads(structured(cancelled_reply(request, "local"))))

    assert [change(gateway, each, "signal/paid") for each in (no_flow, ended)] == [409, 409]


def test_a_message_that_may_be_out_is_not_cancelled_and_one_that_is_not_is_never_sent(
    tmp_path: Path, store: Store
) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    with gateway_process(tmp_path, url, STORE_URL=store_url(tmp_path)) as (gateway, broker):
        paths = [gateway.post({**sample("message"), "id": each}).headers["location"] for each in ("1", "2")]
        until(lambda: len(broker.events) == 2, what="the broker's")
        store.create(f"ledger/{paths[0].rpartition('/')[2]}/sending-1.json", b'{"at": "2026-12-01T00:00:00Z"}')
        statuses = [change(gateway, each, "cancel") for each in paths]

    assert statuses == [409, 202]
    assert store.read(f"ledger/{paths[1].rpartition('/')[2]}/sending-1.json")


@pytest.mark.parametrize("phase", ["failed", "deadlettered"])
def test_a_job_that_has_failed_is_done_anew_when_it_is_asked_for_again(
    database_url: str, tmp_path: Path, store: Store, phase: str
) -> None:
    with gateway_process(tmp_path, database_url, STORE_URL=store_url(tmp_path)) as (gateway, broker):
        path = gateway.post(job("1")).headers["location"]
        until(lambda: state(gateway, "1") == "sent", what="the broker's")
        early = change(gateway, path, "retry")
        first = broker.events[0]
        failed = read({"content-type": "application/cloudevents+json"}, structured(first)).with_attributes(
            outcome="failed", type="dev.errands.ics.failed.v1", source="/errands/ics", jobsource=first.source, jobid="1"
        )
        ReplyLedger(store).record(first, failed)
        gateway.tell(outcome("1", phase))
        retried = change(gateway, path, "retry")
        until(lambda: broker.ids == ["1", "1"], what="it again")
        known = [ReplyLedger(store).recall(each) for each in broker.events]
        gateway.tell(outcome("1"))
        done = change(gateway, path, "retry")
        shown = gateway.get(path).json()["state"]

    assert (early, retried, done, shown) == (409, 202, 409, "completed")
    assert known[0] is not None
    assert known[1] is None
    assert broker.events[1].data == broker.events[0].data


def test_who_may_not_change_a_job_does_not(tmp_path: Path, store: Store) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    given = {"GATEWAY_TOKENS": TOKENS, "STORE_URL": store_url(tmp_path)}
    with gateway_process(tmp_path, url, **given) as (gateway, _broker):
        path = gateway.post(job("1"), token="shop-token-shop-token").headers["location"]
        refused = [
            change(gateway, path, what, token=token)
            for what in ("cancel", "retry")
            for token in ("reader-token-reader-token", "pictures-token-pictures", None)
        ]
        unknown = change(gateway, "/jobs/00000000-0000-0000-0000-000000000000", "cancel", token="shop-token-shop-token")

    assert refused == [403, 404, 401] * 2
    assert unknown == 404


def test_an_ended_job_is_erased_with_all_that_is_kept_of_it(database_url: str, tmp_path: Path, store: Store) -> None:
    with (
        http_server((sink := Broker()).handler()) as sink_url,
        gateway_process(
            tmp_path, database_url, STORE_URL=store_url(tmp_path), GATEWAY_DEAD_LETTER_SINK=f"{sink_url}/"
        ) as (gateway, broker),
    ):
        paths = [gateway.post(job(each, subject="Anna")).headers["location"] for each in ("1", "2", "3")]
        until(lambda: len(broker.events) == 3, what="the broker's")
        early = gateway.client.delete(paths[0]).status_code
        result = store.put(broker.events[0], "a.ics", b"hers", "text/calendar", now=system_clock())
        ReplyLedger(store).record(broker.events[0], completed(broker.events[0]))
        gateway.tell(
            {**outcome("1"), "data": {**sample("ics", "completed")["data"], "artifacts": [{"key": result.key}]}}
        )
        erased = gateway.client.delete(paths[0]).status_code
        kept = [store.list(each) for each in ("ledger/", "jobs/")]
        gateway.tell(outcome("2"))
        of_subject = gateway.client.delete("/jobs", params={"subject": "Anna"}).json()
        states = [gateway.get(each).status_code for each in paths]
        until(lambda: len(sink.events) == 2, what="the sink's word")

    assert [(each.type, each.get("jobid")) for each in sink.events] == [(ERASED, "1"), (ERASED, "2")]
    assert (early, erased) == (409, 204)
    assert kept == [(), ()]
    assert of_subject == {"erased": 1, "more": False}
    assert states == [404, 404, 200]
    assert ICS["source"]
