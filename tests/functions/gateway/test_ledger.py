"""The ledger on both databases: a job is recorded once, and its state says what is known of it."""

from dataclasses import replace
from pathlib import Path

import pytest

from events.http import Event
from functions.gateway import finding
from functions.gateway.ledger import claims, jobs, notes, selection
from functions.gateway.ledger.job import Accepted, Conflict, NewJob, fingerprint, key_of, key_of_event
from functions.gateway.ledger.schema import open_ledger
from functions.storage.database import Database, StorageUnavailable
from tests.support.database_servers import database_url, postgresql_server

__all__ = ["database_url", "postgresql_server"]

NOW_MS = 1_800_000_000_000
REQUESTED = "dev.errands.image.requested.v1"


@pytest.fixture
def ledger(database_url: str) -> Database:
    return open_ledger(database_url)


def request(id_: str, data: bytes = b'{"width_px": 1}', **attributes: str) -> Event:
    base = {"specversion": "1.0", "id": id_, "source": "/tests", "type": REQUESTED}
    return Event({**base, **attributes}, data)


def outcome(id_: str, phase: str, data: bytes = b"{}") -> Event:
    own = {"specversion": "1.0", "id": f"{id_}-{phase}", "source": "/errands/image", "outcome": phase}
    type_ = f"dev.errands.image.{phase}.v1"
    return Event({**own, "type": type_, "jobsource": "/tests", "jobid": id_}, data)


def new(event: Event, *, api: str = "shop", due_ms: int = NOW_MS, priority: int = 0) -> NewJob:
    key, print_ = key_of_event(event), fingerprint(event)
    return NewJob(
        key=key, event=event, api=api, fingerprint=print_, accepted_ms=NOW_MS, due_ms=due_ms, priority=priority
    )


def accept(ledger: Database, *events: Event) -> list[Accepted | Conflict]:
    with ledger.transaction() as transaction:
        return jobs.accept(transaction, [new(each) for each in events])


def end(ledger: Database, *outcomes: Event) -> list[str]:
    with ledger.transaction() as transaction:
        return list(jobs.end(transaction, outcomes, now_ms=NOW_MS + 5))


def state(ledger: Database, id_: str) -> str:
    found = finding.find(ledger, key_of("/tests", id_))
    assert found is not None
    return found.job.state


def test_a_job_is_recorded_once_however_often_and_however_its_data_is_written(ledger: Database) -> None:
    first, again = accept(ledger, request("1"), request("1", b'{ "width_px":1 }'))
    (later,) = accept(ledger, request("1"))

    assert isinstance(first, Accepted)
    assert first.fresh
    assert [again, later] == [replace(first, fresh=False)] * 2


def test_the_oldest_of_a_type_and_state_is_the_first_that_could_begin(ledger: Database) -> None:
    with ledger.transaction() as transaction:
        jobs.accept(transaction, [replace(new(request("1")), not_before_ms=NOW_MS + 9_000)])
        later = selection.oldest(transaction)
        jobs.accept(transaction, [replace(new(request("2")), not_before_ms=NOW_MS - 9_000)])
        mark = [each.id for each in jobs.accept(transaction, [new(request("3"))]) if isinstance(each, Accepted)]
        jobs.mark_sent(transaction, [(each, NOW_MS) for each in mark], now_ms=NOW_MS)
        found = selection.oldest(transaction)

    assert [(each.state, each.count, each.since_ms) for each in later] == [("waiting", 1, NOW_MS + 9_000)]
    assert sorted((each.state, each.count, each.since_ms) for each in found) == [
        ("sent", 1, NOW_MS),
        ("waiting", 2, NOW_MS),
    ]


def test_other_data_or_another_type_under_the_same_id_is_a_conflict(ledger: Database) -> None:
    accept(ledger, request("1"))

    other = accept(ledger, request("1", b'{"width_px": 2}'), request("1", type="dev.errands.ics.requested.v1"))

    assert other == [Conflict(key_of("/tests", "1"), "waiting")] * 2


@pytest.mark.parametrize("phase", ["failed", "deadlettered"])
def test_what_has_failed_may_be_asked_for_again_under_its_id_and_mended(ledger: Database, phase: str) -> None:
    accept(ledger, request("1"))
    end(ledger, outcome("1", phase))

    (again,) = accept(ledger, request("1", b'{"width_px": 2}'))

    assert isinstance(again, Accepted)
    assert (again.state, again.fresh, state(ledger, "1")) == ("waiting", True, "waiting")
    with ledger.transaction(writes=False) as transaction:
        kept = jobs.request(transaction, again.id)
        assert kept
        assert (kept.data, jobs.outcome(transaction, again.id)) == (b'{"width_px": 2}', None)
        assert [each.kind for each in notes.of(transaction, again.id)] == ["asked again"]


def test_a_completed_job_stays_so_whatever_is_told_later(ledger: Database) -> None:
    accept(ledger, request("1"))
    end(ledger, outcome("1", "completed", b'{"artifacts": []}'))

    changed = end(ledger, outcome("1", "failed"))

    assert (changed, state(ledger, "1")) == ([], "completed")
    assert isinstance(accept(ledger, request("1", b'{"width_px": 2}'))[0], Conflict)


def test_a_dead_letter_that_was_replayed_ends_as_its_job_then_does(ledger: Database) -> None:
    accept(ledger, request("1"))
    end(ledger, outcome("1", "deadlettered", b'{"error": "down", "dead_letter": "7", "code": 503, "destination": ""}'))
    dead = finding.find(ledger, key_of("/tests", "1"))

    end(ledger, outcome("1", "completed"))

    assert dead
    assert (dead.job.state, dead.job.error) == ("deadlettered", "down")
    assert state(ledger, "1") == "completed"


def test_many_ends_of_many_jobs_in_one_transaction_are_each_recorded(ledger: Database) -> None:
    ids = [str(number) for number in range(150)]
    accept(ledger, *(request(each) for each in ids))

    changed = end(ledger, *(outcome(each, "completed") for each in ids), outcome("0", "completed"))

    assert sorted(changed) == sorted(key_of("/tests", each) for each in ids)
    assert {state(ledger, each) for each in ids} == {"completed"}


def test_a_job_that_came_by_the_brokers_own_ingress_is_known_from_its_end(ledger: Database) -> None:
    end(ledger, outcome("direct", "failed", b'{"type": "x", "title": "X", "detail": "no such picture"}'))

    found = finding.find(ledger, key_of("/tests", "direct"))

    assert found
    assert (found.result.type, found.result.state, found.result.error) == (REQUESTED, "failed", "no such picture")
    assert found.result.api == ""


def test_what_is_due_is_claimed_once_the_most_urgent_first(ledger: Database) -> None:
    with ledger.transaction() as transaction:
        urgent = new(request("urgent"), priority=1)
        jobs.accept(transaction, [new(request("1")), new(request("later"), due_ms=NOW_MS + 1), urgent])

    def claim() -> list[str]:
        with ledger.transaction() as transaction:
            claimed = claims.claim(ledger, transaction, now_ms=NOW_MS, until_ms=NOW_MS + 9, limit=10)
        return [each.event.id for each in claimed]

    first, second = claim(), claim()
    with ledger.transaction(writes=False) as transaction:
        assert jobs.next_due_ms(transaction) == NOW_MS + 1

    assert (first, second) == (["urgent", "1"], [])


def test_what_was_sent_is_no_longer_due_and_an_end_that_came_before_stays(ledger: Database) -> None:
    one, two = accept(ledger, request("1"), request("2"))
    end(ledger, outcome("2", "completed"))

    with ledger.transaction() as transaction:
        jobs.mark_sent(transaction, [(each.id, NOW_MS) for each in (one, two) if isinstance(each, Accepted)], now_ms=1)

    assert (state(ledger, "1"), state(ledger, "2")) == ("sent", "completed")


def test_jobs_are_listed_by_what_people_look_for_page_by_page(ledger: Database) -> None:
    long = "s" * 4_000
    accept(ledger, *(request(str(number), subject="order-7") for number in range(5)), request("long", subject=long))
    end(ledger, outcome("3", "failed"), outcome("4", "completed"))

    first = finding.page(ledger, selection.Filter(subject="order-7"), after=None, limit=3)
    second = finding.page(ledger, selection.Filter(subject="order-7"), after=int(first.next or 0), limit=3)
    by_state = {
        each: [job.id for job in finding.page(ledger, selection.Filter(state=each), after=None, limit=9).jobs]
        for each in ("failed", "completed")
    }

    assert [[each.id for each in page.jobs] for page in (first, second)] == [["4", "3", "2"], ["1", "0"]]
    assert (second.next, by_state) == (None, {"failed": ["3"], "completed": ["4"]})
    assert [each.id for each in finding.page(ledger, selection.Filter(subject=long), after=None, limit=3).jobs] == [
        "long"
    ]
    assert finding.counts(ledger) == {"waiting": 4, "failed": 1}


def test_the_timeline_has_what_the_row_and_the_notes_tell_in_its_order(ledger: Database) -> None:
    (job,) = accept(ledger, request("1"))
    assert isinstance(job, Accepted)
    with ledger.transaction() as transaction:
        jobs.mark_sent(transaction, [(job.id, NOW_MS + 9)], now_ms=NOW_MS + 1)
        notes.add(transaction, job.id, "attempt failed", at_ms=NOW_MS + 2, attempt=1, detail="503: down\x00")
    end(ledger, outcome("1", "completed"))

    told = finding.timeline(ledger, job.key)

    assert [(each.what, each.attempt, each.detail) for each in told] == [
        ("accepted", None, None),
        ("sent", None, None),
        ("attempt failed", 1, "503: down"),
        ("completed", None, None),
    ]
    assert told[0].by == "shop"


def test_a_database_that_is_none_is_said_to_be_unavailable(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    file.write_text("no database at all, and longer than a header of one would be" * 10)

    with pytest.raises(StorageUnavailable):
        accept(open_ledger(f"sqlite:///{file}"), request("1"))
