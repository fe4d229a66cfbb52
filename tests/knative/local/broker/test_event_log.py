"""The embedded broker's file: what many changes in one commit leave in it."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

import pytest

from events.http import Event
from knative.local.broker.broker import Delivery
from knative.local.broker.event_log import (
    FORGET,
    REMOVE_DELIVERY,
    REMOVE_EVENT,
    ROWS,
    SMALL_BYTES,
    Change,
    New,
    Row,
    Statement,
    _text,
    commit,
    due,
    open_event_log,
    outcome,
)

NOW = 1_000.0
COUNTS = sorted({1, 2, 5, 21, 85, 150, *ROWS})  # so that every length of a statement is met, and several at once


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = open_event_log(tmp_path / "journal.db")
    yield connection
    connection.close()


@pytest.mark.parametrize("count", COUNTS)
def test_what_one_commit_keeps_is_there_whole_and_in_order_and_what_one_forgets_is_gone(
    db: sqlite3.Connection, count: int
) -> None:
    make(db, *(Change(NOW, new=new(seq)) for seq in range(1, count + 1)))
    rows, more, *_ = due(db, "q", NOW, (), limit=1_000, limit_bytes=10**9)

    assert [(row.delivery.event, row.alone) for row in rows] == [(event(seq), True) for seq in range(1, count + 1)]
    assert not more

    make(db, *(Change(NOW, done=row) for row in rows))

    assert left(db) == (0, 0)


@pytest.mark.parametrize("held", [(), (1,), (1, 3, 99)])
def test_what_is_held_is_not_read_again(db: sqlite3.Connection, held: tuple[int, ...]) -> None:
    make(db, *(Change(NOW, new=new(seq)) for seq in range(1, 6)))

    rows, more, *_ = due(db, "q", NOW, held, limit=2, limit_bytes=10**9)

    assert [row.delivery.tag for row in rows] == [seq for seq in range(1, 6) if seq not in held][:2]
    assert more


def test_an_event_in_two_queues_goes_with_the_second_in_whichever_commit(db: sqlite3.Connection) -> None:
    make(db, *(Change(NOW, new=new(seq, "q", "other")) for seq in (1, 2)))
    make(db, Change(NOW, done=row(1, "q")), Change(NOW, done=row(1, "other")), Change(NOW, done=row(2, "q")))

    assert left(db) == (1, 1)

    (second,), *_ = due(db, "other", NOW, (), limit=9, limit_bytes=10**9)
    assert second.alone
    make(db, Change(NOW, done=second))

    assert left(db) == (0, 0)


def test_a_reply_takes_the_place_of_its_cause_in_one_commit(db: sqlite3.Connection) -> None:
    make(db, Change(NOW, new=new(1)))
    make(db, Change(NOW, new=new(2, "other"), done=row(1, "q", alone=True)))

    assert left(db) == (1, 1)


def test_data_of_any_size_is_kept(db: sqlite3.Connection) -> None:
    sizes = [0, 1, SMALL_BYTES, SMALL_BYTES + 1, 3_000_000]
    kept = [Event(event(seq).attributes, bytes(size)) for seq, size in enumerate(sizes)]
    make(db, *(Change(NOW, new=New(each, ("q",), seq), ended=ended(each)) for seq, each in enumerate(kept)))
    rows, *_ = due(db, "q", NOW, (), limit=9, limit_bytes=10**9)

    assert [len(each.delivery.event.data) for each in rows] == sizes
    assert [len((outcome(db, "/jobs", str(seq)) or event(0)).data) for seq in range(5)] == sizes


def test_of_two_ends_in_one_commit_the_later_is_remembered(db: sqlite3.Connection) -> None:
    make(db, Change(NOW, ended=ended(event(1), "failed")), Change(NOW, ended=ended(event(1), "completed")))

    assert ends(db) == "completed"


def test_a_replay_forgets_the_dead_letter_of_its_job_before_it_or_with_it_but_not_after_it(
    db: sqlite3.Connection,
) -> None:
    request = {"id": "1", "source": "/jobs", "type": "dev.errands.t.requested.v1"}
    begun = Event(MappingProxyType({**event(1).attributes, **request}), b"")
    dead, done = ended(event(1), "deadlettered"), ended(event(1), "completed")

    make(db, Change(NOW, ended=dead))
    make(db, Change(NOW, begun=begun))
    assert ends(db) is None

    make(db, Change(NOW, ended=dead), Change(NOW, begun=begun))
    assert ends(db) is None

    make(db, Change(NOW, begun=begun), Change(NOW, ended=dead))
    assert ends(db) == "deadlettered"

    make(db, Change(NOW, ended=done))
    make(db, Change(NOW, begun=begun))
    assert ends(db) == "completed"


def test_what_is_asked_between_changes_sees_those_before_it_and_not_those_after_it(db: sqlite3.Connection) -> None:
    seen = commit(db, [Change(NOW, new=new(1)), left, Change(NOW, new=new(2)), left])

    assert seen == [None, (1, 1), None, (2, 2)]


@pytest.mark.parametrize("statement", [REMOVE_DELIVERY, REMOVE_EVENT, FORGET], ids=["delivery", "event", "outcome"])
def test_nothing_is_removed_by_reading_a_whole_table(db: sqlite3.Connection, statement: Statement) -> None:
    values = ["1"] * statement.row.count("?") * max(ROWS)
    plan = db.execute("EXPLAIN QUERY PLAN " + _text(statement, max(ROWS)), values).fetchall()

    assert any("SEARCH" in step for *_, step in plan)
    assert not [step for *_, step in plan if "SCAN" in step]


def make(db: sqlite3.Connection, *changes: Change) -> None:
    """In one commit, which goes well."""
    assert commit(db, changes) == [None] * len(changes)


def left(db: sqlite3.Connection) -> tuple[int, int]:
    """How many events and deliveries there are."""
    count: tuple[int, int] = db.execute(
        "SELECT (SELECT count(*) FROM event), (SELECT count(*) FROM delivery)"
    ).fetchone()
    return count


def ends(db: sqlite3.Connection) -> str | None:
    """How job 1 has ended."""
    end = outcome(db, "/jobs", "1")
    return None if end is None else end.get("outcome")


def new(seq: int, *queues: str) -> New:
    return New(event(seq), queues or ("q",), seq)


def row(seq: int, queue: str, *, alone: bool = False) -> Row:
    return Row(Delivery(seq, queue, 1, event(seq)), NOW, alone)


def event(number: int) -> Event:
    attributes = {"specversion": "1.0", "id": str(number), "source": "/tests", "type": "t"}
    return Event(MappingProxyType(attributes), str(number).encode())


def ended(of: Event, how: str = "completed") -> Event:
    """The last event of a job that has this one's id."""
    return of.with_attributes(outcome=how, jobsource="/jobs", jobid=of.id)
