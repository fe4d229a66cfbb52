"""The dispatcher on a broker of its own: whatever fails, a delivery is settled or tried again, and never held."""

import asyncio
import errno
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any, cast

import pytest

from events.http import Event
from functions.net.exchange import Broken
from functions.runtime.outcome import Result
from knative.local.broker import dispatch
from knative.local.broker.broker import BrokerUnavailable, Delivery
from knative.local.broker.dispatch import Dispatcher, Http, Tools, _ended_beside_others
from knative.local.broker.embedded import EmbeddedBroker
from knative.local.broker.outcomes import Outcomes
from knative.local.metrics import Metrics
from knative.local.process.processes import Pool, Process, StartFailed
from knative.manifests.manifests import DeliverySpec, Manifests, Trigger
from tests.support.loops import Run, on_both_loops

DONE = Result(202)
GONE = Result(410, error=b"gone")
AGAIN = Result(503, error=b"later", retriable=True)
NOT_NOW = Result(503, error=b"paused", retriable=True, not_now_s=0.01)
FINAL = Result(500, error=b"refused")
JOBS = 6


class FakePool:
    """A function that is always there."""

    service = SimpleNamespace(name="echo")
    capacity = 8

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[Any]:
        yield SimpleNamespace(url="http://127.0.0.1:1/", tail=())


class Child:
    """A process that ends when it is told to."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    async def wait(self) -> int:
        await self.ended.wait()
        return -9


class FakeHttp:
    """What a function answers, one after the other, and then the last for ever; an exception is raised."""

    def __init__(self, *answers: Result | Exception) -> None:
        self.answers = list(answers)
        self.attempts: list[int] = []

    async def post(self, _url: str, delivery: Any, *, timeout_s: float) -> Result:
        assert timeout_s
        self.attempts.append(delivery.attempt)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Bench:
    """A broker, a dispatcher and what it meets."""

    def __init__(self, folder: Path, http: FakeHttp, report: Callable[..., None] = lambda *_: None) -> None:
        self.broker = EmbeddedBroker(folder / "journal.db", ("q", "q.dlq"), backlog_limit=1_000)
        self.http = http
        manifests = Manifests(broker="b", services={}, triggers=(), pings=(), config_maps={})
        delivery = DeliverySpec(
            retry=2, backoff_policy="linear", backoff_delay_s=0, timeout_s=9, dead_letter_sink="sink"
        )
        trigger = Trigger(name="q", filter={}, subscriber="echo", delivery=delivery, parallelism=8)
        tools = Tools(self.broker, manifests, cast(Http, http), Metrics(), Outcomes(), report)
        self.dispatcher = Dispatcher("q", trigger, cast(Pool, FakePool()), tools)

    def waits(self, longest_wait_s: float) -> None:
        """From now on the Trigger has a longest wait."""
        self.dispatcher._trigger = replace(self.dispatcher._trigger, longest_wait_s=longest_wait_s)

    async def until(self, **depths: int) -> None:
        """Until the queues hold this much; the loop's own time limit is that of the test."""
        async with asyncio.timeout(10):
            while {name: self.broker.depths()[name.replace("_", ".")] for name in depths} != depths:
                await asyncio.sleep(0.005)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "BROKER_RETRY_S", 0.01)
    monkeypatch.setattr(dispatch, "PUT_BACK_S", 0.01)


@on_both_loops
def test_a_failure_report_that_cannot_be_kept_fails_no_dead_letter(tmp_path: Path, run: Run) -> None:
    def report(*_: object) -> None:
        raise OSError(errno.EMFILE, "too many open files")

    async def scenario(bench: Bench) -> None:
        await publish(bench)
        await bench.until(q=0, q_dlq=JOBS)

    run(on_a(Bench(tmp_path, FakeHttp(GONE), report), scenario))


@pytest.mark.slow
@on_both_loops
@pytest.mark.parametrize(
    "trouble",
    [OSError(errno.EMFILE, "no descriptor"), MemoryError(), BrokerUnavailable("the disk is full"), ValueError("a bug")],
    ids=repr,
)
@pytest.mark.parametrize("settling", ["acknowledge", "retry", "dead_letter"])
def test_whatever_fails_as_deliveries_are_settled_they_are_settled_when_it_is_over(
    tmp_path: Path, run: Run, settling: str, trouble: Exception
) -> None:
    answers = {"acknowledge": [DONE], "retry": [AGAIN] * JOBS + [DONE], "dead_letter": [GONE]}[settling]

    async def scenario(bench: Bench) -> None:
        over = fail(bench.broker, settling, trouble)
        await publish(bench)
        await over(JOBS)
        await bench.until(q=0, q_dlq=JOBS if settling == "dead_letter" else 0)

    run(on_a(Bench(tmp_path, FakeHttp(*answers)), scenario))


@on_both_loops
def test_trouble_of_this_machine_is_no_attempt(tmp_path: Path, run: Run) -> None:
    async def scenario(bench: Bench) -> None:
        await publish(bench, 1)
        await bench.until(q=0, q_dlq=0)

        assert bench.http.attempts == [1] * 6

    no_descriptor = OSError(errno.EMFILE, "too many open files")
    run(on_a(Bench(tmp_path, FakeHttp(*[no_descriptor] * 5, DONE)), scenario))


@on_both_loops
def test_a_start_for_which_this_machine_has_nothing_left_is_no_attempt(tmp_path: Path, run: Run) -> None:
    failures = []
    for _ in range(5):
        failures.append(StartFailed("too many open files"))
        failures[-1].__cause__ = OSError(errno.EMFILE, "too many open files")

    async def scenario(bench: Bench) -> None:
        await publish(bench, 1)
        await bench.until(q=0, q_dlq=0)

        assert bench.http.attempts == [1] * 6

    run(on_a(Bench(tmp_path, FakeHttp(*failures, DONE)), scenario))


@pytest.mark.slow
@on_both_loops
def test_what_is_not_made_now_is_no_attempt_and_holds_no_worker(tmp_path: Path, run: Run) -> None:
    async def scenario(bench: Bench) -> None:
        bench.waits(3_600)
        await publish(bench, 1)
        await bench.until(q=0, q_dlq=0)

        assert bench.http.attempts == [1] * 21

    run(on_a(Bench(tmp_path, FakeHttp(*[NOT_NOW] * 20, DONE)), scenario))


@on_both_loops
def test_beyond_the_longest_wait_it_is_an_attempt_and_at_last_a_dead_letter(tmp_path: Path, run: Run) -> None:
    async def scenario(bench: Bench) -> None:
        bench.waits(0.025)
        await publish(bench, 1)
        await bench.until(q=0, q_dlq=1)

        assert bench.http.attempts == [1, 1, 1, 1, 2, 3]

    run(on_a(Bench(tmp_path, FakeHttp(NOT_NOW)), scenario))


@on_both_loops
def test_a_trigger_without_a_longest_wait_counts_every_attempt(tmp_path: Path, run: Run) -> None:
    async def scenario(bench: Bench) -> None:
        await publish(bench, 1)
        await bench.until(q=0, q_dlq=1)

        assert bench.http.attempts == [1, 2, 3]

    run(on_a(Bench(tmp_path, FakeHttp(NOT_NOW)), scenario))


@on_both_loops
def test_what_is_final_is_a_dead_letter_at_once(tmp_path: Path, run: Run) -> None:
    async def scenario(bench: Bench) -> None:
        await publish(bench, 1)
        await bench.until(q=0, q_dlq=1)

        assert bench.http.attempts == [1]

    run(on_a(Bench(tmp_path, FakeHttp(FINAL)), scenario))


@on_both_loops
@pytest.mark.parametrize(
    ("asked_s", "waited_s", "expected_s"),
    [
        (1, 0, (1, 6)),
        (60, 0, (60, 75)),
        (1, 100, (20, 25)),
        (1, 80_000, (600, 750)),
        (3_000, 80_000, (3_000, 3_750)),
    ],
)
def test_what_waits_comes_back_as_asked_later_the_longer_it_waits_and_not_together(
    tmp_path: Path, run: Run, asked_s: float, waited_s: float, expected_s: tuple[float, float]
) -> None:
    async def scenario(bench: Bench) -> None:
        chances = iter([0.0, 1.0])
        bench.dispatcher._tools = replace(bench.dispatcher._tools, chance=lambda: next(chances))
        waits: list[float] = []

        async def retry(_delivery: object, *, delay_s: float, charged: bool) -> None:
            assert not charged
            waits.append(delay_s)

        bench.broker.retry = retry  # type: ignore[method-assign, assignment]
        delivery = Delivery(1, "q", 1, numbered(1), waited_s)
        for _ in range(2):
            await bench.dispatcher._put_back(delivery, NOT_NOW, asked_s)

        assert waits == [pytest.approx(each) for each in expected_s]

    run(on_a(Bench(tmp_path, FakeHttp(NOT_NOW)), scenario))


@on_both_loops
def test_a_bug_that_an_attempt_always_meets_ends_as_a_dead_letter(tmp_path: Path, run: Run) -> None:
    async def scenario(bench: Bench) -> None:
        await publish(bench, 1)
        await bench.until(q=0, q_dlq=1)

        assert bench.http.attempts == [1, 2, 3]

    run(on_a(Bench(tmp_path, FakeHttp(ValueError("a bug"))), scenario))


def test_no_descriptor_for_a_connection_is_told_apart_from_a_function_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def refused(*_: object, **__: object) -> None:
        raise Broken("no") from OSError(errno.EMFILE, "too many open files")

    http = Http()
    monkeypatch.setattr(http, "_connections", SimpleNamespace(request=refused))
    delivery = cast(Any, SimpleNamespace(event=numbered(1), attempt=1))
    with pytest.raises(OSError, match="too many open files"):
        asyncio.run(http.post("http://127.0.0.1:1/", delivery, timeout_s=1))


@on_both_loops
def test_what_cannot_be_settled_does_not_hold_a_stop(tmp_path: Path, run: Run) -> None:
    async def scenario(bench: Bench) -> None:
        over = fail(bench.broker, "acknowledge", BrokerUnavailable("the disk is full"), for_ever=True)
        await publish(bench)
        await over(JOBS)
        async with asyncio.timeout(5):
            await bench.dispatcher.drain()

        assert bench.broker.depths()["q"] == JOBS

    run(on_a(Bench(tmp_path, FakeHttp(DONE)), scenario))


@pytest.mark.slow
@on_both_loops
@pytest.mark.parametrize("ended", [True, False], ids=["ended", "lives"])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_all_that_a_process_worked_on_when_it_ended_were_beside_others(run: Run, count: int, ended: bool) -> None:
    async def scenario() -> None:
        process = SimpleNamespace(busy=count, child=Child(), last_events=0)
        asyncio.get_running_loop().call_later(0.01, process.child.ended.set if ended else list)

        async def leave() -> bool:
            found = await _ended_beside_others(cast(Process, process))
            process.busy -= 1
            return found

        first = [asyncio.ensure_future(leave()) for _ in range(count - 1)]
        await asyncio.wait(first) if first else None
        last = await leave()

        assert [each.result() for each in first] + [last] == [ended and count > 1] * count

    run(scenario())


@on_both_loops
@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_a_retry_waits_what_is_declared_and_at_most_a_tenth_more(tmp_path: Path, run: Run, chance: float) -> None:
    async def scenario(bench: Bench) -> None:
        bench.dispatcher._tools = replace(bench.dispatcher._tools, chance=lambda: chance)
        declared = replace(bench.dispatcher._trigger.delivery, backoff_delay_s=20)
        bench.dispatcher._trigger = replace(bench.dispatcher._trigger, delivery=declared)
        waits: asyncio.Queue[float] = asyncio.Queue()

        async def retry(_delivery: object, *, delay_s: float) -> None:
            waits.put_nowait(delay_s)

        bench.broker.retry = retry  # type: ignore[method-assign, assignment]
        await publish(bench, 1)

        assert await waits.get() == pytest.approx(20 * (1 + 0.1 * chance))

    run(on_a(Bench(tmp_path, FakeHttp(AGAIN)), scenario))


async def on_a(bench: Bench, scenario: Callable[[Bench], Awaitable[None]]) -> None:
    """The scenario, on a broker that runs."""
    await bench.broker.start(lambda queue: bench.dispatcher.wake() if queue == "q" else None)
    try:
        await scenario(bench)
    finally:
        await bench.dispatcher.drain()
        await bench.broker.stop()


async def publish(bench: Bench, count: int = JOBS) -> None:
    for number in range(count):
        await bench.broker.publish(numbered(number), ["q"])


def fail(
    broker: EmbeddedBroker, method: str, trouble: Exception, *, for_ever: bool = False
) -> Callable[[int], Awaitable[None]]:
    """Have a method of the broker fail; the function that is returned ends that, after `count` failures."""
    failed, whole, over = asyncio.Semaphore(0), getattr(broker, method), asyncio.Event()

    async def failing(*arguments: Any, **options: Any) -> None:
        if over.is_set():
            await whole(*arguments, **options)
            return
        failed.release()
        raise trouble

    async def end(count: int) -> None:
        async with asyncio.timeout(10):
            for _ in range(count):
                await failed.acquire()
        if not for_ever:
            over.set()

    setattr(broker, method, failing)
    return end


def numbered(number: int) -> Event:
    attributes = {"specversion": "1.0", "id": str(number), "source": "/tests", "type": "t"}
    return Event(MappingProxyType(attributes), str(number).encode())
