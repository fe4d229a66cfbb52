"""Replays: what is sent, how fast, how they end, and that nothing goes out twice; over a real HTTP ingress."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from events.http import Event, binary, read
from functions.deadletters.cli.terminal import run_line
from functions.deadletters.replay.engine import Engine, Pace
from functions.deadletters.replay.sending import BrokerIngress
from functions.deadletters.service import commands
from functions.deadletters.service.commands import Filter, Selection
from functions.deadletters.service.operations import Console, OperatorSession
from functions.deadletters.service.results import Run
from functions.deadletters.store import dead_letters, replays
from functions.runtime.adapter import reply_event, system_clock
from tests.functions.deadletters.test_dead_letters import ADDED, at_console, dead
from tests.support.database_servers import database_url, postgresql_server
from tests.support.dead_letter_store import NOW, DeadLetterStore
from tests.support.http_server import http_server
from tests.support.local_runner import ROOT, until

__all__ = ["database_url", "postgresql_server"]  # fixtures

RATE_PER_S = 200


@dataclass
class Ingress:
    """What was posted to the broker, or to a function, and what it says to that."""

    url: str = ""
    posted: list[tuple[str, Event]] = field(default_factory=list)  # path, event
    at_s: list[float] = field(default_factory=list)
    responses: Callable[[Event], int] = lambda event: 202
    reply: Event | None = None

    @property
    def ids(self) -> list[str]:
        """In the order of their arrival."""
        return [event.id for _, event in self.posted]


@pytest.fixture
def ingress() -> Iterator[Ingress]:
    with listening() as found:
        yield found


@contextmanager
def listening() -> Iterator[Ingress]:
    """A real HTTP server in the broker's place."""
    ingress = Ingress()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # connections stay open

        def do_POST(self) -> None:
            event = read(dict(self.headers), self.rfile.read(int(self.headers["content-length"])))
            status = ingress.responses(event)
            if status == 202:
                ingress.posted.append((self.path, event))
                ingress.at_s.append(time.monotonic())
            headers, body = binary(ingress.reply) if ingress.reply else ({}, b"as asked" if status != 202 else b"")
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    with http_server(Handler) as url:
        ingress.url = f"{url}/"
        yield ingress


@pytest.fixture
def store(database_url: str) -> DeadLetterStore:
    return DeadLetterStore(database_url)


@pytest.fixture
def operator_session(store: DeadLetterStore, ingress: Ingress) -> OperatorSession:
    """A console whose replays are sent at once, before it answers."""
    console = at_console(store).console

    def launch(replay: int) -> None:
        run(store, ingress, replay)

    launching = Console(database=console.database, rules=console.rules, sink_url=console.sink_url, launch=launch)
    return launching.operator_session(at_console(store).operator)


def run(store: DeadLetterStore, ingress: Ingress, replay: int, *, stop: threading.Event | None = None) -> None:
    """Send a replay in this thread, as the command line does."""
    broker = BrokerIngress(ingress.url)
    Engine(store.database, broker, stop=stop or threading.Event()).run(replay)


def fill(store: DeadLetterStore, count: int) -> None:
    """Dead letters `0`, `1`, ... in few transactions."""
    with store.database.transaction() as transaction:
        for number in range(count):
            dead_letters.keep(transaction, dead(id=str(number)), now=system_clock())


def order(operator_session: OperatorSession, **changes: Any) -> Run:
    """Replay all open dead letters, or as is said; and how that ended."""
    given: dict[str, Any] = {"selection": Selection(matching=Filter()), "rate_per_s": 1_000.0, **changes}
    ordered = operator_session.replay(commands.Replay(**given))
    return operator_session.progress(commands.Progress(replay=ordered.id))


# --- what is sent


def test_a_replay_sends_the_event_as_it_was_with_its_id_and_says_that_it_is_one(
    store: DeadLetterStore, operator_session: OperatorSession, ingress: Ingress
) -> None:
    store.keep(dead(subject="100 %25 of it"))

    ended = order(operator_session)

    ((path, sent),) = ingress.posted
    assert (ended.state, ended.sent, ended.total) == ("done", 1, 1)
    assert path == "/"
    original = store.list()[0].event
    assert (dict(sent.attributes), sent.data) == (dict(original.attributes) | {"replayed": "true"}, original.data)
    assert [(each.state, each.replays) for each in store.list()] == [("replayed", 1)]


def test_an_edited_dead_letter_is_sent_as_it_was_edited(
    store: DeadLetterStore, operator_session: OperatorSession, ingress: Ingress
) -> None:
    number = store.keep(dead())
    operator_session.edit(commands.Edit(dead_letter=number, attributes={"subject": "order-7"}))

    order(operator_session, selection=Selection(dead_letters=(number,)))

    assert ingress.posted[0][1].attributes["subject"] == "order-7"


def test_a_new_job_has_an_id_of_its_own_and_the_dead_letter_waits_for_its_outcome(
    store: DeadLetterStore, operator_session: OperatorSession, ingress: Ingress
) -> None:
    number = store.keep(dead())

    order(operator_session, as_new=True)
    sent = ingress.posted[0][1]
    outcome = reply_event(sent, "dev.errands.ics.completed.v1", commands.Filter(), now=system_clock())
    with store.database.transaction() as transaction:
        settled = dead_letters.settle(transaction, outcome, now=system_clock())

    assert sent.id != "order-1042-invite"
    assert sent.attributes["replayof"] == str(number)
    assert (settled, [each.state for each in store.list()]) == (1, ["completed"])


def test_a_new_job_that_fails_again_takes_its_dead_letters_place(
    store: DeadLetterStore, operator_session: OperatorSession, ingress: Ingress
) -> None:
    store.keep(dead())
    order(operator_session, as_new=True)

    store.keep(ingress.posted[0][1].with_attributes(**ADDED))

    assert [(each.state, each.setbacks) for each in store.list()] == [("open", 1), ("failed", 0)]


def test_one_triggers_function_only_gets_it_where_the_broker_can_do_that(
    store: DeadLetterStore, operator_session: OperatorSession, ingress: Ingress
) -> None:
    store.keep(dead())

    order(operator_session, trigger_only=True)

    assert [path for path, _ in ingress.posted] == ["/triggers/ics"]


def test_a_function_of_a_cluster_is_called_itself_and_its_reply_handed_on(
    store: DeadLetterStore, operator_session: OperatorSession, ingress: Ingress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name leads to this machine here: `localhost.svc` has no other use."""
    monkeypatch.setattr("functions.deadletters.replay.sending.CLUSTER", ("127.0.0.1",))
    with listening() as function:
        cause = dead(knativeerrordest=function.url)
        function.reply = reply_event(cause, "dev.errands.ics.completed.v1", commands.Filter(), now=system_clock())
        function.responses = lambda event: 200
        attributes = {name: value for name, value in cause.attributes.items() if name != "knativeerrortrigger"}
        store.keep(Event(attributes, cause.data))

        ended = order(operator_session, trigger_only=True)

    assert ended.sent == 1
    assert [event.type for _, event in ingress.posted] == ["dev.errands.ics.completed.v1"]


@pytest.mark.parametrize(
    "address", ["http://169.254.169.254/", "http://evil.example/x.svc.cluster.local", "file:///x", "http://[::1", ""]
)
def test_no_dead_letter_makes_the_console_call_an_address_outside_of_the_cluster(
    store: DeadLetterStore, operator_session: OperatorSession, ingress: Ingress, address: str
) -> None:
    attributes = dict(dead().attributes) | {"knativeerrordest": address}
    del attributes["knativeerrortrigger"]
    store.keep(Event(attributes, dead().data))

    ended = order(operator_session, trigger_only=True)

    assert (ended.refused, ingress.posted) == (1, [])
    assert "is no Service of this cluster" in ended.refusals["1"]


@pytest.mark.parametrize("outcome", ["completed", "failed"])
def test_the_outcome_of_a_replayed_job_marks_its_dead_letter(
    store: DeadLetterStore, operator_session: OperatorSession, ingress: Ingress, outcome: str
) -> None:
    number = store.keep(dead())
    order(operator_session)

    reply = reply_event(ingress.posted[0][1], f"dev.errands.ics.{outcome}.v1", commands.Filter(), now=system_clock())
    with store.database.transaction() as transaction:
        dead_letters.settle(transaction, reply, now=system_clock())

    assert reply.attributes["replayed"] == "true"
    detail = operator_session.show(commands.Show(dead_letter=number))
    assert (detail.dead_letter.state, detail.history[-1].verb) == (outcome, outcome)


def test_a_replay_tells_how_its_jobs_ended(
    store: DeadLetterStore, operator_session: OperatorSession, ingress: Ingress
) -> None:
    fill(store, 5)
    replay = order(operator_session)
    posted = sorted((event for _, event in ingress.posted), key=lambda event: event.id)

    with store.database.transaction() as transaction:
        for event, outcome in zip(posted[:3], ("completed", "completed", "failed"), strict=True):
            ended = reply_event(event, f"dev.errands.ics.{outcome}.v1", commands.Filter(), now=system_clock())
            dead_letters.settle(transaction, ended, now=system_clock())
    store.keep(posted[3].with_attributes(**ADDED))

    told = operator_session.progress(commands.Progress(replay=replay.id))
    assert (replay.sent, replay.awaited) == (5, 5)
    assert (told.completed, told.failed, told.returned, told.discarded, told.awaited) == (2, 1, 1, 0, 1)
    assert run_line(told).endswith("5 of 5 sent, 2 completed, 1 failed, 1 returned, 1 awaited; done")


def test_a_replay_is_one_line_of_the_audit_trail_and_one_of_each_dead_letters_history(
    store: DeadLetterStore, operator_session: OperatorSession, ingress: Ingress
) -> None:
    fill(store, 7)
    ingress.responses = lambda event: 400 if event.id == "3" else 202
    order(operator_session)

    trail = operator_session.audit(commands.Audit()).actions
    history = [operator_session.show(commands.Show(dead_letter=number)).history for number in range(1, 8)]

    assert [(each.verb, each.detail) for each in trail] == [("replay ordered", {"total": 7})]
    assert sorted(each[-1].verb for each in history) == ["not taken", *["replayed"] * 6]


# --- how it ends


def test_a_dead_letter_that_is_refused_is_open_as_before_and_the_others_go_out(
    store: DeadLetterStore, operator_session: OperatorSession, ingress: Ingress
) -> None:
    fill(store, 5)
    ingress.responses = lambda event: 400 if event.id == "2" else 202

    ended = order(operator_session)

    assert (ended.state, ended.sent, ended.refused) == ("done", 4, 1)
    assert ended.refusals == {"3": f"{ingress.url} answered 400: as asked"}
    assert {each.event.id: (each.state, each.replays) for each in store.list()}["2"] == ("open", 0)


@pytest.mark.slow
def test_it_stops_when_too_many_are_refused(
    store: DeadLetterStore, operator_session: OperatorSession, ingress: Ingress
) -> None:
    fill(store, 500)
    ingress.responses = lambda event: 503

    ended = order(operator_session, stop_after=5, rate_per_s=50.0)

    assert (ended.state, ended.sent) == ("stopped", 0)
    assert 5 <= ended.refused <= 30
    assert ended.reason.endswith("dead letters were refused or came back; it stops after 5")


@pytest.mark.slow
def test_it_stops_when_too_many_come_back(
    store: DeadLetterStore, operator_session: OperatorSession, ingress: Ingress
) -> None:
    """What was sent fails again while the rest is being sent."""
    fill(store, 400)

    def fails_again(event: Event) -> int:
        threading.Timer(0.2, store.keep, (event.with_attributes(**ADDED),)).start()
        return 202

    ingress.responses = fails_again

    ended = order(operator_session, stop_after=20, rate_per_s=100.0)

    assert ended.state == "stopped"
    assert 20 <= ended.returned + ended.refused <= ended.sent < 400


@pytest.mark.slow
def test_a_dead_letter_that_fails_again_and_again_is_quarantined_and_bulk_replays_pass_over_it(
    store: DeadLetterStore, operator_session: OperatorSession, ingress: Ingress
) -> None:
    number = store.keep(dead())
    for _ in range(dead_letters.SETBACK_LIMIT):
        order(operator_session)
        store.keep(dead())
    bulk = order(operator_session)
    rehearsed = operator_session.replay(commands.Replay(selection=Selection(matching=Filter()), dry_run=True))

    assert [(each.state, each.setbacks) for each in store.list()] == [("quarantined", 3)]
    assert (bulk.total, rehearsed.total, rehearsed.passed) == (0, 0, 1)
    assert (
        order(operator_session, selection=Selection(dead_letters=(number,))).sent == 1
    )  # by its number it can be sent all the same


def test_a_dry_run_sends_and_notes_nothing(
    store: DeadLetterStore, operator_session: OperatorSession, ingress: Ingress
) -> None:
    fill(store, 3)

    rehearsed = operator_session.replay(commands.Replay(selection=Selection(matching=Filter()), dry_run=True))

    assert (rehearsed.id, rehearsed.total, rehearsed.would_send) == (0, 3, (1, 2, 3))
    assert (ingress.posted, operator_session.replays(commands.Replays()).runs) == ([], ())


@pytest.mark.slow
@pytest.mark.parametrize("rate_per_s", [50.0, 1_000.0])
def test_no_more_are_tried_than_may_fail(
    store: DeadLetterStore, operator_session: OperatorSession, ingress: Ingress, rate_per_s: float
) -> None:
    fill(store, 60)
    tried = []

    def refuses(event: Event) -> int:
        tried.append(event.id)
        return slowly(event) and 503

    ingress.responses = refuses

    ended = order(operator_session, stop_after=3, rate_per_s=rate_per_s)

    assert sorted(tried) == ["0", "1", "2"]
    assert (ended.state, ended.refused, ended.waiting) == ("stopped", 3, 57)


@pytest.mark.slow
def test_resume_tries_the_refused_again_and_counts_its_own_failures(
    store: DeadLetterStore, operator_session: OperatorSession, ingress: Ingress
) -> None:
    fill(store, 10)
    ingress.responses = lambda event: 503
    stopped = order(operator_session, stop_after=3)
    ingress.responses = lambda event: 503 if event.id in ("8", "9") else 202

    operator_session.resume(commands.Resume(replay=stopped.id))

    ended = operator_session.progress(commands.Progress(replay=stopped.id))
    assert (ended.state, ended.sent, ended.refused) == ("done", 8, 2)
    assert sorted(ingress.ids) == [str(number) for number in range(8)]


@pytest.mark.slow
def test_what_came_back_before_a_resume_does_not_stop_it(
    store: DeadLetterStore, operator_session: OperatorSession, ingress: Ingress
) -> None:
    """Two of three failures were of the first run."""
    fill(store, 10)
    ingress.responses = lambda event: 202 if event.id in ("0", "1") else 503
    stopped = order(operator_session, stop_after=3)
    for number in ("0", "1"):
        store.keep(dead(id=number))
    ingress.responses = lambda event: 503 if event.id == "9" else 202

    operator_session.resume(commands.Resume(replay=stopped.id))

    ended = operator_session.progress(commands.Progress(replay=stopped.id))
    assert (ended.state, ended.sent, ended.returned, ended.refused) == ("done", 9, 2, 1)


@pytest.mark.slow
def test_resume_does_not_send_what_another_replay_has_sent_meanwhile(
    store: DeadLetterStore, operator_session: OperatorSession, ingress: Ingress
) -> None:
    fill(store, 10)
    ingress.responses = lambda event: 503
    stopped = order(operator_session, stop_after=3)
    ingress.responses = lambda event: 202
    order(operator_session, selection=Selection(dead_letters=(1, 2, 9, 10)))

    operator_session.resume(commands.Resume(replay=stopped.id))

    ended = operator_session.progress(commands.Progress(replay=stopped.id))
    assert Counter(ingress.ids) == Counter(str(number) for number in range(10))
    assert (ended.state, ended.sent, ended.passed) == ("done", 6, 4)
    assert set(ended.refusals.values()) == {"it was sent, or has ended, meanwhile"}


def test_a_replay_of_what_has_ended_that_is_refused_leaves_it_as_it_was(
    store: DeadLetterStore, operator_session: OperatorSession, ingress: Ingress
) -> None:
    number = store.keep(dead())
    order(operator_session)
    with store.database.transaction() as transaction:
        reply = reply_event(dead(), "dev.errands.ics.completed.v1", commands.Filter(), now=system_clock())
        dead_letters.settle(transaction, reply, now=system_clock())
    ingress.responses = lambda event: 503

    order(operator_session, selection=Selection(dead_letters=(number,)))

    assert [(each.state, each.replays) for each in store.list()] == [("completed", 1)]


def test_a_callback_that_is_sent_again_waits_for_no_outcome_and_may_come_back(
    store: DeadLetterStore, operator_session: OperatorSession, ingress: Ingress
) -> None:
    callback = reply_event(dead(), "dev.errands.ics.completed.v1", commands.Filter(), now=system_clock())
    callback = callback.with_attributes(**ADDED | {"knativeerrortrigger": "notifier"})
    store.keep(callback)

    order(operator_session)
    sent = [(each.state, each.replays, each.setbacks) for each in store.list()]
    store.keep(callback)

    assert sent == [("completed", 1, 0)]
    assert [(each.state, each.setbacks) for each in store.list()] == [("open", 1)]


@pytest.mark.parametrize("outcome", ["completed", "failed"])
def test_the_outcome_of_a_job_that_the_api_sent_again_closes_its_dead_letter(
    store: DeadLetterStore, outcome: str
) -> None:
    store.keep(dead())
    store.keep(dead(id="another"))
    before = reply_event(dead(), f"dev.errands.ics.{outcome}.v1", commands.Filter(), now=NOW - timedelta(hours=1))
    after = reply_event(dead(), f"dev.errands.ics.{outcome}.v1", commands.Filter(), now=NOW + timedelta(hours=1))

    with store.database.transaction() as transaction:
        settled = [dead_letters.settle(transaction, each, now=system_clock()) for each in (before, after)]

    assert settled == [0, 1]
    assert [each.state for each in store.list()] == ["open", outcome]


# --- how fast, and interrupted


@pytest.mark.parametrize("rate_per_s", [0.5, 1.0, 7.0, 50.0, RATE_PER_S, 1_000.0])
@pytest.mark.parametrize("cost_s", [0.0, 0.0003])
def test_the_pace_of_a_replay_is_within_five_in_a_hundred(
    monkeypatch: pytest.MonkeyPatch, rate_per_s: float, cost_s: float
) -> None:
    """By a clock of the test's: sending each costs a little, and the rest of the time is waited for."""
    now_s = 0.0
    monkeypatch.setattr("functions.deadletters.replay.engine.time.monotonic", lambda: now_s)
    pace = Pace()
    sent_at_s: list[float] = []
    while len(sent_at_s) < 2_000:
        allowed = pace.allowed(rate_per_s)
        for _ in range(allowed):
            sent_at_s.append(now_s)
            now_s += cost_s
        pace.sent(allowed)
        now_s += pace.wait_s(rate_per_s)

    assert (len(sent_at_s) - 1) / (sent_at_s[-1] - sent_at_s[0]) == pytest.approx(rate_per_s, rel=0.05)


@pytest.mark.slow
def test_a_replay_sends_each_once_and_never_faster_than_its_rate(
    store: DeadLetterStore, operator_session: OperatorSession, ingress: Ingress, database_url: str
) -> None:
    """10,000 dead letters on SQLite; fewer on PostgreSQL, where the same code counts the time."""
    count = 10_000 if database_url.startswith("sqlite") else 2_000
    fill(store, count)

    ended = order(operator_session, rate_per_s=float(RATE_PER_S))

    took_s = ingress.at_s[-1] - ingress.at_s[0]
    assert (ended.state, ended.sent) == ("done", count)
    assert Counter(ingress.ids) == Counter(map(str, range(count)))
    assert count / took_s <= 1.05 * RATE_PER_S


@pytest.mark.slow
def test_a_cancel_has_effect_within_a_second(store: DeadLetterStore, ingress: Ingress) -> None:
    fill(store, 2_000)
    operator_session = at_console(store)
    ordered = operator_session.replay(
        commands.Replay(selection=Selection(matching=Filter()), rate_per_s=float(RATE_PER_S))
    )
    sending = threading.Thread(target=run, args=(store, ingress, ordered.id))
    sending.start()
    until(lambda: len(ingress.posted) >= 200, what="200 dead letters")

    cancelled_s = time.monotonic()
    operator_session.cancel(commands.Cancel(replay=ordered.id))
    sending.join()

    ended = operator_session.progress(commands.Progress(replay=ordered.id))
    assert max(ingress.at_s) - cancelled_s < 1
    assert (ended.state, ended.sent, ended.sending) == ("cancelled", len(ingress.posted), 0)
    resumed = operator_session.resume(commands.Resume(replay=ordered.id))
    assert resumed.waiting == 2_000 - len(ingress.posted)


@pytest.mark.slow
def test_a_slow_ingress_does_not_keep_a_cancel_waiting(store: DeadLetterStore, ingress: Ingress) -> None:
    fill(store, 500)
    ingress.responses = slowly
    operator_session = at_console(store)
    ordered = operator_session.replay(commands.Replay(selection=Selection(matching=Filter()), rate_per_s=1_000.0))
    sending = threading.Thread(target=run, args=(store, ingress, ordered.id))
    sending.start()
    until(lambda: len(ingress.posted) >= 20, what="20 dead letters")

    cancelled_s = time.monotonic()
    operator_session.cancel(commands.Cancel(replay=ordered.id))
    sending.join()

    assert max(ingress.at_s) - cancelled_s < 1
    assert sum(each.state == "replayed" for each in store.list()) == len(ingress.posted)


@pytest.mark.slow
def test_a_replay_that_is_stopped_and_taken_up_again_sends_each_dead_letter_once(
    store: DeadLetterStore, ingress: Ingress
) -> None:
    fill(store, 1_000)
    ordered = at_console(store).replay(commands.Replay(selection=Selection(matching=Filter()), rate_per_s=500.0))
    for count in (200, 500):
        stop = threading.Event()
        sending = threading.Thread(target=run, args=(store, ingress, ordered.id), kwargs={"stop": stop})
        sending.start()
        until(lambda count=count: len(ingress.posted) >= count, what=f"{count} dead letters")  # type: ignore[misc]
        stop.set()
        sending.join()
    run(store, ingress, ordered.id)

    assert Counter(ingress.ids) == Counter(map(str, range(1_000)))


@pytest.mark.slow
def test_two_workers_at_one_replay_send_no_dead_letter_twice(store: DeadLetterStore, ingress: Ingress) -> None:
    fill(store, 200)
    ordered = at_console(store).replay(commands.Replay(selection=Selection(matching=Filter()), rate_per_s=200.0))
    workers = [threading.Thread(target=run, args=(store, ingress, ordered.id)) for _ in range(4)]
    for each in workers:
        each.start()
    for each in workers:
        each.join()

    assert Counter(ingress.ids) == Counter(map(str, range(200)))


WORKER = """
import sys, threading
from functions.deadletters.store.schema import open_dead_letters

from functions.deadletters.replay.engine import Engine
from functions.deadletters.replay.sending import BrokerIngress

Engine(open_dead_letters(sys.argv[1]), BrokerIngress(sys.argv[2]), stop=threading.Event()).run(int(sys.argv[3]))
"""


def test_a_replay_whose_worker_died_before_the_clock_was_set_back_is_taken_up(store: DeadLetterStore) -> None:
    fill(store, 1)
    ordered = at_console(store).replay(commands.Replay(selection=Selection(matching=Filter()), rate_per_s=400.0))
    with store.database.transaction() as transaction:
        assert replays.claim(transaction, ordered.id, "dead", now=NOW)
        assert not replays.claim(transaction, ordered.id, "other", now=NOW)
        assert replays.interrupted(transaction, now=NOW) == []
        before = NOW - timedelta(hours=1)

        assert replays.interrupted(transaction, now=before) == [ordered.id]
        assert replays.claim(transaction, ordered.id, "other", now=before)


@pytest.mark.slow
def test_kill_9_of_a_replay_makes_no_double_and_tells_which_dead_letters_are_in_doubt(
    store: DeadLetterStore, ingress: Ingress, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, 1_000)
    operator_session = at_console(store)
    ordered = operator_session.replay(commands.Replay(selection=Selection(matching=Filter()), rate_per_s=400.0))
    worker = (sys.executable, "-c", WORKER, database_url, ingress.url, str(ordered.id))
    for count in (150, 400):
        with subprocess.Popen(worker, cwd=ROOT) as process:
            until(lambda count=count: len(ingress.posted) >= count, what=f"{count} dead letters")  # type: ignore[misc]
            os.kill(process.pid, signal.SIGKILL)
        free_lease(store, ordered.id)
    run(store, ingress, ordered.id)

    ended = operator_session.progress(commands.Progress(replay=ordered.id))
    sent = Counter(ingress.ids)
    doubtful = {each.event.id for each in store.list() if each.state == "open"}
    assert (ended.state, max(sent.values())) == ("done", 1)
    assert set(map(str, range(1_000))) - set(sent) <= doubtful  # what did not go out is open
    assert len(doubtful) == ended.refused <= 2 * 400 * 0.5  # a round's dead letters, each time
    assert all("interrupted" in each for each in ended.refusals.values())


def slowly(_event: Event) -> int:
    threading.Event().wait(0.3)  # the server's own time, and nobody's waiting for something to happen
    return 202


def free_lease(store: DeadLetterStore, replay: int) -> None:
    """As if the dead worker's lease had run out."""
    with store.database.transaction() as transaction:
        transaction.execute("UPDATE dead_replay SET alive_until = '' WHERE id = ?", replay)
