"""Limits and pauses on both databases: how many are let in, which, and what gives room again. Time is an argument."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.gateway.ledger import changes, claims, gates, jobs, rules
from functions.gateway.ledger.gates import LATE_US, Gate
from functions.gateway.ledger.job import Accepted, NewJob, key_of
from functions.gateway.ledger.rules import Limit, Rule
from functions.storage.database import Database
from tests.functions.gateway.test_ledger import NOW_MS, REQUESTED, ledger, new, outcome, request
from tests.support.database_servers import database_url, postgresql_server

__all__ = ["database_url", "ledger", "postgresql_server"]

IMAGES = f"type:{REQUESTED}"


def limit(ledger: Database, name: str, given: Limit | None, *, at_ms: int = NOW_MS) -> None:
    with ledger.transaction() as transaction:
        rules.set_limit(transaction, name, given, actor="operator", now_ms=at_ms)


def accept(ledger: Database, *ids: str, key: str | None = None, priority: int = 0) -> list[Accepted]:
    given = [replace(new(request(each), priority=priority), limit_key=key) for each in ids]
    return accepted(ledger, *given)


def accepted(ledger: Database, *given: NewJob) -> list[Accepted]:
    with ledger.transaction() as transaction:
        done = jobs.accept(transaction, given, rules.read(transaction, {}))
    return [each for each in done if isinstance(each, Accepted)]


def claim(ledger: Database, *, at_ms: int = NOW_MS, most: int = 100) -> list[str]:
    with ledger.transaction() as transaction:
        held = rules.read(transaction, {})
        found = claims.claim(ledger, transaction, held, now_ms=at_ms, until_ms=at_ms + 30_000, limit=most)
        jobs.mark_sent(transaction, [(each.id, at_ms + 600_000) for each in found], now_ms=at_ms)
    return [each.event.id for each in found]


def next_ms(ledger: Database) -> int | None:
    with ledger.transaction(writes=False) as transaction:
        return gates.next_due_ms(transaction)


def end(ledger: Database, id_: str, *, at_ms: int = NOW_MS) -> None:
    with ledger.transaction() as transaction:
        jobs.end(transaction, [outcome(id_, "completed")], now_ms=at_ms)


def numbered(first: int, last: int) -> list[str]:
    return [str(number) for number in range(first, last + 1)]


def test_without_a_rule_a_job_is_let_in_with_its_acceptance_and_with_one_it_waits(ledger: Database) -> None:
    (free,) = accept(ledger, "free")
    limit(ledger, IMAGES, Limit(rate="1/s"))
    (held,) = accept(ledger, "held")

    assert (free.waits, held.waits) == (False, True)


def test_of_a_key_so_many_are_in_flight_and_an_end_lets_the_next_in(ledger: Database) -> None:
    limit(ledger, "key:mailgun", Limit(at_once=2))
    accept(ledger, *numbered(1, 5), key="mailgun")
    accept(ledger, "other", key="postmark")
    first = claim(ledger)
    idle = (claim(ledger), next_ms(ledger))
    end(ledger, "1", at_ms=NOW_MS + 50)

    assert (first, idle) == (["1", "2", "other"], ([], None))
    assert (next_ms(ledger), claim(ledger, at_ms=NOW_MS + 50)) == (NOW_MS + 50, ["3"])
    assert (next_ms(ledger), claim(ledger, at_ms=NOW_MS + 51)) == (None, [])


def test_what_is_cancelled_or_lost_gives_its_place_back_too(ledger: Database) -> None:
    limit(ledger, "all", Limit(at_once=2))
    accept(ledger, *numbered(1, 4))
    claim(ledger)
    with ledger.transaction() as transaction:
        one, two = (jobs.find(transaction, key_of("/tests", each)) for each in ("1", "2"))
        assert one
        assert two
        changes.cancel(transaction, one, outcome("1", "failed"), actor="shop", now_ms=NOW_MS)
        jobs.lose(transaction, two, "nobody knows", now_ms=NOW_MS)

    assert claim(ledger) == ["3", "4"]


@pytest.mark.parametrize("name", ["all", IMAGES, "key:k", "key:*"])
def test_a_rate_is_held_by_everything_by_a_type_and_by_a_key(ledger: Database, name: str) -> None:
    limit(ledger, name, Limit(rate="10/s"))
    accept(ledger, *numbered(1, 20), key="k")
    seen = [(at_ms, each) for at_ms in range(NOW_MS, NOW_MS + 3_000, 10) for each in claim(ledger, at_ms=at_ms)]

    assert [each for _, each in seen] == numbered(1, 20)
    assert seen[-1][0] - seen[0][0] == pytest.approx(1_900, abs=LATE_US / 1000)


def test_each_key_has_a_rate_of_its_own_where_one_is_set_for_each(ledger: Database) -> None:
    limit(ledger, "key:*", Limit(rate="1/m"))
    limit(ledger, "key:b", Limit(rate="1/m", burst=2))
    for key in ("a", "b", "c"):
        accept(ledger, *(f"{key}{number}" for number in range(3)), key=key)

    assert sorted(claim(ledger)) == ["a0", "b0", "b1", "c0"]


def test_a_job_waits_for_all_of_its_rules(ledger: Database) -> None:
    limit(ledger, "all", Limit(at_once=3))
    limit(ledger, IMAGES, Limit(rate="2/s", burst=2))
    limit(ledger, "key:k", Limit(at_once=1))
    accept(ledger, *numbered(1, 3), key="k")
    accept(ledger, *numbered(4, 6))
    first, second = claim(ledger), claim(ledger, at_ms=NOW_MS + 1_000)
    end(ledger, "4", at_ms=NOW_MS + 1_000)
    end(ledger, "1", at_ms=NOW_MS + 1_000)

    assert (first, second) == (["1", "4"], ["5"])
    assert sorted(claim(ledger, at_ms=NOW_MS + 3_000)) == ["2", "6"]


def test_of_those_that_a_limit_holds_the_urgent_is_first(ledger: Database) -> None:
    limit(ledger, "key:k", Limit(at_once=1))
    accept(ledger, "first", "normal", key="k")
    claim(ledger)
    accept(ledger, "low", key="k", priority=-1)
    accept(ledger, "high", key="k", priority=1)
    claim(ledger)
    order = []
    for ended in ("first", "high", "normal"):
        end(ledger, ended)
        order += claim(ledger)

    assert order == ["high", "normal", "low"]


def test_a_limit_that_is_changed_or_taken_away_lets_those_in_that_waited_for_it(ledger: Database) -> None:
    limit(ledger, "key:k", Limit(at_once=1))
    accept(ledger, *numbered(1, 6), key="k")
    seen = [claim(ledger)]
    for changed in (Limit(at_once=3), None):
        limit(ledger, "key:k", changed, at_ms=NOW_MS + 5)
        seen.append(claim(ledger, at_ms=NOW_MS + 5))

    assert seen == [["1"], ["2", "3"], ["4", "5", "6"]]


def test_what_is_paused_waits_also_where_it_was_let_in_and_goes_on_in_its_order(ledger: Database) -> None:
    accept(ledger, "before")  # let in, and left behind by who has accepted it
    with ledger.transaction() as transaction:
        rules.pause(transaction, IMAGES, "the provider is down", actor="operator", now_ms=NOW_MS)
    accept(ledger, "during")
    waiting = claim(ledger), next_ms(ledger)
    with ledger.transaction() as transaction:
        resumed = [rules.resume(transaction, IMAGES, actor="operator", now_ms=NOW_MS + 9) for _ in range(2)]
        told = [(each.what, each.detail, each.actor) for each in rules.changes(transaction, limit=9)]

    assert (waiting, resumed) == (([], None), [True, False])
    assert claim(ledger, at_ms=NOW_MS + 9) == ["before", "during"]
    assert told == [("resumed", "", "operator"), ("paused", "the provider is down", "operator")]


def test_a_paused_api_holds_nobody_else_up(ledger: Database) -> None:
    with ledger.transaction() as transaction:
        rules.pause(transaction, "api:shop", "a loop there", actor="operator", now_ms=NOW_MS)
    accepted(ledger, new(request("1"), api="shop"), new(request("2"), api="erp"))

    assert claim(ledger) == ["2"]


def test_what_is_claimed_and_left_behind_costs_no_second_place(ledger: Database) -> None:
    limit(ledger, "key:k", Limit(at_once=1))
    accept(ledger, "1", "2", key="k")
    with ledger.transaction() as transaction:
        held = rules.read(transaction, {})
        claims.claim(ledger, transaction, held, now_ms=NOW_MS, until_ms=NOW_MS + 30_000, limit=9)

    assert claim(ledger, at_ms=NOW_MS + 30_000) == ["1"]


limits = st.builds(
    Limit, rate=st.sampled_from(["1/s", "50/s", "7/m", "999999/s"]), burst=st.integers(1, 20), at_once=st.none()
)


@given(limit=limits, pauses_us=st.lists(st.integers(1, 3_000_000), min_size=1, max_size=200))
def test_a_rate_is_never_passed_whenever_it_is_asked(limit: Limit, pauses_us: list[int]) -> None:
    gate, now_us, taken = Gate(Rule("all", limit, None), 0, 0), NOW_MS * 1000, []
    interval_us = limit.interval_us or 0
    for pause_us in pauses_us:
        now_us += pause_us
        if not gate.refuses(now_us):
            gate.take(now_us)
            taken.append(now_us)

    for first, begin_us in enumerate(taken):
        for count, end_us in enumerate(taken[first:], 1):
            assert count <= (end_us - begin_us + LATE_US) // interval_us + limit.burst
