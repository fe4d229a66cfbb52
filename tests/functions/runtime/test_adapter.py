"""The adapter between a handler and HTTP: called as a server calls it (ASGI), as a real process, and by
functions-framework's own command.

Every test that takes `adapter` runs for each kind of handler: one that blocks, a coroutine, and one of events as they
are.
"""

import asyncio
import io
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import keda.worker.loader
from events.http import BODY_LIMIT_BYTES, STRUCTURED, Event, binary, read
from events.problem import Problem, decode
from events.types import REGISTRY, IcsCompleted, IcsDeadlettered, IcsFailed
from functions.runtime import loader
from functions.runtime.adapter import reply_event
from functions.runtime.server import Undiverted
from tests.conftest import sample
from tests.support.ports import free_port

ROOT = Path(__file__).parents[3]
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
REQUESTED = "dev.errands.ics.requested.v1"
STARTING_LIMIT = 2_400  # times 0.05 s

WORK = '''
import itertools
import os
import threading

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from functions.runtime.adapter import Response, async_http_function, function, open_job, reply_event
from events.http import binary
from events.problem import JobFailed, NotAnEvent, TryAgain
from events.types import IcsCompleted, IcsRequested, ImageOutput, event_type, sibling_type
from functions.runtime.settings import from_environment
from functions.storage.ledger import ReplyLedger
from functions.storage.store import Store

calls, ticks, both = [], itertools.count(), threading.Barrier(2, timeout=120)
ledger = ReplyLedger(Store(os.environ["STORE_URL"])) if "STORE_URL" in os.environ else None


def clock():
    """A minute later each time that it is asked."""
    return datetime(2026, 11, 22, 10, tzinfo=UTC) + timedelta(minutes=next(ticks))


def work(job, event):
    """What the first entry's summary says: the word before the colon."""
    calls.append(event.id)
    order, _, argument = job.events[0].summary.partition(": ")
    if order == "do nothing":
        return None
    if order == "do fail":
        raise JobFailed("source-refused", "as asked")
    if order == "do try again":
        raise TryAgain("the printer is on fire", float(argument))
    if order == "do a bug":
        return 1 // 0
    if order == "do a dict":
        return {"uids": []}
    if order == "do foreign":
        return ImageOutput(name="no event type")
    if order == "do together":
        both.wait()
    if order == "do wait":
        with open(argument + "/started", "w") as started:
            started.write("x")
        with open(argument + "/go") as go:
            go.read(1)
    return IcsCompleted(artifacts=(), uids=(event.id,), content=str(len(calls)))
'''

SYNC = """
@function(IcsRequested, ledger=ledger, clock=clock)
def handle(job, event):
    return work(job, event)
"""

ASYNC = """
import asyncio


async def respond(event):
    recorded = ledger.recall(event) if ledger else None
    if recorded is not None:
        return Response(200, *binary(recorded))
    try:
        payload = await asyncio.to_thread(work, open_job(event, IcsRequested, now=clock()), event)
    except JobFailed as failed:
        failure = reply_event(event, sibling_type(event.type, "failed"), failed.problem, now=clock())
        return Response(200, *binary(failure))
    if payload is None:
        return Response(202)
    reply = reply_event(event, event_type(type(payload)), payload, now=clock())
    return Response(200, *binary(ledger.record(event, reply) if ledger else reply))


def accepts(event):
    if event.type != event_type(IcsRequested):
        raise NotAnEvent(f"got {event.type}")


handle = async_http_function(respond, accepts=accepts)
"""

COROUTINE = """
import asyncio


@function(IcsRequested, ledger=ledger, clock=clock)
async def handle(job, event):
    return await asyncio.to_thread(work, job, event)
"""

SETTINGS = """
@dataclass(frozen=True)
class Settings:
    api_url: str
    width_px: int


settings = from_environment(Settings)
"""


@dataclass(frozen=True)
class Task:
    """A work queue's."""

    event: Event
    attempt: int


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> Event:
        return read(self.headers, self.body)

    @property
    def problem(self) -> str:
        """The last part of the problem's type."""
        assert self.headers["content-type"] == "application/problem+json"
        return decode(self.body, Problem).type.rpartition("/")[2]


Headers = list[tuple[str, str]]
Call = Callable[[str, str, Headers, bytes, bool], Reply]


@dataclass(frozen=True)
class Adapter:
    """A loaded function, called without a server."""

    module: ModuleType
    call: Call

    def post(self, body: bytes, headers: Headers, *, with_length: bool = True) -> Reply:
        return self.call("POST", "/", headers, body, with_length)

    def send(self, envelope: dict[str, Any]) -> Reply:
        return self.post(json.dumps(envelope).encode(), [("Content-Type", STRUCTURED)])


def asgi(app: Any) -> Call:
    """Calls an ASGI app as uvicorn does: a body in pieces, header values are bytes, repeated ones stand alone."""

    def call(method: str, path: str, headers: Headers, body: bytes, with_length: bool) -> Reply:
        raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        raw += [(b"content-length", b"%d" % len(body))] if with_length else []
        scope: dict[str, Any] = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method}
        scope |= {"scheme": "http", "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": ""}
        scope |= {"headers": raw, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8080)}
        pieces = [body[start : start + 65_536] for start in range(0, len(body), 65_536)]
        incoming = iter([{"type": "http.request", "body": piece, "more_body": True} for piece in pieces])
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return next(incoming, {"type": "http.request", "body": b"", "more_body": False})

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        asyncio.run(app(scope, receive, send))
        answered = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in sent[0]["headers"]}
        return Reply(sent[0]["status"], answered, b"".join(each.get("body", b"") for each in sent[1:]))

    return call


@contextmanager
def loaded(folder: Path, source: str, **environment: str) -> Iterator[Adapter]:
    """Load a function as `functions.runtime.serve` does, and take back what that leaves in this process."""
    (folder / "job_function.py").write_text(source)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path])
        patch.setitem(sys.modules, "job_function", ModuleType("job_function"))
        for name, value in {"FUNCTION_TARGET": "handle", "FUNCTION_SIGNATURE_TYPE": "http", **environment}.items():
            patch.setenv(name, value)
        application = Undiverted(*loader.load(str(folder / "job_function.py"), "handle"))
        yield Adapter(sys.modules["job_function"], asgi(application))


KINDS = {"sync": SYNC, "async": ASYNC, "coroutine": COROUTINE}


@pytest.fixture(params=list(KINDS.values()), ids=list(KINDS), scope="module")
def adapter(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Adapter]:
    with loaded(tmp_path_factory.mktemp("function"), WORK + request.param) as function:
        yield function


@pytest.fixture(params=list(KINDS.values()), ids=list(KINDS))
def remembering(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Adapter]:
    """A function with a ledger."""
    with loaded(tmp_path, WORK + request.param, STORE_URL=f"file://{tmp_path}/store") as function:
        yield function


def order(summary: str, **attributes: Any) -> dict[str, Any]:
    """The sample of a calendar file with another summary, which tells the function of these tests what to do."""
    envelope = {**sample("ics"), **attributes}
    envelope["data"]["events"][0]["summary"] = summary
    return envelope


# --- the table of answers


def test_a_job_that_is_done_is_answered_with_its_completed_event(adapter: Adapter) -> None:
    reply = adapter.send(sample("ics"))

    event = reply.event
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json"
    assert event.type == "dev.errands.ics.completed.v1"
    assert decode(event.data, IcsCompleted).uids == ("order-1042-invite",)


def test_the_end_of_a_flows_step_goes_to_its_flow_and_to_nobody_who_waits_for_outcomes(adapter: Adapter) -> None:
    reply = adapter.send({**sample("ics"), "stepof": "onboarding", "flowid": "f-1", "step": "3"}).event

    assert {name: reply.get(name) for name in ("flow", "flowid", "step", "stepof", "outcome")} == {
        "flow": "onboarding",
        "flowid": "f-1",
        "step": "3",
        "stepof": None,
        "outcome": None,
    }


def test_a_reply_says_which_job_it_ends_and_how(adapter: Adapter) -> None:
    more = {"callbackurl": "https://shop.example/a?b=%2Fc", "traceparent": TRACEPARENT, "tracestate": "a=1"}
    more |= {"correlationid": "the caller's", "tenant": "acme"}
    for_us = {"priority": "high", "flowid": "not copied"}

    attributes = dict(adapter.send({**sample("ics"), **more, **for_us}).event.attributes)

    assert attributes.pop("time").endswith("Z")
    assert attributes == {
        "specversion": "1.0",
        "id": "8dc07cfa-4384-5d20-a271-a135c9135ba7",
        "source": "/errands/ics",
        "type": "dev.errands.ics.completed.v1",
        "datacontenttype": "application/json",
        "jobid": "order-1042-invite",
        "jobsource": "https://shop.example/orders",
        "causationid": "order-1042-invite",
        "outcome": "completed",
        "subject": "order-1042",
        **more,
    }


def test_the_samples_are_what_the_adapter_really_answers(adapter: Adapter) -> None:
    completed, failed = adapter.send(sample("ics")).event, adapter.send(order("do fail")).event

    for event, shown in ((completed, sample("ics", "completed")), (failed, sample("ics", "failed"))):
        assert event.attributes.keys() == shown.keys() - {"data"}
        assert {**event.attributes, "time": shown["time"]} == {name: shown[name] for name in event.attributes}


def test_what_is_absent_from_the_cause_is_absent_from_the_reply(adapter: Adapter) -> None:
    cause = sample("ics")
    del cause["subject"]

    reply = adapter.send(cause).event

    assert {"subject", "callbackurl", "traceparent", "tracestate"} & reply.attributes.keys() == set()


def test_a_job_keeps_its_identity_over_a_chain_of_events(adapter: Adapter) -> None:
    request = adapter.send({**sample("ics"), "id": "first", "source": "/api"}).event

    payload = IcsDeadlettered(dead_letter="1", code=500, destination="/ics")
    later = reply_event(request, "dev.errands.ics.deadlettered.v1", payload, now=datetime.now(UTC))

    assert (later.get("jobid"), later.get("jobsource"), later.get("causationid")) == ("first", "/api", request.id)


def test_a_delivery_in_binary_mode_is_answered_alike(adapter: Adapter) -> None:
    structured = adapter.send(sample("ics"))
    headers, body = binary(read({"content-type": STRUCTURED}, json.dumps(sample("ics")).encode()))

    reply = adapter.post(body, list(headers.items()))

    assert reply.status == 200
    assert {**reply.event.attributes, "time": ""} == {**structured.event.attributes, "time": ""}


def test_the_same_cause_gives_the_same_id_and_another_cause_another(adapter: Adapter) -> None:
    changes: list[dict[str, str]] = [{}, {}, {"id": "2"}, {"source": "/other"}]
    first, again, other_id, other_source = (adapter.send({**sample("ics"), **change}).event.id for change in changes)

    assert first == again
    assert len({first, other_id, other_source, adapter.send(order("do fail")).event.id}) == 4


def test_a_job_with_nothing_to_say_is_answered_202_without_a_body(adapter: Adapter) -> None:
    reply = adapter.send(order("do nothing"))

    assert (reply.status, reply.body) == (202, b"")
    assert [name for name in reply.headers if name.startswith("ce-")] == []


def test_a_job_that_cannot_be_done_is_answered_200_with_the_failed_event(adapter: Adapter) -> None:
    reply = adapter.send(order("do fail"))

    problem = decode(reply.event.data, IcsFailed)
    assert reply.status == 200
    assert (reply.event.type, reply.event.get("outcome")) == ("dev.errands.ics.failed.v1", "failed")
    assert (problem.type, problem.title) == ("https://errands.dev/problems/source-refused", "Source refused")
    assert problem.detail == "as asked"


def test_a_bad_payload_fails_the_job_and_names_each_bad_field(adapter: Adapter) -> None:
    envelope = sample("ics")
    envelope["data"] |= {"method": "add", "extra": 1}

    reply = adapter.send(envelope)

    problem = decode(reply.event.data, IcsFailed)
    assert (reply.status, reply.event.get("outcome")) == (200, "failed")
    assert [each.pointer for each in problem.errors] == ["#/method", "#/extra"]


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b'{"name":"\xff"}', b"\xef\xbb\xbf{}", b"[" * 100_000, b"NaN"])
def test_data_that_is_no_json_fails_the_job(adapter: Adapter, data: bytes) -> None:
    headers, _ = binary(read({"content-type": STRUCTURED}, json.dumps(sample("ics")).encode()))

    reply = adapter.post(data, list(headers.items()))

    assert (reply.status, reply.event.get("outcome")) == (200, "failed")
    assert "data must be JSON" in decode(reply.event.data, IcsFailed).detail


@pytest.mark.parametrize(
    ("change", "kind", "detail"),
    [
        ({"expirytime": "2026-11-22T09:59:59Z"}, "expired", "until 2026-11-22T09:59:59Z, and it is 2026-11-2"),
        ({"expirytime": "0001-01-01T00:00:00+23:59"}, "expired", "worth doing until 0001-01-01"),
        ({"expirytime": "soon"}, "invalid-attribute", "expirytime: a time must be RFC 3339"),
        ({"datacontenttype": "application/xml"}, "invalid-attribute", "application/json, got 'application/xml'"),
        ({"datacontenttype": "text/json"}, "invalid-attribute", "must be application/json, got 'text/json'"),
    ],
)
def test_an_attribute_that_forbids_the_work_fails_the_job(
    adapter: Adapter, change: dict[str, str], kind: str, detail: str
) -> None:
    adapter.module.calls.clear()

    reply = adapter.send({**sample("ics"), **change})

    problem = decode(reply.event.data, IcsFailed)
    assert (reply.status, reply.event.get("outcome")) == (200, "failed")
    assert problem.type == f"https://errands.dev/problems/{kind}"
    assert detail in problem.detail
    assert adapter.module.calls == []


@pytest.mark.parametrize(
    "change",
    [
        {"expirytime": "2999-01-01T00:00:00Z"},
        {"expirytime": "9999-12-31T23:59:59-23:59"},
        {"datacontenttype": "Application/JSON; charset=utf-8"},
        {"datacontenttype": None},
    ],
)
def test_an_attribute_that_allows_the_work_does_not_stand_in_its_way(adapter: Adapter, change: dict[str, Any]) -> None:
    assert adapter.send({**sample("ics"), **change}).event.get("outcome") == "completed"


@pytest.mark.parametrize(
    ("hint", "retry_after"),
    [("7.2", "8"), ("0", "0"), ("-5", "0"), ("nan", "0"), ("inf", "86400"), ("1e300", "86400")],
)
def test_a_dependency_that_is_down_is_answered_503_with_retry_after(
    adapter: Adapter, hint: str, retry_after: str
) -> None:
    reply = adapter.send(order(f"do try again: {hint}"))

    assert (reply.status, reply.problem, reply.headers["retry-after"]) == (503, "try-again", retry_after)
    assert b"the printer is on fire" in reply.body


def test_a_bug_is_answered_500_with_what_it_was(adapter: Adapter) -> None:
    reply = adapter.send(order("do a bug"))

    assert (reply.status, reply.problem) == (500, "internal-error")
    assert b"ZeroDivisionError" in reply.body


def test_a_struct_that_is_no_event_type_is_a_bug(adapter: Adapter) -> None:
    reply = adapter.send(order("do foreign"))

    assert (reply.status, reply.problem) == (500, "internal-error")


@pytest.mark.parametrize("kind", [SYNC, COROUTINE], ids=["sync", "coroutine"])
@pytest.mark.parametrize("wrong", ["a dict", "foreign"])
def test_a_wrong_return_is_said_with_its_handlers_line_and_what_to_return(
    tmp_path: Path, wrong: str, kind: str
) -> None:
    with loaded(tmp_path, WORK + kind) as function:
        reply = function.send(order(f"do {wrong}"))

    said = json.loads(reply.body)["detail"]
    file, line, rest = said.split(":", 2)
    lines = Path(file).read_text().splitlines()[int(line) - 1 :]
    assert "handle(" in "".join(lines[:2])
    assert "handle must return a struct of the contract, such as IcsCompleted(...), or None; " in rest


@pytest.mark.parametrize(
    "change",
    [{"id": ""}, {"specversion": "0.3"}, {"time": "now"}, {"type": "dev.errands.image.requested.v1"}, {"type": "x"}],
)
def test_what_is_not_an_event_of_the_function_is_answered_500(adapter: Adapter, change: dict[str, str]) -> None:
    adapter.module.calls.clear()

    reply = adapter.send({**sample("ics"), **change})

    assert (reply.status, reply.problem) == (500, "not-an-event")
    assert adapter.module.calls == []


@pytest.mark.parametrize("with_length", [True, False])
def test_a_body_over_the_limit_is_answered_500_with_and_without_a_length(adapter: Adapter, with_length: bool) -> None:
    for size_bytes in (BODY_LIMIT_BYTES + 1, BODY_LIMIT_BYTES * 2):
        reply = adapter.post(bytes(size_bytes), [("Content-Type", STRUCTURED)], with_length=with_length)

        assert (reply.status, reply.problem) == (500, "not-an-event")
        assert b"at most 10485760 bytes" in reply.body


@pytest.mark.parametrize("with_length", [True, False])
def test_a_body_of_exactly_the_limit_is_read(adapter: Adapter, with_length: bool) -> None:
    text = json.dumps(sample("ics")).encode()

    reply = adapter.post(text.ljust(BODY_LIMIT_BYTES), [("Content-Type", STRUCTURED)], with_length=with_length)

    assert reply.status == 200


def test_the_health_probe_is_answered_without_calling_the_handler(adapter: Adapter) -> None:
    adapter.module.calls.clear()

    healthy = adapter.call("GET", "/healthz", [], b"", True)

    assert (healthy.status, healthy.body) == (200, b"ok\n")
    assert adapter.call("HEAD", "/healthz", [], b"", True).status == 200
    assert b"POST a CloudEvent" in adapter.call("GET", "/", [], b"", True).body
    assert adapter.module.calls == []


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS"])
def test_an_event_by_another_method_is_answered_500(adapter: Adapter, method: str) -> None:
    reply = adapter.call(method, "/", [("Content-Type", STRUCTURED)], json.dumps(sample("ics")).encode(), True)

    assert (reply.status, reply.problem) == (500, "not-an-event")


@pytest.mark.parametrize("path", ["/", "/any/path", "/healthz", "/a//b", "/\xc3\xa9"])
def test_an_event_may_come_to_any_path(adapter: Adapter, path: str) -> None:
    reply = adapter.call("POST", path, [("Content-Type", STRUCTURED)], json.dumps(sample("ics")).encode(), True)

    assert reply.status == 200


@pytest.mark.parametrize("host", ["[", "[::1", "a b", "", "a:b:c", "\xff"])
def test_a_host_that_is_none_does_not_matter(adapter: Adapter, host: str) -> None:
    body = json.dumps(sample("ics")).encode()

    assert adapter.post(body, [("Content-Type", STRUCTURED), ("Host", host)]).status == 200


def test_what_functions_framework_would_answer_by_itself_comes_to_the_function_all_the_same(adapter: Adapter) -> None:
    """It keeps /robots.txt and /favicon.ico for itself, routes no path with a line break, and knows seven methods; its
    404 or 405 would have the broker drop the event."""
    body, headers = json.dumps(sample("ics")).encode(), [("Content-Type", STRUCTURED)]

    posted = [adapter.call("POST", path, headers, body, True).status for path in (*KEPT, "/a\nb", "*", "")]
    hosts = [adapter.post(body, [*headers, ("Host", host)]).status for host in ("a" * 64, "a..b")]
    methods = [adapter.call(method, "/", headers, body, True).status for method in ("TRACE", "BREW")]
    looked_at = [adapter.call("GET", path, [], b"", True).status for path in KEPT]

    assert (posted, hosts, methods, looked_at) == ([200] * 5, [200] * 2, [500] * 2, [200] * 2)


KEPT = ("/robots.txt", "/favicon.ico")


# --- deliveries that repeat


def test_a_redelivery_is_answered_with_the_same_bytes_and_the_handler_is_called_once(remembering: Adapter) -> None:
    first, again = remembering.send(sample("ics")), remembering.send(sample("ics"))

    assert first.status == 200
    assert again == first
    assert remembering.module.calls == ["order-1042-invite"]


def test_two_deliveries_at_once_are_answered_with_the_same_bytes(remembering: Adapter) -> None:
    """Both may be done, where neither knows of the other; the first to finish counts for both."""
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(lambda _: remembering.send(order("do together")), range(2))

    assert first.status == 200
    assert first == second
    assert remembering.send(order("do together")) == first
    assert len(remembering.module.calls) == 2


def test_what_is_not_done_is_not_remembered(remembering: Adapter) -> None:
    for summary in ("do try again: 1", "do a bug", "do nothing"):
        remembering.send(order(summary))

    assert remembering.send(order("now it works")).event.get("outcome") == "completed"


def test_a_failed_job_stays_failed_until_its_data_is_mended(tmp_path: Path) -> None:
    with loaded(tmp_path, WORK + SYNC, STORE_URL=f"file://{tmp_path}/store") as function:
        first, again, mended = (function.send(order(each)) for each in ("do fail", "do fail", "now it would work"))

    assert first.event.get("outcome") == "failed"
    assert again == first
    assert mended.event.get("outcome") == "completed"


def test_a_ledger_that_is_down_is_tried_again(remembering: Adapter, tmp_path: Path) -> None:
    (tmp_path / "store").rmdir()
    (tmp_path / "store").write_text("a file now")

    assert (remembering.send(sample("ics")).status, remembering.module.calls) == (503, [])


# --- whatever comes


INTERESTING = (
    "ce-specversion ce-id ce-source ce-type ce-time ce-subject ce-expirytime ce-data ce-datacontenttype ce- ce-x "
    "content-type traceparent tracestate errands-attempt function-execution-id x-cloud-trace-context cookie "
    "expect accept-encoding content-encoding x-forwarded-for x-forwarded-host forwarded authorization range"
)
ANY_NAMES = st.from_regex(r"[!#$%&'*+.^`|~0-9A-Za-z-]{1,20}", fullmatch=True)
HEADER_NAMES = st.sampled_from(re.findall(r"\S+", INTERESTING)) | ANY_NAMES
HEADER_VALUES = st.text(st.characters(max_codepoint=0xFF), max_size=50) | st.sampled_from(
    ["1.0", REQUESTED, STRUCTURED, "application/json", "%ff", '"', "a" * 9_000, TRACEPARENT]
)
HEADERS = st.lists(st.tuples(HEADER_NAMES, HEADER_VALUES), max_size=8)
ODD_VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 0, -1, 1.5, 10**30, 1e308, "", "x" * 5_000, "\0", "\r\nx: y", "\ud800", [], {}, [[]], {"": {"": []}}]
).map(deepcopy)
MANY_NAMES = [b"%d" % n for n in range(500_000)]
TEXTS: dict[str, Callable[[bytes], bytes]] = {
    "deep": lambda text: text.replace(b'"request"', b"[" * 100_000),
    "deep and closed": lambda text: text.replace(b'"request"', b"[" * 100_000 + b"]" * 100_000),
    "deep objects": lambda text: text.replace(b'"request"', b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "huge number": lambda text: text.replace(b'"request"', b"9" * 100_000),
    "huge exponent": lambda text: text.replace(b'"request"', b"1e999999999"),
    "nan": lambda text: text.replace(b'"request"', b"NaN"),
    "infinity": lambda text: text.replace(b'"request"', b"-Infinity"),
    "bom": lambda text: b"\xef\xbb\xbf" + text,
    "utf-16": lambda text: text.decode().encode("utf-16"),
    "invalid utf-8": lambda text: text.replace(b"request", b"\xc3\x28\xff"),
    "lone surrogate": lambda text: text.replace(b"request", b"\\udfff"),
    "repeated keys": lambda text: text.replace(b"{", b'{"id":5,"data":1,', 1),
    "cut": lambda text: text[:-9],
    "more": lambda text: text + b"{}",
    "a megabyte of one name": lambda text: text.replace(b'"method"', b'"' + b"m" * 1_000_000 + b'"'),
    "half a million fields": lambda text: text.replace(b'{"', b'{"' + b'":0,"'.join(MANY_NAMES) + b'":0,"', 1),
}


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    """A sample with some members removed or replaced, wherever they stand."""
    envelope = sample(draw(st.sampled_from(["ics", "ics", "image"])))
    for _ in range(draw(st.integers(1, 4))):
        place: Any = envelope
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            inner = place[key]
            if isinstance(inner, dict | list) and draw(st.booleans()):
                place = inner
            elif draw(st.booleans()):
                del place[key]
                break
            else:
                place[key] = draw(ODD_VALUES)
                break
    return envelope


def require_lawful(reply: Reply) -> None:
    """The answer keeps the event: never a 4xx, never a bug, and a 200 is an event of the contract."""
    assert reply.status in (200, 202, 500, 503)
    if reply.status == 200:
        event = reply.event
        assert event.get("outcome") in ("completed", "failed")
        decode(event.data, REGISTRY[event.type])
        assert len(reply.body) < 100_000
    if reply.status == 500:
        assert reply.problem == "not-an-event"


@pytest.mark.slow
@given(HEADERS, st.binary())
@settings(deadline=None, max_examples=300)
def test_whatever_headers_and_bytes_come_the_response_is_lawful(
    adapter: Adapter, headers: Headers, body: bytes
) -> None:
    require_lawful(adapter.post(body, headers))


@pytest.mark.slow
@given(HEADERS)
@settings(deadline=None, max_examples=300)
def test_whatever_headers_come_with_an_event_the_response_is_lawful(adapter: Adapter, headers: Headers) -> None:
    good, body = binary(read({"content-type": STRUCTURED}, json.dumps(sample("ics")).encode()))

    require_lawful(adapter.post(body, [*good.items(), *headers]))
    require_lawful(adapter.post(body, [*headers, *good.items()]))


@pytest.mark.slow
@given(mutated(), st.booleans())
@settings(deadline=None, max_examples=400)
def test_however_a_sample_is_mutated_the_response_is_lawful(
    adapter: Adapter, envelope: dict[str, Any], as_binary: bool
) -> None:
    if not as_binary:
        require_lawful(adapter.send(envelope))
        return
    data = envelope.pop("data", "")
    words = {name: str(value).encode("utf-8", "replace").decode("latin-1") for name, value in envelope.items()}
    headers = [("content-type", "application/json"), *((f"ce-{name}", value) for name, value in words.items())]
    require_lawful(adapter.post(json.dumps(data).encode(), headers))


@pytest.mark.slow
@pytest.mark.parametrize("mutation", TEXTS)
@pytest.mark.parametrize("mode", ["structured", "binary"])
def test_however_the_text_of_a_sample_is_broken_the_response_is_lawful(
    adapter: Adapter, mutation: str, mode: str
) -> None:
    text = json.dumps(sample("ics") if mode == "structured" else sample("ics")["data"]).encode()
    headers, _ = binary(read({"content-type": STRUCTURED}, json.dumps(sample("ics")).encode()))
    broken = TEXTS[mutation](text)

    reply = adapter.post(broken, list(headers.items()) if mode == "binary" else [("content-type", STRUCTURED)])

    assert broken != text
    require_lawful(reply)
    if mode == "binary":  # the event is good, only its data is not: the API hears at once
        assert reply.status == 200


# --- a real process: python -m functions.runtime.serve


@dataclass(frozen=True)
class Server:
    """A running function."""

    process: "subprocess.Popen[bytes]"
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def post(self, envelope: dict[str, Any], **headers: str) -> httpx.Response:
        sent = {"content-type": STRUCTURED, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return httpx.post(self.url, json=envelope, headers=sent, timeout=120)

    def raw(self, *pieces: bytes, half_close: bool = True) -> bytes:
        """Send these bytes over one connection, close our side, and return all that comes back."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=120) as connection:
            with suppress(ConnectionError):  # the server may have closed its side already
                for piece in pieces:
                    connection.sendall(piece)
                if half_close:
                    connection.shutdown(socket.SHUT_WR)
            with suppress(ConnectionError):
                return b"".join(iter(lambda: connection.recv(65_536), b""))
        return b""

    def takes_requests(self) -> bool:
        with suppress(httpx.TransportError):
            return httpx.get(self.url, timeout=0.5).is_success
        return False

    def lines(self) -> list[dict[str, Any]]:
        """The log's lines, each of which is JSON."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]


def launch(folder: Path, source: str, port: int, **more: str) -> "subprocess.Popen[bytes]":
    (folder / "main.py").write_text(source)
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "FUNCTION_SOURCE": str(folder / "main.py"),
        "FUNCTION_TARGET": "handle",
        "HOST": "127.0.0.1",
        "PORT": str(port),
        **more,
    }
    with (folder / "log").open("wb") as log:
        command = [sys.executable, "-m", "functions.runtime.serve"]
        return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=log, start_new_session=True)


def is_open(port: int) -> bool:
    with suppress(ConnectionError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


@contextmanager
def serving(folder: Path, source: str, **more: str) -> Iterator[Server]:
    port = free_port()
    process = launch(folder, source, port, **more)
    try:
        for _ in range(STARTING_LIMIT):
            if is_open(port):
                break
            with suppress(subprocess.TimeoutExpired):
                pytest.fail(f"the function ended with {process.wait(0.05)}: {(folder / 'log').read_text()}")
        yield Server(process, port, folder / "log")
    finally:
        stop(process)


def stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise


@pytest.fixture(params=list(KINDS.values()), ids=list(KINDS), scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server"), WORK + request.param) as running:
        yield running


def http_request(body: bytes = b"", **headers: str) -> bytes:
    lines = ["POST / HTTP/1.1", "Host: x", f"Content-Type: {STRUCTURED}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def open_fifo(path: Path) -> io.FileIO:
    """A pipe with a name, open at both ends, so that nobody waits for the other to open it."""
    os.mkfifo(path)
    return path.open("r+b", buffering=0)


def status_of(response: bytes) -> int:
    return int(response.split()[1])


@pytest.mark.slow
def test_a_process_answers_events_and_its_health_probe(server: Server) -> None:
    response = server.post(sample("ics"))

    assert response.status_code == 200
    assert response.headers["ce-type"] == "dev.errands.ics.completed.v1"
    assert httpx.get(f"{server.url}healthz").text == "ok\n"


def test_each_event_has_one_json_line_with_its_job_and_attempt(server: Server) -> None:
    server.post({**sample("ics"), "id": "log-1", "jobid": "job-1"}, errands_attempt="3")

    found = [line for line in server.lines() if line.get("event") == "log-1"]
    assert len(found) == 1
    assert {name: found[0][name] for name in ("job", "event", "attempt", "type", "status", "severity")} == {
        "job": "log-1",
        "event": "log-1",
        "attempt": "3",
        "type": REQUESTED,
        "status": 200,
        "severity": "INFO",
    }
    assert found[0]["message"] == "dev.errands.ics.completed.v1"
    assert found[0]["elapsed_ms"] >= 0


def test_a_bug_leaves_its_traceback_in_one_json_line(server: Server) -> None:
    server.post({**order("do a bug"), "id": "log-2"})

    bug = next(line for line in server.lines() if line.get("event") == "log-2" and line["severity"] == "ERROR")
    assert bug["message"].startswith("not done: ZeroDivisionError")
    assert "ZeroDivisionError" in bug["traceback"]


def test_a_chunked_body_is_read(server: Server) -> None:
    body = json.dumps(sample("ics")).encode()
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:100], body[100:])) + b"0\r\n\r\n"

    assert status_of(server.raw(http_request(Transfer_Encoding="chunked"), chunks, half_close=False)) == 200


@pytest.mark.slow
def test_a_body_that_ends_too_soon_is_no_event_and_the_server_goes_on(server: Server) -> None:
    body = json.dumps(sample("ics")).encode()
    cut = [
        (http_request(Content_Length=str(len(body) + 10)), body),
        (http_request(Transfer_Encoding="chunked"), b"%x\r\n%b" % (len(body) + 10, body)),
        (http_request(Transfer_Encoding="chunked"), b"%x\r\n%b\r\n" % (len(body), body)),
        (http_request(Transfer_Encoding="chunked"), b"zz\r\n{"),
        (http_request(Content_Length="5"), b""),
    ]

    for request in cut:
        response = server.raw(*request)

        assert response == b"" or status_of(response) in (400, 500)  # there is nobody left to read it
        assert server.post(sample("ics")).status_code == 200


def test_a_client_that_goes_away_in_the_middle_does_no_harm(server: Server) -> None:
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(http_request(Content_Length="1000") + b"{")

    assert server.post(sample("ics")).status_code == 200


@pytest.mark.parametrize("chunked", [False, True])
def test_a_process_answers_a_body_over_the_limit_with_500(server: Server, chunked: bool) -> None:
    body = bytes(BODY_LIMIT_BYTES * 2)
    content: Any = iter([body]) if chunked else body

    response = httpx.post(server.url, content=content, headers={"content-type": STRUCTURED}, timeout=120)

    assert response.status_code == 500
    assert "at most 10485760 bytes" in response.text


@pytest.mark.parametrize("size_bytes", [9_000, 60_000, 120_000])
def test_an_attribute_that_is_too_long_for_us_is_answered_500_and_not_a_4xx_of_the_server(
    server: Server, size_bytes: int
) -> None:
    """Events that did not come through our own client may have one; the broker would drop a 4xx."""
    headers, body = binary(read({"content-type": STRUCTURED}, json.dumps(sample("ics")).encode()))

    response = httpx.post(server.url, content=body, headers={**headers, "ce-long": "x" * size_bytes})

    assert response.status_code == 500
    assert "attribute long must be at most 4096 characters" in response.text


def test_more_attributes_than_we_take_are_answered_500_and_not_a_4xx_of_the_server(server: Server) -> None:
    headers, body = binary(read({"content-type": STRUCTURED}, json.dumps(sample("ics")).encode()))

    response = httpx.post(server.url, content=body, headers={**headers, **{f"ce-x{n}": "1" for n in range(500)}})

    assert response.status_code == 500
    assert "at most 50 attributes are taken" in response.text


def test_an_attribute_in_plain_utf_8_is_read_as_knatives_brokers_write_it(server: Server) -> None:
    headers, body = binary(read({"content-type": STRUCTURED}, json.dumps(sample("ics")).encode()))
    lines = [f"{name}: {value}" for name, value in {**headers, "ce-subject": "Łódź"}.items()]
    lines += ["Host: x", "Connection: close", f"Content-Length: {len(body)}", "", ""]

    response = server.raw("\r\n".join(["POST / HTTP/1.1", *lines]).encode() + body, half_close=False)

    assert status_of(response) == 200
    assert b"ce-subject: %C5%81%C3%B3d%C5%BA" in response


def test_what_is_not_http_is_answered_by_the_server_itself_and_never_comes_to_the_adapter(server: Server) -> None:
    """Outside the adapter: uvicorn answers garbage with a 400. A broker speaks HTTP."""
    garbage = [b"\0\1\2\3\r\n\r\n", b"POST\r\n\r\n", b"POST / HTTP/9.9\r\n\r\n", b"POST / HTTP/1.1\r\nno colon\r\n\r\n"]
    before = len(server.lines())

    for each in garbage:
        response = server.raw(each)

        assert response == b"" or 400 <= status_of(response) <= 505
    assert [line for line in server.lines()[before:] if "elapsed_ms" in line] == []
    assert server.post(sample("ics")).status_code == 200


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_sigterm_lets_the_request_in_flight_finish(tmp_path: Path, kind: str) -> None:
    with (
        open_fifo(tmp_path / "started") as started,
        open_fifo(tmp_path / "go") as go,
        serving(tmp_path, WORK + kind) as running,
        ThreadPoolExecutor(1) as thread,
    ):
        response = thread.submit(running.post, order(f"do wait: {tmp_path}"))
        assert select.select([started], [], [], 20)[0], "the handler is not at work"
        running.process.send_signal(signal.SIGTERM)
        while running.takes_requests():
            pass

        assert running.process.poll() is None
        go.write(b"x")
        assert response.result(20).status_code == 200
        assert running.process.wait(60) == 0


@pytest.mark.slow
def test_an_idle_process_stops_at_once(tmp_path: Path) -> None:
    with serving(tmp_path, WORK + SYNC) as running:
        running.process.terminate()

        assert running.process.wait(60) == 0


@pytest.mark.parametrize(
    ("source", "line", "said"),
    [
        ("import os\n\ndef handle(:\n", 3, "this is not Python: invalid syntax"),
        ("import os\nimport nosuch.module\n", 2, "No module named 'nosuch'; look at how it is written, or install"),
        ("from functions.nosuch import x\n", 1, "'functions' is a package of Errands itself"),
        ("from events.http import Evnt\n", 1, "cannot import name 'Evnt' from 'events.http'"),
    ],
)
def test_a_mistake_in_a_functions_file_stops_the_start_with_one_line_of_where_and_what_to_do(
    tmp_path: Path, source: str, line: int, said: str
) -> None:
    process = launch(tmp_path, source, free_port())

    assert process.wait(60) == 1
    [shown] = (tmp_path / "log").read_text().splitlines()
    assert shown.startswith(f"{tmp_path}/main.py:{line}: ")
    assert said in shown


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_missing_setting_stops_the_start_with_one_line_that_names_it(tmp_path: Path, kind: str) -> None:
    process = launch(tmp_path, WORK + SETTINGS + kind, free_port(), WIDTH_PX="wide")

    assert process.wait(60) == 1
    assert (tmp_path / "log").read_text() == (
        "this function cannot start: API_URL is required and is not set; WIDTH_PX must be a number (int)\n"
    )


def test_a_function_whose_runner_is_gone_does_not_start(tmp_path: Path) -> None:
    process = launch(tmp_path, WORK + SYNC, free_port(), ERRANDS_RUNNER_PID="1")

    assert process.wait(60) == 1
    assert (tmp_path / "log").read_text() == "the process that started this function is gone\n"


PLAIN = """
def handle(request):
    return request.headers["ce-id"]
"""
HTTP = """
import functions_framework

@functions_framework.http
def handle(request):
    return request.headers["ce-id"]
"""
AIO = """
from functions_framework import aio

@aio.http
async def handle(request):
    return request.headers["ce-id"]
"""
CLOUD_EVENT = """
import functions_framework

@functions_framework.cloud_event
def handle(event):
    assert event["id"] == "1"
"""
HANDLES_ERRORS = """
import flask
import functions_framework

NAME = flask.current_app.name

@functions_framework.errorhandler(ZeroDivisionError)
def tell(error):
    return f"{NAME} cannot divide", 200

def handle(request):
    return 1 // 0
"""


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_work_queue_runs_every_kind_of_target(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setitem(sys.modules, "in_a_work_queue", ModuleType("in_a_work_queue"))
    (source := tmp_path / "in_a_work_queue.py").write_text(WORK + kind)
    task = Task(read({"content-type": STRUCTURED}, json.dumps(sample("ics")).encode()), attempt=1)

    [response] = keda.worker.loader.load(str(source), "handle")([task])

    assert (response.status, response.headers["ce-outcome"]) == (200, "completed")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "text"),
    [(PLAIN, "1"), (HTTP, "1"), (AIO, "1"), (CLOUD_EVENT, "OK"), (HANDLES_ERRORS, "handle cannot divide")],
    ids=["plain", "http", "aio", "cloud_event", "errorhandler"],
)
def test_a_target_of_another_making_is_served_by_functions_frameworks_own_command(
    tmp_path: Path, source: str, text: str
) -> None:
    headers = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t"}
    with serving(tmp_path, source) as running:
        response = httpx.post(running.url, content=b"{}", headers=headers, timeout=120)
        command = Path(f"/proc/{running.process.pid}/cmdline").read_text().split("\0")

    assert (response.status_code, response.text) == (200, text)
    assert command[2:5] == ["functions_framework", "--target", "handle"]


@pytest.mark.slow
def test_requests_of_one_connection_are_answered_in_their_order(tmp_path: Path) -> None:
    slower_first = """
import asyncio
from functions.runtime.adapter import function
from events.types import IcsCompleted, IcsRequested


@function(IcsRequested)
async def handle(job, event):
    await asyncio.sleep(0.3 if event.id == "1" else 0)
    return IcsCompleted(artifacts=(), uids=(), content=event.id)
"""
    bodies = [json.dumps({**sample("ics"), "id": str(number)}).encode() for number in (1, 2, 3)]
    requests = [http_request(body, Content_Length=str(len(body))) for body in bodies]
    requests[:2] = [each.replace(b"Connection: close", b"Connection: keep-alive") for each in requests[:2]]
    with serving(tmp_path, slower_first) as running:
        responses = running.raw(b"".join(requests))

    assert re.findall(rb"ce-causationid: (\d)", responses) == [b"1", b"2", b"3"]
    assert responses.count(b"HTTP/1.1 200 OK\r\n") == 3
    assert responses.count(b"connection: close\r\n") == 1


def test_a_response_whose_header_would_be_two_is_not_sent_and_is_an_error_of_the_function(tmp_path: Path) -> None:
    splits = """
from functions.runtime.adapter import Response, http_function

handle = http_function(lambda event: Response(200, {"x-first": "1\\r\\nx-second: 2"}))
"""
    event = json.dumps(sample("ics")).encode()
    with serving(tmp_path, splits) as running:
        response = running.raw(http_request(event, Content_Length=str(len(event))))

        assert response == b""  # the broker hears nothing, and tries again
        assert "Exception in ASGI application" in running.log.read_text()


@pytest.mark.slow
def test_coroutines_wait_beside_each_other_and_not_in_threads(tmp_path: Path) -> None:
    waits = """
import asyncio
from functions.runtime.adapter import function
from events.types import IcsCompleted, IcsRequested

waiting, all_there = set(), asyncio.Event()


@function(IcsRequested)
async def handle(job, event):
    waiting.add(event.id)
    if len(waiting) == 8:
        all_there.set()
    await asyncio.wait_for(all_there.wait(), 10)
    return IcsCompleted(artifacts=(), uids=(), content="")
"""
    with serving(tmp_path, waits, THREADS="1") as running, ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(lambda number: running.post({**sample("ics"), "id": str(number)}), range(8)))

    assert [each.headers["ce-outcome"] for each in responses] == ["completed"] * 8


@pytest.mark.slow
def test_functions_framework_still_loads_a_function_without_flask_and_uvicorn_without_its_command(
    tmp_path: Path,
) -> None:
    """Where this fails, a new release of one of them needs on its first lines more than the stand-ins are
    (framework.py, serve.leave_out_command_line)."""
    lists = "import sys\nfrom functions.runtime.adapter import Response, http_function\n"
    lists += "handle = http_function(lambda event: Response(200, body=' '.join(sys.modules).encode()))"
    with serving(tmp_path, lists) as running:
        modules = running.post(sample("ics")).text.split()

    assert {"uvicorn.server", "functions_framework.aio", "starlette.applications"} <= set(modules)
    assert {"flask", "werkzeug", "jinja2", "click", "gunicorn", "multiprocessing"}.isdisjoint(modules)


@pytest.mark.slow
def test_who_imports_flask_after_functions_framework_has_it_and_so_has_functions_framework() -> None:
    code = """
import functions.runtime.framework, sys
assert "flask" not in sys.modules
import flask, functions_framework, werkzeug.local
assert flask.Flask("x").name == "x" and functions_framework.flask.Flask is flask.Flask
assert callable(werkzeug.local.LocalProxy)
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"FUNCTION_SOURCE": "no/such.py"}, "File no/such.py that is expected to define function doesn't exist"),
        ({"FUNCTION_TARGET": "handel"}, "is expected to contain a function named 'handel'. Found: "),
        ({"FUNCTION_TARGET": ""}, "Target is not specified (FUNCTION_TARGET environment variable not set)"),
    ],
)
def test_a_target_that_is_not_there_stops_the_start_with_one_sentence(
    tmp_path: Path, change: dict[str, str], sentence: str
) -> None:
    process = launch(tmp_path, WORK + SYNC, free_port(), **change)

    assert process.wait(60) == 1
    [line] = (tmp_path / "log").read_text().splitlines()
    assert sentence in line
