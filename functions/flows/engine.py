"""What becomes of flows: each event, and each timer, is one transaction.

It locks the flow's row and appends what has happened; a step that has ended changes nothing more. While the flow waits
for more than that, nothing else is done. Otherwise its history is replayed, and what the function asks for beyond it is
written in the same transaction: steps, timers, and the events that are to be sent, which are returned to be sent after
it.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from events.flow import replay
from events.history import Again, Answer, Asked, Completed, Decision, Failed, Held, History, Signal, Waiting
from events.http import Event
from events.job import canonical, phase
from events.problem import JobFailed, NotAnEvent, decode
from events.types import (
    CallCompleted,
    CallRequested,
    DeadLetter,
    SignalCompleted,
    SignalRequested,
    StepDone,
    event_type,
    sibling_type,
)
from functions.flows import early, flow_record, outbox, steps, timers
from functions.flows.definitions import Definitions
from functions.flows.flow_events import completed, failed, following, step_request
from functions.flows.flow_record import FlowRecord, Numbers, flow_id
from functions.flows.steps import StepRecord
from functions.flows.timers import Timer
from functions.runtime.adapter import REPLAYED, open_job, reply_event
from functions.runtime.logs import about
from functions.storage.database import Database, Transaction

log = logging.getLogger("errands.flows")

DEPTH_LIMIT: Final = 8  # of flows that are steps of flows
AGAIN_LIMIT: Final = 100  # of one transaction: a flow that begins again without waiting would never end it
SIGNAL: Final = event_type(SignalRequested)
FOR_THOSE_THAT_RUN: Final = ("complete", "resume")  # signals that mean nothing to a flow that has not begun
RETRIED: Final = "retried"  # on a request: the how-manieth time that the gateway was asked to do it anew


@dataclass(frozen=True)
class Engine:
    """The flows of a database. `time_lapse` is by how much their sleeps and waits are shortened, for tests."""

    database: Database
    definitions: Definitions
    clock: Callable[[], datetime]
    time_lapse: float = 1.0

    def take(self, event: Event) -> list[Event]:
        """Do with an event what it is for, once however often it comes; what is to be sent."""
        if event.type == SIGNAL:
            return self._signal(event)
        if event.get("flow"):
            return self._answer(event)
        definition = self.definitions.newest.get(event.type)
        if definition is None:
            known = ", ".join(sorted(self.definitions.newest))
            raise NotAnEvent(f"no flow of this installation begins with {event.type[:100]!r}; those that are: {known}")
        return self._start(event, definition) + self._take_early(flow_id(event.source, event.id))

    def fire(self, timer: Timer) -> list[Event]:
        """End a step whose time has come, unless it has ended by itself."""
        now = self.clock()
        with self.database.transaction() as transaction:
            flow = flow_record.lock(transaction, timer.flow_id)
            if flow is None or not timers.remove(transaction, timer.flow_id, timer.step):
                return []
            return self._ended(transaction, flow, timer.step, flow.answer("fired", b"", now=now))

    def refuse(self, event: Event, reason: str) -> list[Event]:
        """What a broker refuses for what it is can never be done: the step has failed."""
        with self.database.transaction() as transaction:
            outbox.sent(transaction, [event])
            flow = flow_record.lock(transaction, event.get("flowid") or "")
            if flow is None or not event.get("stepof"):
                with about(event):
                    log.error("the broker refuses %s %s: %s", event.type, event.id, reason)
                return []
            data = msgspec.json.encode(JobFailed("not-accepted", reason).problem)
            answer = flow.answer("failed", data, now=self.clock())
            return self._ended(transaction, flow, int(event.attributes["step"]), answer)

    def check(self, flow_id: str) -> str | None:
        """Why a flow could not go on by the functions of now; None where it could."""
        with self.database.transaction(writes=False) as transaction:
            flow = flow_record.find(transaction, flow_id)
            if flow is None or not flow.is_open:
                return None
            decision = self._replayed(transaction, flow)
            return decision.end.reason if isinstance(decision.end, Held) else None

    def _start(self, event: Event, definition: Any) -> list[Event]:
        now = self.clock()
        with self.database.transaction() as transaction:
            known = flow_record.lock(transaction, flow_id(event.source, event.id))
            is_anew = known is not None and known.state == "failed" and _is_anew(event, known)
            if known is not None and not is_anew:
                return self._asked_again(transaction, known, event, now)
            try:
                open_job(event, definition.request, now=now)
                parent, depth = self._parent(transaction, event)
            except JobFailed as error:
                return self._sent(transaction, [failed(event, error.problem, now=now)], now)
            if known is not None:
                return self._retried(transaction, known, event, definition.version, now)
            flow = flow_record.create(
                transaction,
                event,
                name=definition.name,
                version=definition.version,
                parent=parent,
                depth=depth,
                now=now,
            )
            if flow is None:  # another delivery was faster
                return []
            return self._advance(transaction, flow, now)

    def _asked_again(self, transaction: Transaction, flow: FlowRecord, event: Event, now: datetime) -> list[Event]:
        """Whoever asks for a flow that has ended hears of its end again."""
        if canonical(event.data) != canonical(flow.request.data):
            detail = f"the flow {event.id} of {event.source} has begun with other data: another one needs another id"
            refused = failed(event, JobFailed("same-id-other-data", detail).problem, now=now)
            return self._sent(transaction, [refused.with_attributes(id=f"{refused.id}-other-data")], now)
        return [] if flow.is_open or flow.ending is None else self._sent(transaction, [flow.ending], now)

    def _retried(
        self, transaction: Transaction, flow: FlowRecord, event: Event, version: int, now: datetime
    ) -> list[Event]:
        """Begin a flow anew that failed. Its steps go on in number: each is a job of its own, and done once more."""
        flow.request, flow.version, flow.state, flow.progress, flow.cancelled = event, version, "running", None, None
        self._begin_again(transaction, flow, Again(event.data), now)
        return self._advance(transaction, flow, now)

    def _parent(self, transaction: Transaction, event: Event) -> tuple[str | None, int]:
        parent = event.get("flowid")
        found = flow_record.find(transaction, parent) if parent else None
        depth = 1 if found is None else found.depth + 1
        if depth > DEPTH_LIMIT:
            raise JobFailed("too-deep", f"flows may be steps of flows {DEPTH_LIMIT} deep; this one is beyond")
        return parent, depth

    def _answer(self, event: Event) -> list[Event]:
        """A step has ended, or is a dead letter."""
        kind, number, now = phase(event), _number(event), self.clock()
        with self.database.transaction() as transaction:
            flow = flow_record.lock(transaction, event.get("flowid") or "")
            if flow is None or not flow.is_open:
                return []
            step = steps.find(transaction, flow.id, number)
            if kind != "deadlettered" or (step is not None and step.on_dead_letter == "fail"):
                return self._ended(transaction, flow, number, flow.answer(kind, event.data, now=now))
            if steps.hold(transaction, flow.id, number, decode(event.data, DeadLetter).dead_letter):
                self._say_held(transaction, flow)
                flow_record.save(transaction, flow)
            return []

    def _ended(self, transaction: Transaction, flow: FlowRecord, number: int, answer: Answer) -> list[Event]:
        """A step has ended: go on where the flow has waited for no more than that."""
        admitted = steps.end(transaction, flow.id, number, answer) if flow.is_open else None
        if admitted is None:
            return []
        timers.remove(transaction, flow.id, number)
        going = self._sent(transaction, [_request(flow, each) for each in admitted], answer.at)
        unawaited = number not in flow.waits and flow.needed > 0
        flow.needed -= number in flow.waits
        if not unawaited and flow.needed <= 0:
            return going + self._advance(transaction, flow, answer.at)
        if flow.state == "held":
            self._say_held(transaction, flow)
        flow_record.save(transaction, flow)
        return going

    def _signal(self, event: Event) -> list[Event]:
        """Tell a flow what was said to it, or keep it for one that has not begun; what it has come to is the answer."""
        now = self.clock()
        try:
            job = open_job(event, SignalRequested, now=now)
            with self.database.transaction() as transaction:
                flow = flow_record.lock(transaction, flow_id(event.source, job.flow))
                if flow is not None:
                    return self._told(transaction, flow, event, job, now)
                if job.name in FOR_THOSE_THAT_RUN:
                    raise JobFailed("no-such-flow", f"no flow of {event.source} with the id {job.flow!r} has begun")
                early.keep(transaction, flow_id(event.source, job.flow), event, now=now)
                going = self._sent(transaction, [_signal_reply(event, "expected", now)], now)
            return going + self._take_early(flow_id(event.source, job.flow))
        except JobFailed as error:
            with self.database.transaction() as transaction:
                return self._sent(transaction, [failed(event, error.problem, now=now)], now)

    def _told(
        self, transaction: Transaction, flow: FlowRecord, event: Event, job: SignalRequested, now: datetime
    ) -> list[Event]:
        going = self._signalled(transaction, flow, event, job, now)
        return going + self._sent(transaction, [_signal_reply(event, flow.state, now)], now)

    def _take_early(self, id_: str) -> list[Event]:
        """Tell a flow that has begun what was said to it before."""
        with self.database.transaction(writes=False) as transaction:
            if not early.has(transaction, id_):
                return []
        now, going = self.clock(), list[Event]()
        with self.database.transaction() as transaction:
            flow = flow_record.lock(transaction, id_)
            for event in [] if flow is None else early.take(transaction, id_):
                if flow is not None and flow.is_open:
                    job = decode(event.data, SignalRequested)
                    going += self._signalled(transaction, flow, event, job, now)
        return going

    def _signalled(
        self, transaction: Transaction, flow: FlowRecord, event: Event, job: SignalRequested, now: datetime
    ) -> list[Event]:
        if steps.knows_signal(transaction, flow.id, event.id) or (job.name == "cancel" and _is_cancelled(flow, job)):
            return []
        if not flow.is_open:
            raise JobFailed("has-ended", f"the flow {job.flow} has ended: it is {flow.state}")
        going: list[Event] = []
        if job.name == "cancel":
            flow.cancelled = flow.next_position()
        elif job.name == "complete":
            return self._completed_from_outside(transaction, flow, job, now)
        elif job.name == "resume":
            held = steps.held(transaction, flow.id)
            events = [_request(flow, each).with_attributes(**{REPLAYED: "true"}) for each in held]  # of dead letters
            going = self._sent(transaction, events, now)
        else:
            signal = Signal(flow.next_position(), now, job.name, msgspec.json.encode(job.data))
            steps.write_signal(transaction, flow.id, signal, event_id=event.id)
        return going + self._advance(transaction, flow, now)

    def _completed_from_outside(
        self, transaction: Transaction, flow: FlowRecord, job: SignalRequested, now: datetime
    ) -> list[Event]:
        """The API has done a step that it took for later."""
        told = decode(msgspec.json.encode(job.data), StepDone, at="#/data")
        flow = self._within(transaction, flow, told.flowid)
        step = steps.find(transaction, flow.id, told.step)
        if step is None or step.type != event_type(CallRequested):
            raise JobFailed("no-such-step", f"the flow {job.flow} has no call with the number {told.step}")
        if told.problem is not None:
            answer = flow.answer("failed", msgspec.json.encode(told.problem), now=now)
        else:
            answer = flow.answer("completed", msgspec.json.encode(CallCompleted(value=told.value)), now=now)
        return self._ended(transaction, flow, told.step, answer)

    def _within(self, transaction: Transaction, flow: FlowRecord, id_: str | None) -> FlowRecord:
        """The flow of this id, which is this one, or a step of it at whatever depth."""
        inner = flow if id_ in {None, flow.id} else flow_record.lock(transaction, id_ or "")
        above = inner
        while above is not None and above.id != flow.id:
            above = flow_record.find(transaction, above.parent) if above.parent else None
        if inner is None or above is None:
            raise JobFailed("no-such-step", f"the flow {flow.request.id} has none within it with the id {id_}")
        return inner

    def _advance(self, transaction: Transaction, flow: FlowRecord, now: datetime) -> list[Event]:
        """Replay the flow, and write what comes of it."""
        going: list[Event] = []
        for _ in range(AGAIN_LIMIT):
            decision = self._replayed(transaction, flow)
            going += self._apply(transaction, flow, decision, now)
            if not isinstance(decision.end, Again):
                break
        else:
            flow.state, flow.reason = "held", f"the flow began again {AGAIN_LIMIT} times without waiting for anything"
        flow_record.save(transaction, flow)
        return going

    def _replayed(self, transaction: Transaction, flow: FlowRecord) -> Decision:
        definition = self.definitions.versions.get((flow.name, flow.version))
        if definition is None:
            return Decision(Held(f"version {flow.version} of the flow {flow.name} is not deployed here"))
        history = History(
            flow_id=flow.id,
            started_at=flow.started_at,
            steps=steps.recorded(transaction, flow.id),
            signals=steps.signals(transaction, flow.id),
            cancelled=flow.cancelled,
            first=flow.first,
        )
        try:
            return replay(definition, decode(flow.data, definition.request), history)
        except JobFailed as error:
            return Decision(Held(f"the flow's data is none of this version's: {error}"))

    def _apply(self, transaction: Transaction, flow: FlowRecord, decision: Decision, now: datetime) -> list[Event]:
        end = decision.end
        flow.progress = decision.progress or flow.progress
        going = self._ask(transaction, flow, decision.asked, now)
        flow.waits, flow.needed = Numbers(), 0
        if isinstance(end, Waiting):
            flow.waits, flow.needed = Numbers.of(end.steps), end.needed
            if flow.state == "held":
                self._say_held(transaction, flow)
        elif isinstance(end, Held):
            flow.state, flow.reason = "held", end.reason
            with about(flow.request):  # whose data a traceback quotes, whatever event it is that the flow goes on by
                log.error("the flow %s (%s) is held: %s", flow.id, flow.name, end.reason)
        elif isinstance(end, Again):
            self._begin_again(transaction, flow, end, now)
        else:
            going += self._end(transaction, flow, end, now)
        return going

    def _ask(self, transaction: Transaction, flow: FlowRecord, asked: Sequence[Asked], now: datetime) -> list[Event]:
        going = steps.write(transaction, flow.id, asked, now=now)
        timed = [Timer(flow.id, each.number, self._due(each, each.due, now)) for each in asked if each.due is not None]
        timers.write(transaction, timed)
        events = [step_request(flow, each.number, each.type, each.data, asked_at=now) for each in going if each.type]
        return self._sent(transaction, events, now)

    def _due(self, asked: Asked, due: datetime, now: datetime) -> datetime:
        """When it is due by this machine's clock: a job takes as long as ever, however short sleeps are made."""
        return due if asked.type else now + max((due - now) / self.time_lapse, timedelta(0))

    def _begin_again(self, transaction: Transaction, flow: FlowRecord, end: Again, now: datetime) -> None:
        flow.first += len(steps.recorded(transaction, flow.id))
        steps.forget(transaction, flow.id, end.kept)
        timers.remove(transaction, flow.id)
        flow.data, flow.started_at, flow.ended_at = end.data, now, None
        flow.cancelled = None if flow.cancelled is None else 0

    def _end(self, transaction: Transaction, flow: FlowRecord, end: Completed | Failed, now: datetime) -> list[Event]:
        timers.remove(transaction, flow.id)
        flow.reason, flow.ended_at = "", now
        if isinstance(end, Completed):
            flow.state, ending = "completed", completed(flow.request, end.data, now=now)
        else:
            flow.state, ending = "failed", failed(flow.request, end.problem, now=now)
        flow.ending = following(flow.ending, ending)
        return self._sent(transaction, [flow.ending], now)

    def _say_held(self, transaction: Transaction, flow: FlowRecord) -> None:
        """A flow with a step that is a dead letter is held, whatever else it waits for."""
        found = steps.held(transaction, flow.id)
        flow.state = "held" if found else "running"
        said = (f"step {each.number} ({each.what}) is kept as dead letter {each.dead_letter}" for each in found[:3])
        flow.reason = "; ".join(said) + (": replay it, and the flow goes on" if found else "")

    def _sent(self, transaction: Transaction, events: list[Event], now: datetime) -> list[Event]:
        outbox.write(transaction, events, now=now)
        return events


def _signal_reply(event: Event, state: str, now: datetime) -> Event:
    return reply_event(event, sibling_type(SIGNAL, "completed"), SignalCompleted(state=state), now=now)


def _is_anew(event: Event, flow: FlowRecord) -> bool:
    """Whether a flow's request is no repetition: the gateway was asked to retry it, or it was mended."""
    retried = int(event.get(RETRIED) or "0") > int(flow.request.get(RETRIED) or "0")
    return retried or canonical(event.data) != canonical(flow.request.data)


def _is_cancelled(flow: FlowRecord, job: SignalRequested) -> bool:
    """Whether a cancel changes nothing: there was one, or it is meant for the flow as it was before a retry."""
    meant = job.data.get(RETRIED) if isinstance(job.data, dict) else None
    return flow.cancelled is not None or meant not in {None, flow.request.get(RETRIED) or "0"}


def _request(flow: FlowRecord, step: StepRecord) -> Event:
    return step_request(flow, step.number, step.type or "", step.data, asked_at=step.asked_at)


def _number(event: Event) -> int:
    text = event.get("step") or ""
    if not text.isascii() or not text.isdigit():
        raise NotAnEvent(f"an answer of a step has its number, got step {text[:20]!r}")
    return int(text)
