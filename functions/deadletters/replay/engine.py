"""Sends a replay's dead letters at its rate, until all are sent, it is cancelled, or too many fail.

It works in short rounds. A round begins with a commit that keeps the lease, learns of a cancel and marks what is sent
next; it ends with one that notes what came of it. So a cancel has effect within a round, and of an interruption only
one round's dead letters are in doubt.
"""

import os
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from events.http import ATTRIBUTE_LIMIT_COUNT, Event, check
from events.job import NAMESPACE, is_request
from events.problem import NotAnEvent
from functions.deadletters.replay.sending import BrokerIngress, NotTaken
from functions.deadletters.service.results import DeadLetter, Run
from functions.deadletters.store import dead_letters, replays
from functions.deadletters.store.dead_letter import REPLAY_OF
from functions.deadletters.store.replays import ReplayPlan, SendResult
from functions.runtime.adapter import REPLAYED, system_clock
from functions.storage.database import Database, Transaction

ROUND_S: Final = 0.1
SENDERS: Final = 8
CATCH_UP_S: Final = 0.5  # what a slow round left behind is made good, but never in a burst of more than this
COUNTED_EACH_ROUND: Final = 1_000  # dead letters sent; of more those that came back are counted once a second
SENDING_S: Final = 0.5  # what a round has not begun to send by then, it gives back


class Engine:
    """One worker. `stop` ends it as an interruption does: the replay is left as running, for another to go on."""

    def __init__(
        self,
        database: Database,
        broker: BrokerIngress,
        *,
        stop: threading.Event,
        clock: Callable[[], datetime] = system_clock,
    ) -> None:
        self._database = database
        self._broker = broker
        self._stop = stop
        self._clock = clock
        self._worker = f"{os.uname().nodename}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._returned = 0
        self._failures_left = 0  # until the replay stops

    def run(self, replay: int, told: Callable[[Run], None] = lambda run: None) -> None:
        """Send until it ends; `told` hears of the progress about once a second, and of the end."""
        pace = Pace()
        with ThreadPoolExecutor(SENDERS, thread_name_prefix="replay") as pool:
            while not self._stopping:
                plan, outgoing_events = self._begin(replay, pace)
                if plan is None:
                    break
                self._finish(plan, self._send_all(outgoing_events, pool))
                pace.sent(len(outgoing_events))
                if pace.second_passed():
                    self._look(plan, told)
                self._stop.wait(pace.wait_s(plan.rate_per_s))
        with self._database.transaction() as transaction:
            replays.release(transaction, replay, self._worker)
            run = replays.find(transaction, replay)
        if run is not None:
            told(run)

    def _begin(self, replay: int, pace: "Pace") -> "tuple[ReplayPlan | None, list[OutgoingEvent]]":
        """Mark what this round sends. No plan: the replay has ended, or is another's."""
        now = self._clock()
        with self._database.transaction() as transaction:
            plan = replays.claim(transaction, replay, self._worker, now=now)
            if plan is None:
                return None, []
            if not pace.count:
                replays.give_up_unknown(transaction, plan, now=now)
            if pace.count <= COUNTED_EACH_ROUND:
                self._returned = replays.returned(transaction, replay, but=replays.COUNTED)
            self._failures_left = plan.stop_after - self._returned - replays.refused(transaction, replay)
            if self._failures_left <= 0:
                self._stop_when_too_many_fail(transaction, plan)
                return None, []
            limit = pace.allowed(plan.rate_per_s)
            taken = replays.take(transaction, plan, limit) if limit else []
            if limit and not taken and not replays.waiting(transaction, replay):
                replays.end(transaction, replay, "done", "")
                return None, []
            return plan, self._outgoing(transaction, plan, taken)

    def _outgoing(self, transaction: Transaction, plan: ReplayPlan, taken: list[int]) -> "list[OutgoingEvent]":
        if not taken:
            return []
        end_s = time.monotonic() + SENDING_S
        sent = [
            (dead_letter, outgoing(event, plan, dead_letter.id, marked=not self._broker.outside))
            for dead_letter, event in dead_letters.to_send(transaction, taken)
        ]
        dead_letters.expect(transaction, {dead_letter.id: event for dead_letter, event in sent})
        return [OutgoingEvent(dead_letter, event, plan.trigger_only, end_s) for dead_letter, event in sent]

    @property
    def _stopping(self) -> bool:
        """The main thread is gone when the interpreter waits for this one, to end the process."""
        return self._stop.is_set() or not threading.main_thread().is_alive()

    def _send_all(self, outgoing_events: "Sequence[OutgoingEvent]", pool: ThreadPoolExecutor) -> list[SendResult]:
        """Send them, never more at a time than may fail before the replay stops; then the rest is not tried."""
        left, on_the_way = deque(outgoing_events), set[Future[SendResult]]()
        results = list[SendResult]()
        while left or on_the_way:
            failed = sum(bool(each.refusal) for each in results)
            while left and len(on_the_way) < min(SENDERS, self._failures_left - failed):
                on_the_way.add(self._submitted(left.popleft(), pool))
            if not on_the_way:
                break
            done, on_the_way = wait(on_the_way, return_when=FIRST_COMPLETED)
            results += [each.result() for each in done]
        return results + [_untried(each) for each in left]

    def _submitted(self, sent: "OutgoingEvent", pool: ThreadPoolExecutor) -> "Future[SendResult]":
        try:
            return pool.submit(self._send, sent)
        except RuntimeError:  # the interpreter has begun to end
            ended = Future[SendResult]()
            ended.set_result(_untried(sent))
            return ended

    def _send(self, sent: "OutgoingEvent") -> SendResult:
        if time.monotonic() > sent.end_s:
            return _untried(sent)
        try:
            check(sent.event)
            if sent.trigger_only:
                where = {
                    "trigger": sent.dead_letter.trigger,
                    "destination": sent.dead_letter.destination,
                }
                self._broker.send_to(sent.event, **where)
            else:
                self._broker.send(sent.event)
        except (NotTaken, NotAnEvent) as error:
            return SendResult(dead_letter=sent.dead_letter.id, refusal=str(error))
        return SendResult(dead_letter=sent.dead_letter.id)

    def _finish(self, plan: ReplayPlan, results: list[SendResult]) -> None:
        if not results:
            return
        with self._database.transaction() as transaction:
            replays.note(transaction, plan, results, now=self._clock())
            if any(each.refusal for each in results):
                self._stop_when_too_many_fail(transaction, plan)

    def _look(self, plan: ReplayPlan, told: Callable[[Run], None]) -> None:
        with self._database.transaction() as transaction:
            self._stop_when_too_many_fail(transaction, plan)
            run = replays.find(transaction, plan.id)
        if run is not None and run.state == "running":
            told(run)

    def _stop_when_too_many_fail(self, transaction: Transaction, plan: ReplayPlan) -> None:
        self._returned = replays.returned(transaction, plan.id, but=replays.COUNTED)
        failed = self._returned + replays.refused(transaction, plan.id)
        if failed >= plan.stop_after:
            reason = f"{failed} dead letters were refused or came back; it stops after {plan.stop_after}"
            replays.end(transaction, plan.id, "stopped", reason)


def _untried(sent: "OutgoingEvent") -> SendResult:
    return SendResult(dead_letter=sent.dead_letter.id, tried=False)


@dataclass(frozen=True)
class OutgoingEvent:
    """One dead letter on its way; after `end_s` (of the monotonic clock) it is not begun any more."""

    dead_letter: DeadLetter
    event: Event
    trigger_only: bool
    end_s: float


class Pace:
    """How many dead letters may go by now, for their rate to be kept over the whole replay."""

    def __init__(self) -> None:
        self.count = 0
        self._start_s: float | None = None
        self._second_s = time.monotonic()

    def allowed(self, rate_per_s: float) -> int:
        """How many dead letters may go in this round."""
        now_s = time.monotonic()
        if self._start_s is None:
            self._start_s = now_s
        behind = (now_s - self._start_s) * rate_per_s + 1 - self.count
        most = max(1.0, rate_per_s * CATCH_UP_S)
        if behind > most:  # it stood still: what it missed then it does not make good
            self._start_s += (behind - most) / rate_per_s
        return int(min(behind, most))

    def sent(self, count: int) -> None:
        """Count what has gone out."""
        self.count += count

    def wait_s(self, rate_per_s: float) -> float:
        """Until the next round: not before a dead letter may go, and not so long that a cancel waits."""
        due_s = (self._start_s or 0.0) + self.count / rate_per_s - time.monotonic()
        return min(max(due_s, ROUND_S), 5 * ROUND_S)

    def second_passed(self) -> bool:
        """True about once a second."""
        if time.monotonic() - self._second_s < 1:
            return False
        self._second_s = time.monotonic()
        return True


def outgoing(event: Event, plan: ReplayPlan, dead_letter: int, *, marked: bool) -> Event:
    """The event as a replay sends it; that it is one, its outcome tells, if there is room for an attribute."""
    if plan.as_new:
        made = str(uuid.uuid5(NAMESPACE, f"replay\n{plan.id}\n{dead_letter}"))
        event = event.with_attributes(id=made, **{REPLAY_OF: str(dead_letter)})
    if marked and len(event.attributes) < ATTRIBUTE_LIMIT_COUNT and is_request(event):
        event = event.with_attributes(**{REPLAYED: "true"})
    return event
