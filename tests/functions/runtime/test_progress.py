"""How far a job is: said by its handler, told to the gateway once a second, and the last before the answer."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import copy_context
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import errands
import pytest
from errands import Request, Result

from events.http import Event
from events.problem import TryAgain
from events.types import IcsRequested
from functions.runtime.adapter import Response as Answer
from functions.runtime.adapter import Target, async_http_function, function, function_of, http_function
from functions.runtime.progress import progress, slow_progress, tell_progress
from tests.conftest import sample
from tests.support.http_server import http_server
from tests.support.local_runner import until
from tests.support.ports import free_port

TOKEN = "token-of-the-tests"
ICS = sample("ics")
JOB = Event({name: value for name, value in ICS.items() if name != "data"}, json.dumps(ICS["data"]).encode())
README = Path(errands.__file__).parent / "README.md"
Told = list[dict[str, Any]]


class ImportRequested(Request, frozen=True, kw_only=True):
    rows: tuple[str, ...]


class ImportCompleted(Result, frozen=True, kw_only=True):
    rows: int


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    """What the gateway hears: the notes' data, with the job's id and the token. On a busy machine the last of them
    may take its time.
    """
    monkeypatch.setattr("functions.runtime.progress.LAST_S", 60.0)
    heard: Told = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            event = json.loads(self.rfile.read(int(self.headers["content-length"])))
            heard.append({**event["data"], "job": event["jobid"], "token": self.headers["authorization"]})
            self.send_response(202)
            self.send_header("content-length", "0")
            self.end_headers()

    with http_server(Handler) as url:
        tell_progress({"NOTES_URL": f"{url}/notes", "NOTES_TOKEN": TOKEN, "K_SERVICE": "ics"})
        delivered(target(progress))  # whose client takes longer than an answer waits, on a busy machine
        until(lambda: heard, what="the first")
        heard.clear()
        try:
            yield heard
        finally:
            tell_progress({})


def delivered(target: Target, event: Event | None = None) -> int:
    """The status of one delivery."""
    made = function_of(target)
    assert made is not None
    assert made.deliver is not None
    return made.deliver(lambda: event or JOB, None).status


def target(say: Callable[[], None]) -> Target:
    @function(IcsRequested)
    def handle(_job: IcsRequested, _event: Event) -> None:
        say()

    return handle


def test_the_first_is_told_at_once_and_the_last_before_the_answer(told: Told) -> None:
    def say() -> None:
        progress(0, "row 0")
        while not told:
            time.sleep(0.01)
        for number in range(1, 500):
            progress(100 * number / 500, f"row {number}")

    status = delivered(target(say))

    assert status == 202
    assert [each["detail"] for each in told] == ["row 0", "row 499"]
    assert told[-1]["percent"] == 99.8
    assert (told[0]["kind"], told[0]["by"], told[0]["token"]) == ("progress", "ics", f"Bearer {TOKEN}")
    assert told[0]["job"] == JOB.id


def test_what_is_said_while_the_gateway_answers_is_told_before_the_end() -> None:
    begun, heard = threading.Event(), list[float]()

    class Slow(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["content-length"])))["data"]["percent"])
            begun.set()
            time.sleep(0.1)
            self.send_response(202)
            self.send_header("content-length", "0")
            self.end_headers()

    def say() -> None:
        progress(10)
        begun.wait(20)
        progress(90)

    with http_server(Slow) as url:
        tell_progress({"NOTES_URL": f"{url}/notes"})
        try:
            delivered(target(say))
        finally:
            tell_progress({})

    assert heard == [10.0, 90.0]


@pytest.mark.slow
def test_a_long_job_is_told_of_once_a_second(told: Told) -> None:
    def say() -> None:
        end_s = time.monotonic() + 2.2
        while time.monotonic() < end_s:
            progress(text="still")
            time.sleep(0.01)

    delivered(target(say))

    assert 3 <= len(told) <= 4  # at once, after a second, after two, and the last


def test_a_coroutine_says_it_as_well_and_several_jobs_at_once(told: Told) -> None:
    async def respond(event: Event) -> Answer:
        progress(10, event.id)
        await asyncio.sleep(0)
        progress(90, event.id)
        return Answer(202)

    made = function_of(async_http_function(respond))
    assert made is not None
    assert made.deliver is not None
    threads = [
        threading.Thread(target=made.deliver, args=(lambda id_=id_: JOB.with_attributes(id=id_), None))
        for id_ in ("a", "b", "c")
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    last = {each["job"]: (each["percent"], each["detail"]) for each in told}
    assert last == {id_: (90.0, id_) for id_ in ("a", "b", "c")}


def test_what_a_job_said_before_it_failed_is_told(told: Told) -> None:
    def say() -> None:
        progress(40, "page 212")
        raise TryAgain("the source is away")

    assert delivered(target(say)) == 503
    assert [each["detail"] for each in told] == ["page 212"]


def test_whatever_is_said_fits_and_fails_nothing(told: Told) -> None:
    said = [(140.0, "a\nb\x00"), (-1.0, "x" * 1000), (float("nan"), "€"), (None, "")]
    for percent, text in said:
        assert delivered(target(lambda percent=percent, text=text: progress(percent, text))) == 202  # type: ignore[misc]

    assert [each.get("percent") for each in told] == [100.0, 0.0, None, None]
    assert all(len(each.get("detail", "")) <= 200 for each in told)
    assert told[0]["detail"].startswith("a b")


def test_nobody_hears_of_a_step_of_an_outcome_and_of_what_is_said_after_the_end(told: Told) -> None:
    late = []

    def respond(_event: Event) -> Answer:
        late.append(copy_context())
        progress(50)
        return Answer(202)

    step = JOB.with_attributes(stepof="onboarding")
    outcome = JOB.with_attributes(type="dev.errands.ics.completed.v1", outcome="completed")
    for event in (step, outcome):
        delivered(http_function(respond), event)
    progress(50, "of no job")
    delivered(http_function(lambda _event: late.append(copy_context()) or Answer(202)))  # type: ignore[func-returns-value]
    late[-1].run(progress, 60)

    assert told == []


def test_what_the_built_in_functions_say_is_told_of_jobs_that_take_longer_than_a_second(told: Told) -> None:
    now_s = iter([0.0, 0.9, 1.0])

    def say() -> None:
        told_of = slow_progress(clock=lambda: next(now_s))
        told_of("page 1")
        told_of("page 2")

    delivered(target(say))

    assert [each["detail"] for each in told] == ["page 2"]


def test_the_readme_for_authors_shows_how(told: Told) -> None:
    code = next(each for each in README.read_text().split("```python\n") if "import Event, function, progress" in each)
    kept: list[str] = []
    names: dict[str, Any] = {
        "ImportRequested": ImportRequested,
        "ImportCompleted": ImportCompleted,
        "keep": kept.append,
    }
    exec(code.partition("```")[0], names)  # noqa: S102  # what stands there
    type_, data = "dev.errands.import.requested.v1", b'{"rows": ["a", "b", "c", "d"]}'

    status = delivered(names["handle"], Event({**JOB.attributes, "type": type_}, data))

    assert (status, kept) == (200, ["a", "b", "c", "d"])
    assert (told[-1]["percent"], told[-1]["detail"]) == (75.0, "row 3")


def test_a_gateway_that_does_not_answer_fails_no_job(caplog: pytest.LogCaptureFixture) -> None:
    tell_progress({"NOTES_URL": f"http://127.0.0.1:{free_port()}/notes"})
    try:
        statuses = [delivered(target(lambda: progress(5))) for _ in range(3)]
    finally:
        tell_progress({})

    assert statuses == [202] * 3
    assert [each.name for each in caplog.records if "how far jobs are" in each.getMessage()] == ["errands.progress"]


@pytest.mark.slow
def test_a_gateway_that_never_answers_holds_a_job_up_half_a_second_at_most() -> None:
    released = threading.Event()

    class Silent(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            released.wait(30)

    with http_server(Silent) as url:
        tell_progress({"NOTES_URL": f"{url}/notes"})
        try:
            started_s = time.monotonic()
            status = delivered(target(lambda: progress(5)))
            took_s = time.monotonic() - started_s
        finally:
            tell_progress({})
            released.set()

    assert status == 202
    assert took_s < 15  # and not the 30 of that server
