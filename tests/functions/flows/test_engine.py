"""The engine on SQLite and PostgreSQL: what is written for an event, and what is not written twice."""

import io
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import msgspec
import pytest

from events.flow import Definition, Flow, flow
from events.http import Event
from events.job import job_key
from events.types import CallCompleted, DeadLetter, MessageRequested, Request, Result, SignalRequested, event_type
from functions.flows import flow_record, outbox, report, steps, timers
from functions.flows.definitions import Definitions
from functions.flows.engine import Engine
from functions.flows.flow_record import FlowRecord, Numbers, flow_id
from functions.flows.schema import open_flows
from functions.runtime.adapter import reply_event
from functions.runtime.logs import JsonFormatter
from functions.storage.database import Database
from tests.conftest import sample
from tests.support.database_servers import database_url, postgresql_server

__all__ = ["database_url", "postgresql_server"]  # fixtures

START = datetime(2026, 12, 1, 12, tzinfo=UTC)
SOURCE = "/shop"


class ParcelRequested(Request, frozen=True, kw_only=True):
    pieces: int = 1


class ParcelCompleted(Result, frozen=True, kw_only=True):
    said: Any = None


@flow(ParcelRequested)
async def parcel(job: ParcelRequested, do: Flow) -> ParcelCompleted:
    packed = await do.map(lambda piece: do.call("pack", piece), range(job.pieces), at_once=2)
    do.progress(50, "packed")
    await do.sleep(hours=1)
    return ParcelCompleted(said=[packed, await do.call("send", on_dead_letter="fail")])


class Flows:
    """An engine with a clock that a test moves, and what it has sent so far."""

    def __init__(self, database: Database, *definitions: Definition[Any]) -> None:
        self.database = database
        self.now = START
        self.engine = Engine(database, Definitions.of(definitions or [parcel]), lambda: self.now)

    def begin(self, id_: str = "p-1", **data: Any) -> list[Event]:
        return self.engine.take(request(ParcelRequested, id_, data))

    def answer(self, step: Event, value: Any = None) -> list[Event]:
        return self.engine.take(completed(step, value, self.now))

    def fire(self) -> list[Event]:
        with self.database.transaction(writes=False) as transaction:
            due = timers.due(transaction, now=self.now)
        return [event for timer in due for event in self.engine.fire(timer)]

    def signal(self, name: str, value: Any = None, *, id_: str | None = None) -> list[Event]:
        said = {"flow": "p-1", "name": name, "data": value}
        return self.engine.take(request(SignalRequested, id_ or f"say-{name}", said))

    def record(self) -> FlowRecord:
        with self.database.transaction(writes=False) as transaction:
            found = flow_record.find(transaction, flow_id(SOURCE, "p-1"))
        assert found is not None
        return found

    def left(self) -> set[str]:
        """The ids of what is in the outbox."""
        with self.database.transaction() as transaction:
            return {each.id for each in outbox.due(transaction, now=self.now + timedelta(days=1))}

    def described(self) -> str:
        flow = self.record()
        with self.database.transaction(writes=False) as transaction:
            return "\n".join(report.described(transaction, flow))


@contextmanager
def logged(stream: io.StringIO) -> Iterator[None]:
    """What the flows log within, as on a cluster."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logging.getLogger("errands.flows").addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger("errands.flows").removeHandler(handler)


def request(type_: type[Request], id_: str, data: dict[str, Any]) -> Event:
    attributes = {"specversion": "1.0", "id": id_, "source": SOURCE, "type": event_type(type_)}
    attributes |= {"subject": "order-1", "callbackurl": "https://shop.example/", "tenant": "acme"}
    return Event(MappingProxyType({**attributes, "datacontenttype": "application/json"}), msgspec.json.encode(data))


def completed(step: Event, value: Any, now: datetime) -> Event:
    return reply_event(step, "dev.errands.call.completed.v1", CallCompleted(value=value), now=now)


def dead(step: Event, now: datetime) -> Event:
    payload = DeadLetter(dead_letter="7", code=500, destination="http://call")
    return reply_event(step, "dev.errands.call.deadlettered.v1", payload, now=now)


@pytest.fixture
def flows(database_url: str) -> Flows:
    return Flows(open_flows(database_url))


def test_a_steps_request_names_its_flow_and_carries_what_the_caller_sent_but_the_callback(flows: Flows) -> None:
    [step] = flows.begin()

    attributes = dict(step.attributes)
    id_ = flow_id(SOURCE, "p-1")
    assert {name: attributes.get(name) for name in ("id", "source", "stepof", "flowid", "step")} == {
        "id": f"{id_}.1",
        "source": "/errands/parcel",
        "stepof": "parcel",
        "flowid": id_,
        "step": "1",
    }
    assert (attributes["subject"], attributes["tenant"], "callbackurl" in attributes) == ("order-1", "acme", False)


def test_only_so_many_go_out_at_once_and_each_end_lets_the_next_in(flows: Flows) -> None:
    first, second = flows.begin(pieces=5)

    [third] = flows.answer(second)
    assert third.attributes["step"] == "3"
    assert flows.answer(second) == []
    assert [each.attributes["step"] for each in flows.answer(first)] == ["4"]
    assert flows.record().needed == 3


def test_a_flow_sleeps_as_a_row_and_ends_with_the_event_that_its_caller_waits_for(flows: Flows) -> None:
    [pack] = flows.begin()
    assert flows.answer(pack, "a") == []
    assert flows.fire() == []

    flows.now += timedelta(hours=1)
    [send] = flows.fire()
    [end] = flows.answer(send, "b")

    assert (end.type, end.get("outcome"), end.get("jobid")) == ("dev.errands.parcel.completed.v1", "completed", "p-1")
    assert end.get("callbackurl") == "https://shop.example/"
    assert msgspec.json.decode(end.data) == {"said": [["a"], "b"]}
    assert flows.fire() == []


def test_what_was_not_sent_falls_due_again_ever_later_and_the_same(flows: Flows) -> None:
    [pack] = flows.begin()
    with flows.database.transaction() as transaction:
        assert outbox.due(transaction, now=START) == []
        assert outbox.due(transaction, now=START + timedelta(seconds=10)) == [pack]
        assert outbox.due(transaction, now=START + timedelta(seconds=11)) == []
        assert outbox.due(transaction, now=START + timedelta(seconds=30)) == [pack]
        outbox.sent(transaction, [pack])

    assert flows.left() == set()


def test_who_asks_for_a_flow_again_hears_of_its_end_again_and_of_other_data_that_it_is_refused(flows: Flows) -> None:
    [pack] = flows.begin()
    assert flows.begin() == []
    flows.answer(pack)
    flows.now += timedelta(hours=1)
    [end] = flows.answer(flows.fire()[0])

    [refused] = flows.begin(pieces=2)

    assert flows.begin() == [end]
    assert (refused.get("outcome"), refused.id != end.id) == ("failed", True)
    assert msgspec.json.decode(refused.data)["title"] == "Same id other data"


def test_a_request_that_breaks_the_contract_fails_and_is_no_flow(flows: Flows) -> None:
    [end] = flows.begin(peices=2)

    assert end.get("outcome") == "failed"
    assert "#/peices" in msgspec.json.decode(end.data)["detail"]
    with pytest.raises(AssertionError):
        flows.record()


def test_a_dead_letter_holds_the_flow_until_the_step_is_done_after_all(flows: Flows) -> None:
    [pack] = flows.begin()

    assert flows.engine.take(dead(pack, START)) == []
    assert (flows.record().state, flows.record().reason) == (
        "held",
        "step 1 (call pack) is kept as dead letter 7: replay it, and the flow goes on",
    )
    assert "dead letter 7" in flows.described()
    flows.answer(pack.with_attributes(replayed="true"))
    assert (flows.record().state, flows.record().reason) == ("running", "")


def test_a_step_may_fail_by_its_dead_letter(flows: Flows) -> None:
    flows.answer(flows.begin()[0])
    flows.now += timedelta(hours=1)
    [send] = flows.fire()

    [end] = flows.engine.take(dead(send, flows.now))

    assert end.get("outcome") == "failed"


def test_resume_sends_the_steps_again_that_are_dead_letters(flows: Flows) -> None:
    [pack] = flows.begin()
    flows.engine.take(dead(pack, START))

    sent = flows.signal("resume")

    assert pack.with_attributes(replayed="true") in sent  # so that its dead letter is closed by its end


def test_a_bug_holds_the_flow_and_the_mended_function_goes_on(database_url: str) -> None:
    @flow(ParcelRequested)
    async def broken(_: ParcelRequested, do: Flow) -> None:
        raise KeyError(await do.call("pack"))

    flows = Flows(open_flows(database_url), broken)
    [pack] = flows.begin()
    assert flows.answer(pack, "a") == []
    assert (flows.record().state, "KeyError" in flows.record().reason) == ("held", True)
    assert "KeyError" in str(flows.engine.check(flows.record().id))

    mended = Flows(flows.database)
    assert mended.engine.check(flows.record().id) is None
    mended.signal("resume")
    assert mended.record().state == "running"


def test_the_log_of_a_held_flow_tells_nothing_that_is_personal_in_its_request(database_url: str) -> None:
    @flow(MessageRequested)
    async def broken(letter: MessageRequested, do: Flow) -> None:
        raise KeyError(letter.subject, await do.call("pack"))

    stream, engine = io.StringIO(), Flows(open_flows(database_url), broken).engine
    with logged(stream):
        [pack] = engine.take(
            request(MessageRequested, "p-1", {**sample("message")["data"], "subject": "Diagnosis of Ada"})
        )
        engine.take(completed(pack, "a", START))

    assert "KeyError" in stream.getvalue()
    assert "Diagnosis" not in stream.getvalue()


def test_a_flow_keeps_to_the_version_that_it_began_with(database_url: str) -> None:
    @flow(ParcelRequested, version=2)
    async def newer(_: ParcelRequested, do: Flow) -> None:
        await do.call("another")

    old = Flows(open_flows(database_url))
    [pack] = old.begin()
    both, new = Flows(old.database, parcel, newer), Flows(old.database, newer)

    assert both.engine.check(old.record().id) is None
    assert new.answer(pack) == []
    assert new.record().reason == "version 1 of the flow parcel is not deployed here"
    assert [each.attributes["step"] for each in both.begin("p-2")] == ["1"]


def test_a_step_that_the_broker_refuses_has_failed(flows: Flows) -> None:
    [pack] = flows.begin()

    [end] = flows.engine.refuse(pack, "no Trigger wants it")

    assert msgspec.json.decode(end.data)["detail"] == "no Trigger wants it"
    assert pack.id not in flows.left()


def test_a_signal_before_its_flow_is_kept_for_it_in_the_order_in_which_they_came(database_url: str) -> None:
    @flow(ParcelRequested)
    async def paid(_: ParcelRequested, do: Flow) -> ParcelCompleted:
        return ParcelCompleted(said=[await do.wait("paid"), await do.wait("paid")])

    flows = Flows(open_flows(database_url), paid)
    [told] = flows.signal("paid", 1, id_="say-1")
    flows.now += timedelta(seconds=1)
    flows.signal("paid", 2, id_="say-2")
    flows.signal("paid", 2, id_="say-2")

    [end] = flows.begin()

    assert msgspec.json.decode(told.data) == {"state": "expected"}
    assert msgspec.json.decode(end.data) == {"said": [1, 2]}
    assert flows.begin() == [end]


def test_a_cancel_before_its_flow_ends_it_where_it_would_wait_and_an_older_one_does_not(flows: Flows) -> None:
    flows.signal("cancel", {"retried": "1"})
    assert flows.begin() != []
    assert flows.record().state == "running"

    other = {"flow": "p-2", "name": "cancel"}
    flows.engine.take(request(SignalRequested, "say-other", other))
    *_, end = flows.begin("p-2")
    assert msgspec.json.decode(end.data)["title"] == "Cancelled"


def test_only_a_flow_that_runs_can_be_resumed_or_hear_of_a_steps_end(flows: Flows) -> None:
    told = [flows.signal(name, {"step": 1})[0] for name in ("resume", "complete")]

    assert [msgspec.json.decode(each.data)["title"] for each in told] == ["No such flow"] * 2


def test_a_flow_that_failed_is_done_anew_when_the_gateway_asks_again_and_its_steps_as_well(flows: Flows) -> None:
    [pack] = flows.begin()
    [first_end] = flows.engine.refuse(pack, "no room")
    anew = request(ParcelRequested, "p-1", {}).with_attributes(retried="1")

    [again] = flows.engine.take(anew)
    assert flows.engine.take(anew) == []
    assert (again.attributes["step"], flows.record().state) == ("2", "running")
    assert flows.answer(pack) == []
    [second_end] = flows.engine.refuse(again, "no room")

    assert (second_end.type, second_end.data) == (first_end.type, first_end.data)
    assert second_end.id != first_end.id
    assert flows.engine.take(anew) == [second_end]


def test_a_flow_that_failed_may_be_asked_for_with_mended_data(flows: Flows) -> None:
    [pack] = flows.begin()
    flows.engine.refuse(pack, "no room")

    assert [each.attributes["step"] for each in flows.begin(pieces=2)] == ["2", "3"]


def test_the_end_of_a_call_is_told_by_the_job_that_all_is_for_however_deep_its_step_is(database_url: str) -> None:
    @flow(MessageRequested)
    async def inner(_: MessageRequested, do: Flow) -> ParcelCompleted:
        return ParcelCompleted(said=await do.call("pack"))

    @flow(ParcelRequested)
    async def outer(_: ParcelRequested, do: Flow) -> ParcelCompleted:
        await do(MessageRequested(to=("lee@client.example",), subject="a", text="b"), result=ParcelCompleted)
        return ParcelCompleted()

    flows = Flows(open_flows(database_url), outer, inner)
    [child] = flows.begin()
    [step] = flows.engine.take(child)
    done = {"step": int(step.attributes["step"]), "flowid": step.attributes["flowid"], "value": 7}
    flows.begin("p-2")
    not_its = flows.engine.take(request(SignalRequested, "s", {"flow": "p-2", "name": "complete", "data": done}))
    ended, told = flows.signal("complete", done)

    assert step.attributes["flowjob"] == child.attributes["flowjob"] == job_key(request(ParcelRequested, "p-1", {}))
    assert msgspec.json.decode(not_its[0].data)["title"] == "No such step"
    assert msgspec.json.decode(ended.data) == {"said": 7}
    assert told.get("outcome") == "completed"


def test_a_signal_to_a_flow_that_has_ended_fails(flows: Flows) -> None:
    flows.begin()
    flows.signal("cancel")

    [told] = flows.signal("paid")

    assert (told.get("outcome"), msgspec.json.decode(told.data)["title"]) == ("failed", "Has ended")


def test_of_two_pods_that_get_the_ends_of_a_flow_at_once_each_counts_once(database_url: str) -> None:
    pods = [Flows(open_flows(database_url)) for _ in range(2)]
    going, sent = list(pods[0].begin(pieces=40)), list[str]()

    with ThreadPoolExecutor(8) as pool:
        while going:
            sent += [each.attributes["step"] for each in going]
            deliveries = [(pod, step) for step in going for pod in pods]
            going = [event for events in pool.map(lambda each: each[0].answer(each[1]), deliveries) for event in events]

    assert sorted(map(int, sent)) == list(range(1, 41))
    assert pods[0].record().needed == 1
    assert "waited for, until 2026-12-01T13:00:00Z at most" in pods[0].described()


def test_flows_that_ended_long_ago_are_forgotten_with_all_that_was_theirs(flows: Flows) -> None:
    flows.begin()
    flows.signal("cancel")

    with flows.database.transaction() as transaction:
        assert flow_record.remove_ended(transaction, before=START) == 0
        assert flow_record.remove_ended(transaction, before=START + timedelta(seconds=1)) == 1
        assert steps.all_of(transaction, flow_id(SOURCE, "p-1")) == []


def test_flows_of_flows_end_somewhere(database_url: str) -> None:
    @flow(ParcelRequested)
    async def endless(job: ParcelRequested, do: Flow) -> None:
        await do(job)

    flows = Flows(open_flows(database_url), endless)
    events = flows.begin()
    for _ in range(7):
        assert ".requested." in events[0].type
        events = flows.engine.take(events[0])

    [end] = flows.engine.take(events[0])

    assert (end.type, end.get("flow")) == ("dev.errands.parcel.failed.v1", "parcel")
    assert msgspec.json.decode(end.data)["title"] == "Too deep"


@pytest.mark.parametrize(
    ("numbers", "text"),
    [(set(), ""), ({1}, "1"), ({3, 1, 2}, "1-3"), ({1, 3}, "1,3"), ({9, 2, 3, 5, 6, 7}, "2-3,5-7,9")],
)
def test_numbers_in_a_row_are_a_short_text(numbers: set[int], text: str) -> None:
    kept = Numbers.of(numbers)

    assert (str(kept), Numbers.parse(text)) == (text, kept)
    assert {each for each in range(12) if each in kept} == numbers


def test_a_name_and_version_stand_for_one_function() -> None:
    @flow(ParcelRequested)
    async def other(_: ParcelRequested, do: Flow) -> None:
        pass

    with pytest.raises(ValueError, match="version 1 twice"):
        Definitions.of([parcel, other])
