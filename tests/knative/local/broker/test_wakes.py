"""No queue stands still: whatever wakes one may fail, and what is due is read all the same."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import MappingProxyType

import pytest

from events.http import Event
from knative.local.broker import embedded
from knative.local.broker.broker import BrokerUnavailable, Delivery
from knative.local.broker.embedded import EmbeddedBroker
from knative.local.broker.event_log import due
from tests.support.loops import Run, on_both_loops

FULL = "CREATE TRIGGER full BEFORE INSERT ON event BEGIN SELECT raise(ABORT, 'disk is full'); END"


class Taker:
    """Takes whatever it is woken for, of queue q."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "journal.db"
        self.broker = EmbeddedBroker(self.file, ("q", "q.dlq", "other"), backlog_limit=1_000)
        self.taken: asyncio.Queue[Delivery] = asyncio.Queue()
        self.fails = False

    def wake(self, queue: str) -> None:
        """Take all that is there; raise where it is told to fail."""
        if self.fails:
            raise RuntimeError("who is woken has a bug")
        while queue == "q" and (delivery := self.broker.take(queue)):
            self.taken.put_nowait(delivery)

    async def next(self) -> Delivery:
        """The next that was taken; it comes by itself, or the test fails."""
        async with asyncio.timeout(5):
            return await self.taken.get()

    def sql(self, statement: str) -> None:
        """Behind the broker's back."""
        with sqlite3.connect(self.file) as db:
            db.execute(statement)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "READ_AGAIN_S", 0.02)
    monkeypatch.setattr(embedded, "SWEEP_S", 1000.0)


@on_both_loops
def test_a_read_that_shares_a_commit_that_fails_is_repeated(tmp_path: Path, run: Run) -> None:
    async def scenario(taker: Taker) -> None:
        taker.fails, taker.broker._queues["q"].behind = True, True  # so that it stays on disk
        await taker.broker.publish(numbered(1), ["q"])
        taker.fails = False
        taker.sql(FULL)
        publishing = asyncio.ensure_future(taker.broker.publish(numbered(2), ["other"]))
        await asyncio.sleep(0)
        taker.wake("q")  # in the same turn, so in the same commit
        with pytest.raises(BrokerUnavailable):
            await publishing
        taker.sql("DROP TRIGGER full")

        assert (await taker.next()).event.id == "1"

    run(with_a(Taker(tmp_path), scenario))


@on_both_loops
def test_a_read_that_fails_at_the_start_is_repeated(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = [sqlite3.OperationalError("disk I/O error")] * 3

    def failing(*arguments: object, **options: object) -> object:
        if failures:
            raise failures.pop()
        return due(*arguments, **options)  # type: ignore[arg-type]

    async def first(taker: Taker) -> None:
        await taker.broker.publish(numbered(1), ["q"])

    async def second(taker: Taker) -> None:
        assert (await taker.next()).event.id == "1"

    run(with_a(Taker(tmp_path), first))
    monkeypatch.setattr(embedded, "due", failing)
    run(with_a(Taker(tmp_path), second))


@on_both_loops
def test_a_timer_set_for_later_does_not_keep_an_earlier_one_from_being_set(tmp_path: Path, run: Run) -> None:
    async def scenario(taker: Taker) -> None:
        for number in range(3):
            await taker.broker.publish(numbered(number), ["q"])
        deliveries = [await taker.next() for _ in range(3)]
        for delivery, delay_s in zip(deliveries, (60, 0.05, 0.1), strict=True):
            await taker.broker.retry(delivery, delay_s=delay_s)

        assert [(await taker.next()).event.id for _ in range(2)] == ["1", "2"]

    run(with_a(Taker(tmp_path), scenario))


@on_both_loops
@pytest.mark.parametrize("lost", ["the timer", "the wake", "what says that there is more"])
def test_the_sweep_finds_what_nothing_woke(
    tmp_path: Path, run: Run, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "SWEEP_S", 0.05)

    async def scenario(taker: Taker) -> None:
        if lost == "the wake":
            taker.fails = True
            await taker.broker.publish(numbered(1), ["q"])
            taker.fails = False
        else:
            await taker.broker.publish(numbered(1), ["q"])
            await taker.broker.retry(await taker.next(), delay_s=0.01)
            taker.broker._queues["q"].cancel_timer()
            taker.broker._queues["q"].behind = lost == "the timer"

        assert (await taker.next()).event.id == "1"

    run(with_a(Taker(tmp_path), scenario))


@on_both_loops
def test_a_taker_with_a_bug_fails_no_publish(tmp_path: Path, run: Run) -> None:
    async def scenario(taker: Taker) -> None:
        taker.fails = True
        await taker.broker.publish(numbered(1), ["q", "other"])

        assert taker.broker.depths() == {"q": 1, "q.dlq": 0, "other": 1}

    run(with_a(Taker(tmp_path), scenario))


async def with_a(taker: Taker, scenario: Callable[[Taker], Awaitable[None]]) -> None:
    """The scenario, on a broker that runs."""
    await taker.broker.start(taker.wake)
    try:
        await scenario(taker)
    finally:
        await taker.broker.stop()


def numbered(number: int) -> Event:
    attributes = {"specversion": "1.0", "id": str(number), "source": "/tests", "type": "t"}
    return Event(MappingProxyType(attributes), str(number).encode())
