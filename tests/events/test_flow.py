"""The replayer: what a flow's function asks for, waits for and comes to, by its history and by nothing else."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from events.flow import Definition, Flow, StepFailed, duration, flow, replay
from events.history import (
    Again,
    Answer,
    Completed,
    Decision,
    Failed,
    Held,
    History,
    Lane,
    Progress,
    RecordedStep,
    Signal,
    Waiting,
)
from events.problem import JobFailed
from events.types import CallCompleted, CallRequested, IcsCompleted, Request, Result

START = datetime(2026, 12, 1, 12, tzinfo=UTC)


class OrderRequested(Request, frozen=True, kw_only=True):
    number: int = 1


class OrderCompleted(Result, frozen=True, kw_only=True):
    said: Any = None


ORDER = OrderRequested()


def flowing(function: Callable[[OrderRequested, Flow], Any]) -> Definition[OrderRequested]:
    return flow(OrderRequested)(function)


def value(content: Any) -> bytes:
    """What completes a call."""
    return msgspec.json.encode(CallCompleted(value=content))


def history(*steps: RecordedStep, signals: Sequence[Signal] = (), cancelled: int | None = None) -> History:
    return History("flow-1", START, steps, signals, cancelled)


def called(name: str, position: int | None = None, content: Any = None, kind: Any = "completed") -> RecordedStep:
    """A call that was asked for, and has ended where it has a position."""
    return RecordedStep(f"call {name}", None if position is None else answer(position, kind, value(content)))


def answer(position: int, kind: Any = "completed", data: bytes = b"") -> Answer:
    return Answer(position, START + timedelta(minutes=position), kind, data)


def problem(detail: str) -> bytes:
    return msgspec.json.encode(JobFailed("no", detail).problem)


def failed(decision: Decision) -> str:
    assert isinstance(decision.end, Failed)
    return decision.end.problem.detail


def held(decision: Decision) -> str:
    assert isinstance(decision.end, Held)
    assert decision.asked == ()
    return decision.end.reason


def completed(decision: Decision) -> Any:
    assert isinstance(decision.end, Completed)
    return msgspec.json.decode(decision.end.data)["said"]


async def two_calls(order: OrderRequested, do: Flow) -> OrderCompleted:
    first = await do.call("first", {"number": order.number})
    return OrderCompleted(said=[first, await do.call("second")])


def test_a_flow_asks_for_its_first_step_and_waits() -> None:
    decision = replay(flowing(two_calls), ORDER, history())

    [asked] = decision.asked
    assert (asked.number, asked.what, asked.type) == (1, "call first", "dev.errands.call.requested.v1")
    assert msgspec.json.decode(asked.data, type=CallRequested) == CallRequested(name="first", data={"number": 1})
    assert decision.end == Waiting((1,), 1)


def test_it_goes_on_from_an_answer_and_asks_for_nothing_twice() -> None:
    decision = replay(flowing(two_calls), ORDER, history(called("first", 1, "a")))

    assert [each.what for each in decision.asked] == ["call second"]
    assert decision.end == Waiting((2,), 1)


def test_it_ends_with_what_the_function_returns() -> None:
    decision = replay(flowing(two_calls), ORDER, history(called("first", 1, "a"), called("second", 2, "b")))

    assert completed(decision) == ["a", "b"]


def test_a_job_of_the_contract_is_asked_for_by_its_name_and_gives_its_own_struct() -> None:
    async def calendar(_: OrderRequested, do: Flow) -> OrderCompleted:
        made = await do.ics(events=[{"summary": "Lunch", "start": "2026-12-01T12:00:00Z"}])
        assert isinstance(made, IcsCompleted)
        return OrderCompleted(said=made.uids)

    asked = replay(flowing(calendar), ORDER, history()).asked[0]
    done = msgspec.json.encode(IcsCompleted(artifacts=(), uids=("u",)))

    assert asked.type == "dev.errands.ics.requested.v1"
    assert completed(replay(flowing(calendar), ORDER, history(RecordedStep(asked.what, answer(1, data=done))))) == ["u"]


def test_a_job_that_breaks_the_contract_fails_the_flow_with_the_field_that_does() -> None:
    async def calendar(_: OrderRequested, do: Flow) -> None:
        await do.ics(evnts=[])

    decision = replay(flowing(calendar), ORDER, history())

    assert "#/evnts" in failed(decision)


def test_all_waits_for_all_and_raises_the_first_failure_in_the_order_of_the_steps() -> None:
    async def both(_: OrderRequested, do: Flow) -> None:
        await do.all(do.call("first"), do.call("second"), do.call("third"))

    some = history(called("first"), RecordedStep("call second", answer(1, "failed", problem("no"))), called("third", 2))

    assert replay(flowing(both), ORDER, some).end == Waiting((1,), 1)


def test_a_step_that_is_awaited_twice_at_once_is_waited_for_once() -> None:
    async def twice(_: OrderRequested, do: Flow) -> None:
        step = do.call("first")
        await do.all(step, step)

    assert replay(flowing(twice), ORDER, history()).end == Waiting((1,), 1)


@pytest.mark.parametrize("wait", ["do.first()", "do.map(do.call, ['first'], at_once=0)"])
def test_what_would_never_end_holds_the_flow_at_once(wait: str) -> None:
    async def never(_: OrderRequested, do: Flow) -> None:
        await eval(wait, {"do": do})  # noqa: S307  # ours

    assert "ValueError" in held(replay(flowing(never), ORDER, history()))


def test_failures_may_be_results() -> None:
    async def both(_: OrderRequested, do: Flow) -> OrderCompleted:
        found = await do.all(do.call("first"), do.call("second"), failures=True)
        return OrderCompleted(said=[str(each) for each in found])

    steps = (called("first", 2, "a"), RecordedStep("call second", answer(1, "failed", problem("not today"))))

    assert completed(replay(flowing(both), ORDER, history(*steps))) == ["a", "call second: not today"]


def test_first_is_what_was_recorded_first_in_whatever_order_it_was_asked_for() -> None:
    async def race(_: OrderRequested, do: Flow) -> OrderCompleted:
        won = await do.first(do.call("first"), do.call("second"))
        return OrderCompleted(said=[won.what, await won])

    decision = replay(flowing(race), ORDER, history(called("first", 2, "a"), called("second", 1, "b")))

    assert completed(decision) == ["call second", "b"]


def test_map_asks_for_all_and_says_how_many_may_run_at_once() -> None:
    async def many(_: OrderRequested, do: Flow) -> None:
        await do.map(lambda item: do.call(f"step-{item}"), range(3), at_once=2)

    decision = replay(flowing(many), ORDER, history())

    assert [each.lane for each in decision.asked] == [Lane(1, 2)] * 3
    assert decision.end == Waiting((1, 2, 3), 3)


def test_a_sleep_is_due_so_long_after_the_last_thing_that_was_seen() -> None:
    async def slow(_: OrderRequested, do: Flow) -> OrderCompleted:
        await do.call("first")
        await do.sleep(hours=48)
        return OrderCompleted(said=do.now.isoformat())

    asked = replay(flowing(slow), ORDER, history(called("first", 5))).asked[0]
    done = replay(flowing(slow), ORDER, history(called("first", 5), RecordedStep("sleep", answer(9, "fired"))))

    assert (asked.type, asked.due) == (None, START + timedelta(minutes=5, hours=48))
    assert completed(done) == (START + timedelta(minutes=9)).isoformat()


async def waiting(_: OrderRequested, do: Flow) -> OrderCompleted:
    try:
        return OrderCompleted(said=[await do.wait("paid", within="7d"), await do.wait("paid")])
    except StepFailed as failure:
        return OrderCompleted(said=failure.problem.title)


def said(position: int, content: Any, name: str = "paid") -> Signal:
    return Signal(position, START, name, msgspec.json.encode(content))


def test_a_signal_that_came_before_its_wait_is_not_lost_and_none_is_taken_twice() -> None:
    steps = (RecordedStep("wait paid"), RecordedStep("wait paid"))
    signals = (said(1, 10), said(2, "for another", "shipped"), said(3, 11))

    assert completed(replay(flowing(waiting), ORDER, history(*steps, signals=signals))) == [10, 11]


def test_a_wait_ends_with_what_was_first_the_signal_or_its_time() -> None:
    late = history(RecordedStep("wait paid", answer(1, "fired")), signals=[said(2, 10)])
    early = history(RecordedStep("wait paid", answer(2, "fired")), RecordedStep("wait paid"), signals=[said(1, 10)])

    assert completed(replay(flowing(waiting), ORDER, late)) == "Too late"
    assert replay(flowing(waiting), ORDER, early).end == Waiting((2,), 1)


async def undoing(_: OrderRequested, do: Flow) -> None:
    await do.call("account", {"email": "a"}, undo="no-account")
    await do.call("server", undo="no-server", within="1h")
    await do.call("mail")


def undo_of(name: str, position: int | None = None) -> RecordedStep:
    return RecordedStep(f"undo {name}", None if position is None else answer(position, data=value(None)))


def test_what_was_done_is_undone_in_reverse_each_told_what_it_undoes() -> None:
    steps = [called("account", 1, {"id": 7}), called("server", 2, 8), called("mail", 3, kind="failed")]
    steps[2] = RecordedStep("call mail", answer(3, "failed", problem("no mail today")))

    first = replay(flowing(undoing), ORDER, history(*steps)).asked
    second = replay(flowing(undoing), ORDER, history(*steps, undo_of("no-server", 4))).asked
    decision = replay(flowing(undoing), ORDER, history(*steps, undo_of("no-server", 4), undo_of("no-account", 5)))

    assert [each.what for each in (*first, *second)] == ["undo no-server", "undo no-account"]
    told = msgspec.json.decode(second[0].data, type=CallRequested)
    assert told == CallRequested(name="no-account", data={"email": "a"}, undo="account", result={"id": 7})
    assert failed(decision) == "no mail today"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("failed", ["undo no-account"]), ("fired", ["undo no-server"]), ("deadlettered", ["undo no-server"])],
)
def test_a_step_that_said_no_is_not_undone_and_one_that_may_have_been_done_is(kind: str, expected: list[str]) -> None:
    steps = (called("account", 1, 7), RecordedStep("call server", answer(2, kind, problem("full"))))

    assert [each.what for each in replay(flowing(undoing), ORDER, history(*steps)).asked] == expected


def test_an_undo_that_fails_is_named_and_the_others_run() -> None:
    steps = (
        called("account", 1, 7),
        called("server", 2),
        RecordedStep("call mail", answer(3, "failed", problem("no"))),
    )
    undone = (RecordedStep("undo no-server", answer(4, "failed", problem("it burns"))), undo_of("no-account", 5))

    decision = replay(flowing(undoing), ORDER, history(*steps, *undone))

    assert isinstance(decision.end, Failed)
    assert [(each.pointer, each.detail) for each in decision.end.problem.errors] == [
        ("#/steps/4", "not undone: undo no-server: it burns")
    ]


def test_a_cancel_strikes_the_wait_that_was_not_over_and_waits_for_what_is_under_way() -> None:
    before = history(called("account", 1, 7), called("server"), cancelled=2)
    after = history(called("account", 1, 7), called("server", 3), cancelled=2)

    assert replay(flowing(undoing), ORDER, before).end == Waiting((2,), 1)
    assert [each.what for each in replay(flowing(undoing), ORDER, after).asked] == ["undo no-server"]


def test_a_cancel_is_nothing_that_a_function_catches_by_the_way() -> None:
    async def stubborn(_: OrderRequested, do: Flow) -> OrderCompleted:
        try:
            await do.call("first")
        except Exception:  # what is tested
            return OrderCompleted(said="went on")
        return OrderCompleted()

    assert failed(replay(flowing(stubborn), ORDER, history(called("first"), cancelled=1))) == "the flow was cancelled"


def test_a_history_that_the_function_does_not_follow_holds_the_flow_and_names_both_steps() -> None:
    other = replay(flowing(two_calls), ORDER, history(called("zeroth", 1)))
    fewer = replay(flowing(two_calls), ORDER, history(called("first", 1), called("second", 2), called("third")))

    assert held(other) == "step 1 was recorded as 'call zeroth', and 'call first' is asked for"
    assert held(fewer) == "step 3 was recorded as 'call third', and is not asked for any more"


def test_a_bug_holds_the_flow_and_says_where_it_is() -> None:
    async def wrong(_: OrderRequested, do: Flow) -> None:
        (await do.call("first"))["missing"]

    reason = held(replay(flowing(wrong), ORDER, history(called("first", 1, {}))))

    assert "KeyError: 'missing'" in reason
    assert "test_flow.py" in reason


def test_what_takes_time_beside_the_steps_holds_the_flow() -> None:
    class Other:
        def __await__(self) -> Any:
            yield self

    async def wrong(_: OrderRequested, do: Flow) -> None:
        await Other()

    assert "awaits Other, which is no step" in held(replay(flowing(wrong), ORDER, history()))


def test_chance_and_ids_are_the_same_in_each_replay_and_others_in_another_flow() -> None:
    async def chances(_: OrderRequested, do: Flow) -> OrderCompleted:
        return OrderCompleted(said=[do.random.random(), str(do.uuid()), str(do.uuid())])

    first, again = (completed(replay(flowing(chances), ORDER, history())) for _ in range(2))
    other = completed(replay(flowing(chances), ORDER, History("flow-2", START)))

    assert first == again
    assert len({first[1], first[2], other[1], other[2]}) == 4
    assert first[0] != other[0]


def test_a_flow_begins_again_with_other_data_and_keeps_the_signals_that_nobody_took() -> None:
    async def for_ever(order: OrderRequested, do: Flow) -> None:
        await do.wait("paid")
        do.again(OrderRequested(number=order.number + 1))

    decision = replay(flowing(for_ever), ORDER, history(RecordedStep("wait paid"), signals=[said(1, 1), said(2, 2)]))

    assert decision.end == Again(b'{"number":2}', (2,))


def test_the_last_progress_is_told() -> None:
    async def slow(_: OrderRequested, do: Flow) -> None:
        do.progress(10, "begun")
        do.progress(40, "half done")
        await do.call("first")

    assert replay(flowing(slow), ORDER, history()).progress == Progress(40, "half done")


def test_what_a_function_asks_for_while_it_is_put_away_is_not_asked_for() -> None:
    async def cleaning(_: OrderRequested, do: Flow) -> None:
        try:
            await do.call("first")
        finally:
            await do.call("never")

    assert [each.what for each in replay(flowing(cleaning), ORDER, history()).asked] == ["call first"]


def test_more_steps_than_a_history_holds_hold_the_flow() -> None:
    async def endless(_: OrderRequested, do: Flow) -> None:
        while True:
            do.call("first")

    assert "do.again" in held(replay(flowing(endless), ORDER, history()))


def test_ten_thousand_steps_are_replayed() -> None:
    async def many(_: OrderRequested, do: Flow) -> OrderCompleted:
        return OrderCompleted(said=len(await do.all(*[do.call("first", index) for index in range(10_000)])))

    steps = [called("first", index + 1, index) for index in range(10_000)]

    assert completed(replay(flowing(many), ORDER, history(*steps))) == 10_000


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("1.5m", 90), ("1h", 3_600), ("7d", 604_800), ("2w", 1_209_600)]
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "7", "d", "1 h", "-1h", "1y"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a duration such as"):
        duration(text)
