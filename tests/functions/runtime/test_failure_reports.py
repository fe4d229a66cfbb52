"""What a function says of its failure reaches its dead letter: through the store, whoever left it there."""

import json
import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from events.http import Event
from functions.deadletters.service import commands
from functions.runtime import adapter, failure_reports, logs
from functions.runtime.adapter import Response, function_of, http_function
from functions.runtime.failure_reports import (
    LINE_CHARACTERS,
    FailureReport,
    FailureReportReader,
    FailureReportWriter,
    encode,
)
from functions.storage.store import Store
from tests.functions.deadletters.test_dead_letters import at_console, dead
from tests.support.dead_letter_store import DeadLetterStore
from tests.support.local_runner import event, service, trigger, until, up


@pytest.fixture
def failure_listeners() -> Iterator[None]:
    """What a test registers is forgotten after it."""
    before = list(adapter._failure_listeners)
    yield
    adapter._failure_listeners[:] = before


def fails(event: Event) -> Response:
    logging.getLogger("errands.image").warning("about to fail on %s", event.id)
    raise OSError("the disk is full" + "!" * 3_000)


@pytest.mark.usefixtures("failure_listeners")
def test_on_a_cluster_a_function_leaves_what_it_said_and_logged(tmp_path: Path) -> None:
    url = f"file://{tmp_path}"
    logs.configure()
    adapter.tell_failures(FailureReportWriter(url, "ics"))
    function = function_of(http_function(fails))
    assert function is not None
    assert function.deliver is not None

    response = function.deliver(dead, None)

    found = FailureReportReader(url).find(dead(), "http://ics.default.svc.cluster.local")
    assert found is not None
    told = json.loads(found)
    assert (response.status, told["status"]) == (500, 500)
    assert json.loads(told["response"])["detail"] == "OSError: the disk is full" + "!" * 3_000
    assert [json.loads(line)["message"][:35] for line in told["log"]] == [
        "about to fail on order-1042-invite",
        "not done: OSError: the disk is full",
    ]
    assert "Traceback" in told["log"][1]


@pytest.mark.parametrize(
    "line",
    [
        json.dumps({"message": "no: " + "x" * 50_000, "severity": "ERROR", "traceback": "y" * 50_000 + " at last"}),
        json.dumps({"message": "no", "severity": "ERROR", "traceback": "é" * 50_000 + " at last"}),
    ],
)
def test_a_line_of_json_that_is_too_long_stays_json(line: str) -> None:
    told = json.loads(encode(status=500, response=b"", lines=[line], now=datetime.now(UTC)))

    kept = json.loads(told["log"][0])
    assert (kept["severity"], kept["message"][:2]) == ("ERROR", "no")
    assert kept["traceback"].endswith(" at last")
    assert len(told["log"][0]) <= LINE_CHARACTERS


@pytest.mark.parametrize(
    "line", ["z" * 50_000, json.dumps(["z" * 50_000]), json.dumps({str(n): n for n in range(9_000)})]
)
def test_any_other_line_that_is_too_long_keeps_its_ends(line: str) -> None:
    told = json.loads(encode(status=500, response=b"", lines=[line], now=datetime.now(UTC)))

    begin, end = told["log"][0].split(" [...] ")
    assert line.replace(" ", "").startswith(begin.replace(" ", ""))
    assert line.replace(" ", "").endswith(end.replace(" ", ""))


@pytest.mark.parametrize(
    ("environment", "left"),
    [
        ({"STORE_URL": "memory://", "K_SERVICE": "ics"}, True),
        ({"STORE_URL": "memory://", "K_SERVICE": "ics", "ERRANDS_RUNNER_PID": "1"}, False),
        ({"K_SERVICE": "ics"}, False),
    ],
)
def test_the_runner_leaves_it_itself(environment: dict[str, str], left: bool) -> None:
    assert (failure_reports.from_environment(environment) is not None) == left


def test_a_store_that_is_down_costs_the_failure_report_and_not_the_response(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.setenv(f"AWS_{name}", "x")
    monkeypatch.setenv("AWS_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    started_s = time.monotonic()
    writer = FailureReportWriter("s3://bucket", "ics")

    writer(dead(), Response(500, {}, b"x"), ["a line"])
    none = FailureReportReader("file:///proc/nowhere").find(dead(), "http://ics.svc")

    assert none is None
    assert "cannot be left in the store" in caplog.text
    assert time.monotonic() - started_s < 10


@pytest.mark.parametrize("content", [b"not JSON", b'{"log": 1}'])
def test_what_is_no_failure_report_is_passed_over(tmp_path: Path, content: bytes) -> None:
    url = f"file://{tmp_path}"
    Store(url).write(failure_reports.key(dead(), "ics"), content)

    assert FailureReportReader(url).find(dead(), "http://ics.svc") is None
    assert FailureReportReader(url).find(dead(), "http://[::1") is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("order", "status", "said", "logged"),
    [
        ({"do": "status", "status": 410}, 410, "as asked", "not done: as asked"),
        ({"do": "exit"}, 0, "did not answer", "the last words of this function"),
    ],
    ids=["answered", "died"],
)
def test_the_runner_records_the_response_and_the_log_of_a_dead_letter(
    tmp_path: Path, order: dict[str, object], status: int, said: str, logged: str
) -> None:
    with up(tmp_path, (service(), trigger(retry=0))) as runner:
        runner.post(event("1", order))
        store = DeadLetterStore(f"sqlite:///{runner.data / 'deadletters.db'}")

        def recorded() -> FailureReport | None:
            found = store.list()
            return at_console(store).show(commands.Show(dead_letter=found[0].id)).failure_report if found else None

        shown = until(recorded, what="the failure report")

    assert shown.status == status
    assert said in shown.response
    assert any(logged in line for line in shown.log), shown.log
