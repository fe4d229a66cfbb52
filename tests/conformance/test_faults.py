"""What a Broker promises while its parts, or RabbitMQ, are stopped, killed or short of memory."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.conformance.sending import FAILING, accepts, event, new_id, post, send, settle
from tests.conformance.subscriber import Response, Subscriber
from tests.conformance.systems import System
from tests.support.local_runner import until
from tests.support.rabbitmq_server import RabbitServer

pytestmark = pytest.mark.slow

CONSUMER_TIMEOUT_MS = 8_000  # 30 minutes by default; a busy machine may stand still for seconds


@pytest.mark.deviates(knative="what was in flight is delivered again")
def test_a_stop_finishes_what_is_in_flight_and_repeats_nothing(system: System, worker: Subscriber) -> None:
    id_, release = new_id(), threading.Event()
    worker.response(id_, Response(until=release))
    send(system, id_, trigger="patient")
    worker.wait(id_)
    with ThreadPoolExecutor() as pool:
        stopping = pool.submit(system.stop)
        threading.Timer(0.5, release.set).start()
        stopping.result()
    system.start()
    settle(system, worker)

    assert len(worker.attempts(id_)) == 1


def test_after_a_kill_what_was_in_flight_is_delivered_again(system: System, worker: Subscriber) -> None:
    id_, release = new_id(), threading.Event()
    worker.response(id_, Response(until=release), Response())
    send(system, id_, trigger="patient")
    worker.wait(id_)
    restart(system)
    release.set()

    worker.wait(id_, 2, timeout_s=20)
    settle(system, worker)
    assert worker.attempts(id_, service="sink") == []


@pytest.mark.deviates(knative="both are in the dispatcher's memory: the retries begin again")
def test_the_wait_for_a_retry_and_the_count_survive_a_kill(system: System, worker: Subscriber) -> None:
    id_ = new_id()
    worker.response(id_, FAILING)
    send(system, id_, trigger="patient")
    worker.wait(id_)
    worker.wait(send(system, trigger="patient"))  # so that the answer to the first was taken in
    restart(system)
    worker.dead_letter(id_, timeout_s=20)
    first, second, *rest = (each.at_s for each in worker.attempts(id_))

    assert len(rest) == 1
    assert second - first > 1.9


def test_a_dead_letter_survives_a_kill_before_its_sink_took_it(system: System, worker: Subscriber) -> None:
    id_, release = new_id(), threading.Event()
    worker.response(id_, FAILING)
    worker.response(id_, Response(until=release), Response(), service="sink")
    send(system, id_, trigger="once")
    worker.wait(id_, service="sink")
    restart(system)
    release.set()

    worker.wait(id_, 2, service="sink", timeout_s=20)


@pytest.mark.of_rabbitmq
def test_accepted_events_survive_a_restart_of_rabbitmq(
    system: System, worker: Subscriber, rabbit: RabbitServer
) -> None:
    held, waiting, release = new_id(), new_id(), threading.Event()
    worker.response(held, Response(until=release), Response())
    worker.response(waiting, FAILING, Response())
    for each in (held, waiting):
        send(system, each, trigger="patient")
        worker.wait(each)
    with stopped(rabbit, system):
        release.set()

    worker.wait(held, 2, timeout_s=20)
    worker.wait(waiting, 2, timeout_s=20)


@pytest.mark.of_rabbitmq
@pytest.mark.deviates(knative="500, and then the process exits")
def test_without_rabbitmq_the_ingress_answers_503(system: System, rabbit: RabbitServer) -> None:
    with stopped(rabbit, system):
        status = post(system, json.dumps(event(new_id())))

    assert status == 503


@pytest.mark.of_rabbitmq
@pytest.mark.deviates(knative="it hangs for as long as the alarm lasts, and publishes afterwards")
def test_during_a_memory_alarm_the_ingress_answers_503_and_what_is_queued_goes_on(
    system: System, rabbit: RabbitServer
) -> None:
    rabbit.alarm(on=True)
    try:
        status = post(system, json.dumps(event(new_id())), timeout_s=12)
    finally:
        rabbit.alarm(on=False)
        until(lambda: accepts(system), what="an ingress that accepts")

    assert status == 503


@pytest.mark.of_rabbitmq
@pytest.mark.deviates(knative="100 are fetched at once, and those that waited too long are delivered again")
def test_events_behind_a_slow_function_do_not_run_into_the_consumer_timeout(
    system: System, worker: Subscriber, rabbit: RabbitServer
) -> None:
    ids = [new_id() for _ in range(8)]
    with consumer_timeout(rabbit, system):
        for each in ids:
            worker.response(each, Response(after_s=1.3))
            send(system, each, trigger="serial")
        worker.wait(ids[-1], timeout_s=30)
        worker.wait(send(system, trigger="serial"), timeout_s=15)

    assert [len(worker.attempts(each)) for each in ids] == [1] * len(ids)


def restart(system: System) -> None:
    """SIGKILL everything, and start it again."""
    system.kill()
    system.start()


@contextmanager
def stopped(rabbit: RabbitServer, system: System) -> Iterator[None]:
    """RabbitMQ is down; afterwards everything works again."""
    rabbit.stop()
    try:
        yield
    finally:
        rabbit.start()
        until(lambda: revived(system), timeout_s=60, poll_s=0.5, what="an ingress that accepts")


def revived(system: System) -> bool:
    """Whether the system accepts events again, its ended parts started."""
    system.revive()
    return accepts(system)


@contextmanager
def consumer_timeout(rabbit: RabbitServer, system: System) -> Iterator[None]:
    """A server that waits for an acknowledgement for 8 s only, and looks twice a second."""
    defaults = rabbit.control(
        "eval", "[application:get_env(rabbit, K) || K <- [consumer_timeout, channel_tick_interval]]."
    )
    assert defaults.split() == ["[{ok,1800000},{ok,60000}]"]
    try:
        _set_timeouts(rabbit, CONSUMER_TIMEOUT_MS, 500)
        restart(system)
        yield
    finally:
        _set_timeouts(rabbit, 1_800_000, 60_000)
        restart(system)


def _set_timeouts(rabbit: RabbitServer, consumer_ms: int, tick_ms: int) -> None:
    for name, value in (("consumer_timeout", consumer_ms), ("channel_tick_interval", tick_ms)):
        rabbit.control("eval", f"application:set_env(rabbit, {name}, {value}).")
