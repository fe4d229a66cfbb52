"""Flows as data: what a graph of steps does, as its flow is replayed, and what the door says of one that is wrong."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import pytest

from events.http import Event
from events.problem import JobFailed, decode
from events.types import CallCompleted, GraphRequested, event_type
from functions.flows import timers
from functions.flows.definitions import Definitions
from functions.flows.engine import Engine
from functions.flows.graph import graph
from functions.flows.schema import open_flows
from functions.runtime.adapter import reply_event

START = datetime(2026, 12, 1, 12, tzinfo=UTC)


def ref(path: str) -> dict[str, str]:
    return {"$ref": path}


class Graphs:
    """An engine with graphs alone, and an API that does calls by `answers`; `asked` are those, in their order."""

    def __init__(self, folder: Path, answers: dict[str, Any]) -> None:
        self.now = START
        self.engine = Engine(open_flows(f"sqlite:///{folder}/flows.db"), Definitions.of([graph]), lambda: self.now)
        self.answers = answers
        self.asked: list[tuple[str, Any]] = []
        self.ended: list[Event] = []

    def run(self, data: dict[str, Any]) -> "Graphs":
        attributes = {"specversion": "1.0", "id": "g-1", "source": "/shop", "type": event_type(GraphRequested)}
        self.deliver(self.engine.take(Event(MappingProxyType(attributes), msgspec.json.encode(data))))
        return self

    def deliver(self, events: list[Event]) -> None:
        left = list(events)
        while left:
            event = left.pop(0)
            if event.get("outcome"):
                self.ended.append(event)
            elif event.type.startswith("dev.errands.call.requested"):
                left += self.engine.take(self.called(event))
            else:
                left += self.engine.take(event)

    def called(self, event: Event) -> Event:
        said = msgspec.json.decode(event.data)
        self.asked.append((said["name"], said.get("data")))
        answer = self.answers.get(said["name"], said.get("data"))
        answer = answer(said.get("data")) if callable(answer) else answer
        if isinstance(answer, JobFailed):
            return reply_event(event, "dev.errands.call.failed.v1", answer.problem, now=self.now)
        return reply_event(event, "dev.errands.call.completed.v1", CallCompleted(value=answer), now=self.now)

    def fire(self) -> None:
        with self.engine.database.transaction(writes=False) as transaction:
            due = timers.due(transaction, now=self.now)
        for timer in due:
            self.deliver(self.engine.fire(timer))

    @property
    def result(self) -> Any:
        [end] = self.ended
        assert end.get("outcome") == "completed", end.data
        return msgspec.json.decode(end.data)["result"]

    @property
    def failure(self) -> str:
        [end] = self.ended
        return str(msgspec.json.decode(end.data)["detail"])


def call(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "call": name, **more}


def test_a_step_begins_when_what_it_refers_to_has_ended_and_the_result_is_what_was_asked_for(tmp_path: Path) -> None:
    graphs = Graphs(tmp_path, {"account": {"id": "acc-1", "tags": ["a", "b"]}}).run(
        {
            "input": {"email": "lee@client.example"},
            "steps": [
                call("welcome", data={"to": ref("input.email"), "tag": ref("account.tags.1")}, after=["provision"]),
                call("provision", data={"account": ref("account.id")}),
                call("account", data={"email": ref("input.email")}),
            ],
            "result": {"account": ref("account.id"), "said": [ref("welcome.tag")]},
        }
    )

    assert [name for name, _ in graphs.asked] == ["account", "provision", "welcome"]
    assert graphs.asked[1][1] == {"account": "acc-1"}
    assert graphs.result == {"account": "acc-1", "said": ["b"]}


def test_a_step_for_each_item_is_a_list_of_results_in_their_order(tmp_path: Path) -> None:
    graphs = Graphs(tmp_path, {"orders": [{"id": 1}, {"id": 2}, {"$ref": "input.secret"}]}).run(
        {
            "input": {"shop": "s"},
            "steps": [
                call("orders"),
                call("bill", each=ref("orders"), at_once=1, data=[ref("item"), ref("index"), ref("input.shop")]),
                call("sum", data=ref("bill")),
            ],
            "result": ref("sum"),
        }
    )

    assert graphs.result == [[{"id": 1}, 0, "s"], [{"id": 2}, 1, "s"], [{"$ref": "input.secret"}, 2, "s"]]


def refused_when(even: Any) -> Any:
    return JobFailed("odd", f"{even} is odd") if even % 2 else even


@pytest.mark.parametrize(("allowed", "ends"), [(2, [0, None, 2, None]), (1, "3 is odd")])
@pytest.mark.parametrize("alone", [True, False])
def test_of_a_batch_so_many_may_fail(tmp_path: Path, allowed: int, ends: Any, *, alone: bool) -> None:
    batch = call("pay", each=[0, 1, 2, 3], data=ref("item"), allow_failures=allowed)
    graphs = Graphs(tmp_path, {"pay": refused_when}).run({"steps": [batch, *([] if alone else [call("beside")])]})

    assert (graphs.result["pay"] if isinstance(ends, list) else graphs.failure) == ends


def test_what_is_left_out_is_null_and_what_follows_is_done_all_the_same(tmp_path: Path) -> None:
    graphs = Graphs(tmp_path, {"look": {"active": False}}).run(
        {
            "steps": [
                call("look"),
                call("thank", when=ref("look.active"), data={}),
                call("ask", unless=ref("look.active"), data={"thanked": ref("thank.at")}),
            ]
        }
    )

    assert graphs.result == {"look": {"active": False}, "thank": None, "ask": {"thanked": None}}


def test_a_failure_is_told_then_what_was_done_is_undone(tmp_path: Path) -> None:
    graphs = Graphs(tmp_path, {"pay": JobFailed("no-money", "the card is empty")}).run(
        {
            "steps": [call("reserve", undo="release"), call("pay", after=["reserve"], undo="refund")],
            "on_failure": [call("tell", data=ref("failure.detail"))],
        }
    )

    assert [name for name, _ in graphs.asked] == ["reserve", "pay", "tell", "release"]
    assert graphs.asked[2][1] == "the card is empty"
    assert graphs.failure == "the card is empty"


def test_it_sleeps_and_waits_as_any_flow(tmp_path: Path) -> None:
    graphs = Graphs(tmp_path, {}).run({"steps": [{"name": "rest", "hours": 48}, call("after", after=["rest"], data=1)]})
    assert graphs.ended == []

    graphs.now += timedelta(hours=48)
    graphs.fire()

    assert graphs.result == {"rest": None, "after": 1}


def test_a_reference_that_leads_nowhere_fails_the_flow_and_says_which(tmp_path: Path) -> None:
    graphs = Graphs(tmp_path, {}).run({"steps": [call("a", data={"b": 1}), call("c", data=ref("a.d"))]})

    assert graphs.failure == "a.d leads nowhere: there is no d"


@pytest.mark.parametrize(
    ("data", "pointers"),
    [
        ({"steps": [call("a", data={"x": [ref("b.id")]})]}, ["#/steps/0/data/x/0"]),
        ({"steps": [call("a", after=["b", "c"])]}, ["#/steps/0/after/0", "#/steps/0/after/1"]),
        ({"steps": [call("a", data=ref("item"))]}, ["#/steps/0/data"]),
        ({"steps": [call("a"), call("a")]}, ["#/steps/1/name"]),
        ({"steps": [call("input")]}, ["#/steps/0/name"]),
        ({"steps": [call("a", after=["b"]), call("b", after=["c"]), call("c", after=["a"])]}, ["#/steps/0"]),
        ({"steps": [call("a", after=["a"]), call("b", after=["a"])]}, ["#/steps/0"]),
        ({"steps": [call("a", when={"is": 1})]}, ["#/steps/0/when"]),
        ({"steps": [{"name": "a", "job": "pictur"}]}, ["#/steps/0/job"]),
        ({"steps": [{"name": "a"}]}, ["#/steps/0"]),
        ({"steps": [{"name": "a", "wait": "paid", "each": [1]}]}, ["#/steps/0"]),
        ({"steps": []}, ["#/steps"]),
        ({"steps": [call("a")], "result": {"b": ref("b")}}, ["#/result/b"]),
        ({"steps": [call("a")], "on_failure": [call("b", data=ref("c"))]}, ["#/on_failure/0/data"]),
    ],
)
def test_a_graph_that_is_wrong_is_refused_with_each_place(data: dict[str, Any], pointers: list[str]) -> None:
    with pytest.raises(JobFailed) as refused:
        decode(msgspec.json.encode(data), GraphRequested)

    assert [each.pointer for each in refused.value.errors] == pointers
