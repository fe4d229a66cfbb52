"""In what turn jobs are let in, on both databases: once for a key, the last of a burst, the urgent before the rest."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.gateway.callers import Caller
from functions.gateway.ledger import changes, claims, jobs
from functions.gateway.ledger.claims import AGE_MS, Candidate
from functions.gateway.ledger.job import Accepted, Conflict, NewJob, key_of
from functions.gateway.timing import unique_key
from functions.storage.database import Database
from tests.conftest import sample
from tests.functions.gateway.test_admission import NOW, judged, refused
from tests.functions.gateway.test_ledger import NOW_MS, end, ledger, new, outcome, request, state
from tests.support.database_servers import database_url, postgresql_server

__all__ = ["database_url", "ledger", "postgresql_server"]


def accept(ledger: Database, *given: NewJob) -> list[Accepted]:
    with ledger.transaction() as transaction:
        done = jobs.accept(transaction, given)
    assert not any(isinstance(each, Conflict) for each in done)
    return [each for each in done if isinstance(each, Accepted)]


def unique(id_: str, data: bytes = b"{}", **changes: int | None) -> NewJob:
    return replace(new(request(id_, data)), unique_key="k", **changes)  # type: ignore[arg-type]  # of the fields named


def debounced(id_: str, *, at_s: int, data: bytes = b"{}") -> NewJob:
    """Posted at this second, to wait 10 s for another, and 25 s at the longest."""
    due_ms = NOW_MS + (at_s + 10) * 1000
    return unique(id_, data, due_ms=due_ms, not_before_ms=due_ms, latest_ms=NOW_MS + (at_s + 25) * 1000)


def claim(ledger: Database, *, at_ms: int = NOW_MS, limit: int = 100) -> list[tuple[str, bytes]]:
    with ledger.transaction() as transaction:
        found = claims.claim(ledger, transaction, now_ms=at_ms, until_ms=at_ms + 30_000, limit=limit)
    return [(each.event.id, each.event.data) for each in found]


def test_a_second_job_with_the_key_of_an_open_one_joins_it(ledger: Database) -> None:
    first, second = accept(ledger, unique("1"), unique("2", b'{"other": 1}'))
    (third,) = accept(ledger, unique("3"))

    assert (first.fresh, first.joined) == (True, False)
    assert [(each.key, each.fresh, each.joined) for each in (second, third)] == [(first.key, False, True)] * 2
    assert claim(ledger) == [("1", b"{}")]


@pytest.mark.parametrize("phase", ["completed", "failed", "deadlettered"])
def test_the_end_of_a_job_frees_its_key_in_the_same_transaction(ledger: Database, phase: str) -> None:
    accept(ledger, unique("1"))
    with ledger.transaction() as transaction:
        jobs.end(transaction, [outcome("1", phase)], now_ms=NOW_MS)
        (second,) = jobs.accept(transaction, [unique("2")])

    assert isinstance(second, Accepted)
    assert second.fresh


def test_what_has_failed_and_is_asked_for_again_joins_the_job_that_has_its_key_by_now(ledger: Database) -> None:
    accept(ledger, unique("1"))
    end(ledger, outcome("1", "failed"))
    accept(ledger, unique("2"))

    (again,) = accept(ledger, unique("1"))
    with ledger.transaction() as transaction:
        retried = changes.retry(transaction, key_of("/tests", "1"), actor="p", now_ms=NOW_MS)

    assert (again.key, again.joined) == (key_of("/tests", "2"), True)
    assert retried == "failed, and another with its unique key is open"


def test_a_key_is_an_apis_own_and_of_one_type() -> None:
    one, other_type = request("1"), request("1", type="dev.errands.ics.requested.v1")

    keys = [unique_key("shop", one, "k"), unique_key("erp", one, "k"), unique_key("shop", other_type, "k")]

    assert len(set(keys)) == 3
    assert unique_key("shop", one, None) is None


def test_of_a_burst_the_last_is_done_when_no_other_has_come_for_its_time(ledger: Database) -> None:
    (first, *later) = accept(ledger, debounced("1", at_s=0), debounced("2", at_s=6, data=b"2"))
    early = claim(ledger, at_ms=NOW_MS + 15_999)
    done = claim(ledger, at_ms=NOW_MS + 16_000)

    assert [(each.key, each.joined) for each in later] == [(first.key, True)]
    assert (early, done) == ([], [("1", b"2")])


def test_a_burst_without_an_end_waits_as_long_as_the_first_has_said(ledger: Database) -> None:
    accept(ledger, *(debounced(str(at_s), at_s=at_s, data=str(at_s).encode()) for at_s in range(0, 25, 6)))

    assert claim(ledger, at_ms=NOW_MS + 24_999) == []
    assert claim(ledger, at_ms=NOW_MS + 25_000) == [("0", b"24")]


def test_what_comes_after_a_debounced_job_was_let_in_is_a_job_of_its_own(ledger: Database) -> None:
    accept(ledger, debounced("1", at_s=0))
    claim(ledger, at_ms=NOW_MS + 10_000)

    (second,) = accept(ledger, debounced("2", at_s=11))

    assert (second.fresh, state(ledger, "1")) == (True, "waiting")
    assert claim(ledger, at_ms=NOW_MS + 21_000) == [("2", b"{}")]


def test_the_urgent_is_first_and_what_is_low_is_not_kept_back_for_ever(ledger: Database) -> None:
    def waiting(id_: str, priority: int, since_ms: int) -> NewJob:
        return replace(new(request(id_), priority=priority), accepted_ms=since_ms)

    since_ms = NOW_MS - 2 * AGE_MS
    accept(ledger, waiting("low", -1, NOW_MS), waiting("normal", 0, NOW_MS), waiting("high", 1, NOW_MS))
    accept(ledger, waiting("old-low", -1, since_ms - 1))

    assert [id_ for id_, _ in claim(ledger, limit=2)] == ["old-low", "high"]
    assert [id_ for id_, _ in claim(ledger)] == ["normal", "low"]


candidates = st.builds(
    Candidate, id=st.integers(1, 100), priority=st.sampled_from([-1, 0, 1]), since_ms=st.integers(0, 10 * AGE_MS)
)


@given(one=candidates, other=candidates)
def test_who_waits_two_steps_longer_is_never_passed(one: Candidate, other: Candidate) -> None:
    if one.since_ms + 2 * AGE_MS < other.since_ms:
        assert one.turn < other.turn


def test_what_is_due_later_is_not_before_its_time_whatever_its_priority(ledger: Database) -> None:
    later = NOW_MS + 1_000
    accept(ledger, replace(new(request("high"), priority=1, due_ms=later), not_before_ms=later))

    assert (claim(ledger), [id_ for id_, _ in claim(ledger, at_ms=later)]) == ([], ["high"])


def test_the_attributes_of_a_request_are_its_turn() -> None:
    admitted = judged(
        {**sample("ics"), "uniquekey": "order-7", "debounce": "PT10S", "priority": "high", "limitkey": "mailgun"}
    )

    assert isinstance(admitted, NewJob)
    assert (admitted.priority, admitted.limit_key) == (1, "mailgun")
    assert admitted.unique_key == unique_key(Caller("shop", frozenset()).name, admitted.event, "order-7")
    assert admitted.not_before_ms == int((NOW + timedelta(seconds=10)).timestamp() * 1000)
    assert admitted.latest_ms == int((NOW + timedelta(seconds=100)).timestamp() * 1000)


@pytest.mark.parametrize(
    ("attributes", "pointers"),
    [
        ({"debounce": "PT10S"}, ["#/debounce"]),
        ({"debounce": "PT10S", "uniquekey": "k", "delay": "PT1S"}, ["#/delay"]),
        ({"debounce": "10s", "uniquekey": "k"}, ["#/debounce"]),
        ({"debounce": "PT10S", "uniquekey": "k", "debouncelimit": "PT9S"}, ["#/debouncelimit"]),
        ({"debounce": "PT10S", "uniquekey": "k", "expirytime": "2026-12-01T12:01:00Z"}, ["#/debounce"]),
        ({"debouncelimit": "PT9S"}, ["#/debouncelimit"]),
        ({"priority": "5"}, ["#/priority"]),
        ({"uniquekey": "k" * 201, "limitkey": "k" * 201}, ["#/uniquekey", "#/limitkey"]),
    ],
)
def test_each_attribute_that_is_bad_or_out_of_place_is_pointed_to(
    attributes: dict[str, str], pointers: list[str]
) -> None:
    refusal = refused({**sample("ics"), **attributes})

    assert (refusal.status, [each.pointer for each in refusal.errors]) == (422, pointers)
