"""What a function on a cluster tells the gateway of attempts that failed, and that its answer waits for nothing."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import msgspec
import pytest

from events.http import Event
from events.problem import NotNow, TryAgain
from functions.deadletters.store.dead_letter import original
from functions.runtime import attempt_notes
from functions.runtime.adapter import Response, refusal
from functions.runtime.attempt_notes import KEPT, AttemptNotes
from functions.runtime.notes import NOTED, JobNote
from tests.functions.deadletters.test_dead_letters import dead
from tests.functions.gateway.test_gateway import ICS, job, outcome
from tests.support.gateway_process import Broker, gateway_process
from tests.support.http_server import http_server
from tests.support.local_runner import until

PATIENT_S = 60.0  # a machine that is busy loses no note of a test
FAILED = Response(500, {}, b'{"detail": "the disk is full"}')


@pytest.fixture
def gateway() -> Iterator[tuple[Broker, str]]:
    """What takes notes, and where."""
    taken = Broker()
    with http_server(taken.handler()) as url:
        yield taken, f"{url}/"


def asked(**changes: str) -> Event:
    """A request as its function meets it."""
    return original(dead()).with_attributes(**changes)


def note(event: Event) -> JobNote:
    return msgspec.json.decode(event.data, type=JobNote)


def test_an_attempt_that_failed_a_callback_that_did_and_one_that_was_not_made_are_told(
    gateway: tuple[Broker, str],
) -> None:
    taken, url = gateway
    request = asked(id="1")
    ended = request.with_attributes(type="dev.errands.ics.completed.v1", jobid="1", jobsource="/s")

    tell = AttemptNotes(url, "notifier", timeout_s=PATIENT_S)
    tell(request, FAILED, ())
    tell(request, refusal(NotNow("busy")), ())
    tell(ended, refusal(TryAgain("503")), ())
    tell(request.with_attributes(stepof="onboarding"), FAILED, ())
    until(lambda: len(taken.events) == 3, what="the notes")

    told = [note(each) for each in taken.events]
    assert [each.kind for each in told] == ["attempt failed", "waits", "callback failed"]
    assert {each.type for each in told} == {"dev.errands.ics.requested.v1"}
    assert told[0].detail == "the disk is full"
    assert [(each.type, each.get("jobid")) for each in taken.events] == [(NOTED, "1")] * 3


def test_what_is_no_part_of_a_job_is_not_told(gateway: tuple[Broker, str]) -> None:
    taken, url = gateway
    tell = AttemptNotes(url, "ics", timeout_s=PATIENT_S)

    tell(Event({"id": "1", "source": "/s", "type": "dev.errands.ics.completed.v1"}, b""), FAILED, ())
    tell(dead(), FAILED, ())
    tell(asked(), FAILED, ())
    until(lambda: taken.events, what="the note of the request")

    assert [note(each).kind for each in taken.events] == ["attempt failed"]


def test_a_gateway_that_does_not_answer_holds_up_no_answer() -> None:
    begun, answer = threading.Event(), threading.Event()

    class Deaf(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            begun.set()
            answer.wait(60)

    with http_server(Deaf) as url:
        tell = AttemptNotes(f"{url}/", "ics")
        for _ in range(3 * KEPT):  # more than are kept
            tell(asked(), FAILED, ())
        came = begun.wait(60)
        answer.set()

    assert came


@pytest.mark.parametrize(
    ("environment", "tells"),
    [
        ({"NOTES_URL": "http://gateway-notes", "K_SERVICE": "ics"}, True),
        ({"NOTES_URL": "", "K_SERVICE": "ics"}, False),
        ({"NOTES_URL": "http://gateway-notes", "K_SERVICE": "ics", "ERRANDS_RUNNER_PID": "1"}, False),
    ],
)
def test_on_a_cluster_functions_tell_and_on_one_machine_the_runner(environment: dict[str, str], tells: bool) -> None:
    assert (attempt_notes.from_environment(environment) is not None) is tells


@pytest.mark.slow
def test_attempts_that_nobody_counted_are_counted_by_the_gateway(tmp_path: Path) -> None:
    with gateway_process(tmp_path, f"sqlite:///{tmp_path}/ledger.db") as (process, _broker):
        path = process.post(job("1")).headers["location"]
        tell = AttemptNotes(f"{process.function_url}/", "ics", timeout_s=PATIENT_S)
        for _ in range(2):
            tell(asked(id="1", source=ICS["source"]), FAILED, ())
        until(lambda: process.get(path).json().get("attempt") == 2, what="the notes")
        process.tell(outcome("1"))
        entries = process.get(f"{path}/timeline").json()

    failed = [each for each in entries if each["what"] == "attempt failed"]
    assert [(each["attempt"], each["by"], each["detail"]) for each in failed] == [
        (1, "ics", "the disk is full"),
        (2, "ics", "the disk is full"),
    ]
