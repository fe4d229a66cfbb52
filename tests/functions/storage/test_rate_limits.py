"""How often something may be done: never more in any period, hardly less, by all processes together."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.problem import NotNow
from functions.net.rate import Rate
from functions.storage.rate_limits import RateLimits
from functions.storage.store import Store


class Clock:
    """The time of day, moved by hand."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def go_on(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def goes(limits: RateLimits, rate: Rate, name: str = "relay") -> float | None:
    """None where the call may be made, otherwise the time that it is told."""
    try:
        limits.require(name, rate)
    except NotNow as not_now:
        return not_now.retry_after_s
    return None


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["1/s", "5/s", "20/m", "30/m", "7/h", "1/d"]),
    st.lists(st.floats(0, 0.4), min_size=30, max_size=120),
    st.integers(1, 3),
)
def test_no_period_has_more_calls_than_the_rate_says_whoever_makes_them(
    text: str, pauses: list[float], processes: int
) -> None:
    rate, clock, store = Rate.parse(text, setting="RATE"), Clock(), Store("memory:///")
    several = [RateLimits(store, clock) for _ in range(processes)]
    made_at: list[datetime] = []
    for number, pause in enumerate(pauses):
        clock.go_on(pause * rate.period_s / rate.calls * 2)
        if goes(several[number % processes], rate) is None:
            made_at.append(clock.now)

    period = timedelta(seconds=rate.period_s)
    assert max(sum(first <= each < first + period for each in made_at) for first in made_at) <= rate.calls


def test_who_comes_back_when_told_gets_close_to_the_whole_rate() -> None:
    rate, clock = Rate.parse("30/m", setting="RATE"), Clock()
    limits, begun = RateLimits(Store("memory:///"), clock), clock.now
    due = dict.fromkeys(range(120), begun)
    asked = 0
    while due:
        number, clock.now = min(due.items(), key=lambda each: each[1])
        asked += 1
        told_s = goes(limits, rate)
        if told_s is None:
            del due[number]
        else:
            due[number] = clock.now + timedelta(seconds=told_s)

    assert clock.now - begun <= timedelta(minutes=5)  # four at the full rate
    assert asked <= 3 * 120  # and few of them in vain


def test_processes_that_ask_at_once_share_one_rate(tmp_path: Path) -> None:
    rate, clock = Rate.parse("40/h", setting="RATE"), Clock()
    processes = [RateLimits(Store(tmp_path.as_uri()), clock) for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        told = list(threads.map(lambda number: goes(processes[number % 8], rate), range(48)))

    assert told.count(None) == rate.at_once == 4


def test_each_name_and_each_rate_is_counted_by_itself() -> None:
    limits, rate = RateLimits(Store("memory:///"), Clock()), Rate.parse("1/m", setting="RATE")

    assert goes(limits, rate, "https://api.example") is None
    assert goes(limits, rate, "https://other.example") is None
    assert goes(limits, Rate.parse("2/m", setting="RATE"), "https://api.example") is None
    assert goes(limits, rate, "https://api.example") == 60


def test_a_clock_that_is_set_back_stops_nothing() -> None:
    clock, store = Clock(), Store("memory:///")
    limits, rate = RateLimits(store, clock), Rate.parse("1/m", setting="RATE")
    goes(limits, rate)
    goes(limits, rate)
    clock.go_on(-3_600)

    assert goes(limits, rate) is None
    assert goes(RateLimits(store, clock), rate) == 60


def test_of_a_chain_no_more_is_left_than_a_few() -> None:
    clock, store = Clock(), Store("memory:///")
    limits, rate = RateLimits(store, clock), Rate.parse("1/s", setting="RATE")
    for _ in range(50):
        assert goes(limits, rate) is None
        clock.go_on(1)

    assert len(store.list("ledger/rates/")) < 12


@pytest.mark.parametrize("text", ["30", "0/m", "-1/m", "1.5/s", "30/x", "30/min", "9999999999/s", ""])
def test_what_is_no_rate_is_refused_by_the_setting_s_name(text: str) -> None:
    with pytest.raises(ValueError, match=r"SMTP_RATE must be a number of calls .* like 30/m, got"):
        Rate.parse(text, setting="SMTP_RATE")
