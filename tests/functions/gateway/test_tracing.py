"""What befell a job as one trace: its spans, where they come from and go, and that no job waits for them."""

from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from events.http import Event
from functions.gateway.ledger.job import Job, State
from functions.gateway.ledger.notes import Note
from functions.gateway.tracing.spans import Span, Traced, callbacks, spans
from functions.gateway.tracing.tracing import Receiver
from tests.functions.gateway.test_gateway import ICS, job, outcome, state
from tests.functions.gateway.test_stream import note
from tests.support.database_servers import database_url, postgresql_server
from tests.support.gateway_process import GatewayProcess, gateway_process
from tests.support.local_runner import until
from tests.support.otlp_receiver import otel_collector, otlp_receiver

__all__ = ["database_url", "postgresql_server"]

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
SOON = {"OTEL_BSP_SCHEDULE_DELAY": "50"}
ERROR = 2  # STATUS_CODE_ERROR


def row(state: State = "completed", **changes: Any) -> Job:
    """A job that was accepted at 1,000, sent at 2,000 and ended at 9,000."""
    named = {"id": 1, "key": "k", "source": "/shop", "event_id": "1", "type": "dev.errands.ics.requested.v1"}
    moments = {"accepted_ms": 1_000, "not_before_ms": None, "due_ms": None, "sent_ms": 2_000, "retry_ms": None}
    nothing: dict[str, Any] = dict.fromkeys(("subject", "limit_key", "unique_key", "error", "progress"))
    told = {"api": "shop", "state": state, "fingerprint": "", "priority": 0, "tries": 1, "attempt": 0}
    return Job(**{**named, **moments, **nothing, **told, "ended_ms": 9_000, **changes})


def noted(number: int, kind: str, at_ms: int, **more: Any) -> Note:
    given = {"attempt": None, "actor": "ics", "detail": "why", **more}
    return Note(id=number, at_ms=at_ms, kind=kind, **given)


def traced(job: Job, *notes: Note, **attributes: str) -> Traced:
    return Traced(
        job, notes, Event(MappingProxyType({"source": "/shop", "id": "1", "type": job.type, **attributes}), b"")
    )


def times(found: list[Span]) -> list[tuple[str, int, int]]:
    return [(each.name.split()[0], each.start_ms, each.end_ms) for each in found]


def test_a_job_is_one_trace_of_its_wait_its_attempts_and_its_callbacks() -> None:
    failed = noted(1, "attempt failed", 3_000, attempt=1, next_ms=4_000)
    called = noted(2, "callback failed", 9_500, actor="notifier", next_ms=10_000)
    again = noted(3, "callback failed", 11_000, actor="notifier")

    found = spans(traced(row(), failed, called, again))

    assert times(found) == [
        ("job", 1_000, 9_000),
        ("waiting", 1_000, 2_000),
        ("attempt", 2_000, 3_000),
        ("attempt", 4_000, 9_000),
        ("callback", 9_000, 9_500),
        ("callback", 10_000, 11_000),
    ]
    assert len({each.trace for each in found}) == 1
    assert len({each.id for each in found}) == len(found)
    assert found[0].parent == b""
    assert {each.parent for each in found[1:]} == {found[0].id}
    assert [each.fault for each in found] == [None, None, "why", None, "why", "why"]
    assert [each.name for each in found[0].events] == ["accepted", "sent", "ended"]


def test_the_ids_are_those_of_the_job_so_that_what_is_sent_twice_is_the_same() -> None:
    notes = noted(1, "attempt failed", 3_000), noted(2, "callback failed", 9_500)

    first, second = (spans(traced(row(), *notes[: number + 1])) for number in (0, 1))

    assert {each.id for each in first} < {each.id for each in second}
    assert callbacks(traced(row(), *notes), {2}) == second[-1:]
    assert callbacks(traced(row(), *notes), set()) == []


def test_what_was_asked_for_again_or_replayed_is_a_part_of_the_same_trace_and_another_span() -> None:
    dead = spans(traced(row("deadlettered", error="boom"), noted(1, "attempt failed", 3_000)))
    replayed = spans(traced(row(), noted(1, "attempt failed", 3_000)))
    again = spans(traced(row(sent_ms=6_000), noted(1, "attempt failed", 3_000), noted(2, "asked again", 5_000)))

    assert dead[0].trace == replayed[0].trace == again[0].trace
    assert len({dead[0].id, replayed[0].id, again[0].id}) == 3
    assert (dead[0].fault, replayed[0].fault) == ("boom", None)
    assert times(again) == [("job", 5_000, 9_000), ("waiting", 5_000, 6_000), ("attempt", 6_000, 9_000)]


def test_what_was_sent_several_times_has_no_wait_that_anybody_knows() -> None:
    found = spans(traced(row(tries=2), noted(1, "overdue", 3_000, actor="gateway")))

    assert [each.name.split()[0] for each in found] == ["job", "attempt"]
    assert [each.name for each in found[0].events] == ["accepted", "overdue", "ended"]


def test_a_clock_that_was_set_back_makes_no_span_that_ends_before_it_begins() -> None:
    late = noted(1, "attempt failed", 500), noted(2, "callback failed", 400)

    found = spans(traced(row(sent_ms=800, ended_ms=600), *late))

    assert len(found) == 5
    assert [each for each in found if each.end_ms < each.start_ms] == []


@pytest.mark.parametrize(
    ("traceparent", "trace", "parent"),
    [
        (f"00-{TRACE}-{PARENT}-01", TRACE, PARENT),
        (f"00-{TRACE}-{PARENT}-00", None, None),  # its sender does not record it
        ("00-1", "", ""),
    ],
)
def test_the_trace_of_the_request_goes_on(traceparent: str, trace: str | None, parent: str) -> None:
    found = spans(traced(row(), traceparent=traceparent, tracestate="a=b"))

    if trace is None:
        assert found == []
    else:
        own = not trace
        assert found[0].trace.hex() == (trace or spans(traced(row()))[0].trace.hex())
        assert (found[0].parent.hex(), found[0].state) == (parent, "" if own else "a=b")


@pytest.mark.parametrize("wrong", [{"endpoint": "localhost:4318"}, {"headers": "authorization"}])
def test_a_setting_that_is_wrong_names_itself(wrong: dict[str, str]) -> None:
    given = {"endpoint": "http://localhost:4318", "headers": "", **wrong}

    with pytest.raises(ValueError, match="OTEL_EXPORTER_OTLP_"):
        Receiver.parse(given["endpoint"], given["headers"], "errands", 50)


def ended(gateway: GatewayProcess, id_: str, **attributes: str) -> str:
    """Have a job accepted, tried twice and done; its key."""
    key = str(gateway.post(job(id_, **attributes)).json()["job"])
    until(lambda: state(gateway, id_) == "sent", what="the broker's")
    gateway.tell(note(id_, 1))
    gateway.tell(outcome(id_))
    return key


@pytest.mark.slow
def test_the_traces_of_jobs_go_to_a_receiver_with_what_comes_after_their_end(database_url: str, tmp_path: Path) -> None:
    with otlp_receiver() as receiver:
        there = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Basic%20x"}
        with gateway_process(tmp_path, database_url, **there, **SOON) as (gateway, _broker):
            key = ended(gateway, "1", traceparent=f"00-{TRACE}-{PARENT}-01")
            until(lambda: len(receiver.spans) == 4, what="the job's spans")
            called = {"kind": "callback failed", "by": "notifier", "attempt": 1, "detail": "503"}
            gateway.tell({**note("1", 2), "data": called})
            until(lambda: len(receiver.spans) == 5, what="the callback's span")
            ended(gateway, "2")
            gateway.stop()

    found = receiver.of(TRACE)
    [whole] = found[f"job {ICS['type']}"]
    attributes = {each.key: each.value.string_value for each in whole.attributes}
    resource = receiver.requests[0].resource_spans[0].resource.attributes
    assert {name: len(each) for name, each in found.items()} == {
        whole.name: 1,
        "waiting": 1,
        "attempt": 2,
        "callback": 1,
    }
    assert (whole.parent_span_id.hex(), attributes["errands.job"], attributes["errands.state"]) == (
        PARENT,
        key,
        "completed",
    )
    assert {each.parent_span_id for each in receiver.spans if each.trace_id == whole.trace_id} == {
        bytes.fromhex(PARENT),
        whole.span_id,
    }
    assert found["callback"][0].status.code == ERROR
    assert [each.status.code for each in found["attempt"]] == [ERROR, 0]
    assert (resource[0].key, resource[0].value.string_value) == ("service.name", "errands")
    assert receiver.headers["authorization"] == "Basic x"
    assert len(receiver.spans) == 9  # those of a job that has just ended go when the process does


@pytest.mark.slow
def test_a_receiver_that_is_away_holds_no_job_up_and_is_told_later(tmp_path: Path) -> None:
    with otlp_receiver() as receiver:
        receiver.status = 503
        url, there = f"sqlite:///{tmp_path}/ledger.db", {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
        with gateway_process(tmp_path, url, **there, **SOON) as (gateway, _broker):
            ended(gateway, "1")
            until(lambda: receiver.asked > 0, what="the first try")
            ended(gateway, "2")
            meanwhile = state(gateway, "2")
            receiver.status = 200
            until(lambda: len(receiver.spans) == 8, what="what was kept")

    assert meanwhile == "completed"


@pytest.mark.slow
def test_opentelemetrys_own_collector_reads_them(tmp_path: Path) -> None:
    with otel_collector(tmp_path) as (endpoint, told):
        url, there = f"sqlite:///{tmp_path}/ledger.db", {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
        with gateway_process(tmp_path, url, **there, **SOON) as (gateway, _broker):
            key = ended(gateway, "1", traceparent=f"00-{TRACE}-{PARENT}-01")
            until(lambda: f"errands.job: Str({key})" in told.read_text(), what="the collector's reading")

    read = told.read_text()
    assert f"Trace ID       : {TRACE}" in read
    assert f"Parent ID      : {PARENT}" in read
    assert read.count("Span #") == 4
