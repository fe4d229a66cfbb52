"""The worker of the work queue on a real RabbitMQ server: done once, retried there, kept at last, lost never."""

import asyncio
import base64
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

import pytest

from events.http import Event
from tests.support.amqp_messages import HELD, publish_hostile
from tests.support.callback_peers import SECRET, receiving, sample, say
from tests.support.local_runner import COMPLETED, ROOT, until
from tests.support.queue_worker import (
    ACKNOWLEDGE,
    PUBLISH,
    Inbox,
    Wire,
    WorkQueue,
    done,
    inbox,
    job,
    wait_empty,
    work_queue,
)
from tests.support.rabbitmq_server import RabbitServer


@pytest.fixture
def places() -> Iterator[Inbox]:
    with inbox() as server:
        yield server


@pytest.fixture
def made(rabbit: RabbitServer, places: Inbox, tmp_path: Path) -> Iterator[WorkQueue]:
    with work_queue(rabbit, places, tmp_path) as one:
        yield one


def test_a_job_is_done_its_reply_posted_and_its_message_acknowledged(made: WorkQueue, places: Inbox) -> None:
    made.send(job("1", {"n": 7}, subject="order-1"))

    made.start()

    until(lambda: done(places, "1"))
    wait_empty(made)
    [reply] = places.replies()
    assert (reply.type, reply.get("causationid"), reply.get("subject")) == (COMPLETED, "1", "order-1")
    assert not places.dead_letters()


def test_retries_wait_in_rabbitmq_with_their_count_and_end_as_a_dead_letter_to_the_sink(
    made: WorkQueue, places: Inbox
) -> None:
    made.send(job("1", {"do": "status", "status": 503}))

    made.start()

    until(places.dead_letters)
    wait_empty(made)
    [dead_letter] = places.dead_letters()
    assert dead_letter.get("knativeerrorcode") == "503"
    assert dead_letter.get("knativeerrorattempts") == "3"
    assert dead_letter.get("knativeerrortrigger") == made.queue
    assert b"as asked" in base64.b64decode(dead_letter.get("knativeerrordata") or "")
    assert "again in 0.1 s" in made.log
    assert "again in 0.2 s" in made.log
    assert f"{made.queue}.wait.200" in made.rabbit.queues()


def test_an_error_that_quotes_an_address_is_logged_without_it(made: WorkQueue, places: Inbox) -> None:
    said = "550 5.1.1 <anna@client.example>: no such user, 4711-0815"
    made.send(job("1", {"do": "status", "status": 422, "detail": said, "token": "4711-0815"}))

    made.start()

    until(places.dead_letters)
    until(lambda: "550 5.1.1" in made.log, what="the log")
    assert "anna@client.example" not in made.log
    assert "4711-0815" not in made.log


def test_what_cannot_be_done_now_waits_in_rabbitmq_and_is_charged_no_attempt(
    rabbit: RabbitServer, places: Inbox, tmp_path: Path
) -> None:
    with work_queue(rabbit, places, tmp_path, work_retry=0, work_longest_wait_s=60) as made:
        made.send(job("1", {"do": "not now", "once": str(tmp_path / "once")}))

        made.start()

        until(lambda: done(places, "1"))
        wait_empty(made)
        assert not places.dead_letters()
        assert "not now, again in" in made.log


def test_beyond_the_longest_wait_what_cannot_be_done_now_is_an_attempt(
    rabbit: RabbitServer, places: Inbox, tmp_path: Path
) -> None:
    with work_queue(rabbit, places, tmp_path, work_retry=1, work_longest_wait_s=60) as made:
        made.send(job("1", {"do": "not now"}), x_errands_waited=60)

        made.start()

        until(places.dead_letters)
        assert places.dead_letters()[0].get("knativeerrorattempts") == "2"


def test_callbacks_wait_in_rabbitmq_until_the_api_takes_them(
    rabbit: RabbitServer, places: Inbox, tmp_path: Path
) -> None:
    notifier = {
        "function_source": ROOT / "functions/notifier/main.py",
        "callback_secrets": SECRET,
        "store_url": (tmp_path / "store").as_uri(),
        "allowed_networks": "127.0.0.0/8",
        "allowed_origins": "http://127.0.0.1:*",
        "work_retry": 0,
        "work_concurrency": 4,
        "work_longest_wait_s": 3600,
    }
    with receiving() as api, work_queue(rabbit, places, tmp_path, **notifier) as made:
        busy = iter([True])
        api.response = lambda handler: say(handler, 429, retry_after="1") if next(busy, False) else say(handler, 204)
        made.send(*(sample(id=f"outcome-{number}", callbackurl=f"{api.url}/errands") for number in range(10)))
        made.start()

        until(lambda: len({call.headers["webhook-id"] for call in api.calls}) == 10, what="every callback")
        wait_empty(made)
    assert not places.dead_letters()
    # the function's connections are kept from one event to the next: all its events are of one loop
    assert len({call.port for call in api.calls}) < len(api.calls)


def test_a_response_that_is_no_use_to_repeat_is_a_dead_letter_at_once(made: WorkQueue, places: Inbox) -> None:
    made.send(job("1", {"do": "status", "status": 422}))

    made.start()

    until(places.dead_letters)
    assert places.dead_letters()[0].get("knativeerrorattempts") == "1"


def test_a_message_that_is_no_event_is_a_dead_letter_and_holds_nothing_up(made: WorkQueue, places: Inbox) -> None:
    broken = Event(MappingProxyType({"specversion": "1.0", "id": "1", "type": "x"}), b"\xff\x00")
    made.send(broken)
    made.send(job("2"))

    made.start()

    until(lambda: done(places, "2") and places.dead_letters())
    [dead_letter] = places.dead_letters()
    assert dead_letter.type == "dev.errands.unreadable.v1"
    assert dead_letter.data == b"\xff\x00"
    assert b"source is required" in base64.b64decode(dead_letter.get("knativeerrordata") or "")


def test_no_message_that_rabbitmq_holds_stops_a_work_queue(made: WorkQueue, places: Inbox) -> None:
    asyncio.run(publish_hostile(made.rabbit.url, made.queue))
    made.send(job("after"))

    made.start()

    until(lambda: done(places, "after") and len(places.dead_letters()) == len(HELD))
    wait_empty(made)
    reasons = [base64.b64decode(each.get("knativeerrordata") or "").decode() for each in places.dead_letters()]
    assert all(any(reason in each for each in reasons) for reason in HELD)
    assert len({each.id for each in places.dead_letters()}) == len(HELD)
    assert "again in" not in made.log  # no connection was lost


def test_an_attempt_that_a_sender_made_up_is_no_number_to_trust(made: WorkQueue, places: Inbox) -> None:
    made.send(job("1"), x_errands_attempt="many")

    made.start()

    until(lambda: done(places, "1"))


def test_heartbeats_go_on_while_a_job_takes_long(made: WorkQueue, places: Inbox) -> None:
    made.send(job("1", {"do": "sleep", "s": 4}))

    made.start(amqp_heartbeat_s=1)  # the server closes what is silent for two of them

    until(lambda: done(places, "1"))
    wait_empty(made)
    assert len(places.replies()) == 1
    assert "again in" not in made.log


def test_sigterm_finishes_the_job_in_hand_and_leaves_the_rest(made: WorkQueue, places: Inbox, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    made.send(job("1", {"do": "sleep", "s": 1.5, "once": str(begun)}), job("2"))
    worker = made.start()
    until(begun.exists)

    worker.send_signal(signal.SIGTERM)

    assert worker.wait(60) == 0
    assert [each.get("jobid") for each in places.replies()] == ["1"]
    assert made.ready() == 1


def test_what_is_not_done_when_a_stop_must_end_goes_back_without_being_counted(
    rabbit: RabbitServer, places: Inbox, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    with work_queue(rabbit, places, tmp_path, work_stop_s=0.2) as made:
        made.send(job("1", {"do": "sleep", "s": 30, "once": str(begun)}))
        worker = made.start()
        until(begun.exists)

        worker.send_signal(signal.SIGTERM)

        assert worker.wait(60) == 0
        assert made.ready() == 1
        made.start()
        until(lambda: done(places, "1"))
        assert '"attempt":"1"' in made.log


def test_a_job_over_its_time_is_counted_and_its_worker_ends_to_be_started_anew(
    rabbit: RabbitServer, places: Inbox, tmp_path: Path
) -> None:
    with work_queue(rabbit, places, tmp_path, work_timeout_s=0.5) as made:
        made.send(job("1", {"do": "sleep", "s": 60, "once": str(tmp_path / "begun")}))

        assert made.start().wait(60) == 1

        made.start()
        until(lambda: done(places, "1"))
        wait_empty(made)


def test_a_job_that_kills_its_workers_ends_as_a_dead_letter(made: WorkQueue, places: Inbox) -> None:
    made.send(job("1", {"do": "exit"}))

    for _ in range(3):
        assert made.start().wait(60) == -signal.SIGKILL

    made.start()
    until(places.dead_letters)
    wait_empty(made)
    assert b"ended 3 times" in base64.b64decode(places.dead_letters()[0].get("knativeerrordata") or "")


def test_a_reply_that_the_broker_does_not_take_waits_in_rabbitmq_and_the_job_is_not_done_again(
    made: WorkQueue, places: Inbox
) -> None:
    refusals: list[str] = []

    def down(place: str, event: Event, _taken: bool) -> int | None:
        refusals.append(event.id)
        return 503 if len(refusals) < 4 else None

    places.hook = down
    made.send(job("1"))

    made.start()

    until(lambda: done(places, "1"))
    wait_empty(made)
    assert len(set(refusals)) == 1
    assert made.log.count('"message":"dev.errands.echo.completed.v1"') == 1


def test_a_dead_letter_is_kept_for_as_long_as_its_sink_is_down(made: WorkQueue, places: Inbox) -> None:
    tries: list[str] = []

    def down(place: str, event: Event, _taken: bool) -> int | None:
        tries.append(place)
        return 503 if len(tries) < 8 else None

    places.hook = down
    made.send(job("1", {"do": "status", "status": 422}))

    made.start()

    until(places.dead_letters)
    wait_empty(made)
    assert set(tries) == {"sink"}


def test_a_refused_reply_makes_a_dead_letter_of_its_cause(made: WorkQueue, places: Inbox) -> None:
    places.hook = lambda place, _event, _taken: 400 if place == "broker" else None
    made.send(job("1"))

    made.start()

    until(places.dead_letters)
    assert places.dead_letters()[0].id == "1"


# --- every point at which a worker can die; what it had is done by the next one, with the same one reply


@pytest.mark.parametrize("point", ["in the handler", "before the reply is taken", "after the reply was taken"])
def test_a_worker_that_dies_with_a_job_loses_nothing(
    made: WorkQueue, places: Inbox, tmp_path: Path, point: str
) -> None:
    killed: list[bool] = []

    def kill(_place: str, _event: Event, taken: bool) -> int | None:
        if not killed and taken == (point == "after the reply was taken"):
            killed.append(True)
            os.killpg(made.workers[0].pid, signal.SIGKILL)
            return 503
        return None

    made.send(job("1", {"do": "exit", "once": str(tmp_path / "once")} if point == "in the handler" else {}))
    if point != "in the handler":
        places.hook = kill
    assert made.start().wait(60) == -signal.SIGKILL

    made.start()

    until(lambda: done(places, "1"))
    wait_empty(made)
    assert len({each.id for each in places.replies()}) == 1
    assert not places.dead_letters()


@pytest.mark.parametrize(
    ("to_server", "frame"),
    [
        pytest.param(True, PUBLISH, id="before its next attempt is published"),
        pytest.param(False, ACKNOWLEDGE, id="after that was published and before it knows"),
        pytest.param(True, ACKNOWLEDGE, id="before it acknowledges"),
    ],
)
def test_a_worker_that_dies_while_it_puts_a_job_back_loses_nothing(
    made: WorkQueue, places: Inbox, tmp_path: Path, to_server: bool, frame: bytes
) -> None:
    def cut(upwards: bool, data: bytes) -> bool:
        if upwards == to_server and frame in data and made.workers[0].poll() is None:
            os.killpg(made.workers[0].pid, signal.SIGKILL)
            return True
        return False

    wire = Wire(made.rabbit.port, cut)
    made.send(job("1", {"do": "status", "status": 503, "once": str(tmp_path / "once")}))
    assert made.start(amqp_url=made.rabbit.url.replace(str(made.rabbit.port), str(wire.port))).wait(60) < 0

    made.start()

    until(lambda: done(places, "1"))
    wait_empty(made)
    wire.close()
    assert len({each.id for each in places.replies()}) == 1
    assert not places.dead_letters()


def test_a_restart_of_rabbitmq_in_the_middle_of_a_job_costs_nothing(
    made: WorkQueue, places: Inbox, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    made.send(job("1", {"do": "sleep", "s": 1, "once": str(begun)}), job("2"))
    made.start()
    until(begun.exists)

    made.rabbit.stop()
    made.rabbit.start()

    until(lambda: done(places, "1") and done(places, "2"))
    wait_empty(made)
    assert len({each.id for each in places.replies()}) == 2


def test_a_worker_with_nothing_to_do_ends_when_it_may(rabbit: RabbitServer, places: Inbox, tmp_path: Path) -> None:
    with work_queue(rabbit, places, tmp_path, work_idle_s=0.5) as made:
        made.send(job("1", {"do": "sleep", "s": 1}))
        started_s = time.monotonic()

        assert made.start().wait(60) == 0

        assert done(places, "1")
        assert time.monotonic() - started_s > 1.5


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"work_backoff_policy": "often"}, "WORK_BACKOFF_POLICY must be linear or exponential, got 'often'"),
        ({"work_retry": -1}, "WORK_RETRY must be at least 0"),
        ({"work_timeout_s": ""}, "WORK_TIMEOUT_S is required"),
        ({"amqp_url": "http://h"}, "an AMQP URL such as"),
        ({"work_concurrency": 4, "work_prefetch": 2}, "WORK_PREFETCH must be 0 or at least WORK_CONCURRENCY"),
        (
            {"function_source": "no/such.py"},
            "FUNCTION_SOURCE, FUNCTION_TARGET: File no/such.py that is expected to define function",
        ),
        ({"function_target": "nothing"}, "is expected to contain a function named 'nothing'"),
    ],
)
def test_a_worker_that_cannot_work_says_what_is_wrong(made: WorkQueue, variables: dict[str, object], said: str) -> None:
    assert made.start(**variables).wait(60) == 1
    assert said in made.log
