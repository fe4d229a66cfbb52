"""Limits and pauses as an operator sets them over HTTP, in a gateway of its own; three gateways on one ledger."""

import json
from collections import Counter
from pathlib import Path

import pytest

from functions.gateway.routes import Routes
from functions.gateway.ruling import declared_limits
from tests.functions.gateway.test_gateway import ICS, job, outcome, state
from tests.support.database_servers import database_url, new_database, postgresql_server
from tests.support.gateway_process import ROUTES, TOKENS, Broker, GatewayProcess, gateway_process
from tests.support.http_server import http_server
from tests.support.local_runner import until

__all__ = ["database_url", "postgresql_server"]

pytestmark = pytest.mark.slow

ROUTED = Routes.parse(json.dumps(ROUTES))
IMAGES = "type:dev.errands.image.requested.v1"


def test_a_paused_type_waits_without_a_try_and_goes_on_when_it_is_resumed(database_url: str, tmp_path: Path) -> None:
    with gateway_process(tmp_path, database_url) as (gateway, broker):
        paused = gateway.client.put("/pauses/type:ics", json={"reason": "the provider is down"})
        path = gateway.post(job("1")).headers["location"]
        held = until(lambda: gateway.get(path).json().get("held_by"), what="the hold")
        gateway.kill()
        gateway.start()
        assert (state(gateway, "1"), broker.events) == ("waiting", [])
        resumed = gateway.client.delete("/pauses/type:ics").json()
        until(lambda: broker.ids == ["1"], what="the job")
        shown = gateway.get(path).json()

    assert paused.json()["pauses"][0]["reason"] == "the provider is down"
    assert (held, resumed["pauses"]) == (f"type:{ICS['type']}", [])
    assert [(each["what"], each["by"]) for each in resumed["changes"]] == [("resumed", "local"), ("paused", "local")]
    assert (shown.get("attempt", 0), "held_by" in shown) == (0, False)


def test_with_one_at_once_the_next_goes_when_the_first_has_ended(database_url: str, tmp_path: Path) -> None:
    with gateway_process(tmp_path, database_url) as (gateway, broker):
        gateway.client.put("/limits/key:mailgun", json={"at_once": 1}).raise_for_status()
        for id_ in ("1", "2"):
            gateway.post(job(id_, limitkey="mailgun"))
        until(lambda: state(gateway, "1") == "sent", what="the first")
        second = gateway.get("/jobs", source=ICS["source"], id="2").json()
        alone = broker.ids
        gateway.tell(outcome("1"))
        until(lambda: broker.ids == ["1", "2"], what="the second")

    assert (second["state"], alone) == ("waiting", ["1"])


def test_who_may_not_or_asks_for_nonsense_changes_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    with gateway_process(tmp_path, url, GATEWAY_TOKENS=TOKENS) as (gateway, _broker):
        shop = {"authorization": "Bearer shop-token-shop-token"}
        reader = {"authorization": "Bearer reader-token-reader-token"}
        forbidden = gateway.client.put("/pauses/all", json={"reason": "x"}, headers=reader).status_code
        answers = [
            gateway.client.put(path, json=body, headers=shop)
            for path, body in (
                ("/pauses/type:imgae", {"reason": "x"}),
                ("/pauses/everything", {"reason": "x"}),
                ("/pauses/all", {"reason": " "}),
                ("/limits/all", {"rate": "fast"}),
                ("/limits/all", {"at_once": 0}),
                ("/limits/all", {}),
                ("/limits/all", {"rtae": "1/s"}),
            )
        ]
        shown = gateway.client.get("/admission", headers=reader).json()

    assert forbidden == 403
    assert [each.status_code for each in answers] == [422] * 7
    assert "dev.errands.image.requested.v1" in answers[0].json()["detail"]
    assert [answers[each].json()["errors"][0]["pointer"] for each in (2, 3, 4)] == ["#/reason", "#/rate", "#/at_once"]
    assert shown == {"limits": [], "pauses": [], "changes": []}


def test_limits_are_declared_by_names_and_what_is_none_stops_the_start() -> None:
    limits = declared_limits('{"type:image": {"rate": "5/s"}, "key:*": {"at_once": 2}}', ROUTED)

    assert sorted(limits) == ["key:*", IMAGES]
    for text in ('{"type:imgae": {"rate": "5/s"}}', '{"all": {}}', "[]"):
        with pytest.raises(ValueError, match="GATEWAY_LIMITS must be JSON"):
            declared_limits(text, ROUTED)


@pytest.mark.parametrize("limits", ["", '{"type:ics": {"at_once": 2000}, "all": {"rate": "2000/s", "burst": 50}}'])
def test_a_thousand_due_jobs_are_each_let_in_once_by_three_gateways_of_which_one_is_killed(
    postgresql_server: str, tmp_path: Path, limits: str
) -> None:
    url, broker = new_database(postgresql_server), Broker()
    with http_server(broker.handler()) as broker_url:
        gateways = []
        for number in range(3):
            folder = tmp_path / str(number)
            folder.mkdir()
            gateways.append(GatewayProcess(folder, url, f"{broker_url}/", GATEWAY_LIMITS=limits).start())
        try:
            one, two, three = gateways
            batch = [job(str(number), delay="PT2S") for number in range(1_000)]
            headers = {"content-type": "application/cloudevents-batch+json"}
            two.client.post("/", content=json.dumps(batch), headers=headers).raise_for_status()
            for _ in range(3):  # they look again when they are asked for something that wakes them
                one.post(job("wake-one", delay="PT1S"))
                three.post(job("wake-three", delay="PT1S"))
            until(lambda: len(broker.events) > 100, what="some of them")
            three.kill()
            until(lambda: len(set(broker.ids)) == 1_002, timeout_s=120, what="all of them")
            until(lambda: one.get("/jobs", state="waiting").json()["jobs"] == [], timeout_s=90, what="the marks")
            left = one.get("/jobs", state="sent", limit="1").json()["jobs"]
            tries = [one.get("/jobs", source=ICS["source"], id=str(number)).json()["sent"] for number in range(1_000)]
        finally:
            for each in gateways:
                if each.process.poll() is None:
                    each.stop()

    assert left
    assert Counter(tries) == {1: 1_000}
    assert max(Counter(broker.ids).values()) <= 2, "only what the killed one had not marked yet is sent twice"
