"""The letters' store and what operators do with it, on SQLite and on a real PostgreSQL."""

import json
from datetime import UTC, datetime

import pytest

from events.http import STRUCTURED, Event, read
from functions.deadletters import letters, notices
from functions.deadletters.database import Database, open_database
from functions.deadletters.masking import rules
from functions.deadletters.operations import Desk, Seat
from functions.deadletters.operators import everything
from functions.deadletters.words import (
    Discard,
    Edit,
    Filter,
    List,
    ListGroups,
    Replay,
    Resolve,
    Selection,
    Show,
    Undo,
)
from tests.conftest import sample
from tests.database_servers import database_url, postgresql_server

__all__ = ["database_url", "postgresql_server"]  # fixtures

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
ADDED = {
    "knativeerrordest": "http://ics.svc.cluster.local",
    "knativeerrorcode": "503",
    "knativeerrortrigger": "ics",
    "knativeerrorattempts": "6",
}


@pytest.fixture
def database(database_url: str) -> Database:
    return open_database(database_url)


@pytest.fixture
def seat(database: Database) -> Seat:
    return Desk(database=database, rules=rules(""), sink_url="http://sink.example", clock=lambda: NOW).seat(
        everything("anna")
    )


def dead(job: str = "ics", **changes: str) -> Event:
    event = read({"content-type": STRUCTURED}, json.dumps(sample(job)).encode())
    return event.with_attributes(**ADDED | changes)


def keep(database: Database, event: Event, *, now: datetime = NOW) -> int:
    with database.transaction() as session:
        id_, _ = letters.keep(session, event, now=now)
        notices.write(session, event, id_, now=now)
        return id_


def test_a_letter_is_found_by_every_filter(database: Database, seat: Seat) -> None:
    one = keep(database, dead())
    keep(database, dead("image", id="2", knativeerrorcode="500", knativeerrortrigger="image"))

    for each in (Filter(job="ics"), Filter(code=503), Filter(trigger="ics"), Filter(text="DELIVERY"), Filter(group=1)):
        assert [found.id for found in seat.list(List(matching=each)).letters] == [one], each


def test_words(database: Database, seat: Seat) -> None:
    one = keep(database, dead())
    keep(database, dead())
    assert seat.show(Show(letter=one)).letter.times == 2
    assert seat.groups(ListGroups()).groups[0].open == 1
    assert seat.discard(Discard(selection=Selection(letters=(one,)), reason="x")).letters == (one,)
    assert seat.undo(Undo(selection=Selection(letters=(one,)))).letters == (one,)
    seat.resolve(Resolve(group=1))
    keep(database, dead())
    assert seat.groups(ListGroups()).groups[0].came_back_at
    data = json.loads(seat.show(Show(letter=one)).body.data or "")
    data["events"][0]["summary"] = "Other"
    shown = seat.edit(Edit(letter=one, data=json.dumps(data)))
    print(shown.diff, shown.curl)
    run = seat.replay(Replay(selection=Selection(matching=Filter()), dry_run=True))
    assert run.would_send == (one,)
    assert seat.replay(Replay(selection=Selection(matching=Filter()))).total == 1
