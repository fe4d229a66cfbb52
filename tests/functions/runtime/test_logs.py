"""No line of any log holds what is masked: each way by which a text that quotes an event comes into one."""

import ast
import asyncio
import io
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import pytest

from events.http import Event
from events.problem import JobFailed, NotAnEvent, NotNow, TryAgain
from events.types import MessageCompleted, MessageRequested, event_type
from functions.runtime.adapter import Response, async_http_function, function, function_of, http_function
from functions.runtime.batch import Job, batch
from functions.runtime.logs import JsonFormatter, about
from knative.local.log_lines import PassingFormatter, ReadableFormatter
from tests.support.local_runner import ROOT, event, service, trigger, until, up, waits

ADDRESS = "anna.meier@client.example"
SUBJECT = "Diagnosis of Anna Meier"  # which the contract marks as personal
SIGNED = "signature=4711"
SAID = f"550 5.1.1 <{ADDRESS}>: no such user, '{SUBJECT}', see https://bucket.example/key?{SIGNED}"
HIDDEN = (ADDRESS, SUBJECT, SIGNED)
OF_NO_EVENT = (ADDRESS, SIGNED)  # what any line is without

FORMATTERS = (JsonFormatter(), PassingFormatter(), ReadableFormatter())
log = logging.getLogger("errands.tests")


@pytest.fixture(params=FORMATTERS, ids=lambda each: type(each).__name__)
def written(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    """What the log holds, as each formatter writes it."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(request.param)
    root = logging.getLogger()
    level, before = root.level, root.handlers[:]
    root.setLevel("INFO")
    root.handlers[:] = [handler]
    yield stream
    root.handlers[:] = before
    root.setLevel(level)


def a_message() -> Event:
    attributes = {"specversion": "1.0", "id": "order-1", "source": "/shop", "type": event_type(MessageRequested)}
    job = MessageRequested(to=(ADDRESS,), subject=SUBJECT, text="...")
    return Event(MappingProxyType(attributes), msgspec.json.encode(job))


def a_bug() -> None:
    raise RuntimeError(SAID)


def told_with_its_traceback() -> None:
    try:
        a_bug()
    except RuntimeError:
        log.exception("a bug")


def of_a_function(text: str) -> None:
    logging.getLogger("function.message").info(text, extra={"output": True})


LINES: dict[str, Callable[[], None]] = {
    "a text": lambda: log.warning(SAID),
    "an argument": lambda: log.warning("refused: %s", SAID),
    "an exception as argument": lambda: log.error("refused: %r", OSError(SAID)),
    "a traceback": told_with_its_traceback,
    "a function's line": lambda: of_a_function(msgspec.json.encode({"message": SAID, "severity": "INFO"}).decode()),
    "a function's traceback": lambda: of_a_function(
        msgspec.json.encode({"message": "a bug", "traceback": f"RuntimeError: {SAID}"}).decode()
    ),
    "what a function prints": lambda: of_a_function(SAID),
}


@pytest.mark.parametrize("line", LINES)
def test_a_line_of_any_kind_holds_no_address_and_no_signature(written: io.StringIO, line: str) -> None:
    LINES[line]()

    assert written.getvalue()
    assert not [each for each in OF_NO_EVENT if each in written.getvalue()]


@pytest.mark.parametrize("line", [each for each in LINES if "function" not in each])
def test_a_line_about_an_event_holds_nothing_that_is_masked_in_it(written: io.StringIO, line: str) -> None:
    with about(a_message()):
        LINES[line]()

    assert "[masked]" in written.getvalue()
    assert not [each for each in HIDDEN if each in written.getvalue()]


def test_ids_are_left_by_which_people_find_a_line(written: io.StringIO) -> None:
    log.warning("refused", extra={"event": "order-1@shop.example", "type": "dev.errands.ics.requested.v1"})

    assert "order-1@shop.example" in written.getvalue()


def raises(error: Exception) -> Callable[..., Any]:
    def handle(job: MessageRequested, event: Event) -> MessageCompleted:
        log.warning("recipient refused: %s", SAID)
        raise error

    return handle


def waiting(error: Exception) -> Callable[..., Any]:
    async def handle(job: MessageRequested, event: Event) -> MessageCompleted:
        await asyncio.sleep(0)
        log.warning("recipient refused: %s", SAID)
        raise error

    return handle


def of_events(error: Exception) -> Callable[..., Any]:
    def respond(event: Event) -> Response:
        raise error

    return respond


def waiting_for_events(error: Exception) -> Callable[..., Any]:
    async def respond(event: Event) -> Response:
        raise error

    return respond


def of_batches(error: Exception) -> Callable[..., Any]:
    def handle(jobs: Sequence[Job[MessageRequested]]) -> Sequence[MessageCompleted]:
        raise error

    return handle


KINDS: dict[str, Callable[[Exception], Any]] = {
    "blocking": lambda error: function(MessageRequested)(raises(error)),
    "waiting": lambda error: function(MessageRequested)(waiting(error)),
    "of events": lambda error: http_function(of_events(error)),
    "waiting for events": lambda error: async_http_function(waiting_for_events(error)),
    "of batches": lambda error: batch(MessageRequested)(of_batches(error)),
}
ERRORS = (JobFailed("refused", SAID), TryAgain(SAID), NotNow(SAID), NotAnEvent(SAID), RuntimeError(SAID))


@pytest.mark.parametrize("error", ERRORS, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("kind", KINDS)
def test_a_function_of_any_kind_logs_no_failure_with_what_is_masked(
    written: io.StringIO, kind: str, error: Exception
) -> None:
    made = function_of(KINDS[kind](error))
    assert made is not None
    assert made.deliver is not None

    response = made.deliver(a_message, "1")

    assert b"550 5.1.1" in response.body  # the answer itself says all: it goes to the API, and into the dead letter
    assert written.getvalue()
    assert not [each for each in HIDDEN if each in written.getvalue()]


@pytest.mark.slow
def test_nothing_else_formats_a_log() -> None:
    """Who logs past the formatters would log past the mask."""
    sources = [path for folder in ("events", "functions", "knative", "keda") for path in (ROOT / folder).rglob("*.py")]

    found = {str(path.relative_to(ROOT)) for path in sources if _formats(path)}

    assert found == {"functions/runtime/logs.py", "knative/local/log_lines.py"}


def _formats(path: Path) -> bool:
    names = {"basicConfig", "setFormatter", "dictConfig", "fileConfig"}
    nodes = ast.walk(ast.parse(path.read_text()))
    return any(isinstance(each, ast.Attribute) and each.attr in names for each in nodes)


@pytest.mark.slow
def test_the_runner_tells_of_failures_without_addresses(tmp_path: Path) -> None:
    ways: dict[str, dict[str, Any]] = {
        "1": {"do": "status", "status": 500},
        "2": {"do": "not now", "once": str(tmp_path / "once")},
    }
    ways |= {"3": {"do": "raise"}, "4": {"do": "status", "status": 422}}
    with up(tmp_path, waits("PT1H", service(), trigger(retry=1))) as runner:
        for id_, way in ways.items():
            runner.post(event(id_, {**way, "detail": SAID, "token": SUBJECT}))
        until(lambda: runner.log.read_text().count("dead letter: ") >= 3, what="three dead letters")
        until(lambda: "not now, again" in runner.log.read_text(), what="a wait")

    said = runner.log.read_text()
    assert "550 5.1.1" in said
    assert not [each for each in OF_NO_EVENT if each in said]
    assert SUBJECT not in "".join(line for line in said.splitlines(keepends=True) if '"function"' not in line)
