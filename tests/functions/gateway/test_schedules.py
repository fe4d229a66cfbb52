"""Schedules on both databases: which jobs they make, and when; and over HTTP, in a gateway of its own."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from functions.gateway.ledger import claims, jobs, rules, schedules
from functions.gateway.ledger.rules import Limit
from functions.gateway.ledger.schedules import SOURCE, Schedule
from functions.storage.database import Database
from tests.functions.gateway.test_gateway import ICS
from tests.functions.gateway.test_ledger import REQUESTED, ledger, outcome
from tests.support.database_servers import database_url, postgresql_server
from tests.support.gateway_process import gateway_process
from tests.support.local_runner import until

__all__ = ["database_url", "ledger", "postgresql_server"]

MINUTE_MS = 60_000
DAY_MS = 24 * 60 * MINUTE_MS
START_MS = int(datetime(2026, 12, 1, 12, tzinfo=UTC).timestamp() * 1000)
ATTRIBUTES = msgspec.json.encode({"specversion": "1.0", "type": REQUESTED, "subject": "night"})
NIGHT = Schedule(
    name="night",
    api="shop",
    cron="0 3 * * *",
    time_zone="UTC",
    attributes=ATTRIBUTES,
    data=b"{}",
    jitter_ms=0,
    start_ms=None,
    end_ms=None,
    missed="once",
    overlap="allow",
    next_ms=START_MS + 15 * 60 * MINUTE_MS,
)
THREE_MS = START_MS + 15 * 60 * MINUTE_MS  # of the next night


def keep(ledger: Database, **changes: Any) -> None:
    with ledger.transaction() as transaction:
        schedules.put(transaction, msgspec.structs.replace(NIGHT, **changes))


def fire(ledger: Database, at_ms: int) -> list[tuple[str, str]]:
    """The jobs that are made and sent at this moment: their times and ids."""
    with ledger.transaction() as transaction:
        held = rules.read(transaction, {})
        schedules.fire(ledger, transaction, held, now_ms=at_ms)
        made = claims.claim(ledger, transaction, held, now_ms=at_ms, until_ms=at_ms + 30_000, limit=1_000)
        jobs.mark_sent(transaction, [(each.id, at_ms + DAY_MS * 9) for each in made], now_ms=at_ms)
    assert {each.event.source for each in made} <= {f"{SOURCE}night"}
    return [(each.event.attributes["time"][:16], each.event.id) for each in made]


def kept(ledger: Database) -> Schedule:
    with ledger.transaction(writes=False) as transaction:
        found = schedules.find(transaction, "night")
    assert found
    return found


def test_a_job_is_made_at_its_time_and_once_however_often_it_is_made(ledger: Database) -> None:
    keep(ledger)
    early, due = fire(ledger, THREE_MS - 1), fire(ledger, THREE_MS)
    keep(ledger)  # as if nobody had written that it was made

    assert early == []
    assert [each for each, _ in due] == ["2026-12-02T03:00"]
    assert fire(ledger, THREE_MS + 1_000) == []
    assert kept(ledger).next_ms == THREE_MS + DAY_MS


@pytest.mark.parametrize(
    ("missed", "made"), [("skip", []), ("once", ["12-05"]), ("all", ["12-02", "12-03", "12-04", "12-05"])]
)
def test_what_was_missed_is_made_up_for_as_it_says(ledger: Database, missed: str, made: list[str]) -> None:
    keep(ledger, missed=missed)

    assert [each[5:10] for each, _ in fire(ledger, THREE_MS + 3 * DAY_MS + 5 * MINUTE_MS)] == made
    assert kept(ledger).next_ms == THREE_MS + 4 * DAY_MS


def test_of_all_that_was_missed_no_more_is_made_than_the_last_hundred(ledger: Database) -> None:
    keep(ledger, missed="all", cron="* * * * *")

    made = fire(ledger, THREE_MS + 30 * DAY_MS)

    assert (len(made), made[-1][0]) == (100, "2027-01-01T03:00")


def test_one_that_overlaps_is_left_out_or_waits_or_goes_beside_the_other(ledger: Database) -> None:
    def second(overlap: str) -> tuple[int, int]:
        """How many jobs go at the second time, and how many when the first has ended."""
        with ledger.transaction() as transaction:
            for table in ("job", "job_request", "job_end", "rule", "gate"):
                transaction.execute(f"DELETE FROM {table}")  # noqa: S608  # our own
            if overlap == "queue":
                limit = Limit(at_once=1)
                rules.set_limit(transaction, "key:schedule night", limit, actor="shop", now_ms=THREE_MS)
        keep(ledger, overlap=overlap)
        ((_, first),) = fire(ledger, THREE_MS)
        beside = len(fire(ledger, THREE_MS + DAY_MS))
        with ledger.transaction() as transaction:
            end = outcome(first, "completed").with_attributes(jobsource=f"{SOURCE}night")
            jobs.end(transaction, [end], now_ms=THREE_MS + DAY_MS + 1)
        return beside, len(fire(ledger, THREE_MS + DAY_MS + 1))

    assert {each: second(each) for each in ("skip", "queue", "allow")} == {
        "skip": (0, 0),
        "queue": (0, 1),
        "allow": (1, 0),
    }


def test_a_jitter_is_the_same_wherever_it_is_worked_out_and_within_its_bound(ledger: Database) -> None:
    given = msgspec.structs.replace(NIGHT, jitter_ms=10 * MINUTE_MS, cron="*/5 * * * *")
    found = [given.job(THREE_MS + number * DAY_MS, THREE_MS) for number in range(50)]
    late_ms = [each.due_ms - THREE_MS - number * DAY_MS for number, each in enumerate(found)]

    assert found == [given.job(THREE_MS + number * DAY_MS, THREE_MS) for number in range(50)]
    assert len(set(late_ms)) > 40
    assert all(0 <= each <= 10 * MINUTE_MS for each in late_ms)


def test_nothing_comes_before_its_start_and_after_its_end() -> None:
    given = msgspec.structs.replace(NIGHT, start_ms=THREE_MS + DAY_MS, end_ms=THREE_MS + 2 * DAY_MS)

    assert given.times(START_MS, count=5) == [THREE_MS + DAY_MS, THREE_MS + 2 * DAY_MS]


def test_what_was_planned_during_a_pause_is_none_that_was_missed(ledger: Database) -> None:
    keep(ledger, missed="all")
    with ledger.transaction() as transaction:
        schedules.set_paused(transaction, kept_in(transaction), paused=True, now_ms=START_MS)
    paused = fire(ledger, THREE_MS + 3 * DAY_MS)
    with ledger.transaction() as transaction:
        schedules.set_paused(transaction, kept_in(transaction), paused=False, now_ms=THREE_MS + 3 * DAY_MS + 1)

    assert (paused, fire(ledger, THREE_MS + 3 * DAY_MS + 2)) == ([], [])
    assert kept(ledger).next_ms == THREE_MS + 4 * DAY_MS


def kept_in(transaction: Any) -> Schedule:
    found = schedules.find(transaction, "night")
    assert found
    return found


def test_a_zone_that_is_gone_stops_its_own_schedule_alone(ledger: Database) -> None:
    keep(ledger)
    with ledger.transaction() as transaction:
        lost = msgspec.structs.replace(NIGHT, name="lost", time_zone="Europe/Atlantis")
        schedules.put(transaction, lost)

    assert len(fire(ledger, THREE_MS)) == 1
    assert fire(ledger, THREE_MS + 1) == []


@pytest.mark.slow
def test_a_schedule_is_kept_shown_run_paused_and_removed(database_url: str, tmp_path: Path) -> None:
    event = {"type": ICS["type"], "data": ICS["data"], "subject": "night"}
    asked = {"cron": "30 2 * * *", "time_zone": "Europe/Berlin", "event": event, "overlap": "skip"}
    with gateway_process(tmp_path, database_url) as (gateway, broker):
        client = gateway.client
        made = client.put("/schedules/night", json=asked)
        ran = client.post("/schedules/night/run")
        until(lambda: len(broker.ids) == 1, what="the job")
        paused, resumed = (client.post(f"/schedules/night/{each}").json() for each in ("pause", "resume"))
        gateway.kill()
        gateway.start()
        listed = client.get("/schedules").json()
        removed, gone = client.delete("/schedules/night"), client.get("/schedules/night")
        changes = [each["what"] for each in client.get("/admission").json()["changes"]]

    assert (made.status_code, ran.status_code, removed.status_code, gone.status_code) == (200, 200, 204, 404)
    assert len(made.json()["next"]) == 5
    assert ("paused_at" in paused, "paused_at" in resumed) == (True, False)
    assert listed == [resumed]
    assert broker.events[0].source == "/errands/schedules/night"
    assert changes == [
        "schedule DELETE night",
        "schedule POST resume",
        "schedule POST pause",
        "schedule POST run",
        "schedule PUT night",
    ]


@pytest.mark.slow
def test_a_schedule_that_is_wrong_is_refused_with_a_pointer_to_each_flaw(tmp_path: Path) -> None:
    event = {"type": ICS["type"], "data": ICS["data"]}
    good = {"cron": "@daily", "event": event}
    bad: list[tuple[dict[str, Any], list[str]]] = [
        ({"cron": "0 0 30 2 *"}, ["#/cron"]),
        ({"cron": "* * * * * *", "time_zone": "Europe/Atlantis"}, ["#/time_zone", "#/cron"]),
        ({"end": "2020-01-01T00:00:00Z"}, ["#/cron"]),
        ({"start": "soon", "jitter": "1h"}, ["#/jitter", "#/start"]),
        ({"missed": "never"}, ["#/missed"]),
        ({"event": {**event, "delay": "PT1H", "id": "1"}}, ["#/event/delay", "#/event/id"]),
        ({"event": {**event, "uniquekey": "k"}, "overlap": "skip"}, ["#/event/uniquekey"]),
        ({"event": {**event, "data": {"evnts": []}}}, ["#/event/data/evnts"]),
        ({"event": {**event, "priority": "5"}}, ["#/event/priority"]),
        ({"event": {"data": {}}}, ["#/event"]),
    ]
    with gateway_process(tmp_path, f"sqlite:///{tmp_path}/ledger.db") as (gateway, _broker):
        answers = [gateway.client.put("/schedules/x", json={**good, **changes}) for changes, _ in bad]
        name = gateway.client.put("/schedules/Not%20one", json=good)
        kept_ = gateway.client.get("/schedules").json()

    assert [each.status_code for each in (*answers, name)] == [422] * (len(bad) + 1)
    pointers = [[error["pointer"] for error in each.json()["errors"]] for each in answers]
    assert [found[: len(wanted)] for found, (_, wanted) in zip(pointers, bad, strict=True)] == [each for _, each in bad]
    assert kept_ == []
