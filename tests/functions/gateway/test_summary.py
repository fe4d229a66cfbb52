"""All jobs at a glance, and what a page about one job needs beside its state."""

from pathlib import Path

import httpx
import pytest

from functions.gateway.finding import DAY_SPANS, HOUR_SPANS, MERGED, SPAN_MS, summary
from functions.gateway.ledger.schema import open_ledger
from tests.functions.gateway.test_gateway import job, outcome, state
from tests.support.database_servers import database_url, postgresql_server
from tests.support.gateway_process import TOKENS, authorization, gateway_process
from tests.support.local_runner import until

__all__ = ["database_url", "postgresql_server"]

SHOP, READER, PICTURES = "shop-token-shop-token", "reader-token-reader-token", "pictures-token-pictures"
NOW_MS = 1_800_000_000_000 - 1_800_000_000_000 % SPAN_MS + 30_000


@pytest.mark.slow
def test_all_jobs_are_seen_at_a_glance_and_one_with_its_request_and_a_stream(database_url: str, tmp_path: Path) -> None:
    stored = {"STORE_URL": (tmp_path / "store").as_uri()}
    with gateway_process(tmp_path, database_url, GATEWAY_TOKENS=TOKENS, **stored) as (gateway, _broker):
        keys = [gateway.post(job(str(each)), token=SHOP).json()["job"] for each in range(4)]
        until(lambda: state(gateway, "3", token=READER) == "sent", what="the broker's")
        for id_, ended in (("0", "completed"), ("1", "failed")):
            gateway.tell(outcome(id_, ended))
        until(lambda: state(gateway, "1", token=READER) == "failed", what="the end")
        shown = gateway.get("/summary", token=READER).json()
        asked = gateway.get(f"/jobs/{keys[0]}/request", token=READER)
        found = gateway.get("/jobs", token=READER, id="2").json()["jobs"]
        stream = gateway.get(f"/jobs/{keys[0]}", token=READER).json()["stream"]
        streamed = httpx.get(stream if stream.startswith("http") else gateway.url + stream)
        acting = {**authorization(SHOP), "errands-actor": "anna"}
        gateway.client.post(f"/jobs/{keys[2]}/cancel", headers=acting)
        timeline = gateway.get(f"/jobs/{keys[2]}/timeline", token=READER).json()
        hidden = [gateway.get(each, token=PICTURES).status_code for each in ("/summary", f"/jobs/{keys[0]}/request")]

    assert shown["states"] == {"failed": 1, "sent": 2}
    assert [(each["type"], each["states"]) for each in shown["types"]] == [(job("0")["type"], shown["states"])]
    assert shown["oldest"] == keys[2]
    for spans in (shown["hour"], shown["day"]):
        assert [sum(each[what] for each in spans) for what in ("accepted", "completed", "failed", "other")] == [
            4,
            1,
            1,
            0,
        ]
    assert (asked.json()["id"], asked.json()["data"]) == ("0", job("0")["data"])
    assert [each["job"] for each in found] == [keys[2]]
    assert (streamed.status_code, streamed.headers["content-type"]) == (200, "text/event-stream")
    assert next(each for each in timeline if each["what"] == "cancel asked")["by"] == "anna by shop"
    assert hidden == [403, 404]


def test_ends_are_counted_by_the_minute_and_the_half_hour_and_none_is_lost_at_an_edge(tmp_path: Path) -> None:
    database = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    minute, day = SPAN_MS, DAY_SPANS * SPAN_MS
    ended_ms = [NOW_MS, NOW_MS + 5 * minute, NOW_MS - 59 * minute, NOW_MS - 60 * minute, NOW_MS - day + minute]
    with database.transaction() as transaction:
        for number, at_ms in enumerate([*ended_ms, NOW_MS - day - minute]):
            transaction.execute(
                "INSERT INTO job (key, source, event_id, type, api, state, fingerprint, accepted_ms, ended_ms)"
                " VALUES (?, '/s', ?, 't', '', ?, '', 1, ?)",
                *(str(number), str(number), "lost" if number == 2 else "completed", at_ms),
            )

    found = summary(database, now_ms=NOW_MS)

    assert (len(found.hour), len(found.day)) == (HOUR_SPANS, DAY_SPANS // MERGED)
    assert [(at, each.completed, each.other) for at, each in enumerate(found.hour) if each.completed or each.other] == [
        (0, 0, 1),
        (59, 2, 0),
    ]
    assert sum(each.completed + each.other for each in found.day) == len(ended_ms)
    assert found.day[0].completed == 1


def test_accepted_jobs_are_counted_since_a_day_whatever_came_before(tmp_path: Path) -> None:
    database = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    minute, day = SPAN_MS, DAY_SPANS * SPAN_MS
    old_ms, new_ms = (
        [NOW_MS - 3 * day] * 50,
        [NOW_MS - day + minute, NOW_MS - 60 * minute, NOW_MS - 59 * minute, NOW_MS],
    )
    with database.transaction() as transaction:
        for number, at_ms in enumerate([*old_ms, *new_ms]):
            transaction.execute(
                "INSERT INTO job (key, source, event_id, type, api, state, fingerprint, accepted_ms)"
                " VALUES (?, '/s', ?, 't', '', 'sent', '', ?)",
                *(str(number), str(number), at_ms),
            )
        transaction.execute("DELETE FROM job WHERE event_id IN ('7', '49')")

    found = summary(database, now_ms=NOW_MS)

    assert [(at, each.accepted) for at, each in enumerate(found.hour) if each.accepted] == [(0, 1), (59, 1)]
    assert sum(each.accepted for each in found.day) == len(new_ms)
    assert found.day[0].accepted == 1
