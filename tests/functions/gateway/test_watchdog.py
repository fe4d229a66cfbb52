"""What was sent and does not end is asked for again where its queue has passed it, and at last lost."""

import json
import time
from pathlib import Path

import pytest

from functions.gateway.ledger import changes, jobs, outbox
from functions.gateway.ledger.job import key_of
from functions.gateway.ledger.schema import open_ledger
from functions.gateway.routes import Declared, Route, Routes
from functions.gateway.watchdog import AGAIN_COUNT, Watchdog
from functions.storage.database import Database
from tests.functions.gateway.test_gateway import ICS, job, outcome, state
from tests.functions.gateway.test_ledger import NOW_MS, REQUESTED, end, new, request
from tests.functions.gateway.test_ledger import outcome as done
from tests.support.database_servers import database_url, postgresql_server
from tests.support.gateway_process import ROUTES, Broker, gateway_process
from tests.support.http_server import http_server
from tests.support.local_runner import until

__all__ = ["database_url", "postgresql_server"]

DEADLINE_MS = 60_000
ROUTED = Routes(Declared(routes=(Route(name="image", filter={"type": REQUESTED}, deadline_s=60.0),)))


class Watched:
    """A ledger with its watchdog, and a clock."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.watchdog = Watchdog(database, ROUTED)
        self.now_ms = NOW_MS

    def send(self, *ids: str) -> None:
        """Accept jobs, and have them sent."""
        with self.database.transaction() as transaction:
            jobs.accept(transaction, [new(request(each)) for each in ids])
        for each in ids:
            self.sent(each)

    def sent(self, id_: str) -> None:
        """The broker has it."""
        with self.database.transaction() as transaction:
            found = jobs.find(transaction, key_of("/tests", id_))
            assert found is not None
            due_ms = self.now_ms + self.watchdog.deadline_ms(request(id_), found.tries + 1)
            jobs.mark_sent(transaction, [(found.id, due_ms)], now_ms=self.now_ms)

    def end(self, id_: str) -> None:
        """Its function has done it."""
        with self.database.transaction() as transaction:
            jobs.end(transaction, [done(id_, "completed")], now_ms=self.now_ms)

    def after(self, passed_ms: int) -> list[str]:
        """The jobs that are sent again when so much time has passed; they are sent."""
        self.now_ms += passed_ms
        with self.database.transaction() as transaction:
            due = self.watchdog.claim(transaction, now_ms=self.now_ms, until_ms=self.now_ms + 1, limit=100)
        for each in due:
            self.sent(each.event.id)
        return [each.event.id for each in due]

    def state(self, id_: str) -> str:
        with self.database.transaction(writes=False) as transaction:
            found = jobs.find(transaction, key_of("/tests", id_))
        assert found is not None
        return found.state


@pytest.fixture
def watched(database_url: str) -> Watched:
    return Watched(open_ledger(database_url))


def test_the_same_event_is_sent_three_times_more_with_waits_that_double_then_it_is_lost(watched: Watched) -> None:
    watched.send("1")

    early = watched.after(DEADLINE_MS - 1)
    again = [watched.after(1)] + [watched.after(DEADLINE_MS * 2**each) for each in (1, 2, 3)]
    with watched.database.transaction() as transaction:
        (letter,) = outbox.claim(
            watched.database, transaction, now_ms=watched.now_ms, until_ms=watched.now_ms + 1, limit=9
        )

    assert early == []
    assert again == [["1"], ["1"], ["1"], []]
    assert watched.state("1") == "lost"
    assert (letter.place, letter.event.id, letter.event.data) == ("sink", "1", request("1").data)
    assert letter.event.get("knativeerrorattempts") == str(AGAIN_COUNT + 1)


def test_a_job_that_ends_in_time_is_left_alone(watched: Watched) -> None:
    watched.send("1")
    watched.end("1")

    assert watched.after(DEADLINE_MS * 100) == []
    assert watched.state("1") == "completed"


def test_while_the_queue_moves_what_still_waits_in_it_is_not_sent_again(watched: Watched) -> None:
    ids = [str(each) for each in range(20)]
    for each in ids:
        watched.send(each)
        watched.now_ms += 1
    again: list[str] = []
    for each in ids:  # half a deadline for each, so that the last waits for ten
        watched.end(each)
        again += watched.after(DEADLINE_MS // 2)

    assert again == []


def test_what_its_queue_has_passed_is_sent_again_though_the_queue_moves(watched: Watched) -> None:
    watched.send("lost")
    watched.now_ms += 10
    watched.send("later")
    watched.end("later")
    again: list[str] = []
    for each in range(4):
        watched.send(f"more-{each}")
        watched.end(f"more-{each}")
        again += watched.after(DEADLINE_MS // 2)

    assert again == ["lost"]


def test_where_nothing_moves_the_oldest_alone_is_sent_again_and_the_rest_once_it_is_through(watched: Watched) -> None:
    watched.send("1", "2", "3")

    stuck = watched.after(DEADLINE_MS)
    watched.end("1")
    moving = watched.after(DEADLINE_MS // 2)
    through = watched.after(DEADLINE_MS * 2)

    assert stuck == ["1"]
    assert moving == []
    assert sorted(through) == ["2", "3"]


def test_a_lost_job_whose_dead_letter_is_told_of_stays_lost_and_one_that_was_done_is_done(watched: Watched) -> None:
    for id_ in ("1", "2"):
        watched.send(id_)
    with watched.database.transaction() as transaction:
        for id_ in ("1", "2"):
            found = jobs.find(transaction, key_of("/tests", id_))
            assert found is not None
            jobs.lose(transaction, found, "gone", now_ms=NOW_MS)
    end(watched.database, done("1", "deadlettered"))
    end(watched.database, done("2", "completed"))

    assert (watched.state("1"), watched.state("2")) == ("lost", "completed")


@pytest.mark.slow
def test_a_lost_job_is_a_dead_letter_for_its_sink(database_url: str, tmp_path: Path) -> None:
    fast = {**ROUTES, "routes": [{"name": "ics", "filter": {"type": ICS["type"]}, "deadline_s": 0.2}]}
    sink = Broker()
    with (
        http_server(sink.handler()) as sink_url,
        gateway_process(
            tmp_path, database_url, GATEWAY_ROUTES=json.dumps(fast), GATEWAY_DEAD_LETTER_SINK=f"{sink_url}/"
        ) as (gateway, broker),
    ):
        gateway.post(job("1"))
        until(lambda: sink.lost, timeout_s=60, what="the dead letter")
        ended_as = state(gateway, "1")
        gateway.tell(outcome("1", "deadlettered"))
        told = state(gateway, "1")

    assert broker.ids == ["1"] * (AGAIN_COUNT + 1)
    assert (sink.lost[0].id, ended_as, told) == ("1", "lost", "lost")


@pytest.mark.slow
def test_ended_jobs_are_kept_for_their_time_and_no_longer(database_url: str, tmp_path: Path) -> None:
    ledger = open_ledger(database_url)
    now_ms, day_ms = int(time.time() * 1000), 24 * 3600 * 1000
    with ledger.transaction() as transaction:
        jobs.accept(transaction, [new(request(each), due_ms=now_ms + day_ms) for each in ("old", "young", "open")])
        jobs.end(transaction, [done("old", "completed")], now_ms=now_ms - 8 * day_ms)
        jobs.end(transaction, [done("young", "completed")], now_ms=now_ms - 6 * day_ms)
    with gateway_process(tmp_path, database_url, GATEWAY_RETENTION_DAYS="7") as (gateway, _broker):
        until(lambda: gateway.get("/jobs", source="/tests", id="old").status_code == 404, what="its end")
        kept = [gateway.get("/jobs", source="/tests", id=each).status_code for each in ("young", "open")]
    with ledger.transaction() as transaction:
        left = [transaction.execute(f"SELECT count(*) AS n FROM {each}")[0]["n"] for each in changes.TABLES]  # noqa: S608

    assert kept == [200, 200]
    assert left == [2, 1, 0]
