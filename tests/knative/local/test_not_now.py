"""A callback that cannot be made now is waited for: the real notifier behind the real runner, no attempt lost."""

import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.support.callback_peers import SECRET, receiving, say
from tests.support.local_runner import ROOT, event, service, sink, trigger, until, up, waits

NOTIFIER = service("notifier", source=ROOT / "functions/notifier/main.py", max_scale=1, concurrency=100)
TELLS = trigger("tells", subscriber="notifier", filter="{outcome: completed}", retry=0, parallelism=50)
DOCUMENTS = (service(), sink(), trigger(), NOTIFIER, *waits("P1D", TELLS))
OPTIONS = ("--set", f"notifier.CALLBACK_SECRETS={SECRET}")
COUNT = 30


class Rate:
    """Takes so many requests in each window, and asks the others for some time."""

    def __init__(self, limit: int, window_s: float) -> None:
        self.taken_at_s: list[float] = []
        self.told = 0
        self._limit, self._window_s = limit, window_s
        self._lock = threading.Lock()

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        with self._lock:
            now_s = time.monotonic()
            full = sum(each > now_s - self._window_s for each in self.taken_at_s) >= self._limit
            if full:
                self.told += 1
            else:
                self.taken_at_s.append(now_s)
        if full:
            say(handler, 429, retry_after="1")
        else:
            say(handler, 204)


@pytest.mark.slow
def test_an_api_that_takes_ten_a_second_gets_all_and_nothing_is_a_dead_letter(tmp_path: Path) -> None:
    rate = Rate(10, 1.0)
    with receiving() as api, up(tmp_path, DOCUMENTS, *OPTIONS) as runner:
        api.response = rate
        for number in range(COUNT):
            runner.post(event(str(number), callbackurl=f"{api.url}/errands"))
        until(lambda: len(rate.taken_at_s) == COUNT, what="every callback")

        assert runner.metric("errands_dead_letters_total", trigger="tells") == 0
    assert rate.told < 2 * COUNT  # most of what waits does not ask


@pytest.mark.slow
def test_an_api_that_is_down_costs_no_attempt_and_is_not_run_over_when_it_is_back(tmp_path: Path) -> None:
    down = threading.Event()
    down.set()
    came_at_s: list[float] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        if down.is_set():
            say(handler, 503)
        else:
            came_at_s.append(time.monotonic())
            say(handler, 204)

    with receiving() as api, up(tmp_path, DOCUMENTS, *OPTIONS) as runner:
        api.response = answer
        for number in range(COUNT):
            runner.post(event(str(number), callbackurl=f"{api.url}/errands"))
        until(lambda: runner.metric("errands_deliveries_total", code="503", trigger="tells") >= COUNT, what="answers")
        down.clear()
        until(lambda: len(came_at_s) == COUNT, what="every callback")

    assert most_in_a_second(came_at_s) <= COUNT * 2 / 3


@pytest.mark.slow
def test_callbacks_over_the_rate_that_is_set_wait_without_a_call_and_without_an_attempt(tmp_path: Path) -> None:
    with receiving() as api, up(tmp_path, DOCUMENTS, *OPTIONS, "--set", "notifier.CALLBACK_RATE=10/s") as runner:
        for number in range(COUNT):
            runner.post(event(str(number), callbackurl=f"{api.url}/errands"))
        until(lambda: len(api.calls) == COUNT, what="every callback")

        assert runner.metric("errands_deliveries_total", code="503", trigger="tells") > 0
        assert runner.metric("errands_dead_letters_total", trigger="tells") == 0
    assert len({call.headers["webhook-id"] for call in api.calls}) == COUNT


def most_in_a_second(times_s: list[float]) -> int:
    return max(sum(start_s <= each < start_s + 1 for each in times_s) for start_s in times_s)
