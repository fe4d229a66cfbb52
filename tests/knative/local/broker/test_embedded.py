"""The embedded broker by itself: what is kept, in which order, for how long."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import MappingProxyType

import pytest

from events.http import Event
from knative.local.broker import embedded
from knative.local.broker.broker import BrokerUnavailable, Delivery
from knative.local.broker.embedded import OUTCOME_RETENTION_S, EmbeddedBroker
from knative.local.broker.window import WINDOW_COUNT
from tests.support.loops import LOOPS

in_a_loop = asyncio.run
QUEUES = ("q", "q.dlq", "other", "other.dlq")


class Clock:
    """A time of day that the test sets."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_an_event_is_taken_in_order_by_each_queue_that_it_was_routed_to(tmp_path: Path) -> None:
    async def scenario(broker: EmbeddedBroker) -> None:
        for number in range(3):
            await broker.publish(numbered(number), ["q", "other"])

        assert [each.event.id for each in await take_all(broker, "q")] == ["0", "1", "2"]
        assert [each.event.id for each in await take_all(broker, "other")] == ["0", "1", "2"]

    run(scenario, tmp_path)


def test_what_is_acknowledged_is_gone_and_what_is_not_comes_again_after_a_restart(tmp_path: Path) -> None:
    async def first(broker: EmbeddedBroker) -> None:
        for number in range(3):
            await broker.publish(numbered(number), ["q"])
        deliveries = await take_all(broker, "q")
        await broker.acknowledge(deliveries[1], None, ())

    async def second(broker: EmbeddedBroker) -> None:
        deliveries = await take_all(broker, "q")
        assert [(each.event, each.attempt) for each in deliveries] == [(numbered(0), 1), (numbered(2), 1)]
        for each in deliveries:
            await broker.acknowledge(each, None, ())

    run(first, tmp_path)
    run(second, tmp_path)
    with sqlite3.connect(tmp_path / "journal.db") as event_log:
        left = event_log.execute("SELECT (SELECT count(*) FROM event), (SELECT count(*) FROM delivery)").fetchone()
    assert left == (0, 0)


def test_a_reply_is_in_its_queues_when_its_cause_is_gone(tmp_path: Path) -> None:
    async def scenario(broker: EmbeddedBroker) -> None:
        await broker.publish(numbered(1), ["q"])
        (cause,) = await take_all(broker, "q")
        await broker.acknowledge(cause, numbered(2), ["other"])

        assert broker.depths() == {"q": 0, "q.dlq": 0, "other": 1, "other.dlq": 0}
        assert [each.event.id for each in await take_all(broker, "other")] == ["2"]

    run(scenario, tmp_path)


def test_a_retry_counts_the_attempt_waits_and_lets_others_pass(tmp_path: Path) -> None:
    clock = Clock()

    async def scenario(broker: EmbeddedBroker) -> None:
        await broker.publish(numbered(1), ["q"])
        (delivery,) = await take_all(broker, "q")
        await broker.retry(delivery, delay_s=60)
        await broker.publish(numbered(2), ["q"])
        assert [each.event.id for each in await take_all(broker, "q")] == ["2"]

    async def later(broker: EmbeddedBroker) -> None:
        deliveries = await take_all(broker, "q")
        assert sorted((each.event.id, each.attempt) for each in deliveries) == [("1", 2), ("2", 1)]

    run(scenario, tmp_path, clock=clock)
    clock.now += 61
    run(later, tmp_path, clock=clock)


def test_what_is_put_back_without_an_attempt_is_known_by_how_long_it_waited_after_a_restart_too(tmp_path: Path) -> None:
    clock = Clock()

    async def scenario(broker: EmbeddedBroker) -> None:
        for each in await take_all(broker, "q"):
            await broker.retry(each, delay_s=60, charged=False)

    async def publish(broker: EmbeddedBroker) -> None:
        await broker.publish(numbered(1), ["q"])
        await scenario(broker)

    async def later(broker: EmbeddedBroker) -> None:
        (delivery,) = await take_all(broker, "q")
        assert (delivery.attempt, delivery.waited_s) == (1, 120)
        await broker.retry(delivery, delay_s=60)

    async def at_last(broker: EmbeddedBroker) -> None:
        (delivery,) = await take_all(broker, "q")
        assert (delivery.attempt, delivery.waited_s) == (2, 120)

    for step in (publish, scenario, later, at_last):
        run(step, tmp_path, clock=clock)
        clock.now += 61


def test_a_dead_letter_moves_to_its_own_queue_with_what_was_added_to_it(tmp_path: Path) -> None:
    async def scenario(broker: EmbeddedBroker) -> None:
        await broker.publish(numbered(1), ["q", "other"])
        (delivery,) = await take_all(broker, "q")
        await broker.dead_letter(delivery, delivery.event.with_attributes(knativeerrorcode="500"))

        (dead_letter,) = await take_all(broker, "q.dlq")
        assert (dead_letter.event.get("knativeerrorcode"), dead_letter.attempt) == ("500", 1)
        assert broker.depths() == {"q": 0, "q.dlq": 1, "other": 1, "other.dlq": 0}

    run(scenario, tmp_path)


@pytest.mark.slow
def test_a_backlog_larger_than_the_window_is_read_from_disk_whole_and_once(tmp_path: Path) -> None:
    count = 4 * WINDOW_COUNT

    async def scenario(broker: EmbeddedBroker) -> None:
        await asyncio.gather(*(broker.publish(numbered(number), ["q"]) for number in range(count)))
        seen: list[str] = []
        while len(seen) < count:
            for each in await take_all(broker, "q"):
                seen.append(each.event.id)
                await broker.acknowledge(each, None, ())

        assert sorted(seen, key=int) == [str(number) for number in range(count)]
        assert broker.depths()["q"] == 0

    run(scenario, tmp_path)


def test_the_backlog_limit_and_a_broken_event_log_refuse_with_a_time_to_come_again(tmp_path: Path) -> None:
    async def scenario(broker: EmbeddedBroker) -> None:
        await broker.publish(numbered(1), ["q", "other"])
        with pytest.raises(BrokerUnavailable, match="the backlog holds 2 deliveries; its limit is 2") as refused:
            await broker.publish(numbered(2), ["q"])
        assert refused.value.retry_after_s > 0

    run(scenario, tmp_path, backlog_limit=2)


def test_a_disk_that_is_nearly_full_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("knative.local.broker.embedded.FREE_DISK_BYTES", 1 << 60)

    async def scenario(broker: EmbeddedBroker) -> None:
        with pytest.raises(BrokerUnavailable, match="bytes free"):
            await broker.publish(numbered(1), ["q"])

    run(scenario, tmp_path)


def test_a_write_that_fails_refuses_and_the_broker_goes_on(tmp_path: Path) -> None:
    async def scenario(broker: EmbeddedBroker) -> None:
        with sqlite3.connect(tmp_path / "journal.db") as event_log:
            event_log.execute(
                "CREATE TRIGGER full BEFORE INSERT ON event BEGIN SELECT raise(ABORT, 'disk is full'); END"
            )
        with pytest.raises(BrokerUnavailable, match="disk is full"):
            await broker.publish(numbered(1), ["q"])
        with sqlite3.connect(tmp_path / "journal.db") as event_log:
            event_log.execute("DROP TRIGGER full")
        await broker.publish(numbered(2), ["q"])

        assert [each.event.id for each in await take_all(broker, "q")] == ["2"]

    run(scenario, tmp_path)


def test_an_event_and_a_reply_can_be_taken_while_their_commits_run_and_are_safe_when_they_are_over(
    tmp_path: Path,
) -> None:
    async def scenario(broker: EmbeddedBroker) -> None:
        with sqlite3.connect(tmp_path / "journal.db", isolation_level=None) as event_log:
            event_log.execute("BEGIN IMMEDIATE")  # nobody else commits now
            publishing = asyncio.ensure_future(broker.publish(numbered(1), ["q"]))
            await asyncio.sleep(0)
            delivery = broker.take("q")
            assert delivery is not None
            acknowledging = asyncio.ensure_future(broker.acknowledge(delivery, numbered(2), ["other"]))
            await asyncio.sleep(0)
            reply = broker.take("other")
            assert not publishing.done()
            assert not acknowledging.done()
            event_log.execute("ROLLBACK")
        await asyncio.gather(publishing, acknowledging)

        assert (delivery.event, reply and reply.event) == (numbered(1), numbered(2))
        assert broker.depths() == {"q": 0, "q.dlq": 0, "other": 1, "other.dlq": 0}

    async def again(broker: EmbeddedBroker) -> None:
        assert await take_all(broker, "q") == []
        assert [each.event.id for each in await take_all(broker, "other")] == ["2"]

    run(scenario, tmp_path)
    run(again, tmp_path)


@pytest.mark.parametrize("settled", ["acknowledged", "tried again", "dead-lettered"])
def test_what_is_taken_of_an_event_that_is_not_kept_comes_to_nothing(tmp_path: Path, settled: str) -> None:
    async def scenario(broker: EmbeddedBroker) -> None:
        full = "CREATE TRIGGER full BEFORE INSERT ON event WHEN NEW.data = '1' BEGIN SELECT raise(ABORT, 'full'); END"
        with sqlite3.connect(tmp_path / "journal.db") as event_log:
            event_log.execute(full.replace("'1'", "CAST('1' AS BLOB)"))
        publishing = asyncio.ensure_future(broker.publish(numbered(1), ["q", "other"]))
        await asyncio.sleep(0)
        delivery = broker.take("q")
        assert delivery is not None
        with pytest.raises(BrokerUnavailable, match="full"):
            await publishing
        if settled == "acknowledged":
            await broker.acknowledge(delivery, None, ())
        elif settled == "tried again":
            await broker.retry(delivery, delay_s=0)
        else:
            await broker.dead_letter(delivery, numbered(2))

        dead_letters = ["2"] if settled == "dead-lettered" else []
        assert broker.depths() == {"q": 0, "q.dlq": len(dead_letters), "other": 0, "other.dlq": 0}
        assert await take_all(broker, "q") == await take_all(broker, "other") == []
        assert [each.event.id for each in await take_all(broker, "q.dlq")] == dead_letters

    run(scenario, tmp_path)


@pytest.mark.slow
def test_what_comes_while_a_queue_is_read_from_disk_is_not_forgotten(tmp_path: Path) -> None:
    async def scenario(broker: EmbeddedBroker) -> None:
        for number in range(WINDOW_COUNT + 1):  # one more than memory takes
            await broker.publish(numbered(number), ["q"])
        seen = []
        for number in range(WINDOW_COUNT + 1, 2 * WINDOW_COUNT):
            delivery = broker.take("q")
            while delivery is None:  # reads are asked for by `take`
                await broker.outcome("", "")
                delivery = broker.take("q")
            seen.append(delivery.event.id)
            await asyncio.gather(broker.acknowledge(delivery, None, ()), broker.publish(numbered(number), ["q"]))
        seen += [each.event.id for _ in range(9) for each in await take_all(broker, "q")]

        assert seen == [str(number) for number in range(2 * WINDOW_COUNT)]

    run(scenario, tmp_path)


def test_the_last_event_of_a_job_is_remembered_for_a_day(tmp_path: Path) -> None:
    clock = Clock()

    async def scenario(broker: EmbeddedBroker) -> None:
        last = numbered(2).with_attributes(outcome="completed", jobsource="/tests", jobid="1")
        await broker.publish(last, ["q"])
        await broker.prune()
        assert await broker.outcome("/tests", "1") == last
        assert await broker.outcome("/tests", "2") is None
        clock.now += OUTCOME_RETENTION_S + 1
        await broker.prune()
        assert await broker.outcome("/tests", "1") is None

    run(scenario, tmp_path, clock=clock)


def test_all_old_outcomes_are_forgotten_at_once_however_many_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "PRUNE_LIMIT", 10)
    clock = Clock()

    async def scenario(broker: EmbeddedBroker) -> None:
        old = [numbered(number).with_attributes(outcome="completed", jobsource="/tests") for number in range(35)]
        await asyncio.gather(*(broker.publish(each.with_attributes(jobid=each.id), ["q"]) for each in old))
        clock.now += OUTCOME_RETENTION_S + 1
        await broker.publish(old[0].with_attributes(jobid="young"), ["q"])
        await broker.prune()

        assert [await broker.outcome("/tests", str(number)) for number in range(35)] == [None] * 35
        assert await broker.outcome("/tests", "young") is not None

    run(scenario, tmp_path, clock=clock)


def test_after_the_clock_was_set_back_what_was_accepted_is_due_and_a_wait_is_no_longer_than_it_was(
    tmp_path: Path,
) -> None:
    clock = Clock()

    async def first(broker: EmbeddedBroker) -> None:
        for number in range(2):
            await broker.publish(numbered(number), ["q"])
        waits, _ = await take_all(broker, "q")
        await broker.retry(waits, delay_s=60)

    async def an_hour_before(broker: EmbeddedBroker) -> None:
        assert [each.event.id for each in await take_all(broker, "q")] == ["1"]

    async def a_minute_later(broker: EmbeddedBroker) -> None:
        assert [(each.event.id, each.attempt) for each in await take_all(broker, "q")] == [("1", 1), ("0", 2)]

    run(first, tmp_path, clock=clock)
    clock.now -= 3600
    run(an_hour_before, tmp_path, clock=clock)
    clock.now += 61
    run(a_minute_later, tmp_path, clock=clock)


def test_a_clock_that_is_set_while_the_runner_is_up_changes_no_wait_and_no_look_at_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "DISK_CHECK_S", 0.0)
    woken = asyncio.Event()

    async def scenario() -> None:
        broker = EmbeddedBroker(tmp_path / "journal.db", QUEUES, backlog_limit=9)
        await broker.start(lambda _queue: woken.set())
        await broker.publish(numbered(1), ["q"])
        (delivery,) = await take_all(broker, "q")
        monkeypatch.setattr("time.time", lambda: 1_000_000.0)
        await broker.retry(delivery, delay_s=0.05)
        async with asyncio.timeout(30):
            while not (found := await take_all(broker, "q")):  # it may be woken before that is due
                await woken.wait()
                woken.clear()
        (again,) = found
        monkeypatch.setattr(embedded, "FREE_DISK_BYTES", 1 << 60)
        with pytest.raises(BrokerUnavailable, match="bytes free"):
            await broker.publish(numbered(2), ["q"])
        await broker.stop()

        assert again.attempt == 2

    in_a_loop(scenario())


def test_a_file_without_waits_is_taken_over(tmp_path: Path) -> None:
    async def scenario(broker: EmbeddedBroker) -> None:
        await broker.publish(numbered(1), ["q"])

    async def again(broker: EmbeddedBroker) -> None:
        assert [each.event.id for each in await take_all(broker, "q")] == ["1"]

    run(scenario, tmp_path)
    with sqlite3.connect(tmp_path / "journal.db") as db:
        db.execute("ALTER TABLE delivery DROP COLUMN wait_s")
        db.execute("ALTER TABLE delivery DROP COLUMN waited_s")
    run(again, tmp_path)


@pytest.fixture(autouse=True, params=list(LOOPS.values()), ids=list(LOOPS))
def _on_both_loops(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.in_a_loop", request.param)


def run(
    scenario: Callable[[EmbeddedBroker], Awaitable[None]],
    folder: Path,
    *,
    backlog_limit: int = 1_000_000,
    clock: Clock | None = None,
) -> None:
    """A broker on the folder's file, for the length of a scenario."""

    async def whole() -> None:
        broker = EmbeddedBroker(folder / "journal.db", QUEUES, backlog_limit=backlog_limit, clock=clock or Clock())
        await broker.start(lambda _queue: None)
        try:
            await scenario(broker)
        finally:
            await broker.stop()

    in_a_loop(whole())


async def take_all(broker: EmbeddedBroker, queue: str) -> list[Delivery]:
    """Everything that a queue gives now; reads from disk go through the broker's thread, whose answer is awaited."""
    taken: list[Delivery] = []
    for _ in range(3):
        while (delivery := broker.take(queue)) is not None:
            taken.append(delivery)
        await broker.outcome("", "")
    return taken


def numbered(number: int) -> Event:
    """A small event."""
    attributes = {"specversion": "1.0", "id": str(number), "source": "/tests", "type": "t"}
    return Event(MappingProxyType(attributes), str(number).encode())
